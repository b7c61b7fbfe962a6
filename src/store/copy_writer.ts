/**
 * Writes rows in PostgreSQL's binary COPY format: a field count, then each field as its length and its bytes. Text and
 * JSON go from wire bytes to row bytes without becoming strings on the way; what PostgreSQL would refuse (NUL, bytes
 * that are not UTF-8) becomes U+FFFD.
 * Format: PostgreSQL manual, COPY, "Binary Format".
 */
import { fixed32, join64 } from '../model/wire.ts';

/** What stands before the first row of a COPY, and behind the last. */
export const COPY_HEADER = Buffer.from('PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0', 'latin1');
export const COPY_TRAILER = Buffer.from([0xff, 0xff]);

const TWO_32 = 4_294_967_296;
/** Microseconds from 1970, where OTLP counts from, to 2000, where PostgreSQL does. */
const POSTGRES_EPOCH_US = 946_684_800_000_000;
/** From here on, in units of 2^32 ns, microseconds reach 2^53 and a double no longer holds them: the year 2255. */
const EXACT_MICROSECONDS_HIGH = 0x7d00_0000;
const NULL_FIELD = -1;
const JSONB_VERSION = 1;

const QUOTE = 0x22;
const BACKSLASH = 0x5c;

/** How many input bytes are written between two checks for room; one byte grows to six at most. */
const WINDOW_BYTES = 1024;
const MAX_GROWTH = 6;

const HEX_DIGITS = Buffer.from('0123456789abcdef', 'latin1');
const HEX_HIGH = Uint8Array.from({ length: 256 }, (_, byte) => HEX_DIGITS[byte >> 4]);
const HEX_LOW = Uint8Array.from({ length: 256 }, (_, byte) => HEX_DIGITS[byte & 15]);

/** Bytes that a JSON string holds as they are: ASCII but control characters, quote and backslash. */
const JSON_PLAIN = Uint8Array.from({ length: 256 }, (_, byte) =>
  byte >= 0x20 && byte < 0x80 && byte !== QUOTE && byte !== BACKSLASH ? 1 : 0,
);

/** Letters of the short escapes, by the byte that each stands for; 0 for the bytes that have none. */
const JSON_SHORT_ESCAPES = new Uint8Array(256);
JSON_SHORT_ESCAPES[0x08] = 0x62;
JSON_SHORT_ESCAPES[0x09] = 0x74;
JSON_SHORT_ESCAPES[0x0a] = 0x6e;
JSON_SHORT_ESCAPES[0x0c] = 0x66;
JSON_SHORT_ESCAPES[0x0d] = 0x72;
JSON_SHORT_ESCAPES[QUOTE] = QUOTE;
JSON_SHORT_ESCAPES[BACKSLASH] = BACKSLASH;

export class CopyWriter {
  private buffer: Buffer;
  pos = 0;

  /** Writes into `buffer`, and into a larger one of its own when that is full. */
  constructor(buffer: Buffer = Buffer.allocUnsafeSlow(16_384)) {
    this.buffer = buffer;
  }

  /** The bytes written so far. They are the writer's own until it is dropped. */
  bytes(): Buffer {
    return this.buffer.subarray(0, this.pos);
  }

  /** Makes room for so many bytes more. */
  private room(bytes: number): void {
    if (this.pos + bytes <= this.buffer.length) return;
    const grown = Buffer.allocUnsafeSlow(Math.max(this.buffer.length * 2, this.pos + bytes));
    this.buffer.copy(grown, 0, 0, this.pos);
    this.buffer = grown;
  }

  row(fields: number): void {
    this.room(2);
    this.uint16(fields);
  }

  /** Appends finished fields. */
  raw(fields: Uint8Array): void {
    this.room(fields.length);
    this.buffer.set(fields, this.pos);
    this.pos += fields.length;
  }

  null(): void {
    this.room(4);
    this.int32(NULL_FIELD);
  }

  smallint(value: number): void {
    this.room(6);
    this.int32(2);
    this.uint16(value);
  }

  boolean(value: boolean): void {
    this.room(5);
    this.int32(1);
    this.buffer[this.pos++] = value ? 1 : 0;
  }

  float8(value: number): void {
    this.room(12);
    this.int32(8);
    this.pos = this.buffer.writeDoubleBE(value, this.pos);
  }

  bigint(value: bigint): void {
    this.room(12);
    this.int32(8);
    this.pos = this.buffer.writeBigInt64BE(value, this.pos);
  }

  /** A bigint column from an unsigned 32-bit count; zero is stored as NULL. */
  countOrNull(value: number): void {
    if (value === 0) {
      this.null();
      return;
    }
    this.room(12);
    this.int32(8);
    this.int32(0);
    this.int32(value);
  }

