/** Section 6, data: values that were seen to break back ends. */
import assert from 'node:assert/strict';
import { LEGACY_TRACE, SPAN_ID, TRACE_ID } from '../otlp/golden_vectors.ts';
import {
  any,
  attribute,
  double,
  doubleBytes,
  field,
  fixed64,
  fixed64Bytes,
  request,
  spanIds,
  varint,
  varintBytes,
} from '../support/otlp_messages.ts';
import { timestamptz, type StoredRow } from '../support/gateway.ts';
import { MAX_DEPTH } from './conformance_gateway.ts';
import { bytes, metric, record, TIME } from './requests.ts';
import type { Row, Run } from './rows.ts';
import { assertRejected, assertTaken, jsonRecord, jsonRequest, onlyRow, storedAttributes } from './stored.ts';

const SECOND = 1_000_000_000n;
const MAX_TIME = 2n ** 64n - 1n;

async function spanWith(run: Run, ...fields: readonly Uint8Array[]): Promise<StoredRow> {
  await run.clear();
  assertTaken(await run.send(request([Buffer.concat([spanIds(1), ...fields])])));
  return onlyRow(run);
}

async function times(run: Run, start: bigint, end: bigint): Promise<unknown[]> {
  const row = await spanWith(run, fixed64(7, start), fixed64(8, end));
  return [row['started_at'], row['ended_at'], row['duration_ns']];
}

async function metricRow(run: Run, sent: Uint8Array): Promise<StoredRow> {
  await run.clear();
  assertTaken(await run.send(request([sent])));
  return onlyRow(run);
}

const named = (dataField: number, ...data: readonly Uint8Array[]): Buffer =>
  Buffer.concat([field(1, 'm'), field(dataField, ...data)]);

async function logRow(run: Run, ...fields: readonly Uint8Array[]): Promise<StoredRow> {
  await run.clear();
  assertTaken(await run.send(request([Buffer.concat(fields)])));
  return onlyRow(run);
}

function nested(depth: number): Buffer {
  const levels: Buffer[] = [];
  let size = 0;
  // From the innermost outwards, without copying what is inside again and again.
  for (let level = 0; level < depth; level++) {
    const value = Buffer.concat([bytes('0a'), varintBytes(BigInt(size))]);
    const list = Buffer.concat([bytes('2a'), varintBytes(BigInt(size + value.length))]);
    levels.push(value, list);
    size += value.length + list.length;
  }
  return Buffer.concat(levels.toReversed());
}

