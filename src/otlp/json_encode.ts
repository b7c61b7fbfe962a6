/** Transcodes protobuf form to OTLP/JSON: lowerCamelCase names, hex ids, 64-bit integers as strings, enums as numbers. */
import { isTrue } from '../model/attributes.ts';
import type { Signal } from '../model/batch.ts';
import {
  double,
  eachField,
  fixed32,
  fixed64,
  readUint32,
  readUint64,
  skipField,
  text,
  type Cursor,
} from '../model/wire.ts';
import { REQUESTS, type Field, type Message } from './fields.ts';

/** Where one message's fields lie: tag and bounds of each, in the order in which JSON readers should meet them. */
type Places = Map<Field, Place[]>;

interface Place {
  readonly wire: number;
  readonly at: number;
  readonly end: number;
}

/**
 * Writes a checked request as JSON. Unknown fields are left out. The recursion is bounded, since the decoder refused
 * deeper nesting.
 */
export function protobufToJson(signal: Signal, request: Uint8Array): string {
  return messageJson(REQUESTS[signal], request, 0, request.length);
}

function messageJson(message: Message, bytes: Uint8Array, start: number, end: number): string {
  const members: string[] = [];
  for (const [field, places] of findFields(message, bytes, start, end)) {
    members.push(
      `"${field.name}":${field.repeated ? listJson(field, bytes, places) : singleJson(field, bytes, places)}`,
    );
  }
  return `{${members.join(',')}}`;
}

function findFields(message: Message, bytes: Uint8Array, start: number, end: number): Places {
  const found: Places = new Map();
  eachField(bytes, start, end, (tag, at) => {
    const field = message.byNumber.get(tag >>> 3);
    if (field === undefined || (tag !== field.tag && !(field.repeated && (tag & 7) === LENGTH_PREFIXED))) return;
    const cursor: Cursor = { at };
    skipField(bytes, tag, cursor);
    const place: Place = { wire: tag & 7, at, end: cursor.at };
    const places = found.get(field) ?? [];
    places.push(place);
    // Of the fields of a oneof the last one counts, in JSON too: it moves behind those that it replaced.
    if (!field.repeated) found.delete(field);
    found.set(field, places);
  });
  return found;
}

const LENGTH_PREFIXED = 2;

function listJson(field: Field, bytes: Uint8Array, places: readonly Place[]): string {
  const values: string[] = [];
  for (const { wire, at, end } of places) {
    const cursor: Cursor = { at };
    if (wire === (field.tag & 7)) values.push(valueJson(field, bytes, cursor));
    else {
      // Packed numbers.
      readUint32(bytes, cursor);
      while (cursor.at < end) values.push(valueJson(field, bytes, cursor));
    }
  }
  return `[${values.join(',')}]`;
}

/** Of a scalar that occurs more than once the last value counts; messages merge. */
function singleJson(field: Field, bytes: Uint8Array, places: readonly Place[]): string {
  if (typeof field.type !== 'object' || places.length === 1)
    return valueJson(field, bytes, { at: places.at(-1)?.at ?? 0 });
  const contents = places.map(({ at, end }) => {
    const cursor: Cursor = { at };
    readUint32(bytes, cursor);
    return bytes.subarray(cursor.at, end);
  });
  const joined = Buffer.concat(contents);
  return messageJson(field.type, joined, 0, joined.length);
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
      return String(isTrue(bytes, cursor));
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
