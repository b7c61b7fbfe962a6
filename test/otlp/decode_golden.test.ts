import assert from 'node:assert/strict';
import { suite } from 'uvu';
import { content, recordsOf } from './content.ts';
import {
  FULL_TRACE,
  LEGACY_TRACE,
  LOG,
  LOG_THAT_LOOKS_LIKE_A_SPAN,
  METRICS,
  MINIMAL_TRACE,
  SPAN_ID,
  TRACE_ID,
} from './golden_vectors.ts';
import { decode } from './requests.ts';

const golden = suite('golden vectors');

const NOTHING = { attributes: [], dropped: 0, schemaUrl: '' };

golden('a span with every field', () => {
  const { batch, rejections } = decode('traces', FULL_TRACE);
  assert.equal(rejections.count, 0);
  assert.deepEqual(content(batch), [
    {
      attributes: [['service.name', 'svc']],
      dropped: 0,
      schemaUrl: 'r',
      scopes: [
        {
          ...NOTHING,
          name: 'lib',
          version: '1',
          schemaUrl: 's',
          records: [
            {
              traceId: '5b8efff798038103d269b633813fc60c',
              spanId: 'eee19b7ec3c1b174',
              parentSpanId: 'eee19b7ec3c1b173',
              traceState: 'ot=th:0',
              name: 'GET /',
              kind: 2,
              start: 1_544_712_660_000_000_000n,
              end: 1_544_712_661_000_000_000n,
              attributes: [
                ['i', -1],
                ['max', 9_223_372_036_854_775_807n],
                ['b', false],
                ['s', ''],
                ['e', null],
                ['d', Number.NaN],
                ['y', Buffer.from('00ff', 'hex')],
                ['a', ['x', null]],
                ['k', new Map([['n', 1]])],
              ],
              dropped: [0, 0, 0],
              counts: [1, 1],
              events: [
                {
                  time: 1_544_712_660_500_000_000n,
                  name: 'exception',
                  attributes: [['exception.type', 'E']],
                  dropped: 0,
                },
              ],
              links: [
                {
                  traceId: '01'.repeat(16),
                  spanId: '02'.repeat(8),
                  traceState: '',
                  attributes: [],
                  dropped: 0,
                  flags: 0x101,
                },
              ],
              status: [2, 'boom'],
              flags: 0x301,
            },
          ],
        },
      ],
    },
  ]);
});

golden('a span with ids and a name', () => {
  const [resource] = content(decode('traces', MINIMAL_TRACE).batch);
  assert.ok(resource !== undefined);
  assert.deepEqual({ ...resource, scopes: [] }, { ...NOTHING, scopes: [] });
  const [scope] = resource.scopes;
  assert.ok(scope !== undefined);
  assert.deepEqual({ ...scope, records: [] }, { ...NOTHING, name: '', version: '', records: [] });
  assert.deepEqual(scope.records, [
    {
      traceId: TRACE_ID,
      spanId: SPAN_ID,
      parentSpanId: '',
      traceState: '',
      name: 'a',
      kind: 0,
      start: 0n,
      end: 0n,
      attributes: [],
      dropped: [0, 0, 0],
      counts: [0, 0],
      events: [],
      links: [],
      status: [0, ''],
      flags: 0,
    },
  ]);
});

golden('a log record that was only observed', () => {
  assert.deepEqual(recordsOf(decode('logs', LOG).batch), [
    {
      time: 0n,
      observed: 1_544_712_660_300_000_000n,
      severity: [9, 'Info'],
      body: 'hi',
      attributes: [],
      dropped: 0,
      flags: 1,
      traceId: '5b8efff798038103d269b633813fc60c',
      spanId: 'eee19b7ec3c1b174',
      eventName: 'ev',
    },
  ]);
});

const NO_POINT = {
  attributes: [],
  start: undefined,
  asDouble: undefined,
  asInt: undefined,
  count: undefined,
  sum: undefined,
  min: undefined,
  max: undefined,
  scale: 0,
  zeroCount: undefined,
  zeroThreshold: undefined,
  positive: { offset: 0, counts: [] },
  negative: { offset: 0, counts: [] },
  counts: [],
  bounds: [],
  quantiles: [],
  exemplars: [],
  flags: 0,
};

const NO_METRIC = { description: '', unit: '', temporality: 0, isMonotonic: false, metadata: [] };

golden('an exponential histogram, and a gauge of an integer and of zero', () => {
  assert.deepEqual(recordsOf(decode('metrics', METRICS).batch), [
    {
      ...NO_METRIC,
      name: 'm',
      unit: 's',
      type: 'exponential_histogram',
      temporality: 1,
      points: [
        {
          ...NO_POINT,
          time: 2n,
          count: 3n,
          sum: 10,
          min: 0,
          max: 5,
          scale: -1,
          zeroCount: 1n,
          zeroThreshold: 0.5,
          positive: { offset: -2, counts: [0n, 300n] },
        },
      ],
    },
    {
      ...NO_METRIC,
      name: 'g',
      type: 'gauge',
      points: [
        { ...NO_POINT, time: 1n, asInt: -5n },
        { ...NO_POINT, time: 1n, asDouble: 0 },
      ],
    },
  ]);
});

golden('a span in the field that held spans before OTLP 0.19', () => {
  const [resource] = content(decode('traces', LEGACY_TRACE).batch);
  const [scope] = resource?.scopes ?? [];
  assert.equal(scope?.name, 'l');
  assert.deepEqual(scope.records, recordsOf(decode('traces', MINIMAL_TRACE).batch));
});

golden('logs sent as traces are spans without ids, which are rejected with a hint', () => {
  const { batch, rejections } = decode('traces', LOG_THAT_LOOKS_LIKE_A_SPAN);
  assert.deepEqual(recordsOf(batch), []);
  assert.equal(rejections.count, 1);
  assert.equal(rejections.message, '1 rejected: trace_id must be 16 bytes (32 hex digits in JSON), not all zero');
});

golden('no bytes are a request without records', () => {
  for (const signal of ['traces', 'logs', 'metrics'] as const) {
    assert.deepEqual(decode(signal, new Uint8Array()).batch.resources, []);
  }
});

golden.run();
