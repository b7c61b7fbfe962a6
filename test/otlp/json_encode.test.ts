import assert from 'node:assert/strict';
import { suite } from 'uvu';
import type { Signal } from '../../src/model/batch.ts';
import { protobufToJson } from '../../src/otlp/json_encode.ts';
import { FULL_TRACE, LEGACY_TRACE, LOG, METRICS, SPAN_ID, TRACE_ID } from './golden_vectors.ts';
import { field, request, SPAN_IDS, wire } from './requests.ts';

const json = suite('OTLP/JSON');

const read = (signal: Signal, bytes: Uint8Array): unknown => JSON.parse(protobufToJson(signal, bytes));

const attribute = (key: string, value: object): object => ({ key, value });

json('of a span with every field', () => {
  assert.deepEqual(read('traces', FULL_TRACE), {
    resourceSpans: [
      {
        resource: { attributes: [attribute('service.name', { stringValue: 'svc' })] },
        scopeSpans: [
          {
            scope: { name: 'lib', version: '1' },
            spans: [
              {
                traceId: '5b8efff798038103d269b633813fc60c',
                spanId: 'eee19b7ec3c1b174',
                traceState: 'ot=th:0',
                parentSpanId: 'eee19b7ec3c1b173',
                name: 'GET /',
                kind: 2,
                startTimeUnixNano: '1544712660000000000',
                endTimeUnixNano: '1544712661000000000',
                attributes: [
                  attribute('i', { intValue: '-1' }),
                  attribute('max', { intValue: '9223372036854775807' }),
                  attribute('b', { boolValue: false }),
                  attribute('s', { stringValue: '' }),
                  attribute('e', {}),
                  attribute('d', { doubleValue: 'NaN' }),
                  attribute('y', { bytesValue: 'AP8=' }),
                  attribute('a', { arrayValue: { values: [{ stringValue: 'x' }, {}] } }),
                  attribute('k', { kvlistValue: { values: [attribute('n', { intValue: '1' })] } }),
                ],
                events: [
                  {
                    timeUnixNano: '1544712660500000000',
                    name: 'exception',
                    attributes: [attribute('exception.type', { stringValue: 'E' })],
                  },
                ],
                links: [{ traceId: '01'.repeat(16), spanId: '02'.repeat(8), flags: 257 }],
                status: { message: 'boom', code: 2 },
                flags: 769,
              },
            ],
            schemaUrl: 's',
          },
        ],
        schemaUrl: 'r',
      },
    ],
  });
});

json('of a log record and of metrics', () => {
  assert.deepEqual(read('logs', LOG), {
    resourceLogs: [
      {
        scopeLogs: [
          {
            logRecords: [
              {
                severityNumber: 9,
                severityText: 'Info',
                body: { stringValue: 'hi' },
                flags: 1,
                traceId: '5b8efff798038103d269b633813fc60c',
                spanId: 'eee19b7ec3c1b174',
                observedTimeUnixNano: '1544712660300000000',
                eventName: 'ev',
              },
            ],
          },
        ],
      },
    ],
  });
  const point = {
    timeUnixNano: '2',
    count: '3',
    sum: 10,
    scale: -1,
    zeroCount: '1',
    positive: { offset: -2, bucketCounts: ['0', '300'] },
    min: 0,
    max: 5,
    zeroThreshold: 0.5,
  };
  const numbers = [
    { timeUnixNano: '1', asInt: '-5' },
    { timeUnixNano: '1', asDouble: 0 },
  ];
  const metrics = [
    { name: 'm', unit: 's', exponentialHistogram: { dataPoints: [point], aggregationTemporality: 1 } },
    { name: 'g', gauge: { dataPoints: numbers } },
  ];
  assert.deepEqual(read('metrics', METRICS), { resourceMetrics: [{ scopeMetrics: [{ metrics }] }] });
});

json('keeps the old name of what came under it', () => {
  const spans = [{ traceId: TRACE_ID, spanId: SPAN_ID, name: 'a' }];
  const instrumentationLibrarySpans = [{ scope: { name: 'l' }, spans }];
  assert.deepEqual(read('traces', LEGACY_TRACE), { resourceSpans: [{ instrumentationLibrarySpans }] });
});

json('knows the references to entities', () => {
  const entity = field(3, field(1, '73'), field(2, '74'), field(3, '69'), field(3, '6a'), field(4, '64'));
  assert.deepEqual(read('traces', field(1, field(1, entity))), {
    resourceSpans: [
      { resource: { entityRefs: [{ schemaUrl: 's', type: 't', idKeys: ['i', 'j'], descriptionKeys: ['d'] }] } },
    ],
  });
});

const span = (...parts: readonly Uint8Array[]): string => {
  const text = protobufToJson('traces', request(wire(SPAN_IDS, ...parts)));
  const ids = `"traceId":"${TRACE_ID}","spanId":"${SPAN_ID}",`;
  return text.slice(text.indexOf(ids) + ids.length, text.lastIndexOf('}]}]}]}'));
};

json('of what occurs twice: the last of a scalar and of a oneof, messages merged', () => {
  assert.equal(span(field(5, '61'), field(3, '74'), field(5, '62')), '"traceState":"t","name":"b"');
  assert.equal(span(field(15, field(2, '61'), 0x18, 0x01), field(15, 0x18, 0x02)), '"status":{"message":"a","code":2}');
  const value = field(2, field(1, '61'), wire(0x18, 0x05), field(1, '62'));
  assert.equal(span(field(9, value)), '"attributes":[{"value":{"intValue":"5","stringValue":"b"}}]');
});

json('leaves out what is unknown and what has another wire type', () => {
  assert.equal(
    span(field(99, '61'), wire(0x28, 0x01), wire(0x2b, 0x08, 0x01, 0x2c), field(6, '61'), field(5, '62')),
    '"name":"b"',
  );
});

const double = (value: number): Buffer => field(9, field(2, 0x21, Buffer.from(Float64Array.of(value).buffer)));

json('has text for what JSON has no number for, and keeps the sign of zero', () => {
  for (const [value, text] of [
    [Number.NaN, '"NaN"'],
    [Number.POSITIVE_INFINITY, '"Infinity"'],
    [Number.NEGATIVE_INFINITY, '"-Infinity"'],
    [-0, '-0'],
    [1e21, '1e+21'],
    [5e-324, '5e-324'],
  ] as const) {
    assert.equal(span(double(value)), `"attributes":[{"value":{"doubleValue":${text}}}]`);
  }
});

json('reads repeated numbers packed, unpacked and mixed', () => {
  const counts = wire(0x10, 0x01, field(2, 0x02, 0xac, 0x02), 0x10, 0x03);
  const bytes = request(field(10, field(1, field(8, counts))));
  assert.ok(protobufToJson('metrics', bytes).includes('"positive":{"bucketCounts":["1","2","300","3"]}'));
});

json.run();
