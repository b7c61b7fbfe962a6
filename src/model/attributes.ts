/**
 * Attributes as they came over the wire: a run of OTLP `KeyValue` messages, read when somebody asks. Of a key that
 * occurs twice the last value counts, as in the OpenTelemetry specification's attribute collections.
 */
import { double, MalformedError, readInt64, readUint32, skipField, text, type Cursor, type Reader } from './wire.ts';

/** An attribute's value. Integers are numbers where a double holds them exactly, else bigints; null is OTLP's empty value. */
export type AttributeValue =
  string | boolean | number | bigint | null | Uint8Array | AttributeValue[] | Map<string, AttributeValue>;

/** The fields of `AnyValue`, as tags. Of several in one message the last counts. */
export const ANY_VALUE = {
  string: 0x0a,
  bool: 0x10,
  int: 0x18,
  double: 0x21,
  array: 0x2a,
  kvlist: 0x32,
  bytes: 0x3a,
} as const;

/** Tag of the repeated field in `ArrayValue` and `KeyValueList`, and of `KeyValue.key`. */
const FIRST_FIELD = 0x0a;
const KEY = 0x0a;
const VALUE = 0x12;

/** A run of `KeyValue` fields of one tag in checked bytes; other fields may stand between them. */
export class Attributes {
  readonly bytes: Uint8Array;
  /** Tag of the field that repeats: `KeyValue`s have another number in each message. */
  readonly tag: number;
  /** Where the first field of this tag begins, and where the last one ends. */
  from = 0;
  to = 0;
  count = 0;

  constructor(bytes: Uint8Array, tag: number) {
    this.bytes = bytes;
    this.tag = tag;
  }

  /** Checks one `KeyValue` and adds it to the run. The reader stands behind its tag, which began at `tagAt`. */
  add(reader: Reader, tagAt: number, end: number): void {
    const fieldEnd = reader.fieldEnd(end);
    checkKeyValue(reader, fieldEnd, 1);
    if (this.count++ === 0) this.from = tagAt;
    this.to = fieldEnd;
  }

  get(key: string): AttributeValue | undefined {
    const walk = this.walk();
    let found: AttributeValue | undefined;
    while (walk.next()) {
      if (text(this.bytes, walk.keyStart, walk.keyEnd) === key) found = walk.value();
    }
    return found;
  }

  /** A walk over the attributes, standing before the first one. */
  walk(): AttributeWalk {
    return new AttributeWalk(this);
  }

  /** The `KeyValue` messages as they came. */
  *messages(): Generator<Uint8Array> {
    const { bytes, tag, to } = this;
    const cursor: Cursor = { at: this.from };
    while (cursor.at < to) {
      const found = readUint32(bytes, cursor);
      const at = cursor.at;
      skipField(bytes, found, cursor);
      if (found !== tag) continue;
      const content: Cursor = { at };
      readUint32(bytes, content);
      yield bytes.subarray(content.at, cursor.at);
    }
  }

  entries(): Map<string, AttributeValue> {
    const entries = new Map<string, AttributeValue>();
    const walk = this.walk();
    while (walk.next()) entries.set(walk.key(), walk.value());
    return entries;
  }
}

/** Stands at one `KeyValue` after another. Writers read the bounds; nobody pays for an object an attribute. */
export class AttributeWalk implements Cursor {
  readonly bytes: Uint8Array;
  private readonly tag: number;
  private readonly to: number;
  at: number;
  /** Bounds of the key, and of the value's `AnyValue`, which has no length when it is absent. */
  keyStart = 0;
  keyEnd = 0;
  valueStart = 0;
  valueEnd = 0;

  constructor({ bytes, tag, from, to }: { bytes: Uint8Array; tag: number; from: number; to: number }) {
    this.bytes = bytes;
    this.tag = tag;
    this.at = from;
    this.to = to;
  }

  next(): boolean {
    const { bytes, tag, to } = this;
    while (this.at < to) {
      const found = readUint32(bytes, this);
      if (found === tag) {
        this.locate(readUint32(bytes, this) + this.at);
        return true;
      }
      skipField(bytes, found, this);
    }
    return false;
  }

  private locate(end: number): void {
    const { bytes } = this;
    this.keyStart = this.keyEnd = this.valueStart = this.valueEnd = 0;
    while (this.at < end) {
      const tag = readUint32(bytes, this);
      if (tag === KEY) {
        this.keyEnd = readUint32(bytes, this) + this.at;
        this.keyStart = this.at;
        this.at = this.keyEnd;
      } else if (tag === VALUE) {
        const length = readUint32(bytes, this);
        // A second, empty `value` merges into the first one and changes nothing.
        if (length > 0 || this.valueEnd === 0) {
          this.valueStart = this.at;
          this.valueEnd = this.at + length;
        }
        this.at += length;
      } else skipField(bytes, tag, this);
    }
  }

  key(): string {
    return text(this.bytes, this.keyStart, this.keyEnd);
  }

  value(): AttributeValue {
    return readAnyValue(this.bytes, this.valueStart, this.valueEnd);
  }
}

