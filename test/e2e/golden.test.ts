import assert from 'node:assert/strict';
import { suite } from 'uvu';
import {
  FULL_TRACE,
  LEGACY_TRACE,
  LOG,
  LOG_THAT_LOOKS_LIKE_A_SPAN,
  METRICS,
  MINIMAL_TRACE,
  SPAN_ID,
  TRACE_ID,
} from '../otlp/golden_vectors.ts';
import {
  countRows,
  post,
  storedRows,
  testGateway,
  withoutArrival,
  type SignalTable,
  type StoredRow,
  type TestGateway,
} from '../support/gateway.ts';

const Golden = suite('golden vectors');
let gateway: TestGateway;

Golden.before(async () => {
  gateway = await testGateway();
});
Golden.before.each(async () => {
  await gateway.pool.query(
    'DELETE FROM otel_spans; DELETE FROM otel_logs; DELETE FROM otel_metrics; DELETE FROM receipts',
  );
});
Golden.after(() => gateway.close());

const TABLES = { traces: 'otel_spans', logs: 'otel_logs', metrics: 'otel_metrics' } as const satisfies Record<
  string,
  SignalTable
>;

/** Posts a request and returns all rows of its signal, after a look at the two columns that tell when they came. */
async function rowsOf(signal: keyof typeof TABLES, body: Uint8Array, orderBy: string): Promise<StoredRow[]> {
  const { rows: sentAt } = await gateway.pool.query<{ now: Date }>("SELECT date_trunc('milliseconds', now()) AS now");
  const answer = await post(`${gateway.url}/v1/${signal}`, body);
  assert.deepEqual([answer.status, answer.body.length], [200, 0]);
  const late = `SELECT count(*)::int AS count FROM ${TABLES[signal]} WHERE received_at NOT BETWEEN $1 AND now()`;
  const { rows: strays } = await gateway.pool.query<{ count: number }>(late, [sentAt[0]?.now]);
  assert.equal(strays[0]?.count, 0, 'received_at');
  const rows = await storedRows(gateway.pool, TABLES[signal], orderBy);
  return rows.map(withoutArrival);
}

/** What every row has that came without credentials, and what a row has that says nothing about its origin. */
const TENANT = { org_id: 'default', workspace_id: 'default', target_id: null };
const NO_PROMOTION = { span_type: null, adjusted_count: null, scan_id: null };
const NO_ORIGIN = {
  service_name: null,
  resource: null,
  resource_dropped_attributes_count: null,
  resource_schema_url: null,
  scope_name: null,
  scope_version: null,
  scope_attributes: null,
  scope_dropped_attributes_count: null,
  scope_schema_url: null,
};

const MINIMAL_ROW: StoredRow = {
  trace_id: TRACE_ID,
  span_id: SPAN_ID,
  parent_span_id: null,
  name: 'a',
  kind: 0,
  started_at: '1970-01-01 00:00:00+00',
  started_ns_rest: 0,
  ended_at: null,
  duration_ns: null,
  status_code: 0,
  status_message: null,
  trace_state: null,
  flags: null,
  attributes: {},
  events: null,
  links: null,
  dropped_attributes_count: null,
  dropped_events_count: null,
  dropped_links_count: null,
  ...NO_PROMOTION,
  ...TENANT,
  ...NO_ORIGIN,
};

