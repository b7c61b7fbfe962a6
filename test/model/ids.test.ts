import assert from 'node:assert/strict';
import * as fc from 'fast-check';
import { suite } from 'uvu';
import { hex, isAllZero } from '../../src/model/ids.ts';

const ids = suite('ids');

const part = fc
  .tuple(fc.uint8Array({ maxLength: 24 }), fc.nat({ max: 24 }), fc.nat({ max: 24 }))
  .map(([bytes, a, b]) => ({
    bytes,
    start: Math.min(a, b, bytes.length),
    end: Math.min(Math.max(a, b), bytes.length),
  }));

ids('hex is lowercase and keeps leading zeros', () => {
  fc.assert(
    fc.property(part, ({ bytes, start, end }) => {
      assert.equal(hex(bytes, start, end), Buffer.from(bytes.subarray(start, end)).toString('hex'));
    }),
  );
});

ids('only zeros, and nothing at all, are all zero', () => {
  fc.assert(
    fc.property(part, ({ bytes, start, end }) => {
      assert.equal(
        isAllZero(bytes, start, end),
        bytes.subarray(start, end).every((byte) => byte === 0),
      );
    }),
  );
  assert.ok(isAllZero(new Uint8Array(16), 0, 16));
  assert.ok(!isAllZero(Uint8Array.of(0, 0, 1), 0, 3));
  assert.ok(isAllZero(Uint8Array.of(0, 0, 1), 0, 2));
});

ids.run();
