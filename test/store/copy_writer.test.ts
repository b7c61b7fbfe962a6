import assert from 'node:assert/strict';
import * as fc from 'fast-check';
import { suite } from 'uvu';
import { CopyWriter } from '../../src/store/copy_writer.ts';
import { fixed64Bytes } from '../support/otlp_messages.ts';
import { storable } from './row_store.ts';

const Writer = suite('copy writer');

/** What a field holds behind its length, which must be that of what follows. */
function content(write: (writer: CopyWriter) => void): Buffer {
  const writer = new CopyWriter(Buffer.alloc(16));
  write(writer);
  const bytes = writer.bytes();
  assert.equal(bytes.readInt32BE(0), bytes.length - 4);
  return bytes.subarray(4);
}

Writer('an unsigned integer as numeric: base-10000 digits, weight, no sign, no scale', () => {
  fc.assert(
    fc.property(fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }), (value) => {
      const bytes = content((writer) => writer.numeric(value));
      const digits = bytes.readInt16BE(0);
      assert.equal(bytes.length, 8 + 2 * digits);
      assert.equal(bytes.readInt16BE(2), Math.max(digits - 1, 0));
      assert.equal(bytes.readInt32BE(4), 0);
      let read = 0n;
      for (let i = 0; i < digits; i++) read = read * 10_000n + BigInt(bytes.readInt16BE(8 + 2 * i));
      assert.equal(read, value);
    }),
  );
});

const POSTGRES_EPOCH_US = 946_684_800_000_000n;

Writer('any uint64 time: microseconds since 2000 and the nanoseconds left over', () => {
  fc.assert(
    fc.property(fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }), (nanoseconds) => {
      const writer = new CopyWriter(Buffer.alloc(16));
      writer.timestampWithRest(fixed64Bytes(nanoseconds), 0);
      const bytes = writer.bytes();
      assert.equal(bytes.readBigInt64BE(4), nanoseconds / 1000n - POSTGRES_EPOCH_US);
      assert.equal(bytes.readInt16BE(16), Number(nanoseconds % 1000n));
    }),
    { numRuns: 5000 },
  );
});

Writer('any pair of uint64 times: the nanoseconds between them, within what bigint holds', () => {
  const near = fc.bigInt({ min: -(2n ** 54n), max: 2n ** 54n });
  const time = fc.bigInt({ min: 0n, max: 2n ** 64n - 1n });
  fc.assert(
    fc.property(time, fc.oneof(time, near), (start, other) => {
      const end = BigInt.asUintN(64, other < 2n ** 54n ? start + other : other);
      const bytes = content((writer) => writer.duration(Buffer.concat([fixed64Bytes(start), fixed64Bytes(end)]), 0, 8));
      const exact = end > start ? end - start : 0n;
      assert.equal(bytes.readBigInt64BE(0), exact > 2n ** 63n - 1n ? 2n ** 63n - 1n : exact);
    }),
    { numRuns: 5000 },
  );
});

Writer('milliseconds before and after 2000', () => {
  for (const ms of [0, 946_684_799_999, 946_684_800_000, Date.UTC(2026, 10, 20)]) {
    const bytes = content((writer) => writer.timestampMs(ms));
    assert.equal(bytes.readBigInt64BE(0), BigInt(ms) * 1000n - POSTGRES_EPOCH_US);
  }
});

Writer('any bytes as text: what is UTF-8 as it is, the rest and NUL as U+FFFD', () => {
  const lead = fc.constantFrom(
    0x00,
    0x41,
    0x80,
    0xbf,
    0xc0,
    0xc2,
    0xe0,
    0xed,
    0xef,
    0xf0,
    0xf4,
    0xf5,
    0xff,
    0x9f,
    0xa0,
    0x90,
    0x8f,
  );
  const bytes = fc.oneof(
    fc.uint8Array(),
    fc.array(lead, { maxLength: 30 }).map((list) => Uint8Array.from(list)),
  );
  fc.assert(
    fc.property(bytes, (text) => {
      assert.equal(content((writer) => writer.text(text, 0, text.length)).toString(), storable(text));
    }),
    { numRuns: 5000 },
  );
});

Writer('any bytes as a JSON string that JSON.parse reads back', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), (text) => {
      const bytes = content((writer) => writer.jsonField((json) => json.jsonString(text, 0, text.length)));
      assert.equal(JSON.parse(bytes.toString()), storable(text));
    }),
    { numRuns: 2000 },
  );
});

Writer('grows as far as it must, and keeps what was written', () => {
  const writer = new CopyWriter(Buffer.alloc(1));
  const expected: string[] = [];
  for (let length = 0; length < 3000; length += 7) {
    expected.push('\0'.repeat(length).replaceAll('\0', '\uFFFD'));
    writer.text(Buffer.alloc(length), 0, length);
  }
  const bytes = writer.bytes();
  let at = 0;
  for (const text of expected) {
    const end = at + 4 + bytes.readInt32BE(at);
    assert.equal(bytes.toString('utf8', at + 4, end), text);
    at = end;
  }
  assert.equal(at, bytes.length);
});

Writer.run();
