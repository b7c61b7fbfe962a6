import assert from 'node:assert/strict';
import { suite } from 'uvu';
import type { QueueRecord } from '../../src/model/record.ts';
import { deliver } from '../../src/store/deliver.ts';
import { countRows } from '../support/gateway.ts';
import { testDatabase, type TestDatabase } from '../support/postgres.ts';
import { refuseBad } from './poison.ts';
import { spanRecord } from './span_records.ts';

const Cost = suite('cost of refused rows');
let database: TestDatabase;

Cost.before.each(async () => {
  database = await testDatabase();
});
Cost.after.each(() => database.close());

const ROWS = 8_192;
const RECORDS = 16;

const nameOf = (isBad: boolean, i: number) => `${isBad ? 'bad' : 'good'} ${i}`;

/** Sends that many rows in several records, every `nth` of them bad, and resolves to the seconds it took. */
async function measure(poison: string, rows: number, nth: number): Promise<number> {
  await refuseBad(database.pool, poison);
  const names = Array.from({ length: rows }, (_, i) => nameOf(i % nth === nth >> 1, i));
  const size = Math.ceil(rows / RECORDS);
  const records: QueueRecord[] = [];
  for (let at = 0; at < rows; at += size) records.push(await spanRecord(names.slice(at, at + size)));
  const startedAtMs = performance.now();
  const outcome = await deliver(database.pool, { records, exporter: 'postgres' });
  const seconds = (performance.now() - startedAtMs) / 1000;
  const refused = names.filter((name) => name.startsWith('bad')).length;
  assert.deepEqual(outcome, { duplicates: 0, deadLettered: refused });
  assert.equal(await countRows(database.pool, 'otel_spans'), rows - refused);
  const { rows: counts } = await database.pool.query('SELECT count(DISTINCT bytes)::int AS count FROM dead_letters');
  assert.deepEqual(counts, [{ count: refused }]);
  console.log(`${refused} of ${rows} rows refused by ${poison}: ${seconds.toFixed(2)} s`);
  return seconds;
}

// The bounds are the promise of the gateway, not a figure of this machine.
for (const poison of ['a CHECK', 'a trigger after the row']) {
  Cost(`one row in ${ROWS} refused by ${poison} costs at most 1 s`, async () => {
    assert((await measure(poison, ROWS, ROWS)) < 1);
  });
  Cost(`1 % of ${ROWS} rows refused by ${poison} costs at most 3 s`, async () => {
    assert((await measure(poison, ROWS, 100)) < 3);
  });
}

Cost('more than 10,000 rows in one send, all refused', async () => {
  await measure('a trigger after the row', 10_500, 1);
});

Cost.run();
