/**
 * Attributes and `AnyValue`s as JSON, from wire bytes to the bytes of a json column. Numbers keep all their digits; what
 * JSON lacks is written as in OTLP/JSON: bytes as base64 text, NaN and the infinities as strings.
 */
import {
  ANY_VALUE,
  isTrue,
  kvlistWalk,
  lastField,
  nextElement,
  type Attributes,
  type AttributeWalk,
} from '../model/attributes.ts';
import { double, readInt64, readUint32, type Cursor } from '../model/wire.ts';
import type { CopyWriter } from './copy_writer.ts';

const OPEN_OBJECT = 0x7b;
const CLOSE_OBJECT = 0x7d;
const OPEN_ARRAY = 0x5b;
const CLOSE_ARRAY = 0x5d;
const COMMA = 0x2c;
const COLON = 0x3a;

/**
 * Writes a jsonb column with an object of the attributes. Of equal keys jsonb keeps the last.
 * @param mark a member of our own, as JSON text such as `"key":true`
 */
export function attributesField(writer: CopyWriter, attributes: Attributes, mark = ''): void {
  const lengthAt = writer.openJsonb();
  jsonObject(writer, attributes.walk(), mark);
  writer.closeField(lengthAt);
}

export function jsonAttributes(writer: CopyWriter, attributes: Attributes): void {
  jsonObject(writer, attributes.walk());
}

function jsonObject(writer: CopyWriter, walk: AttributeWalk, mark = ''): void {
  const { bytes } = walk;
  writer.byte(OPEN_OBJECT);
  if (mark !== '') writer.json(mark);
  let first = mark === '';
  while (walk.next()) {
    if (!first) writer.byte(COMMA);
    first = false;
    writer.jsonString(bytes, walk.keyStart, walk.keyEnd);
    writer.byte(COLON);
    jsonAnyValue(writer, bytes, walk.valueStart, walk.valueEnd);
  }
  writer.byte(CLOSE_OBJECT);
}

/** Writes an `AnyValue`; an empty one is null. Its nesting was bounded when it was decoded. */
export function jsonAnyValue(writer: CopyWriter, bytes: Uint8Array, start: number, end: number): void {
  if (start < end && bytes[start] === ANY_VALUE.string) {
    const cursor: Cursor = { at: start + 1 };
    const stringEnd = readUint32(bytes, cursor) + cursor.at;
    if (stringEnd === end) {
      writer.jsonString(bytes, cursor.at, end);
      return;
    }
  }
  jsonOtherValue(writer, bytes, start, end);
}

function jsonOtherValue(writer: CopyWriter, bytes: Uint8Array, start: number, end: number): void {
  const cursor: Cursor = { at: 0 };
  const tag = lastField(bytes, start, end, cursor);
  switch (tag) {
    case 0:
      writer.json('null');
      return;
    case ANY_VALUE.bool:
      writer.json(isTrue(bytes, cursor) ? 'true' : 'false');
      return;
    case ANY_VALUE.int:
      writer.json(String(readInt64(bytes, cursor)));
      return;
    case ANY_VALUE.double:
      writer.jsonDouble(double(bytes, cursor.at));
      return;
    default:
      jsonLengthPrefixed(writer, tag, bytes, cursor, readUint32(bytes, cursor) + cursor.at);
  }
}

function jsonLengthPrefixed(writer: CopyWriter, tag: number, bytes: Uint8Array, cursor: Cursor, end: number): void {
  if (tag === ANY_VALUE.string) writer.jsonString(bytes, cursor.at, end);
  else if (tag === ANY_VALUE.array) jsonArray(writer, bytes, cursor, end);
  else if (tag === ANY_VALUE.kvlist) jsonObject(writer, kvlistWalk(bytes, cursor.at, end));
  else writer.json(`"${Buffer.from(bytes.subarray(cursor.at, end)).toString('base64')}"`);
}

function jsonArray(writer: CopyWriter, bytes: Uint8Array, cursor: Cursor, end: number): void {
  writer.byte(OPEN_ARRAY);
  let first = true;
  for (let at = nextElement(bytes, cursor, end); at >= 0; at = nextElement(bytes, cursor, end)) {
    if (!first) writer.byte(COMMA);
    first = false;
    jsonAnyValue(writer, bytes, cursor.at, at);
    cursor.at = at;
  }
  writer.byte(CLOSE_ARRAY);
}
