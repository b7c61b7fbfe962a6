import assert from 'node:assert/strict';
import { suite } from 'uvu';
import { parseDuration, parseTime, resolveTimes, type GivenTimes } from '../../../src/receivers/sdk_spans/times.ts';

const Times = suite('sdk span times');

for (const [text, expected] of [
  ['2026-06-08T10:00:00Z', 1_780_912_800_000_000_000n],
  ['2026-06-08t10:00:00z', 1_780_912_800_000_000_000n],
  ['2026-06-08T10:00:00.5Z', 1_780_912_800_500_000_000n],
  ['2026-06-08T10:00:00.123456789Z', 1_780_912_800_123_456_789n],
  ['2026-06-08T12:30:00+02:30', 1_780_912_800_000_000_000n],
  ['2026-06-08T00:00:00-10:00', 1_780_912_800_000_000_000n],
  ['2026-06-08T10:00:00-00:00', 1_780_912_800_000_000_000n],
  ['2016-12-31T23:59:60Z', 1_483_228_800_000_000_000n],
  ['2024-02-29T00:00:00Z', 1_709_164_800_000_000_000n],
  ['1970-01-01T00:00:00.000000001Z', 1n],
  ['2262-04-11T23:47:16.854775807Z', 2n ** 63n - 1n],
  ['2262-04-11T23:47:16.854775808Z', undefined],
  ['1970-01-01T00:00:00Z', undefined],
  ['1969-12-31T23:59:59Z', undefined],
  ['2026-02-29T00:00:00Z', undefined],
  ['2026-02-31T00:00:00Z', undefined],
  ['2026-13-01T00:00:00Z', undefined],
  ['2026-06-08T24:00:00Z', undefined],
  ['2026-06-08T10:60:00Z', undefined],
  ['2026-06-08T10:00:61Z', undefined],
  ['2026-06-08T10:00:00+24:00', undefined],
  ['2026-06-08T10:00:00', undefined],
  ['2026-06-08T10:00:00.Z', undefined],
  ['2026-06-08T10:00:00.1234567890Z', undefined],
  ['2026-06-08 10:00:00Z', undefined],
  ['2026-06-08', undefined],
  ['1780912800', undefined],
  ['', undefined],
] as const) {
  Times(`the time ${JSON.stringify(text)} is ${expected ?? 'refused'}`, () => {
    assert.equal(parseTime(text), expected);
  });
}

for (const [text, expected] of [
  ['0', 0n],
  ['120', 120_000_000n],
  ['0.1', 100_000n],
  ['0.000001', 1n],
  ['1.5e3', 1_500_000_000n],
  ['86400000.000001', 86_400_000_000_001n],
  ['315360000000', 315_360_000_000_000_000n],
  ['315360000001', undefined],
  ['-0.1', undefined],
  ['1e999', undefined],
] as const) {
  Times(`the duration ${text} is ${expected ?? 'refused'}`, () => {
    assert.equal(parseDuration(text), expected);
  });
}

const RECEIVED_MS = 1000;
const RECEIVED_NS = 1_000_000_000n;

type Given = Partial<GivenTimes> & { readonly spanId: string };

const withAllKeys = (span: Given): GivenTimes => ({
  parentSpanId: undefined,
  startNs: undefined,
  endNs: undefined,
  durationNs: undefined,
  ...span,
});

const resolve = (...spans: readonly Given[]) =>
  resolveTimes(spans.map(withAllKeys), RECEIVED_MS).map(({ startNs, endNs, isInferred }) => [
    startNs,
    endNs,
    isInferred,
  ]);

for (const [what, span, expected] of [
  ['start and end', { startNs: 10n, endNs: 30n }, [10n, 30n, false]],
  ['start and end that a duration contradicts', { startNs: 10n, endNs: 30n, durationNs: 5n }, [10n, 30n, false]],
  ['an end before the start', { startNs: 30n, endNs: 10n }, [30n, 10n, false]],
  ['start and duration', { startNs: 10n, durationNs: 5n }, [10n, 15n, false]],
  ['end and duration', { endNs: 30n, durationNs: 5n }, [25n, 30n, false]],
  ['a start alone', { startNs: 10n }, [10n, undefined, false]],
  ['an end alone', { endNs: 30n }, [30n, 30n, true]],
  ['a duration alone', { durationNs: 100n }, [RECEIVED_NS - 100n, RECEIVED_NS, true]],
  ['no time at all', {}, [RECEIVED_NS, undefined, true]],
] as const) {
  Times(what, () => {
    assert.deepEqual(resolve({ spanId: 'a', ...span }), [expected]);
  });
}

Times('a span with only a duration starts with its parent, wherever that stands', () => {
  const parent = { spanId: 'p', startNs: 10n, endNs: 100n };
  const child = { spanId: 'c', parentSpanId: 'p', durationNs: 5n };
  assert.deepEqual(resolve(parent, child)[1], [10n, 15n, true]);
  assert.deepEqual(resolve(child, parent)[0], [10n, 15n, true]);
});

Times('where the parent does not say when it started, its own parent does', () => {
  const expected = [
    [10n, 11n, true],
    [10n, 12n, true],
    [10n, undefined, false],
  ];
  assert.deepEqual(
    resolve(
      { spanId: 'c', parentSpanId: 'b', durationNs: 1n },
      { spanId: 'b', parentSpanId: 'a', durationNs: 2n },
      { spanId: 'a', startNs: 10n },
    ),
    expected,
  );
});

Times('a parent with end and duration gives its computed start', () => {
  assert.deepEqual(resolve({ spanId: 'p', endNs: 30n, durationNs: 5n }, { spanId: 'c', parentSpanId: 'p' })[1], [
    25n,
    undefined,
    true,
  ]);
});

Times('under a root with only a duration the whole tree starts with it', () => {
  assert.deepEqual(resolve({ spanId: 'r', durationNs: 100n }, { spanId: 'c', parentSpanId: 'r', durationNs: 7n })[1], [
    RECEIVED_NS - 100n,
    RECEIVED_NS - 93n,
    true,
  ]);
});

Times('a parent that is not in the request is no help', () => {
  assert.deepEqual(resolve({ spanId: 'c', parentSpanId: 'elsewhere', durationNs: 7n }), [
    [RECEIVED_NS - 7n, RECEIVED_NS, true],
  ]);
});

Times('spans that are their own ancestors come to an end', () => {
  assert.deepEqual(resolve({ spanId: 'a', parentSpanId: 'a', durationNs: 1n }), [
    [RECEIVED_NS - 1n, RECEIVED_NS, true],
  ]);
  for (const [startNs] of resolve({ spanId: 'a', parentSpanId: 'b' }, { spanId: 'b', parentSpanId: 'a' })) {
    assert.equal(startNs, RECEIVED_NS);
  }
});

Times('a long chain costs no stack', () => {
  const chain = Array.from({ length: 10_000 }, (_, i) => ({ spanId: `${i}`, parentSpanId: `${i + 1}` }));
  assert.deepEqual(resolve(...chain, { spanId: '10000', startNs: 10n })[0], [10n, undefined, true]);
});

Times.run();