  /** A numeric column from an unsigned integer. Format: base-10000 digits, numeric_recv in PostgreSQL. */
  numeric(value: bigint): void {
    const digits: number[] = [];
    for (let rest = value; rest > 0n; rest /= 10_000n) digits.unshift(Number(rest % 10_000n));
    this.room(12 + 2 * digits.length);
    this.int32(8 + 2 * digits.length);
    this.uint16(digits.length);
    this.uint16(Math.max(digits.length - 1, 0));
    this.uint16(0);
    this.uint16(0);
    for (const digit of digits) this.uint16(digit);
  }

  /** A timestamptz from nanoseconds since 1970 (little endian at `at`), and the nanoseconds it cannot hold. */
  timestampWithRest(bytes: Uint8Array, at: number): void {
    this.room(18);
    this.int32(8);
    const rest = this.microseconds(fixed32(bytes, at + 4), fixed32(bytes, at));
    this.int32(2);
    this.uint16(rest);
  }

  /** A timestamptz alone; the rest below a microsecond is cut off. */
  timestamp(bytes: Uint8Array, at: number): void {
    this.room(12);
    this.int32(8);
    this.microseconds(fixed32(bytes, at + 4), fixed32(bytes, at));
  }

  timestampMs(ms: number): void {
    this.room(12);
    this.int32(8);
    this.int64(ms * 1000 - POSTGRES_EPOCH_US);
  }

  /** Writes high * 2^32 + low nanoseconds as PostgreSQL's microseconds; returns the nanoseconds left over. */
  private microseconds(high: number, low: number): number {
    if (high >= EXACT_MICROSECONDS_HIGH) return this.farMicroseconds(join64(high, low));
    // 2^32 = 4,294,967 * 1000 + 296: no step leaves the integers that a double holds.
    const remainder = high * 296 + low;
    this.int64(high * 4_294_967 + Math.floor(remainder / 1000) - POSTGRES_EPOCH_US);
    return remainder % 1000;
  }

  private farMicroseconds(nanoseconds: bigint): number {
    this.pos = this.buffer.writeBigInt64BE(nanoseconds / 1000n - BigInt(POSTGRES_EPOCH_US), this.pos);
    return Number(nanoseconds % 1000n);
  }

  /** Nanoseconds from one time to another as bigint; 0 when the end lies before the start, 2^63-1 at the most. */
  duration(bytes: Uint8Array, startAt: number, endAt: number): void {
    this.room(12);
    this.int32(8);
    const high = fixed32(bytes, endAt + 4) - fixed32(bytes, startAt + 4);
    const low = fixed32(bytes, endAt) - fixed32(bytes, startAt);
    const exact = high * TWO_32 + low;
    if (exact <= 0) this.int64(0);
    else if (exact <= Number.MAX_SAFE_INTEGER) this.int64(exact);
    else this.farDuration(BigInt(high) * BigInt(TWO_32) + BigInt(low));
  }

  private farDuration(nanoseconds: bigint): void {
    const most = 2n ** 63n - 1n;
    this.pos = this.buffer.writeBigInt64BE(nanoseconds > most ? most : nanoseconds, this.pos);
  }

  /** A text column of an id's lowercase hex digits. */
  hex(bytes: Uint8Array, start: number, end: number): void {
    const length = (end - start) * 2;
    this.room(4 + length);
    this.int32(length);
    this.hexDigits(bytes, start, end);
  }

  private hexDigits(bytes: Uint8Array, start: number, end: number): void {
    const { buffer } = this;
    let { pos } = this;
    for (let at = start; at < end; at++) {
      const byte = bytes[at];
      buffer[pos++] = HEX_HIGH[byte];
      buffer[pos++] = HEX_LOW[byte];
    }
    this.pos = pos;
  }

  /** A text column from UTF-8 bytes. */
  text(bytes: Uint8Array, start: number, end: number): void {
    const lengthAt = this.openField();
    this.utf8(bytes, start, end);
    this.closeField(lengthAt);
  }

  textOrNull(bytes: Uint8Array, start: number, end: number): void {
    if (start === end) this.null();
    else this.text(bytes, start, end);
  }

  string(value: string): void {
    const bytes = Buffer.from(value, 'utf8');
    this.text(bytes, 0, bytes.length);
  }

  stringOrNull(value: string | undefined): void {
    if (value === undefined || value === '') this.null();
    else this.string(value);
  }

  /** Writes a json column whose text `write` produces. */
  jsonField(write: (json: this) => void): void {
    const lengthAt = this.openField();
    write(this);
    this.closeField(lengthAt);
  }

  /** Starts a jsonb field, as `openField` does. */
  openJsonb(): number {
    const lengthAt = this.openField();
    this.byte(JSONB_VERSION);
    return lengthAt;
  }

  /** Starts a field whose length is not known yet; returns what `closeField` needs. */
  openField(): number {
    this.room(4);
    this.pos += 4;
    return this.pos - 4;
  }

  closeField(lengthAt: number): void {
    this.buffer.writeInt32BE(this.pos - lengthAt - 4, lengthAt);
  }

  // JSON text

