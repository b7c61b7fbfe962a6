import assert from 'node:assert/strict';
import { suite } from 'uvu';
import type { Signal } from '../../src/model/batch.ts';
import { encodeRequest } from '../../src/otlp/encode.ts';
import { content, pointsOf, recordsOf } from './content.ts';
import { LEGACY_TRACE, MINIMAL_TRACE, TRACE_ID } from './golden_vectors.ts';
import { decode, field, request, SPAN_IDS, varint, wire } from './requests.ts';

const attribute = (number: number, key: string, value: Buffer): Buffer =>
  field(number, field(1, Buffer.from(key)), field(2, value));
const text = (value: string): Buffer => field(1, Buffer.from(value));
const int = (value: number): Buffer => wire(0x18, varint(value));

/** The only record of a request around it. */
function only(signal: Signal, ...parts: readonly Uint8Array[]): Record<string, unknown> {
  const [record, ...more] = recordsOf(decode(signal, request(wire(...parts))).batch);
  assert.ok(record !== undefined && more.length === 0);
  return record;
}

/** The only point of a metric `m` with one data field. */
function onlyPoint(dataField: number, ...parts: readonly Uint8Array[]): Record<string, unknown> {
  const metric = wire(field(1, '6d'), field(dataField, field(1, ...parts)));
  const [point, ...more] = pointsOf(decode('metrics', request(metric)).batch);
  assert.ok(point !== undefined && more.length === 0);
  return point;
}

const leniency = suite('decoding what senders may do');

const UNKNOWN_FIELDS: readonly (readonly [string, Buffer])[] = [
  ['a varint', wire(varint(99 * 8), varint(2 ** 40))],
  ['eight bytes', wire(varint(99 * 8 + 1), '0102030405060708')],
  ['a length-prefixed field', field(99, 'ffffff')],
  ['four bytes', wire(varint(99 * 8 + 5), '01020304')],
  ['an empty group', wire(varint(99 * 8 + 3), varint(99 * 8 + 4))],
  [
    'a group with fields and a group in it',
    wire(varint(99 * 8 + 3), 0x0a, 0x01, 0xff, 0x08, 0x01, 0x13, 0x09, '0102030405060708', 0x14, varint(99 * 8 + 4)),
  ],
  ['the highest field number there is', wire(varint((2 ** 29 - 1) * 8), 0x01)],
];

for (const [name, unknown] of UNKNOWN_FIELDS) {
  leniency(`skips ${name} in every message`, () => {
    const value = wire(unknown, text('v'), unknown);
    const keyValue = (number: number): Buffer =>
      field(number, unknown, field(1, 'aa'), unknown, field(2, value), unknown);
    const event = field(11, unknown, field(2, '65'), unknown, keyValue(3), unknown);
    const link = field(13, unknown, field(1, TRACE_ID), unknown, keyValue(4), unknown);
    const status = field(15, unknown, wire(0x18, 0x02), unknown);
    const span = field(2, unknown, SPAN_IDS, unknown, keyValue(9), unknown, keyValue(9), event, link, status, unknown);
    const scope = field(1, unknown, field(1, '73'), unknown, keyValue(3), unknown);
    const resource = field(1, unknown, keyValue(1), unknown, keyValue(1), unknown);
    const bytes = wire(
      unknown,
      field(1, unknown, resource, unknown, field(2, unknown, scope, unknown, span, unknown)),
      unknown,
    );

    const { batch } = decode('traces', bytes);
    const pair = ['\ufffd', 'v'];
    const [group] = content(batch);
    assert.deepEqual(group?.attributes, [pair, pair]);
    assert.equal(group.scopes[0]?.name, 's');
    const [record] = recordsOf(batch);
    assert.deepEqual(record?.['attributes'], [pair, pair]);
    assert.deepEqual(record['events'], [{ time: 0n, name: 'e', attributes: [pair], dropped: 0 }]);
    assert.deepEqual(record['links'], [
      { traceId: TRACE_ID, spanId: '', traceState: '', attributes: [pair], dropped: 0, flags: 0 },
    ]);
    assert.deepEqual(record['status'], [2, '']);
    assert.deepEqual(recordsOf(decode('traces', encodeRequest(batch)).batch), [record]);
  });

  leniency(`skips ${name} in the messages of metrics`, () => {
    const exemplar = field(5, unknown, wire(0x31, '0500000000000000'), unknown);
    const number = field(1, unknown, wire(0x21, '000000000000f03f'), unknown, exemplar, unknown);
    const buckets = field(
      8,
      unknown,
      wire(0x08, 0x03),
      unknown,
      wire(0x10, 0x07),
      unknown,
      field(2, 0x08, 0x09),
      unknown,
    );
    const summary = field(1, field(6, unknown, wire(0x11, '000000000000f03f'), unknown));
    const bytes = request(
      wire(unknown, field(1, '67'), unknown, field(5, unknown, number, unknown), unknown),
      wire(field(1, '65'), field(10, field(1, unknown, buckets, unknown))),
      wire(field(1, '73'), field(11, unknown, summary)),
    );
    const points = pointsOf(decode('metrics', bytes).batch);
    assert.equal(points.length, 3);
    assert.equal(points[0]?.['asDouble'], 1);
    assert.deepEqual(points[0]['exemplars'], [{ attributes: [], time: 0n, value: 5n, traceId: '', spanId: '' }]);
    assert.deepEqual(points[1]?.['positive'], { offset: -2, counts: [7n, 8n, 9n] });
    assert.deepEqual(points[2]?.['quantiles'], [{ quantile: 0, value: 1 }]);
  });
}

