import assert from 'node:assert/strict';
import * as fc from 'fast-check';
import { suite } from 'uvu';
import {
  double,
  eachField,
  fixed32,
  fixed64,
  isZero64,
  join64,
  MalformedError,
  Reader,
  readInt64,
  readUint32,
  readUint64,
  skipField,
  text,
} from '../../src/model/wire.ts';
import { field, varint, wire } from '../otlp/requests.ts';

const uint64 = fc.bigInt({ min: 0n, max: 2n ** 64n - 1n });
const bytes = fc.uint8Array({ minLength: 8, maxLength: 24 });
const EDGES = [
  0n,
  1n,
  127n,
  128n,
  2n ** 31n,
  2n ** 32n - 1n,
  2n ** 32n,
  2n ** 53n,
  2n ** 63n - 1n,
  2n ** 63n,
  2n ** 64n - 1n,
];

const varints = suite('varints');

function checkVarint(value: bigint): void {
  const encoded = wire(0xff, varint(value), 0xff);
  const end = encoded.length - 1;
  const low = Number(BigInt.asUintN(32, value));
  const signed = BigInt.asIntN(64, value);
  const isSafe = BigInt(Number(signed)) === signed && Number.isSafeInteger(Number(signed));

  const cursors = [{ at: 1 }, { at: 1 }, { at: 1 }, { at: 1 }] as const;
  assert.equal(readUint32(encoded, cursors[0]), low);
  assert.equal(readUint64(encoded, cursors[1]), value);
  assert.equal(readInt64(encoded, cursors[2]), isSafe ? Number(signed) : signed);
  skipField(encoded, 0, cursors[3]);
  for (const { at } of cursors) assert.equal(at, end);

  const reader = new Reader(encoded);
  reader.pos = 1;
  assert.equal(reader.uint32(end), low);
  assert.equal(reader.pos, end);
}

varints('are read as BigInt reads them', () => {
  for (const value of EDGES) checkVarint(value);
  fc.assert(fc.property(uint64, checkVarint));
});

varints('longer than they need be are read the same', () => {
  const padded = wire('8180808000');
  assert.equal(readUint32(padded, { at: 0 }), 1);
  assert.equal(readInt64(wire('81808080808080808000'), { at: 0 }), 1);
  assert.equal(new Reader(padded).tag(5), 1);
});

varints('lose what lies beyond the 64th bit', () => {
  assert.equal(readUint64(wire('ffffffffffffffffff7f'), { at: 0 }), 2n ** 64n - 1n);
  assert.equal(readInt64(wire('ffffffffffffffffff7f'), { at: 0 }), -1);
});

for (const [name, hex, message] of [
  ['no byte', '', /truncated varint at byte 0/],
  ['a byte that announces another', '80', /truncated varint at byte 1/],
  ['eleven bytes', '8080808080808080808001', /varint longer than 10 bytes at byte 0/],
] as const) {
  varints(`of ${name} are refused`, () => {
    const encoded = wire(hex);
    assert.throws(() => new Reader(encoded).uint32(encoded.length), { name: 'MalformedError', message });
  });
}

varints('do not go beyond the message that holds them', () => {
  assert.throws(() => new Reader(wire('8001')).uint32(1), MalformedError);
});

varints('of tags and lengths hold 32 bits', () => {
  assert.equal(new Reader(wire('ffffffff0f')).tag(5), 0xffff_ffff);
  for (const hex of ['8080808010', 'ffffffff7f', '808080808001']) {
    assert.throws(() => new Reader(wire(hex)).tag(hex.length / 2), MalformedError);
    assert.throws(() => new Reader(wire(hex)).fieldEnd(hex.length / 2), MalformedError);
  }
});

varints.run();

const fixed = suite('fixed numbers');

fixed('are read as DataView reads them', () => {
  fc.assert(
    fc.property(bytes, fc.nat({ max: 16 }), (buffer, offset) => {
      const at = Math.min(offset, buffer.length - 8);
      const view = new DataView(buffer.buffer, buffer.byteOffset);
      assert.equal(fixed32(buffer, at), view.getUint32(at, true));
      assert.equal(fixed64(buffer, at), view.getBigUint64(at, true));
      assert.equal(double(buffer, at), view.getFloat64(at, true));
      assert.equal(isZero64(buffer, at), view.getBigUint64(at, true) === 0n);
    }),
  );
});

fixed('keep the sign of zero, NaN and infinities', () => {
  for (const value of [-0, 0, Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, 5e-324]) {
    assert.ok(Object.is(double(Buffer.from(Float64Array.of(value).buffer), 0), value));
  }
});

fixed('join of two halves', () => {
  fc.assert(
    fc.property(uint64, (value) => {
      assert.equal(join64(Number(value >> 32n), Number(BigInt.asUintN(32, value))), value);
    }),
  );
});

fixed('do not go beyond the message that holds them', () => {
  const reader = new Reader(new Uint8Array(16));
  reader.pos = 9;
  assert.throws(() => reader.fixed(8, 16), { name: 'MalformedError', message: /truncated fixed64 at byte 9/ });
  assert.equal(reader.fixed(4, 13), 9);
  assert.equal(reader.pos, 13);
  assert.throws(() => reader.fixed(4, 16), { name: 'MalformedError', message: /truncated fixed32 at byte 13/ });
});

fixed.run();

const fields = suite('fields');

const FIELDS: readonly (readonly [number, Buffer])[] = [
  [0x08, varint(300)],
  [0x11, wire('0102030405060708')],
  [0x1a, wire(0x03, '616263')],
  [0x2d, wire('01020304')],
  [0x33, wire(0x08, 0x05, 0x0b, 0x12, 0x01, 0xff, 0x0c, 0x15, '01020304', 0x34)],
];

fields('of every wire type are skipped alike, checked and unchecked', () => {
  for (const [tag, value] of FIELDS) {
    const encoded = wire(value, 0xff);
    const reader = new Reader(encoded);
    reader.skipValue(tag, value.length);
    const cursor = { at: 0 };
    skipField(encoded, tag, cursor);
    assert.deepEqual([reader.pos, cursor.at], [value.length, value.length]);
  }
});

fields('are visited one after the other', () => {
  const encoded = wire(0xff, ...FIELDS.flatMap(([tag, value]) => [tag, value]), 0xff);
  const visited: [number, number][] = [];
  eachField(encoded, 1, encoded.length - 1, (tag, at) => visited.push([tag, at]));
  let at = 1;
  const expected = FIELDS.map(([tag, value]) => {
    const found = [tag, at + 1];
    at += 1 + value.length;
    return found;
  });
  assert.deepEqual(visited, expected);
});

fields('cut anywhere are refused', () => {
  for (const [tag, value] of FIELDS) {
    for (let end = 0; end < value.length; end++) {
      assert.throws(() => new Reader(value).skipValue(tag, end), MalformedError, `${tag} ${end}`);
    }
  }
});

fields('without a number, or of the wire types 4, 6 and 7, are refused', () => {
  for (const tag of [0x00, 0x02, 0x0c, 0x0e, 0x0f]) {
    assert.throws(() => new Reader(field(1, '61')).skipValue(tag, 3), MalformedError);
  }
});

fields('hold text that need not be UTF-8', () => {
  assert.equal(text(Buffer.from('xäöy'), 1, 5), 'äö');
  assert.equal(text(wire('ff61'), 0, 2), '\ufffda');
  assert.equal(text(wire('efbbbf61'), 0, 4), '\ufeffa');
  assert.equal(text(wire(), 0, 0), '');
});

fields.run();
