import assert from 'node:assert/strict';
import { suite } from 'uvu';
import { itemCount } from '../../src/model/batch.ts';
import { encodeRequest } from '../../src/otlp/encode.ts';
import { recordsOf } from './content.ts';
import { SPAN_ID, TRACE_ID } from './golden_vectors.ts';
import { decode, field, request, SPAN_IDS, wire } from './requests.ts';

const rejections = suite('rejecting records');

const TRACE_FAULT = 'trace_id must be 16 bytes (32 hex digits in JSON), not all zero';
const SPAN_FAULT = 'span_id must be 8 bytes (16 hex digits in JSON), not all zero';
const PARENT_FAULT = 'parent_span_id must be empty or 8 bytes (16 hex digits in JSON)';

const SPAN_CASES: readonly (readonly [string, Buffer, string])[] = [
  ['no ids', wire(), TRACE_FAULT],
  ['a short trace id', wire(field(1, '01'), field(2, SPAN_ID)), TRACE_FAULT],
  ['a long trace id', wire(field(1, TRACE_ID, '00'), field(2, SPAN_ID)), TRACE_FAULT],
  ['a trace id of zeros', wire(field(1, '00'.repeat(16)), field(2, SPAN_ID)), TRACE_FAULT],
  ['no span id', field(1, TRACE_ID), SPAN_FAULT],
  ['a span id of zeros', wire(field(1, TRACE_ID), field(2, '00'.repeat(8))), SPAN_FAULT],
  ['a parent id of another length', wire(SPAN_IDS, field(4, '0102')), PARENT_FAULT],
];

for (const [name, span, fault] of SPAN_CASES) {
  rejections(`a span with ${name} is left out, its neighbours are kept`, () => {
    const good = wire(SPAN_IDS, field(5, '61'));
    const { batch, rejections: found } = decode('traces', request(good, span, good));
    assert.deepEqual([itemCount(batch), found.count, found.message], [2, 1, `1 rejected: ${fault}`]);
    assert.equal(itemCount(decode('traces', encodeRequest(batch)).batch), 2);
  });
}

rejections('a parent id of zeros is no fault', () => {
  assert.equal(decode('traces', request(wire(SPAN_IDS, field(4, '00'.repeat(8))))).rejections.count, 0);
});

const double = wire(0x21, '000000000000f03f');
const bucketFault = 'a histogram data point must have one bucket count more than explicit bounds, or none of both';
const counts = (count: number): Buffer => field(6, '0100000000000000'.repeat(count));
const bounds = (...values: readonly number[]): Buffer => field(7, Buffer.from(Float64Array.from(values).buffer));

const POINT_CASES: readonly (readonly [string, number, Buffer, string])[] = [
  ['a gauge without a value', 5, wire(), 'a number data point must have as_double or as_int'],
  ['a sum without a value', 7, wire(0x40, 0x02), 'a number data point must have as_double or as_int'],
  ['as many buckets as bounds', 9, wire(counts(2), bounds(1, 2)), bucketFault],
  ['bounds without buckets', 9, bounds(1), bucketFault],
  ['buckets without bounds', 9, counts(2), bucketFault],
  ['bounds that fall', 9, wire(counts(3), bounds(2, 1)), 'the explicit bounds of a histogram data point must increase'],
  ['equal bounds', 9, wire(counts(3), bounds(1, 1)), 'the explicit bounds of a histogram data point must increase'],
  [
    'a bound that is no number',
    9,
    wire(counts(2), bounds(Number.NaN)),
    'the explicit bounds of a histogram data point must increase',
  ],
];

for (const [name, dataField, point, fault] of POINT_CASES) {
  rejections(`a data point with ${name} is left out`, () => {
    const good = dataField === 9 ? wire(counts(2), bounds(0)) : double;
    const data = field(dataField, field(1, good), field(1, point), field(1, good));
    const { batch, rejections: found } = decode('metrics', request(wire(field(1, '6d'), data)));
    assert.deepEqual([itemCount(batch), found.count, found.message], [2, 1, `1 rejected: ${fault}`]);
    assert.equal(itemCount(decode('metrics', encodeRequest(batch)).batch), 2);
  });
}

const GOOD_POINTS: readonly (readonly [string, number, Buffer])[] = [
  ['a gauge that says that nothing was recorded', 5, wire(0x40, 0x01)],
  ['a histogram without buckets', 9, wire()],
  ['one bucket', 9, counts(1)],
  ['an infinite first bound', 9, wire(counts(3), bounds(Number.NEGATIVE_INFINITY, Number.POSITIVE_INFINITY))],
  ['an empty exponential histogram', 10, wire()],
  ['an empty summary', 11, wire()],
];

for (const [name, dataField, point] of GOOD_POINTS) {
  rejections(`a data point with ${name} is kept`, () => {
    const { rejections: found } = decode('metrics', request(wire(field(1, '6d'), field(dataField, field(1, point)))));
    assert.equal(found.message, '');
  });
}

rejections('all points of a metric without a name are left out', () => {
  const { batch, rejections: found } = decode('metrics', request(field(5, field(1, double), field(1, double))));
  assert.deepEqual([itemCount(batch), found.message], [0, '2 rejected: a metric must have a name']);
});

rejections('a log record with an id of another length is kept without it, with a warning', () => {
  const rest = wire(field(5, field(1, '6869')), field(6, field(1, '6b'), field(2, field(1, '76'))));
  const shortTrace = wire(field(9, '01'), rest, field(10, SPAN_ID));
  const shortSpan = wire(field(10, '01'), field(9, TRACE_ID), rest);
  const { batch, rejections: found } = decode('logs', request(shortTrace, shortSpan, shortTrace));
  assert.equal(found.count, 0);
  assert.equal(
    found.message,
    '2 kept without ids: trace_id of a log record must be empty or 16 bytes (32 hex digits in JSON); ' +
      '1 kept without span_id: span_id of a log record must be empty or 8 bytes (16 hex digits in JSON)',
  );
  const [plain] = recordsOf(decode('logs', request(rest)).batch);
  assert.deepEqual(recordsOf(batch), [plain, { ...plain, traceId: TRACE_ID }, plain]);
  const again = decode('logs', encodeRequest(batch));
  assert.deepEqual([recordsOf(again.batch), again.rejections.message], [recordsOf(batch), '']);
});

rejections('a log record without ids or with ids of zeros is kept', () => {
  for (const log of [wire(), wire(field(9), field(10)), wire(field(9, '00'.repeat(16)), field(10, '00'.repeat(8)))]) {
    assert.equal(decode('logs', request(log)).rejections.message, '');
  }
});

rejections('many faults give a short message', () => {
  const { rejections: found } = decode('traces', request(...Array.from({ length: 40_000 }, () => wire())));
  assert.equal(found.message, `40000 rejected: ${TRACE_FAULT}`);
});

rejections.run();
