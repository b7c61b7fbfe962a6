/** Rows of `otel_spans`. */
import type { Traces } from '../model/batch.ts';
import { isAllZero } from '../model/ids.ts';
import type { Span, SpanEvent, SpanLink } from '../model/traces.ts';
import { fixed32, isZero64 } from '../model/wire.ts';
import { BufferPool } from './buffer_pool.ts';
import type { CopyWriter } from './copy_writer.ts';
import { attributesField, jsonAttributes } from './json_values.ts';
import { encodeBatch, PROMOTED_COLUMNS, promotedFields, SHARED_COLUMNS, sizeHint } from './rows.ts';
import type { EncodedRows, RowFormat } from './rows.ts';

export const SPAN_ROWS: RowFormat = {
  format: 'spans/1',
  table: 'otel_spans',
  columns: [
    'trace_id',
    'span_id',
    'parent_span_id',
    'name',
    'kind',
    'started_at',
    'started_ns_rest',
    'ended_at',
    'duration_ns',
    'status_code',
    'status_message',
    'trace_state',
    'flags',
    'attributes',
    'events',
    'links',
    'dropped_attributes_count',
    'dropped_events_count',
    'dropped_links_count',
    ...PROMOTED_COLUMNS,
    ...SHARED_COLUMNS,
  ],
};

/** Marks a span that ended before it started: its times are kept, its duration is 0. */
const TIME_CONFLICT = '"sluice.time_conflict":true';

/** Eight zero bytes: the time of a span that has none. */
const UNSET_TIME = new Uint8Array(8);

export function encodeSpanRows(traces: Traces, buffers = new BufferPool()): Promise<EncodedRows> {
  let wireBytes = 0;
  let rows = 0;
  for (const { scopes } of traces.resources) {
    for (const { records } of scopes) {
      rows += records.length;
      for (const span of records) wireBytes += span.end - span.start;
    }
  }
  return encodeBatch(traces, buffers.take(sizeHint(wireBytes, rows)), writeSpan);
}

function writeSpan(writer: CopyWriter, span: Span, shared: Uint8Array): void {
  const { bytes } = span;
  writer.row(SPAN_ROWS.columns.length);
  if (span.textIds) writeTextIds(writer, span);
  else writeIds(writer, span);
  writer.text(bytes, span.nameAt, span.nameEnd);
  writer.smallint(apiKind(span.kind));
  writeTimes(writer, span);
  writer.smallint(smallStatus(span.statusCode));
  writer.textOrNull(bytes, span.statusMessageAt, span.statusMessageEnd);
  writer.textOrNull(bytes, span.traceStateAt, span.traceStateEnd);
  writer.countOrNull(span.flags);
  attributesField(writer, span.attributes, endsBeforeStart(span) ? TIME_CONFLICT : '');
  if (span.eventCount === 0) writer.null();
  else writer.jsonField((json) => writeList(json, span.events(), writeEvent));
  if (span.linkCount === 0) writer.null();
  else writer.jsonField((json) => writeList(json, span.links(), writeLink));
  writer.countOrNull(span.droppedAttributesCount);
  writer.countOrNull(span.droppedEventsCount);
  writer.countOrNull(span.droppedLinksCount);
  promotedFields(writer, span.promoted);
  writer.raw(shared);
}

function writeIds(writer: CopyWriter, span: Span): void {
  const { bytes } = span;
  writer.hex(bytes, span.traceIdAt, span.traceIdEnd);
  writer.hex(bytes, span.spanIdAt, span.spanIdEnd);
  if (isAllZero(bytes, span.parentSpanIdAt, span.parentSpanIdEnd)) writer.null();
  else writer.hex(bytes, span.parentSpanIdAt, span.parentSpanIdEnd);
}

function writeTextIds(writer: CopyWriter, span: Span): void {
  const { bytes } = span;
  writer.text(bytes, span.traceIdAt, span.traceIdEnd);
  writer.text(bytes, span.spanIdAt, span.spanIdEnd);
  writer.textOrNull(bytes, span.parentSpanIdAt, span.parentSpanIdEnd);
}

/** A span without an end is open: no `ended_at`, no duration. One without a start began in 1970, who knows how long ago. */
function writeTimes(writer: CopyWriter, span: Span): void {
  const { bytes, startTimeAt, endTimeAt } = span;
  if (startTimeAt === 0) writer.timestampWithRest(UNSET_TIME, 0);
  else writer.timestampWithRest(bytes, startTimeAt);
  if (endTimeAt === 0 || isZero64(bytes, endTimeAt)) {
    writer.null();
    writer.null();
    return;
  }
  writer.timestamp(bytes, endTimeAt);
  if (startTimeAt === 0 || isZero64(bytes, startTimeAt)) writer.null();
  else writer.duration(bytes, startTimeAt, endTimeAt);
}

function endsBeforeStart({ bytes, startTimeAt, endTimeAt }: Span): boolean {
  if (startTimeAt === 0 || endTimeAt === 0 || isZero64(bytes, endTimeAt)) return false;
  const high = fixed32(bytes, endTimeAt + 4) - fixed32(bytes, startTimeAt + 4);
  return high < 0 || (high === 0 && fixed32(bytes, endTimeAt) < fixed32(bytes, startTimeAt));
}

/** Largest number that a smallint column holds; OTLP's enums are open, so a larger one may come. */
const MAX_SMALLINT = 32_767;

/** OTLP counts kinds from 1 and has 0 for unspecified; the API, and our table, count from 0 (internal). */
function apiKind(wireKind: number): number {
  return wireKind === 0 ? 0 : Math.min(wireKind - 1, MAX_SMALLINT);
}

function smallStatus(statusCode: number): number {
  return Math.min(statusCode, MAX_SMALLINT);
}

export function writeList<T>(
  json: CopyWriter,
  items: Iterable<T>,
  writeItem: (json: CopyWriter, item: T) => void,
): void {
  let separator = '[';
  for (const item of items) {
    json.json(separator);
    writeItem(json, item);
    separator = ',';
  }
  json.json(separator === '[' ? '[]' : ']');
}

function writeEvent(json: CopyWriter, event: SpanEvent): void {
  json.json(`{"time_unix_nano":${event.timeUnixNano},"name":`);
  json.jsonText(event.name);
  json.json(',"attributes":');
  jsonAttributes(json, event.attributes);
  if (event.droppedAttributesCount > 0) json.json(`,"dropped_attributes_count":${event.droppedAttributesCount}`);
  json.json('}');
}

function writeLink(json: CopyWriter, link: SpanLink): void {
  json.json(`{"trace_id":"${link.traceId}","span_id":"${link.spanId}"`);
  if (link.traceState !== '') {
    json.json(',"trace_state":');
    json.jsonText(link.traceState);
  }
  json.json(',"attributes":');
  jsonAttributes(json, link.attributes);
  if (link.droppedAttributesCount > 0) json.json(`,"dropped_attributes_count":${link.droppedAttributesCount}`);
  if (link.flags > 0) json.json(`,"flags":${link.flags}`);
  json.json('}');
}
