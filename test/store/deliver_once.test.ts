import assert from 'node:assert/strict';
import { randomBytes, randomUUID } from 'node:crypto';
import { suite } from 'uvu';
import { RetryableError } from '../../src/errors.ts';
import type { QueueRecord } from '../../src/model/record.ts';
import { forgetPositions } from '../../src/store/claims.ts';
import { createPool } from '../../src/store/connection.ts';
import { deliver, type Delivered } from '../../src/store/deliver.ts';
import { ensurePartitions } from '../../src/store/partitions.ts';
import { testDatabase, type TestDatabase } from '../support/postgres.ts';
import { tcpProxy } from '../support/tcp_proxy.ts';
import { lockSpans, spanRecord, storedNames, waitingSends } from './span_records.ts';

const Once = suite('deliver once');
let database: TestDatabase;

Once.before(async () => {
  database = await testDatabase();
});
Once.before.each(async () => {
  await database.pool.query(
    'DELETE FROM otel_spans; DELETE FROM receipts; DELETE FROM queue_positions; DELETE FROM queue_marks',
  );
});
Once.after(() => database.close());

const HOUR_MS = 3_600_000;
const NOON_MS = Date.UTC(2026, 10, 20, 12);

function send(...records: readonly QueueRecord[]): Promise<Delivered> {
  return deliver(database.pool, { records, exporter: 'postgres' });
}

const names = () => storedNames(database.pool);

Once('a record that is sent again is stored once, and is no duplicate', async () => {
  const [first, second] = [1, 2].map((seq) => ({ queueId: randomUUID(), seq }));
  const records = [await spanRecord(['a'], { id: first }), await spanRecord(['b'], { id: second })];
  assert.deepEqual(await send(...records), { duplicates: 0, deadLettered: 0 });
  const more = await spanRecord(['c'], { id: { ...second, seq: 3 } });
  assert.deepEqual(await send(...records, more), { duplicates: 0, deadLettered: 0 });
  assert.deepEqual(await names(), ['a', 'b', 'c']);
});

Once('records of equal numbers in two queues are two', async () => {
  for (const name of ['a', 'b']) await send(await spanRecord([name], { id: { queueId: randomUUID(), seq: 0 } }));
  assert.deepEqual(await names(), ['a', 'b']);
});

Once('a repeated request is stored once, whichever queue it came through', async () => {
  const receipt = randomBytes(32);
  const first = await spanRecord(['a', 'b'], { receipt, id: { queueId: randomUUID(), seq: 1 } });
  const repeat = { ...first, id: { queueId: randomUUID(), seq: 1 } };
  assert.deepEqual(await send(first), { duplicates: 0, deadLettered: 0 });
  assert.deepEqual(await send(repeat), { duplicates: 2, deadLettered: 0 });
  assert.deepEqual(await send({ ...first, id: undefined }), { duplicates: 2, deadLettered: 0 });
  assert.deepEqual(await send(first, repeat), { duplicates: 0, deadLettered: 0 }, 'both places are known by now');
  assert.deepEqual(await names(), ['a', 'b']);
});

Once('the same request twice in one send', async () => {
  const receipt = randomBytes(32);
  const record = await spanRecord(['a', 'b'], { receipt });
  const other = await spanRecord(['c'], { receipt: randomBytes(32) });
  assert.deepEqual(await send(record, other, record, record), { duplicates: 4, deadLettered: 0 });
  assert.deepEqual(await names(), ['a', 'b', 'c']);
});

Once('the same record twice in one send', async () => {
  const record = await spanRecord(['a'], { id: { queueId: randomUUID(), seq: 7 } });
  assert.deepEqual(await send(record, record), { duplicates: 0, deadLettered: 0 });
  assert.deepEqual(await names(), ['a']);
});

Once('records that have neither place nor receipt are stored as often as they come', async () => {
  const record = await spanRecord(['a']);
  await send(record, record);
  await send(record);
  assert.deepEqual(await names(), ['a', 'a', 'a']);
});

Once('two exporters of one database have different receipts, so each stores the request', async () => {
  for (const receipt of [randomBytes(32), randomBytes(32)]) await send(await spanRecord(['a'], { receipt }));
  assert.deepEqual(await names(), ['a', 'a']);
});

