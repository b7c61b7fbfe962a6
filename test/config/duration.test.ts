import assert from 'node:assert/strict';
import * as fc from 'fast-check';
import { suite } from 'uvu';
import { duration, formatDuration, parseDuration } from '../../src/config/duration.ts';

const test = suite('duration');

const READ: [text: string, ms: number][] = [
  ['0', 0],
  ['0s', 0],
  ['200ms', 200],
  ['5s', 5_000],
  ['1h30m', 5_400_000],
  ['1.5h', 5_400_000],
  ['.5s', 500],
  ['1.s', 1_000],
  ['4.35s', 4_350],
  ['250us', 0.25],
  ['250µs', 0.25],
  ['250μs', 0.25],
  ['1ns', 0.000001],
  ['2540400h10m10s', 9_145_440_610_000],
];
for (const [text, ms] of READ) {
  test(`reads ${text}`, () => assert.equal(parseDuration(text), ms));
}

const REFUSED = [
  '',
  '5',
  '-5s',
  '+5s',
  '5 s',
  '5d',
  '5S',
  's',
  '.s',
  '1h-30m',
  '1..5s',
  '0x5s',
  '300000000h',
  `${'0'.repeat(200)}s`,
];
for (const text of REFUSED) {
  test(`refuses ${JSON.stringify(text.slice(0, 20))}`, () => assert.equal(parseDuration(text), undefined));
}

const WRITTEN: [ms: number, text: string][] = [
  [0, '0s'],
  [200, '200ms'],
  [5_400_000, '1h30m'],
  [61_500, '1m1s500ms'],
  [0.25, '250us'],
  [86_400_000, '24h'],
];
for (const [ms, text] of WRITTEN) {
  test(`writes ${ms} ms as ${text}`, () => assert.equal(formatDuration(ms), text));
}

test('whole milliseconds survive writing and reading', () => {
  fc.assert(
    fc.property(fc.nat({ max: Number(2n ** 63n / 1_000_000n) - 1 }), (ms) => {
      assert.equal(parseDuration(formatDuration(ms)), ms);
    }),
  );
});

test('nanoseconds of up to a day survive writing and reading', () => {
  fc.assert(
    fc.property(fc.nat({ max: 86_400_000 - 1 }), fc.nat({ max: 999_999 }), (wholeMs, ns) => {
      const ms = wholeMs + ns / 1e6;
      assert.equal(parseDuration(formatDuration(ms)), ms);
    }),
  );
});

test('terms add up, in any order', () => {
  const units = { h: 3_600_000, m: 60_000, s: 1_000, ms: 1 } as const;
  const term = fc.tuple(fc.nat({ max: 10_000 }), fc.constantFrom('h', 'm', 's', 'ms'));
  fc.assert(
    fc.property(fc.array(term, { minLength: 1, maxLength: 6 }), (terms) => {
      const text = terms.map(([count, unit]) => `${count}${unit}`).join('');
      const sum = terms.reduce((total, [count, unit]) => total + count * units[unit], 0);
      assert.equal(parseDuration(text), sum);
    }),
  );
});

test('the type takes text and the number 0, within its limits', () => {
  const type = duration({ min: 1_000, max: 60_000 });
  assert.equal(type.parse('1m'), 60_000);
  assert.equal(duration().parse(0), 0);
  for (const value of [5, true, null, ['5s'], '999ms', '61s']) {
    assert.equal(
      type.safeParse(value).error?.issues[0]?.message,
      'a duration such as 200ms, 5s or 1h30m, at least 1s, at most 1m',
    );
  }
});

test.run();