  /** Appends JSON text that is known to be ASCII. */
  json(ascii: string): void {
    this.room(ascii.length);
    this.pos += this.buffer.write(ascii, this.pos, 'latin1');
  }

  jsonString(bytes: Uint8Array, start: number, end: number): void {
    this.byte(QUOTE);
    this.escapedUtf8(bytes, start, end);
    this.byte(QUOTE);
  }

  jsonText(value: string): void {
    const bytes = Buffer.from(value, 'utf8');
    this.jsonString(bytes, 0, bytes.length);
  }

  /** A finite number as JSON; the others, which JSON lacks, as the strings of OTLP/JSON. */
  jsonDouble(value: number): void {
    this.json(Number.isFinite(value) ? String(value) : `"${value}"`);
  }

  byte(byte: number): void {
    this.room(1);
    this.buffer[this.pos++] = byte;
  }

  /** Copies UTF-8 text; NUL and what is not UTF-8 becomes U+FFFD. */
  private utf8(bytes: Uint8Array, start: number, end: number): void {
    let at = start;
    while (at < end) {
      this.room(WINDOW_BYTES * MAX_GROWTH);
      const stop = Math.min(end, at + WINDOW_BYTES);
      const { buffer } = this;
      let { pos } = this;
      while (at < stop) {
        const byte = bytes[at];
        if (byte > 0 && byte < 0x80) {
          buffer[pos++] = byte;
          at++;
        } else {
          this.pos = pos;
          at = this.sequence(bytes, at, end);
          ({ pos } = this);
        }
      }
      this.pos = pos;
    }
  }

  private escapedUtf8(bytes: Uint8Array, start: number, end: number): void {
    let at = start;
    while (at < end) {
      this.room(WINDOW_BYTES * MAX_GROWTH);
      const stop = Math.min(end, at + WINDOW_BYTES);
      const { buffer } = this;
      let { pos } = this;
      while (at < stop) {
        const byte = bytes[at];
        if (JSON_PLAIN[byte] === 1) {
          buffer[pos++] = byte;
          at++;
        } else if (JSON_SHORT_ESCAPES[byte] > 0) {
          buffer[pos++] = BACKSLASH;
          buffer[pos++] = JSON_SHORT_ESCAPES[byte];
          at++;
        } else {
          this.pos = pos;
          at = byte > 0 && byte < 0x80 ? this.escape(byte, at) : this.sequence(bytes, at, end);
          ({ pos } = this);
        }
      }
      this.pos = pos;
    }
  }

  /** Writes a control character that has no letter (there is room) and returns where the next byte lies. */
  private escape(byte: number, at: number): number {
    const { buffer } = this;
    this.pos += buffer.write('\\u00', this.pos, 'latin1');
    buffer[this.pos++] = HEX_HIGH[byte];
    buffer[this.pos++] = HEX_LOW[byte];
    return at + 1;
  }

  /** Copies one multi-byte character (there is room), or writes U+FFFD; returns where the next one lies. */
  private sequence(bytes: Uint8Array, at: number, end: number): number {
    const { buffer } = this;
    const length = utf8Length(bytes, at, end);
    if (length > 0) {
      for (let i = 0; i < length; i++) buffer[this.pos++] = bytes[at + i];
      return at + length;
    }
    buffer[this.pos++] = 0xef;
    buffer[this.pos++] = 0xbf;
    buffer[this.pos++] = 0xbd;
    return at - length;
  }

  // Fixed-size numbers; the callers made room.

  private uint16(value: number): void {
    this.buffer[this.pos++] = value >>> 8;
    this.buffer[this.pos++] = value;
  }

  private int32(value: number): void {
    const { buffer, pos } = this;
    buffer[pos] = value >>> 24;
    buffer[pos + 1] = value >>> 16;
    buffer[pos + 2] = value >>> 8;
    buffer[pos + 3] = value;
    this.pos = pos + 4;
  }

  private int64(value: number): void {
    const high = Math.floor(value / TWO_32);
    this.int32(high);
    this.int32(value - high * TWO_32);
  }
}

/**
 * Length of the multi-byte character at `at`; or, negative, of the bytes that one U+FFFD stands for (at least 1), as
 * the WHATWG decoder replaces them. A NUL is answered -1, since PostgreSQL stores none.
 */
function utf8Length(bytes: Uint8Array, at: number, end: number): number {
  const lead = bytes[at];
  if (lead < 0xc2 || lead > 0xf4) return -1;
  const length = lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
  let lowest = lead === 0xe0 ? 0xa0 : lead === 0xf0 ? 0x90 : 0x80;
  let highest = lead === 0xed ? 0x9f : lead === 0xf4 ? 0x8f : 0xbf;
  for (let i = 1; i < length; i++) {
    const byte = at + i < end ? bytes[at + i] : 0;
    if (byte < lowest || byte > highest) return -i;
    lowest = 0x80;
    highest = 0xbf;
  }
  return length;
}
