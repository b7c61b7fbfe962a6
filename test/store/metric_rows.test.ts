import assert from 'node:assert/strict';
import * as fc from 'fast-check';
import { suite } from 'uvu';
import {
  any,
  attribute,
  double,
  doubleBytes,
  field,
  fixed64,
  fixed64Bytes,
  request,
  varint,
  varintBytes,
} from '../support/otlp_messages.ts';
import { timestamptz, type StoredRow } from '../support/gateway.ts';
import { testDatabase, type TestDatabase } from '../support/postgres.ts';
import { RECEIVED_AT, storable, storeAlone } from './row_store.ts';

const MetricRows = suite('metric rows');
let database: TestDatabase;

MetricRows.before(async () => {
  database = await testDatabase();
});
MetricRows.after(() => database.close());

const TIME = 1_544_712_660_300_000_123n;
const UINT64_MAX = 2n ** 64n - 1n;
const DELTA = 1;

/** The fields of `Metric` that hold the data of each type. */
const DATA = { gauge: 5, sum: 7, histogram: 9, exponential_histogram: 10, summary: 11 } as const;
type Type = keyof typeof DATA;

const metric = (type: Type, points: readonly Uint8Array[], ...more: readonly Uint8Array[]): Buffer =>
  Buffer.concat([field(1, 'm'), field(DATA[type], ...points.map((point) => field(1, point)), ...more)]);

async function storedPoint(type: Type, ...fields: readonly Uint8Array[]): Promise<StoredRow> {
  const [row, ...more] = await storeAlone(database.pool, 'metrics', request([metric(type, [Buffer.concat(fields)])]));
  assert.ok(row);
  assert.equal(more.length, 0);
  return row;
}

/** The columns that are not NULL, without those that every row of these tests has. */
function given(row: StoredRow): StoredRow {
  const { org_id, workspace_id, received_at, metric_name, ...own } = row;
  assert.deepEqual([org_id, workspace_id, received_at, metric_name], ['default', 'default', RECEIVED_AT, 'm']);
  return Object.fromEntries(Object.entries(own).filter(([, value]) => value !== null));
}

MetricRows('a gauge with an integer', async () => {
  const row = await storedPoint('gauge', fixed64(2, TIME), fixed64(3, TIME + 1n), fixed64(6, -(2n ** 63n)));
  assert.deepEqual(given(row), {
    metric_type: 'gauge',
    ts: '2018-12-13 14:51:00.3+00',
    ts_ns_rest: 124,
    start_at: '2018-12-13 14:51:00.3+00',
    start_ns_rest: 123,
    value_int: -(2n ** 63n),
    attributes: {},
  });
});

MetricRows('a sum with a double, its description, unit and metadata', async () => {
  const sum = field(
    DATA.sum,
    field(1, fixed64(3, TIME), double(4, 1.5), attribute(7, 'k', any.int(1))),
    varint(2, 2),
    varint(3, 1),
  );
  const sent = Buffer.concat([
    field(1, 'm'),
    field(2, 'what'),
    field(3, '{x}'),
    attribute(12, 'meta', any.bool(true)),
    sum,
  ]);
  const [row] = await storeAlone(database.pool, 'metrics', request([sent]));
  assert.deepEqual(given(row ?? {}), {
    metric_type: 'sum',
    description: 'what',
    unit: '{x}',
    temporality: 2,
    is_monotonic: true,
    metadata: { meta: true },
    ts: '2018-12-13 14:51:00.3+00',
    ts_ns_rest: 123,
    value_double: 1.5,
    attributes: { k: 1 },
  });
});

MetricRows('a histogram, its numbers packed or one by one', async () => {
  const common = [fixed64(3, TIME), fixed64(4, UINT64_MAX), double(5, 10.25), double(11, -1), double(12, 8)];
  const packed = [
    field(6, fixed64Bytes(UINT64_MAX), fixed64Bytes(0n), fixed64Bytes(1n)),
    field(7, doubleBytes(-0.5), doubleBytes(Infinity)),
  ];
  const single = [fixed64(6, UINT64_MAX), fixed64(6, 0n), fixed64(6, 1n), double(7, -0.5), double(7, Infinity)];
  for (const numbers of [packed, single]) {
    const points = [Buffer.concat([...common, ...numbers])];
    const [row] = await storeAlone(database.pool, 'metrics', request([metric('histogram', points, varint(2, DELTA))]));
    assert.deepEqual(given(row ?? {}), {
      metric_type: 'histogram',
      temporality: DELTA,
      ts: '2018-12-13 14:51:00.3+00',
      ts_ns_rest: 123,
      count: UINT64_MAX,
      sum: 10.25,
      min: -1,
      max: 8,
      buckets: { bucket_counts: [UINT64_MAX, 0, 1], explicit_bounds: [-0.5, 'Infinity'] },
      attributes: {},
    });
  }
});

