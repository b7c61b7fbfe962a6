/**
 * Requests whose strings are UTF-8, as proto3 demands. Some SDKs cut a long value in the middle of a character; we keep such
 * a record, but other receivers refuse the whole request for it.
 */
import { isUtf8 } from 'node:buffer';
import type { Signal } from '../model/batch.ts';
import { readUint32, skipField, type Cursor, type ShapeLimits } from '../model/wire.ts';
import { REQUESTS, type Message } from './fields.ts';
import { jsonToProtobuf } from './json_decode.ts';
import { protobufToJson } from './json_encode.ts';
import { Rejections } from './rejections.ts';

/** For what was checked when it came in. */
export const UNLIMITED: ShapeLimits = {
  max_records: Number.MAX_SAFE_INTEGER,
  max_nodes: Number.MAX_SAFE_INTEGER,
  max_depth: Number.MAX_SAFE_INTEGER,
  max_record_bytes: Number.MAX_SAFE_INTEGER,
  max_record_nodes: Number.MAX_SAFE_INTEGER,
};

/**
 * The checked request itself, or one in which U+FFFD stands for what is not UTF-8. That one has been JSON in between, so
 * it lacks fields that our tables do not know.
 */
export async function withValidText(signal: Signal, request: Uint8Array): Promise<Uint8Array> {
  if (hasValidText(REQUESTS[signal], request, 0, request.length)) return request;
  return jsonToProtobuf(signal, Buffer.from(protobufToJson(signal, request)), UNLIMITED, new Rejections());
}

/** Nesting is bounded, since the decoder refused deeper values. */
function hasValidText(message: Message, bytes: Uint8Array, start: number, end: number): boolean {
  const cursor: Cursor = { at: start };
  while (cursor.at < end) {
    const tag = readUint32(bytes, cursor);
    const field = message.byNumber.get(tag >>> 3);
    const type = field?.tag === tag ? field.type : undefined;
    if (type !== 'string' && typeof type !== 'object') {
      skipField(bytes, tag, cursor);
      continue;
    }
    const length = readUint32(bytes, cursor);
    const valueEnd = cursor.at + length;
    const isValid =
      type === 'string' ? isText(bytes, cursor.at, valueEnd) : hasValidText(type, bytes, cursor.at, valueEnd);
    if (!isValid) return false;
    cursor.at = valueEnd;
  }
  return true;
}

/** Up to here a loop is faster than a call into native code. */
const SHORT_TEXT_BYTES = 64;

function isText(bytes: Uint8Array, start: number, end: number): boolean {
  if (end - start > SHORT_TEXT_BYTES) return isUtf8(bytes.subarray(start, end));
  for (let at = start; at < end; at++) if (bytes[at] > 0x7f) return isUtf8(bytes.subarray(start, end));
  return true;
}
