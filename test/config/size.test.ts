import assert from 'node:assert/strict';
import * as fc from 'fast-check';
import { suite } from 'uvu';
import { formatSize, parseSize, size } from '../../src/config/size.ts';

const test = suite('size');

const READ: [text: string, bytes: number][] = [
  ['0', 0],
  ['1024', 1_024],
  ['17B', 17],
  ['64MiB', 67_108_864],
  ['1GiB', 1_073_741_824],
  ['2TiB', 2_199_023_255_552],
  ['500KB', 500_000],
  ['1.5GiB', 1_610_612_736],
  ['0.5KiB', 512],
  ['9007199254740991', Number.MAX_SAFE_INTEGER],
];
for (const [text, bytes] of READ) {
  test(`reads ${text}`, () => assert.equal(parseSize(text), bytes));
}

const REFUSED = [
  '',
  'MiB',
  '-1',
  '1.5',
  '0.0001KB',
  '64 MiB',
  '64mib',
  '64Mi',
  '1iB',
  '1e3',
  '9007199254740992',
  '9999TiB',
];
for (const text of REFUSED) {
  test(`refuses ${JSON.stringify(text)}`, () => assert.equal(parseSize(text), undefined));
}

const WRITTEN: [bytes: number, text: string][] = [
  [0, '0B'],
  [1_023, '1023B'],
  [1_024, '1KiB'],
  [67_108_864, '64MiB'],
  [500_000, '500KB'],
  [1_536, '1536B'],
];
for (const [bytes, text] of WRITTEN) {
  test(`writes ${bytes} as ${text}`, () => assert.equal(formatSize(bytes), text));
}

test('every size survives writing and reading', () => {
  const scaled = fc
    .tuple(fc.nat({ max: 1_000 }), fc.constantFrom(1, 1_000, 1_024, 1_000_000, 1_048_576, 1_073_741_824))
    .map(([count, unit]) => count * unit);
  fc.assert(
    fc.property(fc.oneof(fc.maxSafeNat(), scaled), (bytes) => assert.equal(parseSize(formatSize(bytes)), bytes)),
  );
});

test('the type takes text and whole numbers, within its limits', () => {
  const type = size({ min: 1_024, max: 67_108_864 });
  assert.equal(type.parse('64MiB'), 67_108_864);
  assert.equal(type.parse(4_096), 4_096);
  for (const value of [1.5, -1, Number.NaN, true, null, {}, '1GiB', 1_023]) {
    assert.equal(
      type.safeParse(value).error?.issues[0]?.message,
      'a size such as 64MiB, 500KB or a number of bytes, at least 1KiB, at most 64MiB',
    );
  }
});

test.run();