const repeats: readonly (readonly [name: string, firstMs: number, laterMs: number, duplicates: number])[] = [
  ['a millisecond later across midnight', Date.UTC(2026, 10, 21) - 1, Date.UTC(2026, 10, 21), 1],
  ['23 hours later across midnight', NOON_MS, NOON_MS + 23 * HOUR_MS, 1],
  ['24 hours later', NOON_MS, NOON_MS + 24 * HOUR_MS, 1],
  ['by a clock that is slow, across midnight', Date.UTC(2026, 10, 21), Date.UTC(2026, 10, 21) - 1, 1],
  ['two days later', NOON_MS, NOON_MS + 48 * HOUR_MS, 0],
  ['25 hours later, with a whole day between', Date.UTC(2026, 10, 20, 23, 30), Date.UTC(2026, 10, 22, 0, 30), 0],
];
for (const [when, firstMs, laterMs, duplicates] of repeats) {
  Once(`a repeat ${when} is ${duplicates > 0 ? 'known' : 'stored'}, in one send or in two`, async () => {
    for (const together of [false, true]) {
      const receipt = randomBytes(32);
      const first = await spanRecord(['a'], { receipt, receivedAtMs: firstMs });
      const later = await spanRecord(['a'], { receipt, receivedAtMs: laterMs });
      if (!together) await send(first);
      assert.equal((await send(...(together ? [first, later] : [later]))).duplicates, duplicates);
    }
    assert.equal((await names()).length, duplicates > 0 ? 2 : 4);
  });
}

Once('after the partitions of its days were made, a receipt still counts', async () => {
  const record = await spanRecord(['a'], { receipt: randomBytes(32), receivedAtMs: NOON_MS });
  await send(record);
  await ensurePartitions(database.pool, { today: new Date(NOON_MS) });
  assert.equal((await send(record)).duplicates, 1);
  assert.equal((await send({ ...record, receivedAtMs: NOON_MS + 20 * HOUR_MS })).duplicates, 1);
});

Once(
  'two senders with one request at the same time: one stores it, the other waits and counts duplicates',
  async () => {
    const unlock = await lockSpans(database.pool);
    const receipt = randomBytes(32);
    const others = await Promise.all(['x', 'y'].map((name) => spanRecord([name], { receipt: randomBytes(32) })));
    const record = await spanRecord(['a', 'b'], { receipt });
    const sends = others.map((other) => send(other, record));
    await waitingSends(database.pool, 2);
    await unlock();
    const outcomes = await Promise.all(sends);
    assert.deepEqual(
      outcomes.map(({ duplicates }) => duplicates).toSorted((a, b) => a - b),
      [0, 2],
    );
    assert.deepEqual(await names(), ['a', 'b', 'x', 'y']);
  },
);

Once(
  'many senders that have their requests in common in any order neither wait for one another nor double',
  async () => {
    const records = await Promise.all(
      Array.from({ length: 12 }, (_, i) => spanRecord([`span ${i}`], { receipt: randomBytes(32) })),
    );
    const orders = [records, records.toReversed(), [...records.slice(5), ...records.slice(0, 5)]];
    const outcomes = await Promise.all([...orders, ...orders].map((order) => send(...order)));
    const duplicates = outcomes.reduce((sum, outcome) => sum + outcome.duplicates, 0);
    assert.equal(duplicates, 5 * records.length);
    assert.equal((await names()).length, records.length);
  },
);

Once('given a COMMIT whose answer was lost, sending again stores nothing more', async () => {
  const way = await tcpProxy(database.url);
  const pool = createPool({ url: way.url, max: 2, applicationName: 'test', statementTimeoutMs: 5_000 });
  const records = [
    await spanRecord(['a', 'b'], { receipt: randomBytes(32), id: { queueId: randomUUID(), seq: 1 } }),
    await spanRecord(['c'], { id: { queueId: randomUUID(), seq: 1 } }),
    await spanRecord(['d'], { receipt: randomBytes(32) }),
  ];
  let cuts = 0;
  // The server reports the COPY once the transaction is committed.
  way.inspect((chunk) => {
    if (!chunk.includes('COPY 4')) return 'pass';
    cuts += 1;
    return 'cut';
  });
  await assert.rejects(deliver(pool, { records, exporter: 'postgres' }), RetryableError);
  way.inspect(undefined);
  assert.equal(cuts, 1);
  assert.deepEqual(await names(), ['a', 'b', 'c', 'd']);
  assert.deepEqual(await deliver(pool, { records, exporter: 'postgres' }), { duplicates: 1, deadLettered: 0 });
  assert.deepEqual(await names(), ['a', 'b', 'c', 'd']);
  await pool.end();
  await way.close();
});

Once('given a try that is still under way, sending again waits for its end', async () => {
  const unlock = await lockSpans(database.pool);
  const record = await spanRecord(['a'], { id: { queueId: randomUUID(), seq: 1 } });
  const tries = [send(record)];
  await waitingSends(database.pool, 1);
  tries.push(send(record));
  await waitingSends(database.pool, 2);
  await unlock();
  await Promise.all(tries);
  assert.deepEqual(await names(), ['a']);
});