MetricRows('a histogram of one bucket has no bounds, one without buckets no buckets', async () => {
  const one = await storedPoint('histogram', fixed64(3, TIME), fixed64(4, 2n), field(6, fixed64Bytes(2n)));
  assert.deepEqual(one['buckets'], { bucket_counts: [2], explicit_bounds: [] });
  const none = await storedPoint('histogram', fixed64(3, TIME), fixed64(4, 2n));
  assert.equal(none['buckets'], null);
  assert.equal(none['sum'], null);
  assert.equal(none['count'], 2n);
});

const zigzag = (value: number): number => ((value << 1) ^ (value >> 31)) >>> 0;

MetricRows('an exponential histogram, its counts packed or one by one', async () => {
  const offset = varint(1, zigzag(-2_000_000_000));
  for (const counts of [[field(2, varintBytes(0n), varintBytes(UINT64_MAX))], [varint(2, 0), varint(2, UINT64_MAX)]]) {
    const row = await storedPoint(
      'exponential_histogram',
      fixed64(3, TIME),
      fixed64(4, 3n),
      varint(6, zigzag(-10)),
      fixed64(7, UINT64_MAX),
      field(8, offset, ...counts),
      field(9, ...counts, varint(1, zigzag(2_000_000_000))),
      double(14, 0.25),
    );
    assert.equal(row['count'], 3n);
    assert.deepEqual(row['buckets'], {
      scale: -10,
      zero_count: UINT64_MAX,
      zero_threshold: 0.25,
      positive: { bucket_counts: [0, UINT64_MAX], offset: -2_000_000_000 },
      negative: { bucket_counts: [0, UINT64_MAX], offset: 2_000_000_000 },
    });
  }
  const bare = await storedPoint('exponential_histogram', fixed64(3, TIME));
  const empty = { bucket_counts: [], offset: 0 };
  assert.deepEqual(bare['buckets'], { scale: 0, zero_count: 0, zero_threshold: 0, positive: empty, negative: empty });
});

const quantile = (...fields: Uint8Array[]) => field(6, ...fields);

MetricRows('a summary', async () => {
  const row = await storedPoint(
    'summary',
    fixed64(3, TIME),
    fixed64(4, 7n),
    double(5, 3.5),
    quantile(double(1, 0.5), double(2, 1)),
    quantile(double(1, 1), double(2, Number.NaN)),
    quantile(),
  );
  assert.deepEqual(given(row), {
    metric_type: 'summary',
    ts: '2018-12-13 14:51:00.3+00',
    ts_ns_rest: 123,
    count: 7n,
    sum: 3.5,
    buckets: {
      quantiles: [
        { quantile: 0.5, value: 1 },
        { quantile: 1, value: 'NaN' },
        { quantile: 0, value: 0 },
      ],
    },
    attributes: {},
  });
});

MetricRows('exemplars with and without a span, an integer, a double and no value', async () => {
  const row = await storedPoint(
    'gauge',
    fixed64(3, TIME),
    double(4, 1),
    field(
      5,
      fixed64(2, TIME),
      fixed64(6, -(2n ** 63n)),
      field(4, Buffer.alloc(8, 1)),
      field(5, Buffer.alloc(16, 2)),
      attribute(7, 'k', any.int(1)),
    ),
    field(5, double(3, Number.NaN)),
    field(5),
  );
  assert.deepEqual(row['exemplars'], [
    {
      time_unix_nano: TIME,
      value: -(2n ** 63n),
      trace_id: '02'.repeat(16),
      span_id: '01'.repeat(8),
      attributes: { k: 1 },
    },
    { time_unix_nano: 0, value: 'NaN', attributes: {} },
    { time_unix_nano: 0, value: null, attributes: {} },
  ]);
});

