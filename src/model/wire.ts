/**
 * Reads the protobuf wire format. A `Reader` walks bytes that came from outside: it checks every length and counts what
 * it passes, so that views made on the way may later walk the same bytes without checks.
 *
 * Wire types: 0 varint, 1 eight bytes, 2 length-prefixed, 3 and 4 group, 5 four bytes. A tag is `field << 3 | wire type`.
 */

/** The bytes are not the message they should be, or go beyond a limit on their shape. */
export class MalformedError extends Error {
  override readonly name = 'MalformedError';
}

/** Bounds on the shape of one request, checked before anything is built from it. */
export interface ShapeLimits {
  /** Spans, log records or data points. */
  readonly max_records: number;
  /** Messages of every kind: records, attributes, values, events, links, exemplars. */
  readonly max_nodes: number;
  /** How deep attribute values may nest. */
  readonly max_depth: number;
  /**
   * Bytes and messages of one span, log record, resource or scope. Each is read, and later written, at one go, which
   * must not keep other requests waiting for more than a tenth of a second (test/bench/hostile.ts).
   */
  readonly max_record_bytes: number;
  readonly max_record_nodes: number;
}

export const DEFAULT_SHAPE_LIMITS: ShapeLimits = {
  max_records: 50_000,
  max_nodes: 2_000_000,
  max_depth: 64,
  max_record_bytes: 8_388_608,
  max_record_nodes: 32_768,
};

/** A record may come in a resource, a scope and a metric of its own; those cost memory even when they are empty. */
const GROUPS_PER_RECORD = 3;

const TWO_32 = 4_294_967_296;

/** What the fifth byte of a 32-bit varint holds at most. */
const LAST_FOUR_BITS = 0x0f;

export class Reader {
  readonly bytes: Uint8Array;
  pos: number;
  nodes = 0;
  records = 0;
  groups = 0;
  readonly limits: ShapeLimits;

  constructor(bytes: Uint8Array, limits: ShapeLimits = DEFAULT_SHAPE_LIMITS) {
    this.bytes = bytes;
    this.pos = 0;
    this.limits = limits;
  }

  /** Reads a field's tag. Callers switch on the whole tag, so a known field of another wire type is skipped as unknown. */
  tag(end: number): number {
    const byte = this.pos < end ? this.bytes[this.pos] : 0x80;
    if (byte < 0x80) {
      this.pos++;
      return byte;
    }
    return this.varint32(end);
  }

  /** Reads a varint and returns its low 32 bits, unsigned. */
  uint32(end: number): number {
    const byte = this.pos < end ? this.bytes[this.pos] : 0x80;
    if (byte < 0x80) {
      this.pos++;
      return byte;
    }
    return this.varint(end, 10);
  }

  /** Reads a tag or a length, of which no bit beyond the 32nd may be lost: another field or length would come of it. */
  private varint32(end: number): number {
    const start = this.pos;
    const value = this.varint(end, 5);
    if (this.pos - start === 5 && this.bytes[this.pos - 1] > LAST_FOUR_BITS) {
      throw new MalformedError(`tag or length beyond 32 bits at byte ${start}`);
    }
    return value;
  }

  private varint(end: number, maxBytes: number): number {
    const { bytes } = this;
    let low = 0;
    for (let i = 0; i < maxBytes; i++) {
      if (this.pos >= end) throw new MalformedError(`truncated varint at byte ${this.pos}`);
      const byte = bytes[this.pos++];
      if (i < 5) low |= (byte & 0x7f) << (7 * i);
      if (byte < 0x80) return low >>> 0;
    }
    throw new MalformedError(`varint longer than ${maxBytes} bytes at byte ${this.pos - maxBytes}`);
  }

  /** Reads a length prefix and returns where the field ends, which is never beyond `end`. */
  fieldEnd(end: number): number {
    const at = this.pos;
    const fieldEnd = this.tag(end) + this.pos;
    if (fieldEnd > end) throw new MalformedError(`field at byte ${at} is longer than the message that holds it`);
    return fieldEnd;
  }

  /** Passes `size` bytes and returns where they start. */
  fixed(size: 4 | 8, end: number): number {
    const at = this.pos;
    if (at + size > end) throw new MalformedError(`truncated fixed${size * 8} at byte ${at}`);
    this.pos = at + size;
    return at;
  }

  /** Counts one message towards `max_nodes`. */
  node(): void {
    if (++this.nodes > this.limits.max_nodes) {
      throw new MalformedError(`more than max_nodes (${this.limits.max_nodes}) messages in one request`);
    }
  }

  /** Counts one span, log record or data point towards `max_records`. */
  record(): void {
    this.node();
    if (++this.records > this.limits.max_records) {
      throw new MalformedError(`more than max_records (${this.limits.max_records}) records in one request`);
    }
  }

  /** Counts one resource, scope or metric, which together are bounded by what `max_records` records may need. */
  group(): void {
    this.node();
    if (++this.groups > this.limits.max_records * GROUPS_PER_RECORD) {
      throw new MalformedError(
        `more than ${this.limits.max_records * GROUPS_PER_RECORD} resources, scopes and metrics in one request` +
          ` (${GROUPS_PER_RECORD} for each of max_records, ${this.limits.max_records})`,
      );
    }
  }

