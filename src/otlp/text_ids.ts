/**
 * Spans whose ids are text (`Span.textIds`), as OTLP has them: with ids of 16 and 8 bytes. Equal texts become equal ids,
 * so that a trace stays together and whoever knows the text finds it.
 */
import { createHash } from 'node:crypto';
import { isAllZero, SPAN_ID_BYTES, TRACE_ID_BYTES } from '../model/ids.ts';
import type { Span } from '../model/traces.ts';
import { readUint32, skipField, type Cursor } from '../model/wire.ts';
import { WireWriter } from './wire_writer.ts';

/** Tags of the ids in `Span`, and how long they have to be. */
const ID_BYTES: ReadonlyMap<number, number> = new Map([
  [0x0a, TRACE_ID_BYTES],
  [0x12, SPAN_ID_BYTES],
  [0x22, SPAN_ID_BYTES],
]);

/** The `Span` message with other ids and everything else as it is. */
export function withByteIds({ bytes, start, end }: Span): Uint8Array {
  const out = new WireWriter(end - start);
  const cursor: Cursor = { at: start };
  while (cursor.at < end) {
    const fieldAt = cursor.at;
    const tag = readUint32(bytes, cursor);
    const size = ID_BYTES.get(tag);
    if (size === undefined) {
      skipField(bytes, tag, cursor);
      out.raw(bytes.subarray(fieldAt, cursor.at));
    } else {
      const length = readUint32(bytes, cursor);
      out.uint32(tag);
      writeId(out, bytes.subarray(cursor.at, cursor.at + length), size);
      cursor.at += length;
    }
  }
  return out.bytes();
}

/** An absent id stays absent. */
function writeId(out: WireWriter, text: Uint8Array, size: number): void {
  const id = text.length === 0 ? text : byteId(text, size);
  out.uint32(id.length);
  out.raw(id);
}

const HEX = /^[0-9a-f]*$/i;

/** The bytes that the text spells where it is as many hex digits, else the first ones of its SHA-256. */
function byteId(text: Uint8Array, size: number): Uint8Array {
  const digits = Buffer.from(text).toString('latin1');
  if (digits.length === 2 * size && HEX.test(digits)) {
    const id = Buffer.from(digits, 'hex');
    if (!isAllZero(id, 0, size)) return id;
  }
  return createHash('sha256').update(text).digest().subarray(0, size);
}