leniency('skips a known field of another wire type', () => {
  const asVarint = [1, 2, 3, 4, 5, 7, 8, 9, 11, 13, 15, 16].map((number) => wire(varint(number * 8), 0x01));
  const asBytes = [6, 7, 8, 10, 12, 14, 16].map((number) => field(number, 'ff'));
  const plain = only('traces', SPAN_IDS);
  assert.deepEqual(only('traces', SPAN_IDS, ...asVarint, ...asBytes), plain);
});

leniency('takes the last of a scalar that occurs twice', () => {
  const first = wire(field(1, 'ff'), field(2, 'ff'), field(5, '61'), 0x30, 0x01, 0x39, '0100000000000000', 0x50, 0x07);
  const second = wire(SPAN_IDS, field(5, '62'), 0x30, 0x02, 0x39, '0200000000000000', 0x50, 0x08);
  assert.deepEqual(only('traces', first, second), only('traces', second));
});

const head = (key: string, dropped: number): Buffer => field(1, attribute(1, key, text(key)), 0x10, dropped);

leniency('merges the fields of a status, a resource and a scope that occur twice', () => {
  const span = wire(SPAN_IDS, field(15, field(2, '61'), 0x18, 0x01), field(15, 0x18, 0x02), field(15));
  const scopeGroup = field(2, field(1, field(1, '61'), field(2, '31')), field(2, span), field(1, field(1, '62')));
  const { batch } = decode('traces', field(1, head('k', 1), scopeGroup, head('l', 2), field(1), head('k', 3)));
  const [group] = content(batch);
  assert.deepEqual(group?.attributes, [
    ['k', 'k'],
    ['l', 'l'],
    ['k', 'k'],
  ]);
  assert.equal(group.dropped, 3);
  assert.deepEqual([group.scopes[0]?.name, group.scopes[0]?.version], ['b', '1']);
  assert.deepEqual(recordsOf(batch)[0]?.['status'], [2, 'a']);
  assert.deepEqual(content(decode('traces', encodeRequest(batch)).batch), [group]);
});

leniency('takes the last of several values in one attribute, of several bodies, of several number values', () => {
  const values = (...parts: readonly Buffer[]): unknown =>
    only('traces', SPAN_IDS, attribute(9, 'k', wire(...parts)))['attributes'];
  assert.deepEqual(values(text('A'), int(5)), [['k', 5]]);
  assert.deepEqual(values(int(5), text('A')), [['k', 'A']]);
  assert.deepEqual(values(field(5, field(1, int(1))), field(6)), [['k', new Map()]]);
  assert.equal(only('logs', field(5, text('a')), field(5, text('b')), field(5))['body'], 'b');
  const asInt = wire(0x31, '0500000000000000');
  const asDouble = wire(0x21, '000000000000f03f');
  assert.deepEqual([onlyPoint(5, asInt, asDouble)['asInt'], onlyPoint(5, asInt, asDouble)['asDouble']], [undefined, 1]);
  assert.deepEqual(
    [onlyPoint(5, asDouble, asInt)['asInt'], onlyPoint(5, asDouble, asInt)['asDouble']],
    [5n, undefined],
  );
});