export const DATA_ROWS: readonly Row[] = [
  {
    id: 'D-1',
    says: 'of equal keys the last counts; those of resource and record are not equal',
    async check(run) {
      const pairs = [
        ['k', any.int(1)],
        ['k', any.string('x')],
        ['m', any.kvlist(['n', any.int(1)], ['n', any.bool(true)])],
        ['k', any.double(0.5)],
      ] as const;
      assert.deepEqual(await storedAttributes(run, pairs), { k: 0.5, m: { n: true } });
      await run.clear();
      const resource = attribute(1, 'k', any.string('resource'));
      assertTaken(await run.send(request([record(run.signal, { attributes: [['k', any.int(2)]] })], { resource })));
      const row = await onlyRow(run);
      assert.deepEqual([row['resource'], row['attributes']], [{ k: 'resource' }, { k: 2 }]);
    },
  },
  {
    id: 'D-2',
    says: 'text that is not UTF-8 is mended, in protobuf form and in JSON',
    async check(run) {
      const mark = 'MARK';
      const text =
        run.wire === 'http/json'
          ? Buffer.from(
              jsonRequest(
                run.signal,
                jsonRecord(run.signal, `"attributes":[{"key":"k","value":{"stringValue":"${mark}"}}]`),
              ),
            )
          : request([record(run.signal, { attributes: [['k', any.string(mark)]] })]);
      const at = text.indexOf(mark);
      for (const [hex, stored] of [
        ['fffe6162', '\uFFFD\uFFFDab'],
        ['6162e4bd', 'ab\uFFFD'],
      ] as const) {
        await run.clear();
        const broken = Buffer.concat([text.subarray(0, at), bytes(hex), text.subarray(at + mark.length)]);
        assertTaken(await run.sendBytes(broken));
        assert.deepEqual((await onlyRow(run))['attributes'], { k: stored });
      }
    },
  },
  {
    id: 'D-3',
    says: 'any time is stored; an end before its start is a duration of 0 and a mark',
    signals: ['traces'],
    async check(run) {
      const at = timestamptz(TIME);
      assert.deepEqual(await times(run, TIME, TIME - SECOND), [at, timestamptz(TIME - SECOND), 0n]);
      assert.deepEqual((await onlyRow(run))['attributes'], { 'sluice.time_conflict': true });
      assert.deepEqual(await times(run, TIME, 0n), [at, null, null]);
      assert.deepEqual(await times(run, 0n, TIME), ['1970-01-01 00:00:00+00', at, null]);
      assert.deepEqual(await times(run, 0n, 0n), ['1970-01-01 00:00:00+00', null, null]);
      const far = 10_000_000_000n * SECOND;
      assert.deepEqual(await times(run, far, far + 5n), [timestamptz(far), timestamptz(far), 5n]);
      assert.deepEqual(await times(run, 1n, MAX_TIME), [
        '1970-01-01 00:00:00+00',
        timestamptz(MAX_TIME),
        2n ** 63n - 1n,
      ]);
      // Milliseconds and microseconds that were sent as nanoseconds.
      for (const unit of [1_000_000n, 1000n]) {
        assert.deepEqual((await times(run, TIME / unit, TIME / unit + 7n))[2], 7n);
      }
    },
  },
  {
    id: 'D-4',
    says: 'empty names, long values and very many attributes are stored, and what was dropped is told',
    async check(run) {
      assert.deepEqual(
        await storedAttributes(run, [
          ['', any.int(1)],
          ['long', any.string('x'.repeat(900_000))],
        ]),
        { '': 1, long: 'x'.repeat(900_000) },
      );
      const many = Array.from({ length: 10_000 }, (_, at) => [`key ${at}`, any.int(at)] as const);
      assert.deepEqual(await storedAttributes(run, many), Object.fromEntries(many.map(([key], at) => [key, at])));
      if (run.signal !== 'traces') return;
      const link = field(13, field(1, bytes(TRACE_ID)), field(2, bytes(SPAN_ID)));
      const dropped = Buffer.concat([varint(10, 1), varint(12, 2), varint(14, 4_294_967_295)]);
      const row = await spanWith(run, ...Array.from({ length: 128 }, () => link), dropped);
      assert.equal(row['name'], '');
      assert(Array.isArray(row['links']));
      assert.equal(row['links'].length, 128);
      const counts = ['attributes', 'events', 'links'].map((what) => row[`dropped_${what}_count`]);
      assert.deepEqual(counts, [1n, 2n, 4_294_967_295n]);
    },
  },
  {
    id: 'D-5',
    says: 'log records without ids, and bodies of every kind, are kept',
    signals: ['logs'],
    async check(run) {
      const bodies = [
        [any.kvlist(['a', any.int(1)]), { a: 1 }],
        [any.array(any.int(1), any.string('x')), [1, 'x']],
        [any.bytes(bytes('00ff')), 'AP8='],
        [any.double(Number.NaN), 'NaN'],
      ] as const;
      for (const [body, json] of bodies) {
        const row = await logRow(run, field(5, body), field(12, 'event'));
        assert.deepEqual(
          [row['body_json'], row['trace_id'], row['span_id'], row['event_name']],
          [json, null, null, 'event'],
        );
      }
      for (const fields of [[field(5, any.empty)], [varint(2, 9)]]) {
        const row = await logRow(run, ...fields);
        assert.deepEqual([row['body'], row['body_json']], [null, null]);
      }
    },
  },
  {
    id: 'D-6',
    says: 'odd metrics are stored where they mean something, and rejected one by one where not',
    signals: ['metrics'],
    check: assertOddMetrics,
  },
  {
    id: 'D-7',
    says: 'spans in the field from before 0.19 are read, fields to come are passed over',
    signals: ['traces'],
    async check(run) {
      assertTaken(await run.send(LEGACY_TRACE));
      const row = await onlyRow(run);
      assert.deepEqual([row['trace_id'], row['span_id'], row['scope_name']], [TRACE_ID, SPAN_ID, 'l']);
      assert.equal((await spanWith(run, field(5, 'a'), field(17, 'to come')))['name'], 'a');
    },
  },
  {
    id: 'D-8',
    says: 'an attribute may change its type from one record to the next',
    async check(run) {
      const forms = [
        [any.int(200), 200],
        [any.string('200'), '200'],
        [any.double(200), 200],
        [any.array(any.int(200)), [200]],
      ] as const;
      for (const [value, stored] of forms) {
        assert.deepEqual(
          await storedAttributes(run, [
            ['http.status_code', value],
            ['pencheff.scan_id', value],
          ]),
          {
            'http.status_code': stored,
            'pencheff.scan_id': stored,
          },
        );
        assert.equal((await onlyRow(run))['scan_id'], Array.isArray(stored) ? null : '200');
      }
    },
  },
  {
    id: 'D-9',
    says: 'values nest 64 deep and no deeper; unknown groups are passed over',
    async check(run) {
      assertTaken(await run.send(request([record(run.signal, { attributes: [['k', nested(MAX_DEPTH - 1)]] })])));
      await run.clear();
      for (const depth of [100, 20_000]) {
        const reply = await run.sendBytes(deepRequest(run, depth));
        assert.deepEqual([reply.code, reply.status ?? 400], [3, 400], `depth ${depth}`);
      }
      if (run.wire === 'http/json') return;
      const group = bytes('9b06 9b06 0801 9c06 9c06');
      assertTaken(await run.sendBytes(request([record(run.signal, { more: group })])));
      assert.equal((await run.rows()).length, 1);
    },
  },
];

