/** Resource and instrumentation scope: what the records of a group have in common. */
import { Attributes } from './attributes.ts';
import { text, type Reader } from './wire.ts';

const ATTRIBUTES = 0x0a;
const DROPPED_ATTRIBUTES_COUNT = 0x10;

/** A `Resource` message in checked bytes. */
export class Resource {
  readonly bytes: Uint8Array;
  readonly start: number;
  readonly end: number;
  readonly attributes: Attributes;
  droppedAttributesCount = 0;

  constructor(bytes: Uint8Array, start: number, end: number) {
    this.bytes = bytes;
    this.start = start;
    this.end = end;
    this.attributes = new Attributes(bytes, ATTRIBUTES);
  }

  static read(reader: Reader, end: number): Resource {
    const resource = new Resource(reader.bytes, reader.pos, end);
    reader.node();
    while (reader.pos < end) {
      const tagAt = reader.pos;
      const tag = reader.tag(end);
      if (tag === ATTRIBUTES) resource.attributes.add(reader, tagAt, end);
      else if (tag === DROPPED_ATTRIBUTES_COUNT) resource.droppedAttributesCount = reader.uint32(end);
      else reader.skipValue(tag, end);
    }
    return resource;
  }
}

const SCOPE_NAME = 0x0a;
const SCOPE_VERSION = 0x12;
const SCOPE_ATTRIBUTES = 0x1a;
const SCOPE_DROPPED_ATTRIBUTES_COUNT = 0x20;

/** An `InstrumentationScope` message in checked bytes. */
export class Scope {
  readonly bytes: Uint8Array;
  readonly start: number;
  readonly end: number;
  readonly attributes: Attributes;
  name = '';
  version = '';
  droppedAttributesCount = 0;

  constructor(bytes: Uint8Array, start: number, end: number) {
    this.bytes = bytes;
    this.start = start;
    this.end = end;
    this.attributes = new Attributes(bytes, SCOPE_ATTRIBUTES);
  }

  static read(reader: Reader, end: number): Scope {
    const scope = new Scope(reader.bytes, reader.pos, end);
    reader.node();
    while (reader.pos < end) {
      const tagAt = reader.pos;
      const tag = reader.tag(end);
      if (tag === SCOPE_NAME) scope.name = readText(reader, end);
      else if (tag === SCOPE_VERSION) scope.version = readText(reader, end);
      else if (tag === SCOPE_ATTRIBUTES) scope.attributes.add(reader, tagAt, end);
      else if (tag === SCOPE_DROPPED_ATTRIBUTES_COUNT) scope.droppedAttributesCount = reader.uint32(end);
      else reader.skipValue(tag, end);
    }
    return scope;
  }
}

/** Reads a string field and leaves the reader behind it. */
export function readText(reader: Reader, end: number): string {
  const fieldEnd = reader.fieldEnd(end);
  const start = reader.pos;
  reader.pos = fieldEnd;
  return text(reader.bytes, start, fieldEnd);
}