MetricRows('a point that says that no value was recorded', async () => {
  const row = await storedPoint('gauge', fixed64(3, TIME), varint(8, 1));
  assert.deepEqual([row['flags'], row['value_int'], row['value_double']], [1n, null, null]);
});

for (const value of [Number.NaN, Infinity, -Infinity, -0, Number.MIN_VALUE]) {
  MetricRows(`the double ${Object.is(value, -0) ? '-0' : value} keeps its value`, async () => {
    const row = await storedPoint('gauge', fixed64(3, TIME), double(4, value));
    assert.ok(Object.is(row['value_double'], value));
    const histogram = await storedPoint(
      'histogram',
      fixed64(3, TIME),
      double(5, value),
      double(11, value),
      double(12, value),
    );
    for (const column of ['sum', 'min', 'max']) assert.ok(Object.is(histogram[column], value), column);
  });
}

MetricRows('a temporality that nobody knows is stored as a number that fits', async () => {
  for (const [wire, column] of [
    [0, 0],
    [3, 3],
    [-1, 32_767],
  ] as const) {
    const sent = metric('sum', [Buffer.concat([fixed64(3, TIME), double(4, 1)])], varint(2, wire));
    const [row] = await storeAlone(database.pool, 'metrics', request([sent]));
    assert.equal(row?.['temporality'], column);
    assert.equal(row['is_monotonic'], false);
  }
});

MetricRows('a point without a time has the time of its arrival', async () => {
  const row = await storedPoint('gauge', double(4, 1), fixed64(2, 0n), fixed64(3, 0n));
  assert.deepEqual([row['ts'], row['ts_ns_rest'], row['start_at'], row['start_ns_rest']], [RECEIVED_AT, 0, null, null]);
});

MetricRows('any uint64 count and any times come back from their columns exactly', async () => {
  const uint64 = fc.oneof(
    fc.constantFrom(
      0n,
      1n,
      9999n,
      10_000n,
      99_999_999n,
      100_000_000n,
      10n ** 16n,
      2n ** 63n - 1n,
      2n ** 63n,
      UINT64_MAX,
    ),
    fc.bigInt({ min: 0n, max: UINT64_MAX }),
  );
  const numbers = fc.array(fc.tuple(uint64, uint64), { minLength: 50, maxLength: 200 });
  const property = fc.asyncProperty(numbers, async (pairs) => {
    const metrics = pairs.map(([count, time], i) => {
      const point = field(1, fixed64(2, BigInt(i + 1)), fixed64(3, time), fixed64(4, count));
      return Buffer.concat([field(1, 'm'), field(DATA.histogram, point)]);
    });
    const rows = await storeAlone(database.pool, 'metrics', request(metrics));
    assert.deepEqual(
      rows.map(({ count, ts, ts_ns_rest }) => ({ count, ts, ts_ns_rest })),
      pairs.map(([count, time]) => ({
        count,
        ts: time === 0n ? RECEIVED_AT : timestamptz(time),
        ts_ns_rest: Number(time % 1000n),
      })),
    );
  });
  await fc.assert(property, { numRuns: 15 });
});

MetricRows('any bytes and any length in name, description and unit', async () => {
  const bytes = Buffer.concat([Buffer.from('6100ff', 'hex'), Buffer.from('name '.repeat(200_000))]);
  const point = field(1, fixed64(3, TIME), double(4, 1));
  const sent = Buffer.concat([field(1, bytes), field(2, bytes), field(3, bytes), field(DATA.gauge, point)]);
  const [row = {}] = await storeAlone(database.pool, 'metrics', request([sent]));
  for (const column of ['metric_name', 'description', 'unit']) assert.ok(row[column] === storable(bytes), column);
});

MetricRows('every point of every metric is a row', async () => {
  const points = Array.from({ length: 3 }, (_, i) => Buffer.concat([fixed64(2, BigInt(i + 1)), fixed64(6, BigInt(i))]));
  const rows = await storeAlone(database.pool, 'metrics', request([metric('gauge', points), metric('sum', points)]));
  assert.deepEqual(
    rows.map((row) => row['value_int']),
    [0n, 0n, 1n, 1n, 2n, 2n],
  );
});

MetricRows.run();