function deepRequest({ wire, signal }: Run, depth: number): Buffer {
  if (wire !== 'http/json') return request([record(signal, { attributes: [['k', nested(depth)]] })]);
  const value = `${'{"arrayValue":{"values":['.repeat(depth)}{}${']}}'.repeat(depth)}`;
  return Buffer.from(jsonRequest(signal, jsonRecord(signal, `"attributes":[{"key":"k","value":${value}}]`)));
}

async function assertOddMetrics(run: Run): Promise<void> {
  for (const data of [5, 7, 9, 10, 11]) {
    await run.clear();
    assertTaken(await run.send(request([named(data)])));
    assert.deepEqual(await run.rows(), [], 'no data points');
  }
  const time = fixed64(3, TIME);
  const bare = await metricRow(run, named(9, field(1, time, fixed64(4, 3n), double(5, 6))));
  assert.deepEqual([bare['count'], bare['sum'], bare['buckets']], [3n, 6, null]);
  const unrecorded = await metricRow(run, metric(time, varint(8, 1)));
  assert.deepEqual([unrecorded['value_int'], unrecorded['value_double'], unrecorded['flags']], [null, null, 1n]);
  const both = await metricRow(run, metric(time, double(4, 1), fixed64(6, 2n)));
  assert.deepEqual([both['value_int'], both['value_double']], [2n, null]);
  assert.equal((await metricRow(run, named(7, field(1, time, double(4, 1)), varint(2, 0))))['temporality'], 0);
  await run.clear();
  const valueless = request([metric(time), metric(time, double(4, 1))]);
  assertRejected(await run.send(valueless), 1, /must have as_double or as_int/);
  assert.equal((await run.rows()).length, 1);
  for (const counts of [[1n], [1n, 1n, 1n]]) {
    const fields = [fixed64(4, 3n), field(6, ...counts.map(fixed64Bytes)), field(7, doubleBytes(1))];
    assertRejected(await run.send(request([named(9, field(1, time, ...fields))])), 1, /one bucket count more/);
  }
  const unordered = [field(6, ...[1n, 1n, 1n].map(fixed64Bytes)), field(7, doubleBytes(2), doubleBytes(1))];
  assertRejected(await run.send(request([named(9, field(1, time, ...unordered))])), 1, /bounds .* must increase/);
  for (const scale of [-10, 0, 20]) await assertExponential(run, scale);
  const summary = await metricRow(
    run,
    named(11, field(1, time, fixed64(4, 2n), double(5, 3), field(6, double(1, 0.5), double(2, 1)))),
  );
  assert.deepEqual([summary['count'], summary['buckets']], [2n, { quantiles: [{ quantile: 0.5, value: 1 }] }]);
  const exemplar = field(5, fixed64(2, TIME), fixed64(6, 7n), field(4, bytes(SPAN_ID)), field(5, bytes(TRACE_ID)));
  assert.match(
    JSON.stringify((await metricRow(run, metric(time, double(4, 1), exemplar)))['exemplars'], bigintAsText),
    new RegExp(`${TRACE_ID}.*${SPAN_ID}`),
  );
}

const bigintAsText = (_key: string, value: unknown): unknown => (typeof value === 'bigint' ? String(value) : value);

const side = (offset: number): Buffer => Buffer.concat([varint(1, offset), field(2, varintBytes(1n), varintBytes(2n))]);

/** With buckets on both sides of zero. */
async function assertExponential(run: Run, scale: number): Promise<void> {
  const zigzag = scale < 0 ? -2 * scale - 1 : 2 * scale;
  const fields = [
    fixed64(3, TIME),
    fixed64(4, 7n),
    varint(6, zigzag),
    fixed64(7, 1n),
    field(8, side(1)),
    field(9, side(4)),
  ];
  const row = await metricRow(run, named(10, field(1, ...fields), varint(2, 1)));
  assert.deepEqual(row['buckets'], {
    scale,
    zero_count: 1,
    zero_threshold: 0,
    positive: { offset: -1, bucket_counts: [1, 2] },
    negative: { offset: 2, bucket_counts: [1, 2] },
  });
}