  /** Passes the value of an unknown field. */
  skipValue(tag: number, end: number, depth = 0): void {
    const field = tag >>> 3;
    if (field === 0) throw new MalformedError(`field number 0 before byte ${this.pos}`);
    switch (tag & 7) {
      case 0:
        this.uint32(end);
        return;
      case 1:
        this.fixed(8, end);
        return;
      case 2:
        this.pos = this.fieldEnd(end);
        return;
      case 3:
        this.skipGroup(field, end, depth + 1);
        return;
      case 5:
        this.fixed(4, end);
        return;
      default:
        throw new MalformedError(`invalid wire type ${tag & 7} before byte ${this.pos}`);
    }
  }

  private skipGroup(field: number, end: number, depth: number): void {
    if (depth > this.limits.max_depth) throw new MalformedError(`groups nest deeper than ${this.limits.max_depth}`);
    for (;;) {
      const tag = this.tag(end);
      if ((tag & 7) === 4) {
        if (tag >>> 3 !== field) throw new MalformedError(`group ends with another field before byte ${this.pos}`);
        return;
      }
      this.node();
      this.skipValue(tag, end, depth);
    }
  }
}

/** Position in checked bytes, for walks that need no checks: `at` moves, as a second result would. */
export interface Cursor {
  at: number;
}

/** Reads the low 32 bits of a varint in checked bytes. */
export function readUint32(bytes: Uint8Array, cursor: Cursor): number {
  let byte = bytes[cursor.at++];
  if (byte < 0x80) return byte;
  let low = byte & 0x7f;
  for (let shift = 7; byte >= 0x80; shift += 7) {
    byte = bytes[cursor.at++];
    if (shift < 32) low |= (byte & 0x7f) << shift;
  }
  return low >>> 0;
}

/** Reads a varint in checked bytes as 64 bits, unsigned. Bits beyond the 64th are dropped, as protobuf does. */
export function readUint64(bytes: Uint8Array, cursor: Cursor): bigint {
  let value = 0n;
  for (let shift = 0n; ; shift += 7n) {
    const byte = bytes[cursor.at++];
    value |= BigInt(byte & 0x7f) << shift;
    if (byte < 0x80) return BigInt.asUintN(64, value);
  }
}

/** Moves the cursor over a field's value in checked bytes. */
export function skipField(bytes: Uint8Array, tag: number, cursor: Cursor): void {
  switch (tag & 7) {
    case 0:
      while (bytes[cursor.at++] >= 0x80);
      return;
    case 1:
      cursor.at += 8;
      return;
    case 2: {
      const length = readUint32(bytes, cursor);
      cursor.at += length;
      return;
    }
    case 5:
      cursor.at += 4;
      return;
    default:
      skipCheckedGroup(bytes, cursor);
  }
}

function skipCheckedGroup(bytes: Uint8Array, cursor: Cursor): void {
  for (let open = 1; open > 0;) {
    const tag = readUint32(bytes, cursor);
    if ((tag & 7) === 3) open++;
    else if ((tag & 7) === 4) open--;
    else skipField(bytes, tag, cursor);
  }
}

/** Calls `visit` with each field's tag and the position behind it, in checked bytes. */
export function eachField(
  bytes: Uint8Array,
  start: number,
  end: number,
  visit: (tag: number, at: number) => void,
): void {
  const cursor: Cursor = { at: start };
  while (cursor.at < end) {
    const tag = readUint32(bytes, cursor);
    visit(tag, cursor.at);
    skipField(bytes, tag, cursor);
  }
}

/** Reads four little-endian bytes, unsigned. */
export function fixed32(bytes: Uint8Array, at: number): number {
  return (bytes[at] | (bytes[at + 1] << 8) | (bytes[at + 2] << 16) | (bytes[at + 3] << 24)) >>> 0;
}

/** Reads eight little-endian bytes, unsigned. */
export function fixed64(bytes: Uint8Array, at: number): bigint {
  return (BigInt(fixed32(bytes, at + 4)) << 32n) | BigInt(fixed32(bytes, at));
}

/** Whether eight bytes are all zero: OTLP's "unset" for times. */
export function isZero64(bytes: Uint8Array, at: number): boolean {
  return fixed32(bytes, at) === 0 && fixed32(bytes, at + 4) === 0;
}

const doubleView = new DataView(new ArrayBuffer(8));

/** Reads eight little-endian bytes as a double. */
export function double(bytes: Uint8Array, at: number): number {
  doubleView.setUint32(0, fixed32(bytes, at), true);
  doubleView.setUint32(4, fixed32(bytes, at + 4), true);
  return doubleView.getFloat64(0, true);
}

/** A signed 64-bit varint as a number where a double holds it exactly, else as a bigint. */
export function readInt64(bytes: Uint8Array, cursor: Cursor): number | bigint {
  const start = cursor.at;
  let low = 0;
  let scale = 1;
  for (let i = 0; i < 7; i++) {
    const byte = bytes[cursor.at++];
    low += (byte & 0x7f) * scale;
    if (byte < 0x80) return low;
    scale *= 128;
  }
  cursor.at = start;
  const value = BigInt.asIntN(64, readUint64(bytes, cursor));
  return value >= -9007199254740991n && value <= 9007199254740991n ? Number(value) : value;
}

/** `high * 2^32 + low` as a bigint. */
export function join64(high: number, low: number): bigint {
  return BigInt(high) * BigInt(TWO_32) + BigInt(low);
}

const utf8 = new TextDecoder('utf-8', { ignoreBOM: true });

/** Decodes text; bytes that are not UTF-8 become U+FFFD, since one bad string must not cost a batch. */
export function text(bytes: Uint8Array, start: number, end: number): string {
  return start === end ? '' : utf8.decode(bytes.subarray(start, end));
}