Once('what was forgotten is stored, whoever sends it', async () => {
  const queueId = randomUUID();
  const recordAt = async (seq: number) => spanRecord([`span ${seq}`], { id: { queueId, seq } });
  for (const seq of [0, 1, 2, 3]) await send(await recordAt(seq));
  await forgetPositions(database.pool, { queueId, seq: 2 });
  await forgetPositions(database.pool, { queueId, seq: 1 });
  const { rows } = await database.pool.query('SELECT seq::int FROM queue_positions ORDER BY seq');
  assert.deepEqual(rows, [{ seq: 2 }, { seq: 3 }]);
  await send(await recordAt(0), await recordAt(1), await recordAt(2), await recordAt(4));
  assert.deepEqual(
    await names(),
    [0, 1, 2, 3, 4].map((seq) => `span ${seq}`),
  );
  await forgetPositions(database.pool, { queueId: randomUUID(), seq: 100 });
  await send(await recordAt(5));
  assert.equal((await names()).length, 6);
});

Once('a backlog of any size is forgotten in parts, each a transaction of its own', async () => {
  const queueId = randomUUID();
  await database.pool.query(
    'INSERT INTO queue_positions SELECT queue, seq FROM unnest($1::uuid[]) AS queue, generate_series(1, 25000) AS seq',
    [[queueId, randomUUID()]],
  );
  await database.pool.query(`
    CREATE TABLE parts (txid bigint, positions bigint);
    CREATE FUNCTION note_part() RETURNS trigger LANGUAGE plpgsql AS $$
      BEGIN INSERT INTO parts SELECT txid_current(), count(*) FROM gone; RETURN NULL; END $$;
    CREATE TRIGGER notes AFTER DELETE ON queue_positions REFERENCING OLD TABLE AS gone EXECUTE FUNCTION note_part()`);
  await forgetPositions(database.pool, { queueId, seq: 24_991 });
  const { rows } = await database.pool.query<{ positions: number }>(
    'SELECT sum(positions)::int AS positions FROM parts GROUP BY txid ORDER BY txid',
  );
  await database.pool.query('DROP FUNCTION note_part CASCADE');
  assert.deepEqual(
    rows.map(({ positions }) => positions),
    [10_000, 10_000, 4_990],
  );
  const left = await database.pool.query('SELECT FROM queue_positions WHERE queue_id = $1', [queueId]);
  assert.equal(left.rowCount, 10);
  const all = await database.pool.query('SELECT FROM queue_positions');
  assert.equal(all.rowCount, 25_010);
});

Once('what is forgotten is known even where its positions cannot be deleted', async () => {
  const id = { queueId: randomUUID(), seq: 1 };
  const record = await spanRecord(['a'], { id });
  await send(record);
  const pool = createPool({ url: database.url, max: 1, applicationName: 'test', statementTimeoutMs: 50 });
  const client = await database.pool.connect();
  await client.query('BEGIN; SELECT FROM queue_positions FOR UPDATE');
  await assert.rejects(forgetPositions(pool, { ...id, seq: 2 }), { code: '57014' });
  await client.query('COMMIT; DELETE FROM queue_positions');
  client.release();
  await send(record);
  assert.deepEqual(await names(), ['a']);
  await pool.end();
});

Once('a position that is forgotten while a late try waits for it is still known', async () => {
  const id = { queueId: randomUUID(), seq: 1 };
  const record = await spanRecord(['a'], { id });
  await send(record);
  const forgetting = await database.pool.connect();
  await forgetting.query('BEGIN');
  await forgetting.query(`INSERT INTO queue_marks (queue_id, below) VALUES ($1, 2)`, [id.queueId]);
  await forgetting.query('DELETE FROM queue_positions WHERE queue_id = $1 AND seq < 2', [id.queueId]);
  const late = send(record);
  await waitingSends(database.pool, 1);
  await forgetting.query('COMMIT');
  forgetting.release();
  await late;
  assert.deepEqual(await names(), ['a']);
});

Once('an id that is no UUID never reaches a statement', async () => {
  const id = { queueId: `'); DROP TABLE otel_spans; --`, seq: 1 };
  await assert.rejects(send(await spanRecord(['a'], { id })), { code: 'ERR_ASSERTION' });
  await assert.rejects(send(await spanRecord(['a'], { id: { queueId: randomUUID(), seq: 0.5 } })));
  assert.deepEqual(await names(), []);
});

Once.run();
