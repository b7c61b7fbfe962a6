import assert from 'node:assert/strict';
import { suite } from 'uvu';
import { createPool } from '../../src/store/connection.ts';
import { ensurePartitions, pruneReceipts } from '../../src/store/partitions.ts';
import { testDatabase, type TestDatabase } from '../support/postgres.ts';

const Partitions = suite('partitions');
const TODAY = new Date('2026-11-20T23:59:59.999Z');
const DAYS = ['19', '20', '21', '22', '23', '24', '25', '26', '27'].map((day) => `202611${day}`);
const ALL = ['otel_spans', 'otel_logs', 'otel_metrics', 'receipts'].flatMap((table) =>
  DAYS.map((day) => `${table}_${day}`),
);

let database: TestDatabase;

Partitions.before.each(async () => {
  database = await testDatabase();
});
Partitions.after.each(() => database.close());

async function insertSpan(startedAt: string, pool = database.pool): Promise<void> {
  await pool.query(
    `INSERT INTO otel_spans (trace_id, span_id, name, kind, started_at, started_ns_rest, status_code, attributes, received_at)
     VALUES ('a', 'b', 'c', 0, $1, 0, 0, '{}', now())`,
    [startedAt],
  );
}

/** Where the spans are: partition and start, in order. */
async function placedSpans(): Promise<string[]> {
  const { rows } = await database.pool.query<{ place: string }>(
    `SELECT tableoid::regclass || ' ' || to_char(started_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US') AS place
     FROM otel_spans ORDER BY started_at`,
  );
  return rows.map(({ place }) => place);
}

Partitions('makes yesterday, today and the seven days after, of each table, once', async () => {
  assert.deepEqual(await ensurePartitions(database.pool, { today: TODAY }), ALL);
  assert.deepEqual(await ensurePartitions(database.pool, { today: TODAY }), []);
  const tomorrow = new Date(TODAY.getTime() + 1);
  assert.deepEqual(await ensurePartitions(database.pool, { today: tomorrow }), [
    'otel_spans_20261128',
    'otel_logs_20261128',
    'otel_metrics_20261128',
    'receipts_20261128',
  ]);
});

Partitions('days begin at midnight UTC, whatever the time zone of the database', async () => {
  const name = new URL(database.url).pathname.slice(1);
  await database.pool.query(`ALTER DATABASE ${name} SET timezone = 'America/New_York'`);
  const pool = createPool({ url: database.url, max: 1, applicationName: 'test', statementTimeoutMs: 5_000 });
  await ensurePartitions(pool, { today: TODAY });
  for (const time of ['19T00:00:00Z', '20T23:59:59.999999Z', '21T00:00:00Z', '28T00:00:00Z', '18T23:59:59.999999Z']) {
    await insertSpan(`2026-11-${time}`, pool);
  }
  await pool.end();
  assert.deepEqual(await placedSpans(), [
    'otel_spans_default 2026-11-18 23:59:59.999999',
    'otel_spans_20261119 2026-11-19 00:00:00.000000',
    'otel_spans_20261120 2026-11-20 23:59:59.999999',
    'otel_spans_20261121 2026-11-21 00:00:00.000000',
    'otel_spans_default 2026-11-28 00:00:00.000000',
  ]);
});

Partitions('a partition has the indexes of its table and no constraint besides its bounds', async () => {
  await ensurePartitions(database.pool, { today: TODAY });
  const { rows } = await database.pool.query(
    `SELECT
       (SELECT count(*)::int FROM pg_index WHERE indrelid = 'otel_spans'::regclass) AS wanted,
       (SELECT count(*)::int FROM pg_index JOIN pg_inherits ON inhrelid = indexrelid
        WHERE indrelid = 'otel_spans_20261120'::regclass) AS attached,
       (SELECT count(*)::int FROM pg_constraint
        WHERE conrelid = 'otel_spans_20261120'::regclass AND contype = 'c') AS checks`,
  );
  assert.deepEqual(rows, [{ wanted: 3, attached: 3, checks: 0 }]);
});

Partitions('given rows of the day in the default partition, moves them and leaves the others', async () => {
  await insertSpan('2026-11-22T12:00:00Z');
  await insertSpan('2026-11-22T13:00:00Z');
  await insertSpan('2024-01-01T00:00:00Z');
  assert.deepEqual(await ensurePartitions(database.pool, { today: TODAY }), ALL);
  assert.deepEqual(await placedSpans(), [
    'otel_spans_default 2024-01-01 00:00:00.000000',
    'otel_spans_20261122 2026-11-22 12:00:00.000000',
    'otel_spans_20261122 2026-11-22 13:00:00.000000',
  ]);
});

