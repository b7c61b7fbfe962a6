/**
 * The ids of log records. Where one cannot be an id, the record counts as belonging to no trace, as logs.proto asks, and
 * is kept. It is then written anew without them, because other receivers refuse a whole request for such an id.
 */
import { SPAN_ID_BYTES, TRACE_ID_BYTES } from '../model/ids.ts';
import { LogRecord } from '../model/logs.ts';
import { Reader, readUint32, skipField, type Cursor, type ShapeLimits } from '../model/wire.ts';
import type { Rejections } from './rejections.ts';

const TRACE_ID = 0x4a;
const SPAN_ID = 0x52;

const FAULT = {
  trace: 'kept without ids: trace_id of a log record must be empty or 16 bytes (32 hex digits in JSON)',
  span: 'kept without span_id: span_id of a log record must be empty or 8 bytes (16 hex digits in JSON)',
} as const;

/** The record itself, or a copy without what cannot be an id; a span id means nothing without its trace. */
export function withValidIds(log: LogRecord, limits: ShapeLimits, rejections: Rejections): LogRecord {
  const { traceIdAt, traceIdEnd, spanIdAt, spanIdEnd } = log;
  if (!isIdOrEmpty(traceIdEnd - traceIdAt, TRACE_ID_BYTES)) {
    rejections.warn(1, FAULT.trace);
    return withoutFields(log, limits, [TRACE_ID, SPAN_ID]);
  }
  if (isIdOrEmpty(spanIdEnd - spanIdAt, SPAN_ID_BYTES)) return log;
  rejections.warn(1, FAULT.span);
  return withoutFields(log, limits, [SPAN_ID]);
}

function isIdOrEmpty(length: number, size: number): boolean {
  return length === 0 || length === size;
}

function withoutFields({ bytes, start, end }: LogRecord, limits: ShapeLimits, tags: readonly number[]): LogRecord {
  const kept: Uint8Array[] = [];
  const cursor: Cursor = { at: start };
  while (cursor.at < end) {
    const fieldAt = cursor.at;
    const tag = readUint32(bytes, cursor);
    skipField(bytes, tag, cursor);
    if (!tags.includes(tag)) kept.push(bytes.subarray(fieldAt, cursor.at));
  }
  const copy = Buffer.concat(kept);
  return LogRecord.read(new Reader(copy, limits), copy.length);
}