Golden('V1: a span with every field', async () => {
  assert.deepEqual(await rowsOf('traces', FULL_TRACE, 'span_id'), [
    {
      trace_id: '5b8efff798038103d269b633813fc60c',
      span_id: 'eee19b7ec3c1b174',
      parent_span_id: 'eee19b7ec3c1b173',
      name: 'GET /',
      kind: 1,
      started_at: '2018-12-13 14:51:00+00',
      started_ns_rest: 0,
      ended_at: '2018-12-13 14:51:01+00',
      duration_ns: 1_000_000_000n,
      status_code: 2,
      status_message: 'boom',
      trace_state: 'ot=th:0',
      flags: 0x301n,
      attributes: {
        i: -1,
        max: 2n ** 63n - 1n,
        b: false,
        s: '',
        e: null,
        d: 'NaN',
        y: 'AP8=',
        a: ['x', null],
        k: { n: 1 },
      },
      events: [
        { time_unix_nano: 1_544_712_660_500_000_000n, name: 'exception', attributes: { 'exception.type': 'E' } },
      ],
      links: [{ trace_id: '01'.repeat(16), span_id: '02'.repeat(8), attributes: {}, flags: 0x101 }],
      dropped_attributes_count: null,
      dropped_events_count: null,
      dropped_links_count: null,
      ...NO_PROMOTION,
      ...TENANT,
      service_name: 'svc',
      resource: { 'service.name': 'svc' },
      resource_dropped_attributes_count: null,
      resource_schema_url: 'r',
      scope_name: 'lib',
      scope_version: '1',
      scope_attributes: null,
      scope_dropped_attributes_count: null,
      scope_schema_url: 's',
    },
  ]);
});

Golden('V2: a span with ids and a name', async () => {
  assert.deepEqual(await rowsOf('traces', MINIMAL_TRACE, 'span_id'), [MINIMAL_ROW]);
});

Golden('V3: a log record', async () => {
  assert.deepEqual(await rowsOf('logs', LOG, 'ts'), [
    {
      ts: '2018-12-13 14:51:00.3+00',
      ts_ns_rest: 0,
      observed_at: '2018-12-13 14:51:00.3+00',
      observed_ns_rest: 0,
      trace_id: '5b8efff798038103d269b633813fc60c',
      span_id: 'eee19b7ec3c1b174',
      severity_number: 9,
      severity_text: 'Info',
      body: 'hi',
      body_json: null,
      event_name: 'ev',
      flags: 1n,
      attributes: {},
      dropped_attributes_count: null,
      ...NO_PROMOTION,
      ...TENANT,
      ...NO_ORIGIN,
    },
  ]);
});

/** The columns of a metric that has little to say. */
const BARE_METRIC = {
  description: null,
  unit: null,
  temporality: null,
  is_monotonic: null,
  metadata: null,
  start_at: null,
  start_ns_rest: null,
  value_int: null,
  value_double: null,
  count: null,
  sum: null,
  min: null,
  max: null,
  buckets: null,
  exemplars: null,
  flags: null,
  attributes: {},
  trace_id: null,
  ...NO_PROMOTION,
  ...TENANT,
  ...NO_ORIGIN,
};

Golden('V4: an exponential histogram and a gauge of two points', async () => {
  const histogram = {
    ...BARE_METRIC,
    metric_name: 'm',
    metric_type: 'exponential_histogram',
    unit: 's',
    temporality: 1,
    ts: '1970-01-01 00:00:00+00',
    ts_ns_rest: 2,
    count: 3n,
    sum: 10,
    min: 0,
    max: 5,
    buckets: {
      scale: -1,
      zero_count: 1,
      zero_threshold: 0.5,
      positive: { offset: -2, bucket_counts: [0, 300] },
      negative: { offset: 0, bucket_counts: [] },
    },
  };
  const gauge = { ...BARE_METRIC, metric_name: 'g', metric_type: 'gauge', ts: '1970-01-01 00:00:00+00', ts_ns_rest: 1 };
  assert.deepEqual(await rowsOf('metrics', METRICS, 'metric_name, value_int'), [
    { ...gauge, value_int: -5n },
    { ...gauge, ts_ns_rest: 1, value_double: 0 },
    histogram,
  ]);
});

Golden('V5: a span in the field from before OTLP 0.19', async () => {
  assert.deepEqual(await rowsOf('traces', LEGACY_TRACE, 'span_id'), [{ ...MINIMAL_ROW, scope_name: 'l' }]);
});

Golden(
  'V6: logs sent to the path of traces: a success that says that no span has ids, and nothing is stored',
  async () => {
    const answer = await post(`${gateway.url}/v1/traces`, LOG_THAT_LOOKS_LIKE_A_SPAN);
    assert.equal(answer.status, 200);
    assert.match(answer.body.toString(), /1 rejected: trace_id must be 16 bytes/);
    assert.equal(await countRows(gateway.pool, 'otel_spans'), 0);
  },
);

Golden.run();
