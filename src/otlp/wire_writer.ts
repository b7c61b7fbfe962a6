/** Writes the protobuf wire format into one growing buffer. */
import { InvalidDataError } from '../errors.ts';

/** Length prefixes that are filled in later take four bytes: a varint may be padded. Holds lengths below 2^28. */
const PADDED_LENGTH_BYTES = 4;
const PADDED_LENGTH_MAX = 2 ** 28 - 1;

const LEAST_BYTES = 64;
const TWO_32 = 4_294_967_296;

/** Up to here a plain loop copies faster than a call into native code. */
const SHORT_COPY_BYTES = 48;

export class WireWriter {
  private buffer: Buffer;
  pos = 0;

  constructor(initialBytes: number) {
    this.buffer = Buffer.allocUnsafeSlow(Math.max(initialBytes, LEAST_BYTES));
  }

  /** The bytes written so far, without a copy: the writer must not be used after. */
  bytes(): Uint8Array {
    return this.buffer.subarray(0, this.pos);
  }

  private room(bytes: number): void {
    if (this.pos + bytes > this.buffer.length) this.grow(bytes);
  }

  private grow(bytes: number): void {
    const grown = Buffer.allocUnsafeSlow(Math.max(this.buffer.length * 2, this.pos + bytes));
    this.buffer.copy(grown, 0, 0, this.pos);
    this.buffer = grown;
  }

  byte(value: number): void {
    this.room(1);
    this.buffer[this.pos++] = value;
  }

  /** Also writes tags: `field << 3 | wire type`. */
  uint32(value: number): void {
    this.room(5);
    let rest = value >>> 0;
    while (rest > 0x7f) {
      this.buffer[this.pos++] = (rest & 0x7f) | 0x80;
      rest >>>= 7;
    }
    this.buffer[this.pos++] = rest;
  }

  /** A varint of a whole number from 0 to 2^53 - 1. */
  safeInteger(value: number): void {
    this.room(8);
    let rest = value;
    for (; rest >= TWO_32; rest = Math.floor(rest / 128)) this.buffer[this.pos++] = (rest % 128) | 0x80;
    this.uint32(rest);
  }

  /** A varint of 64 bits, two's complement. */
  varint64(value: bigint): void {
    this.room(10);
    let rest = BigInt.asUintN(64, value);
    while (rest > 0x7fn) {
      this.buffer[this.pos++] = Number(rest & 0x7fn) | 0x80;
      rest >>= 7n;
    }
    this.buffer[this.pos++] = Number(rest);
  }

  fixed32(value: number): void {
    this.room(4);
    this.pos = this.buffer.writeUInt32LE(value >>> 0, this.pos);
  }

  fixed64(value: bigint): void {
    this.room(8);
    this.pos = this.buffer.writeBigUInt64LE(BigInt.asUintN(64, value), this.pos);
  }

  /** `high * 2^32 + low`. */
  fixed64Parts(high: number, low: number): void {
    this.fixed32(low);
    this.fixed32(high);
  }

  double(value: number): void {
    this.room(8);
    this.pos = this.buffer.writeDoubleLE(value, this.pos);
  }

  raw(bytes: Uint8Array): void {
    this.room(bytes.length);
    this.buffer.set(bytes, this.pos);
    this.pos += bytes.length;
  }

  /** Copies part of another buffer. */
  copy(bytes: Buffer, start: number, end: number): void {
    this.room(end - start);
    if (end - start > SHORT_COPY_BYTES) {
      this.pos += bytes.copy(this.buffer, this.pos, start, end);
      return;
    }
    const { buffer } = this;
    let { pos } = this;
    for (let at = start; at < end; at++) buffer[pos++] = bytes[at];
    this.pos = pos;
  }

  /** Starts a field of unknown length; returns what `close` needs. */
  open(): number {
    this.room(PADDED_LENGTH_BYTES);
    this.pos += PADDED_LENGTH_BYTES;
    return this.pos;
  }

  close(contentAt: number): void {
    const length = this.pos - contentAt;
    if (length > PADDED_LENGTH_MAX)
      throw new InvalidDataError(`a message of ${length} bytes; at most ${PADDED_LENGTH_MAX} fit`);
    const { buffer } = this;
    buffer[contentAt - 4] = (length & 0x7f) | 0x80;
    buffer[contentAt - 3] = ((length >>> 7) & 0x7f) | 0x80;
    buffer[contentAt - 2] = ((length >>> 14) & 0x7f) | 0x80;
    buffer[contentAt - 1] = length >>> 21;
  }
}