Partitions('given replicas that start at once, each partition is made by one of them', async () => {
  const replicas = [1, 2, 3].map((number) =>
    createPool({ url: database.url, max: 1, applicationName: `replica ${number}`, statementTimeoutMs: 5_000 }),
  );
  const made = await Promise.all(replicas.map((pool) => ensurePartitions(pool, { today: TODAY })));
  assert.deepEqual(made.flat().toSorted(), ALL.toSorted());
  await Promise.all(replicas.map((pool) => pool.end()));
});

Partitions('given a long reader, gives way to writers and succeeds when it is over', async () => {
  const reader = await database.pool.connect();
  await reader.query('BEGIN');
  await reader.query('SELECT FROM otel_spans');
  const making = ensurePartitions(database.pool, { today: TODAY });
  // Written while the maker waits for the reader or has given way: never behind it for longer than its lock time-out.
  const started = performance.now();
  for (let count = 0; count < 20; count += 1) await insertSpan('2024-01-01T00:00:00Z');
  assert(performance.now() - started < 5_000);
  await reader.query('COMMIT');
  reader.release();
  assert.deepEqual(await making, ALL);
  assert.equal((await placedSpans()).length, 20);
});

Partitions('leaves a partition alone that somebody detached', async () => {
  await ensurePartitions(database.pool, { today: TODAY });
  await database.pool.query('ALTER TABLE otel_spans DETACH PARTITION otel_spans_20261119');
  assert.deepEqual(await ensurePartitions(database.pool, { today: TODAY }), []);
});

async function insertReceipts(...days: readonly string[]): Promise<void> {
  await database.pool.query("INSERT INTO receipts SELECT day, 'k' FROM unnest($1::date[]) AS day", [days]);
}

async function receipts(): Promise<string[]> {
  const { rows } = await database.pool.query<{ place: string }>(
    `SELECT tableoid::regclass || ' ' || to_char(day, 'YYYY-MM-DD') AS place FROM receipts ORDER BY day`,
  );
  return rows.map(({ place }) => place);
}

Partitions('receipts that came before their partition move into it', async () => {
  await insertReceipts('2026-11-20', '2026-11-21', '2031-01-01');
  await ensurePartitions(database.pool, { today: TODAY });
  await assert.rejects(insertReceipts('2026-11-21'), { code: '23505' });
  assert.deepEqual(await receipts(), [
    'receipts_20261120 2026-11-20',
    'receipts_20261121 2026-11-21',
    'receipts_default 2031-01-01',
  ]);
});

const on = (date: string) => ({ today: new Date(`${date}T12:00:00Z`) });

Partitions('receipts go when they are more than three days old, and only theirs', async () => {
  await ensurePartitions(database.pool, { today: TODAY });
  await insertReceipts('2026-11-01', '2026-11-19', '2026-11-20', '2026-11-27');
  assert.deepEqual(await pruneReceipts(database.pool, on('2026-11-22')), []);
  assert.deepEqual((await receipts()).length, 3, 'the default partition is pruned too');
  assert.deepEqual(await pruneReceipts(database.pool, on('2026-11-23')), ['receipts_20261119']);
  assert.deepEqual(await pruneReceipts(database.pool, on('2026-11-23')), []);
  assert.deepEqual(await receipts(), ['receipts_20261120 2026-11-20', 'receipts_20261127 2026-11-27']);
  const { rows } = await database.pool.query("SELECT to_regclass('otel_spans_20261119') IS NOT NULL AS stays");
  assert.deepEqual(rows, [{ stays: true }]);
});

Partitions('given replicas that prune at once, each partition is dropped by one of them', async () => {
  await ensurePartitions(database.pool, { today: TODAY });
  const today = new Date('2026-11-30T12:00:00Z');
  const dropped = await Promise.all([1, 2, 3].map(() => pruneReceipts(database.pool, { today })));
  assert.deepEqual(
    dropped.flat().toSorted(),
    DAYS.slice(0, 8).map((day) => `receipts_${day}`),
  );
});

Partitions('told to end, makes no further partition', async () => {
  const work = { today: TODAY, signal: AbortSignal.abort() };
  await assert.rejects(ensurePartitions(database.pool, work), { name: 'AbortError' });
});

Partitions.run();
