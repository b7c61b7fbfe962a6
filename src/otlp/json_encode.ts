/** Transcodes protobuf form to OTLP/JSON: lowerCamelCase names, hex ids, 64-bit integers as strings, enums as numbers. */
import type { Signal } from '../model/batch.ts';
import { double, fixed32, fixed64, readUint32, readUint64, skipField, text, type Cursor } from '../model/wire.ts';
import { REQUESTS, wireType, type Field, type Message } from './fields.ts';

/** Values of one message's fields, in the order in which they were first met. */
type Fields = Map<Field, string[]>;

/**
 * Writes a checked request as JSON. Unknown fields are left out. The recursion is bounded, since the decoder refused
 * deeper nesting.
 */
export function protobufToJson(signal: Signal, request: Uint8Array): string {
  return messageJson(REQUESTS[signal], request, 0, request.length);
}

function messageJson(message: Message, bytes: Uint8Array, start: number, end: number): string {
  const fields: Fields = new Map();
  const cursor: Cursor = { at: start };
  while (cursor.at < end) {
    const tag = readUint32(bytes, cursor);
    const field = message.byNumber.get(tag >>> 3);
    const valueAt = cursor.at;
    skipField(bytes, tag, cursor);
    if (field !== undefined) addValues(fields, field, tag & 7, bytes, valueAt, cursor.at);
  }
  const members = [...fields].map(([{ name, repeated }, values]) => {
    return `"${name}":${repeated ? `[${values.join(',')}]` : values.at(-1)}`;
  });
  return `{${members.join(',')}}`;
}

function addValues(fields: Fields, field: Field, wire: number, bytes: Uint8Array, at: number, end: number): void {
  const single = wireType(field.type);
  const cursor: Cursor = { at };
  const values: string[] = [];
  if (wire === single) values.push(valueJson(field, bytes, cursor));
  else if (field.repeated && wire === 2) {
    readUint32(bytes, cursor);
    while (cursor.at < end) values.push(valueJson(field, bytes, cursor));
  } else return;
  const known = fields.get(field);
  if (known === undefined) fields.set(field, values);
  else for (const value of values) known.push(value);
}

function valueJson({ type }: Field, bytes: Uint8Array, cursor: Cursor): string {
  switch (type) {
    case 'double':
      return doubleJson(double(bytes, advance(cursor, 8)));
    case 'fixed64':
      return `"${fixed64(bytes, advance(cursor, 8))}"`;
    case 'sfixed64':
      return `"${BigInt.asIntN(64, fixed64(bytes, advance(cursor, 8)))}"`;
    case 'fixed32':
      return String(fixed32(bytes, advance(cursor, 4)));
    case 'bool':
      return readUint64(bytes, cursor) === 0n ? 'false' : 'true';
    case 'int64':
      return `"${BigInt.asIntN(64, readUint64(bytes, cursor))}"`;
    case 'uint64':
      return `"${readUint64(bytes, cursor)}"`;
    case 'uint32':
      return String(readUint32(bytes, cursor));
    case 'enum':
      return String(readUint32(bytes, cursor) | 0);
    case 'sint32':
      return String(unzigzag(readUint32(bytes, cursor)));
    default:
      return lengthPrefixedJson(type, bytes, cursor);
  }
}

function lengthPrefixedJson(type: 'string' | 'bytes' | 'id' | Message, bytes: Uint8Array, cursor: Cursor): string {
  const end = readUint32(bytes, cursor) + cursor.at;
  const start = cursor.at;
  cursor.at = end;
  switch (type) {
    case 'string':
      return JSON.stringify(text(bytes, start, end));
    case 'id':
      return `"${Buffer.from(bytes.subarray(start, end)).toString('hex')}"`;
    case 'bytes':
      return `"${Buffer.from(bytes.subarray(start, end)).toString('base64')}"`;
    default:
      return messageJson(type, bytes, start, end);
  }
}

function advance(cursor: Cursor, bytes: number): number {
  cursor.at += bytes;
  return cursor.at - bytes;
}

const unzigzag = (value: number): number => (value >>> 1) ^ -(value & 1);

function doubleJson(value: number): string {
  if (Number.isFinite(value)) return Object.is(value, -0) ? '-0' : String(value);
  return `"${value}"`;
}
