/** Rows of `otel_logs`. */
import { ANY_VALUE, lastField } from '../model/attributes.ts';
import type { Logs } from '../model/batch.ts';
import { isAllZero } from '../model/ids.ts';
import type { LogRecord } from '../model/logs.ts';
import { isZero64, readUint32, type Cursor } from '../model/wire.ts';
import { BufferPool } from './buffer_pool.ts';
import type { CopyWriter } from './copy_writer.ts';
import { attributesField, jsonAnyValue } from './json_values.ts';
import { encodeBatch, PROMOTED_COLUMNS, promotedFields, SHARED_COLUMNS, sizeHint } from './rows.ts';
import type { EncodedRows, RowFormat } from './rows.ts';

export const LOG_ROWS: RowFormat = {
  format: 'logs/1',
  table: 'otel_logs',
  columns: [
    'ts',
    'ts_ns_rest',
    'observed_at',
    'observed_ns_rest',
    'trace_id',
    'span_id',
    'severity_number',
    'severity_text',
    'body',
    'body_json',
    'event_name',
    'flags',
    'attributes',
    'dropped_attributes_count',
    ...PROMOTED_COLUMNS,
    ...SHARED_COLUMNS,
  ],
};

export function encodeLogRows(logs: Logs, buffers = new BufferPool()): Promise<EncodedRows> {
  let wireBytes = 0;
  let rows = 0;
  for (const { scopes } of logs.resources) {
    for (const { records } of scopes) {
      rows += records.length;
      for (const log of records) wireBytes += log.end - log.start;
    }
  }
  const { receivedAtMs } = logs;
  return encodeBatch(logs, buffers.take(sizeHint(wireBytes, rows)), (writer, log, shared) =>
    writeLog(writer, log, shared, receivedAtMs),
  );
}

function writeLog(writer: CopyWriter, log: LogRecord, shared: Uint8Array, receivedAtMs: number): void {
  const { bytes } = log;
  writer.row(LOG_ROWS.columns.length);
  writeTimes(writer, log, receivedAtMs);
  idOrNull(writer, bytes, log.traceIdAt, log.traceIdEnd);
  idOrNull(writer, bytes, log.spanIdAt, log.spanIdEnd);
  if (log.severityNumber === 0) writer.null();
  else writer.smallint(Math.min(log.severityNumber, 32_767));
  writer.textOrNull(bytes, log.severityTextAt, log.severityTextEnd);
  writeBody(writer, log);
  writer.textOrNull(bytes, log.eventNameAt, log.eventNameEnd);
  writer.countOrNull(log.flags);
  attributesField(writer, log.attributes);
  writer.countOrNull(log.droppedAttributesCount);
  promotedFields(writer, log.promoted);
  writer.raw(shared);
}

/** `ts` is when it happened, else when it was observed, else when it arrived: the order that OTLP recommends. */
function writeTimes(writer: CopyWriter, log: LogRecord, receivedAtMs: number): void {
  const { bytes } = log;
  const observedAt = timeOrZero(bytes, log.observedTimeAt);
  const at = timeOrZero(bytes, log.timeAt) || observedAt;
  if (at > 0) writer.timestampWithRest(bytes, at);
  else {
    writer.timestampMs(receivedAtMs);
    writer.smallint(0);
  }
  if (observedAt > 0) writer.timestampWithRest(bytes, observedAt);
  else {
    writer.null();
    writer.null();
  }
}

function timeOrZero(bytes: Uint8Array, at: number): number {
  return at === 0 || isZero64(bytes, at) ? 0 : at;
}

/** Writes an id column; an absent or all-zero id is NULL. */
function idOrNull(writer: CopyWriter, bytes: Uint8Array, start: number, end: number): void {
  if (isAllZero(bytes, start, end)) writer.null();
  else writer.hex(bytes, start, end);
}

function writeBody(writer: CopyWriter, log: LogRecord): void {
  const { bytes, bodyAt, bodyEnd } = log;
  const cursor: Cursor = { at: 0 };
  const kind = lastField(bytes, bodyAt, bodyEnd, cursor);
  if (kind === 0) {
    writer.null();
    writer.null();
  } else if (kind === ANY_VALUE.string) {
    const end = readUint32(bytes, cursor) + cursor.at;
    writer.text(bytes, cursor.at, end);
    writer.null();
  } else {
    const lengthAt = writer.openField();
    jsonAnyValue(writer, bytes, bodyAt, bodyEnd);
    writer.closeField(lengthAt);
    writer.jsonField((json) => jsonAnyValue(json, bytes, bodyAt, bodyEnd));
  }
}