const size = (list: unknown): number => (Array.isArray(list) ? list.length : -1);

leniency('data of one kind merges, data of another kind replaces it', () => {
  const point = field(1, wire(0x21, '000000000000f03f'));
  const sum = field(7, point, 0x10, 0x02, 0x18, 0x01);
  const name = field(1, '6d');
  const merged = only('metrics', name, sum, field(7, point, 0x10, 0x01));
  assert.deepEqual([merged['type'], size(merged['points']), merged['temporality']], ['sum', 2, 1]);
  const replaced = only('metrics', name, sum, field(5, point));
  assert.deepEqual([replaced['type'], size(replaced['points'])], ['gauge', 1]);
  assert.deepEqual([replaced['temporality'], replaced['isMonotonic']], [0, false]);
});

function readBuckets(...parts: readonly Buffer[]): object {
  const { counts, bounds } = onlyPoint(9, ...parts);
  return { counts, bounds };
}

leniency('reads repeated numbers packed, unpacked and mixed', () => {
  const two = '0200000000000000';
  const one = '0100000000000000';
  const bound = '000000000000f03f';
  const expected = { counts: [1n, 2n], bounds: [1] };
  assert.deepEqual(readBuckets(field(6, one, two), field(7, bound)), expected);
  assert.deepEqual(readBuckets(wire(0x31, one), wire(0x31, two), wire(0x39, bound)), expected);
  assert.deepEqual(readBuckets(field(6, one), wire(0x39, bound), field(6), wire(0x31, two)), expected);
});

leniency('reads varints that are longer than they need be', () => {
  const padded = wire(0xaa, 0x80, 0x00, 0x81, 0x80, 0x00, '61', 0x30, '8280808080808080', '8000');
  assert.deepEqual(only('traces', SPAN_IDS, padded), only('traces', SPAN_IDS, field(5, '61'), wire(0x30, 0x02)));
});

leniency('reads text that is not UTF-8 with replacement characters, and keeps a byte order mark', () => {
  assert.equal(only('traces', SPAN_IDS, field(5, 'fffe'))['name'], '\ufffd\ufffd');
  assert.equal(only('traces', SPAN_IDS, field(5, 'e4bd'))['name'], '\ufffd');
  assert.equal(only('traces', SPAN_IDS, field(5, 'efbbbf61'))['name'], '\ufeffa');
});

leniency('reads the old spelling of scopes only where there is no new one', () => {
  const legacy = LEGACY_TRACE.subarray(2);
  const current = MINIMAL_TRACE.subarray(2);
  for (const both of [wire(legacy, current), wire(current, legacy)]) {
    const [group, ...more] = content(decode('traces', field(1, both)).batch);
    assert.deepEqual([group?.scopes.map(({ name }) => name), more], [[''], []]);
  }
  const invalid = field(1000, field(2, field(5, '61')));
  assert.equal(decode('traces', field(1, invalid, current)).rejections.count, 0);
  assert.equal(decode('traces', field(1, invalid, legacy)).rejections.count, 1);
  const [twice] = content(decode('traces', field(1, legacy, wire(0x08, 0x01), legacy)).batch);
  assert.equal(twice?.scopes.length, 2);
});

leniency('an unknown kind, severity and time at the end of uint64 are kept', () => {
  const span = only('traces', SPAN_IDS, wire(0x30, varint(99)), wire(0x41, 'ffffffffffffffff'));
  assert.deepEqual([span['kind'], span['end']], [99, 2n ** 64n - 1n]);
  assert.equal(only('traces', SPAN_IDS, wire(0x30, varint(-1)))['kind'], 0xffff_ffff);
});

leniency.run();
