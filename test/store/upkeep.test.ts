import assert from 'node:assert/strict';
import { suite } from 'uvu';
import { PartitionUpkeep } from '../../src/store/upkeep.ts';
import { testDatabase, type TestDatabase } from '../support/postgres.ts';

const Upkeep = suite('upkeep');
let database: TestDatabase;

Upkeep.before.each(async () => {
  database = await testDatabase();
});
Upkeep.after.each(() => database.close());

const DAY_MS = 86_400_000;

function dayName(day: number): string {
  return new Date(Date.now() + day * DAY_MS).toISOString().slice(0, 10).replaceAll('-', '');
}

async function partitionsOf(table: string): Promise<string[]> {
  const { rows } = await database.pool.query<{ name: string }>(
    'SELECT inhrelid::regclass::text AS name FROM pg_inherits WHERE inhparent = $1::regclass ORDER BY 1',
    [table],
  );
  return rows.map(({ name }) => name);
}

/** Resolves once the table has these partitions: the upkeep tells nobody. */
async function untilPartitionsAre(table: string, names: readonly string[]): Promise<void> {
  for (let attempt = 0; attempt < 10_000; attempt++) {
    if ((await partitionsOf(table)).join() === names.join()) return;
  }
  assert.deepEqual(await partitionsOf(table), names);
}

Upkeep('makes the coming days of every table, and lets go of old receipts', async () => {
  await database.pool.query(
    `CREATE TABLE receipts_${dayName(-5)} PARTITION OF receipts FOR VALUES FROM ('${dayName(-5)}') TO ('${dayName(-4)}')`,
  );
  const days = [-1, 0, 1, 2, 3, 4, 5, 6, 7].map(dayName);
  const wanted = (table: string) => [...days.map((day) => `${table}_${day}`), `${table}_default`];
  const upkeep = new PartitionUpkeep(database.url, assert.ifError);
  upkeep.start(0);
  await untilPartitionsAre('receipts', wanted('receipts'));
  await upkeep.stop();
  for (const table of ['otel_spans', 'otel_logs', 'otel_metrics']) {
    assert.deepEqual(await partitionsOf(table), wanted(table));
  }
});

Upkeep("goes by the database's day, whatever this machine's clock says", async () => {
  const name = new URL(database.url).pathname.slice(1);
  await database.pool.query(`
    CREATE FUNCTION now() RETURNS timestamptz LANGUAGE sql AS $$ SELECT pg_catalog.now() - interval '5 days' $$;
    ALTER DATABASE ${name} SET search_path = public, pg_catalog;
    CREATE TABLE receipts_${dayName(-8)} PARTITION OF receipts FOR VALUES FROM ('${dayName(-8)}') TO ('${dayName(-7)}');
    CREATE TABLE receipts_${dayName(-9)} PARTITION OF receipts FOR VALUES FROM ('${dayName(-9)}') TO ('${dayName(-8)}')`);
  const upkeep = new PartitionUpkeep(database.url, assert.ifError);
  upkeep.start(0);
  const days = [-8, -6, -5, -4, -3, -2, -1, 0, 1, 2].map(dayName);
  await untilPartitionsAre('receipts', [...days.map((day) => `receipts_${day}`), 'receipts_default']);
  await upkeep.stop();
});

Upkeep('reports a failure, and ends when told to', async () => {
  const url = new URL(database.url);
  url.port = '1';
  // The upkeep alone keeps no process alive.
  const alive = setInterval(() => undefined, 60_000);
  const { promise, resolve } = Promise.withResolvers<unknown>();
  const upkeep = new PartitionUpkeep(url.href, resolve);
  upkeep.start(0);
  assert.match(String(await promise), /ECONNREFUSED/);
  await upkeep.stop();
  clearInterval(alive);
});

Upkeep('never started, it stops at once; stopped before its time, it opens no connection', async () => {
  const url = 'postgres://127.0.0.1:1/none';
  await new PartitionUpkeep(url, assert.ifError).stop();
  const upkeep = new PartitionUpkeep(url, assert.ifError);
  upkeep.start();
  await upkeep.stop();
});

Upkeep.run();
