/** Section 6, Postgres: values that make it refuse a whole batch unless they are made storable. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { any, double, field, fixed64, fixed64Bytes, request } from '../support/otlp_messages.ts';
import { timestamptz } from '../support/gateway.ts';
import { bytes, metric, record, TIME } from './requests.ts';
import type { Row } from './rows.ts';
import { assertTaken, jsonValue, onlyRow, storedAttributes } from './stored.ts';

const MAX_UINT64 = 2n ** 64n - 1n;

export const POSTGRES_ROWS: readonly Row[] = [
  {
    id: 'G-1',
    says: 'NUL becomes U+FFFD in values and keys; the six characters that escape it stay',
    async check(run) {
      const pairs = [
        ['v', any.string('a\0b')],
        ['k\0', any.int(1)],
        ['text', any.string('\\u0000')],
      ] as const;
      assert.deepEqual(await storedAttributes(run, pairs), { v: 'a\uFFFDb', 'k\uFFFD': 1, text: '\\u0000' });
      if (run.wire === 'http/json')
        assert.equal(await jsonValue(run, '{"stringValue":"a\\u0000\\\\u0000"}'), 'a\uFFFD\\u0000');
    },
  },
  {
    id: 'G-2',
    says: 'half of a surrogate pair becomes U+FFFD',
    async check(run) {
      if (run.wire === 'http/json') {
        assert.equal(await jsonValue(run, '{"stringValue":"a\\ud800b"}'), 'a\uFFFDb');
        assert.equal(await jsonValue(run, '{"stringValue":"\\udc00\\ud83d\\ude00"}'), '\uFFFD\u{1F600}');
        return;
      }
      const stored = await storedAttributes(run, [['k', any.string(bytes('61 eda080 62'))]]);
      assert.deepEqual(stored, { k: 'a\uFFFD\uFFFD\uFFFDb' });
    },
  },
  {
    id: 'G-3',
    says: 'a request may have more values than a statement has parameters',
    async check(run) {
      const records = Array.from({ length: 5000 }, (_, number) => record(run.signal, { number }));
      assertTaken(await run.send(request(records)));
      assert.equal((await run.rows()).length, 5000);
    },
  },
  {
    id: 'G-4',
    says: 'rows of days without a partition are stored',
    async check(run) {
      const days = [1n, 86_400_000_000_000n, TIME, 4_102_444_800_000_000_000n, MAX_UINT64];
      assertTaken(await run.send(request(days.map((time) => record(run.signal, { time })))));
      const column = run.signal === 'traces' ? 'started_at' : 'ts';
      assert.deepEqual(
        (await run.rows()).map((row) => row[column]),
        days.map(timestamptz),
      );
    },
  },
  {
    id: 'G-5',
    says: 'counts of 64 bits without a sign are stored, and nanoseconds beside what a timestamp holds',
    signals: ['metrics'],
    async check(run) {
      const point = field(1, fixed64(3, TIME), fixed64(4, MAX_UINT64), field(6, fixed64Bytes(MAX_UINT64)));
      assertTaken(await run.send(request([Buffer.concat([field(1, 'm'), field(9, point)])])));
      const row = await onlyRow(run);
      assert.deepEqual(
        [row['count'], row['buckets'], row['ts_ns_rest']],
        [MAX_UINT64, { bucket_counts: [MAX_UINT64], explicit_bounds: [] }, 789],
      );
    },
  },
  {
    id: 'G-6',
    says: 'the same record twice in one request is no conflict',
    async check(run) {
      assertTaken(await run.send(request([record(run.signal), record(run.signal)])));
      assert.equal((await run.rows()).length, 2);
    },
  },
  {
    id: 'G-7',
    says: 'no text is too long for an index',
    async check(run) {
      // Random, because Postgres compresses what it indexes.
      const long = randomBytes(50_000).toString('hex');
      const pairs = ['pencheff.scan_id', 'scan.id', 'service.name'].map((key) => [key, any.string(long)] as const);
      assert.deepEqual(await storedAttributes(run, pairs), Object.fromEntries(pairs.map(([key]) => [key, long])));
    },
  },
  {
    id: 'G-8',
    says: 'NaN and the infinities are stored, as text where JSON has no number for them',
    async check(run) {
      const pairs = [
        ['n', any.double(Number.NaN)],
        ['i', any.double(Infinity)],
        ['m', any.array(any.double(-Infinity))],
      ] as const;
      assert.deepEqual(await storedAttributes(run, pairs), { n: 'NaN', i: 'Infinity', m: ['-Infinity'] });
      if (run.signal !== 'metrics') return;
      for (const value of [Number.NaN, Infinity, -Infinity]) {
        await run.clear();
        assertTaken(await run.send(request([metric(fixed64(3, TIME), double(4, value))])));
        assert.equal((await onlyRow(run))['value_double'], value);
      }
    },
  },
];