/** Where the last field of an `AnyValue` lies: its tag (0 for an empty value) and the position behind the tag. */
export function lastField(bytes: Uint8Array, start: number, end: number, cursor: Cursor): number {
  let tag = 0;
  let at = end;
  cursor.at = start;
  while (cursor.at < end) {
    const found = readUint32(bytes, cursor);
    if (isAnyValueField(found)) {
      tag = found;
      at = cursor.at;
    }
    skipField(bytes, found, cursor);
  }
  cursor.at = at;
  return tag;
}

function isAnyValueField(tag: number): boolean {
  switch (tag) {
    case ANY_VALUE.string:
    case ANY_VALUE.bool:
    case ANY_VALUE.int:
    case ANY_VALUE.double:
    case ANY_VALUE.array:
    case ANY_VALUE.kvlist:
    case ANY_VALUE.bytes:
      return true;
    default:
      return false;
  }
}

/** Reads an `AnyValue` of checked bytes. The recursion is bounded: the check refused deeper nesting. */
export function readAnyValue(bytes: Uint8Array, start: number, end: number): AttributeValue {
  const cursor: Cursor = { at: 0 };
  const tag = lastField(bytes, start, end, cursor);
  switch (tag) {
    case ANY_VALUE.bool:
      return isTrue(bytes, cursor);
    case ANY_VALUE.int:
      return readInt64(bytes, cursor);
    case ANY_VALUE.double:
      return double(bytes, cursor.at);
    case 0:
      return null;
  }
  const valueEnd = readUint32(bytes, cursor) + cursor.at;
  if (tag === ANY_VALUE.string) return text(bytes, cursor.at, valueEnd);
  if (tag === ANY_VALUE.bytes) return bytes.subarray(cursor.at, valueEnd);
  return tag === ANY_VALUE.array ? readArray(bytes, cursor, valueEnd) : readKvlist(bytes, cursor, valueEnd);
}

/** Whether a varint is not zero. */
export function isTrue(bytes: Uint8Array, cursor: Cursor): boolean {
  let bits = 0;
  let byte = 0x80;
  while (byte >= 0x80) {
    byte = bytes[cursor.at++];
    bits |= byte & 0x7f;
  }
  return bits !== 0;
}

/** Moves the cursor to the next element of an `ArrayValue`; returns its end, or -1 behind the last. */
export function nextElement(bytes: Uint8Array, cursor: Cursor, end: number): number {
  while (cursor.at < end) {
    const tag = readUint32(bytes, cursor);
    if (tag === FIRST_FIELD) return readUint32(bytes, cursor) + cursor.at;
    skipField(bytes, tag, cursor);
  }
  return -1;
}

function readArray(bytes: Uint8Array, cursor: Cursor, end: number): AttributeValue[] {
  const values: AttributeValue[] = [];
  for (let at = nextElement(bytes, cursor, end); at >= 0; at = nextElement(bytes, cursor, end)) {
    values.push(readAnyValue(bytes, cursor.at, at));
    cursor.at = at;
  }
  return values;
}

function readKvlist(bytes: Uint8Array, cursor: Cursor, end: number): Map<string, AttributeValue> {
  const entries = new Map<string, AttributeValue>();
  const walk = kvlistWalk(bytes, cursor.at, end);
  while (walk.next()) entries.set(walk.key(), walk.value());
  return entries;
}

/** A walk over the entries of a `KeyValueList` message. */
export function kvlistWalk(bytes: Uint8Array, from: number, to: number): AttributeWalk {
  return new AttributeWalk({ bytes, tag: FIRST_FIELD, from, to });
}

function checkKeyValue(reader: Reader, end: number, depth: number): void {
  reader.node();
  while (reader.pos < end) {
    const tag = reader.tag(end);
    if (tag === KEY) reader.pos = reader.fieldEnd(end);
    else if (tag === VALUE) checkAnyValue(reader, reader.fieldEnd(end), depth);
    else reader.skipValue(tag, end);
  }
}

/** Checks an `AnyValue` that ends at `end`, with everything nested in it. */
export function checkAnyValue(reader: Reader, end: number, depth: number): void {
  if (depth > reader.limits.max_depth) {
    throw new MalformedError(`attribute values nest deeper than max_depth (${reader.limits.max_depth})`);
  }
  reader.node();
  while (reader.pos < end) {
    const tag = reader.tag(end);
    switch (tag) {
      case ANY_VALUE.string:
      case ANY_VALUE.bytes:
        reader.pos = reader.fieldEnd(end);
        break;
      case ANY_VALUE.array:
      case ANY_VALUE.kvlist:
        checkElements(reader, reader.fieldEnd(end), depth + 1, tag);
        break;
      default:
        reader.skipValue(tag, end);
    }
  }
}

function checkElements(reader: Reader, end: number, depth: number, kind: number): void {
  while (reader.pos < end) {
    const tag = reader.tag(end);
    if (tag !== FIRST_FIELD) reader.skipValue(tag, end);
    else if (kind === ANY_VALUE.array) checkAnyValue(reader, reader.fieldEnd(end), depth);
    else checkKeyValue(reader, reader.fieldEnd(end), depth);
  }
}
