/**
 * Arbitrary valid requests of each signal, as plain objects for protobufjs, made by following our field tables: every
 * field, every kind of metric, values nested in values, integers at their limits, any Unicode text. What our encoder
 * writes anew (groups and metrics) holds no explicit default values, which proto3 does not tell from absent ones.
 */
import * as fc from 'fast-check';
import type { Signal } from '../../src/model/batch.ts';
import { ANY_VALUE_MESSAGE, REQUESTS, type Field, type Message, type Scalar } from '../../src/otlp/fields.ts';
import type { Plain } from './oracle.ts';

/** How deep values nest in values. */
const NESTING = 3;

/** Arbitrary values of one message's fields, by name. */
type Members = { readonly [name: string]: fc.Arbitrary<unknown> };

export function arbitraryRequest(signal: Signal): fc.Arbitrary<Plain> {
  return arbitraryMessage(REQUESTS[signal], NESTING);
}

const LEGACY_FIELD = 1000;

function arbitraryMessage(message: Message, nesting: number): fc.Arbitrary<Plain> {
  const fields = [...message.byNumber.values()].filter(({ number }) => number !== LEGACY_FIELD);
  const kinds = fields.filter(({ type }) => nesting > 0 || typeof type !== 'object');
  if (message === ANY_VALUE_MESSAGE) return oneOf(membersOf(kinds, nesting - 1));
  return (SHAPES[message.name] ?? anyOf)(membersOf(fields, nesting));
}

function membersOf(fields: readonly Field[], nesting: number): Members {
  return Object.fromEntries(fields.map((field) => [field.name, arbitraryField(field, nesting)]));
}

function arbitraryField({ type, repeated }: Field, nesting: number): fc.Arbitrary<unknown> {
  const single = typeof type === 'object' ? arbitraryMessage(type, nesting) : SCALARS[type];
  return repeated ? fc.array(single, { minLength: 1, maxLength: 3 }) : single;
}

const text = fc.string({ unit: 'binary', maxLength: 12 });
const someText = fc.string({ unit: 'binary', minLength: 1, maxLength: 12 });
const bytes = (minLength: number, maxLength: number): fc.Arbitrary<Buffer> =>
  fc.uint8Array({ minLength, maxLength }).map((array) => Buffer.from(array));
const id = (size: number): fc.Arbitrary<Buffer> => bytes(size - 1, size - 1).map((rest) => Buffer.of(1, ...rest));
const signed = fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }).map(String);
const unsigned = fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }).map(String);

const SCALARS: Readonly<Record<Scalar, fc.Arbitrary<unknown>>> = {
  string: text,
  bytes: bytes(0, 12),
  id: bytes(1, 17),
  bool: fc.boolean(),
  enum: fc.oneof(fc.nat({ max: 24 }), fc.constant(0x7fffffff)),
  uint32: fc.nat({ max: 0xffffffff }),
  sint32: fc.integer(),
  fixed32: fc.nat({ max: 0xffffffff }),
  int64: signed,
  uint64: unsigned,
  fixed64: unsigned,
  sfixed64: signed,
  double: fc.oneof(fc.double(), fc.constantFrom(-0, Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY)),
};

/** Any of the fields, or none. */
const anyOf = (members: Members): fc.Arbitrary<Plain> => fc.record(members, { requiredKeys: [] });

/** One of the fields, or none. */
function oneOf(members: Members): fc.Arbitrary<Plain> {
  const kinds = Object.entries(members).map(([name, value]) => value.map((held) => ({ [name]: held })));
  return fc.oneof(fc.constant({}), ...kinds);
}

const withRequired =
  (required: readonly string[], overrides: Members = {}) =>
  (members: Members): fc.Arbitrary<Plain> =>
    fc.record({ ...members, ...overrides }, { requiredKeys: [...required] });

/** Chooses one of the fields; the message may have any of the others. */
const withOneOf =
  (names: readonly string[], canBeNone: boolean, rest: (members: Members) => fc.Arbitrary<Plain> = anyOf) =>
  (members: Members): fc.Arbitrary<Plain> => {
    const all = Object.entries(members);
    const chosen = oneOf(Object.fromEntries(all.filter(([name]) => names.includes(name))));
    const others = rest(Object.fromEntries(all.filter(([name]) => !names.includes(name))));
    return together(others, canBeNone ? chosen : chosen.filter((plain) => Object.keys(plain).length > 0));
  };

function together(first: fc.Arbitrary<Plain>, second: fc.Arbitrary<Plain>): fc.Arbitrary<Plain> {
  return fc.tuple(first, second).map((parts) => Object.assign({}, ...parts));
}

const group = (head: string): ((members: Members) => fc.Arbitrary<Plain>) =>
  withRequired([head], { schemaUrl: someText });
const temporality = fc.constantFrom(1, 2);
const sum = withRequired(['dataPoints'], { aggregationTemporality: temporality, isMonotonic: fc.constant(true) });
const data = withRequired(['dataPoints'], { aggregationTemporality: temporality });

/** As many counts as bounds and one more, or none of both; the bounds increase, and 0 has one sign. */
const explicitBuckets: fc.Arbitrary<Plain> = fc
  .uniqueArray(
    fc.double({ noNaN: true }).map((bound) => bound + 0),
    { maxLength: 4 },
  )
  .chain((bounds) => {
    const explicitBounds = bounds.toSorted((a, b) => a - b);
    const bucketCounts = fc.array(unsigned, { minLength: bounds.length + 1, maxLength: bounds.length + 1 });
    return fc.record({ bucketCounts, explicitBounds: fc.constant(explicitBounds) });
  });

function histogramPoint({ bucketCounts: _counts, explicitBounds: _bounds, ...members }: Members): fc.Arbitrary<Plain> {
  return together(anyOf(members), fc.oneof(fc.constant({}), explicitBuckets));
}

const DATA_KINDS = ['gauge', 'sum', 'histogram', 'exponentialHistogram', 'summary'];

/** What is not arbitrary: what a valid record must have, and fields that exclude one another. */
const SHAPES: Readonly<Record<string, (members: Members) => fc.Arbitrary<Plain>>> = {
  ResourceSpans: group('resource'),
  ResourceLogs: group('resource'),
  ResourceMetrics: group('resource'),
  ScopeSpans: group('scope'),
  ScopeLogs: group('scope'),
  ScopeMetrics: group('scope'),
  Span: withRequired(['traceId', 'spanId'], { traceId: id(16), spanId: id(8), parentSpanId: id(8) }),
  LogRecord: withRequired([], { traceId: id(16), spanId: id(8) }),
  Metric: withOneOf(
    DATA_KINDS,
    true,
    withRequired(['name'], { name: someText, description: someText, unit: someText }),
  ),
  Gauge: withRequired(['dataPoints']),
  Sum: sum,
  Histogram: data,
  ExponentialHistogram: data,
  Summary: withRequired(['dataPoints']),
  NumberDataPoint: withOneOf(['asDouble', 'asInt'], false),
  HistogramDataPoint: histogramPoint,
  Exemplar: withOneOf(['asDouble', 'asInt'], true),
};
