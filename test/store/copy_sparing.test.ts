import assert from 'node:assert/strict';
import { randomBytes, randomUUID } from 'node:crypto';
import { suite } from 'uvu';
import { RetryableError } from '../../src/errors.ts';
import type { QueueRecord } from '../../src/model/record.ts';
import { deliver, type Delivered } from '../../src/store/deliver.ts';
import { decodeRow } from '../../src/store/row_values.ts';
import { any, attribute, request, spanIds } from '../support/otlp_messages.ts';
import { countRows } from '../support/gateway.ts';
import { testDatabase, type TestDatabase } from '../support/postgres.ts';
import { POISONS, refuseBad, takeAll } from './poison.ts';
import { encodeRows, recordOf } from './row_store.ts';
import { spanRecord, storedNames } from './span_records.ts';

const Sparing = suite('sparing copy');
let database: TestDatabase;

Sparing.before(async () => {
  database = await testDatabase();
});
Sparing.before.each(async () => {
  await takeAll(database.pool);
  await database.pool.query('DELETE FROM otel_spans; DELETE FROM dead_letters');
});
Sparing.after(() => database.close());

function send(...records: readonly QueueRecord[]): Promise<Delivered> {
  return deliver(database.pool, { records, exporter: 'postgres/main' });
}

/** The names of the spans in the dead letters, in alphabetical order. */
async function deadNames(): Promise<string[]> {
  const { rows } = await database.pool.query<{ format: string; bytes: Buffer }>(
    'SELECT format, bytes FROM dead_letters',
  );
  return rows.map(({ format, bytes }) => String(decodeRow(format, bytes)?.['name'])).toSorted();
}

const range = (count: number, name: (i: number) => string) => Array.from({ length: count }, (_, i) => name(i));
const isBad = (name: string) => name.startsWith('bad');
const good = (i: number) => `good ${String(i).padStart(5, '0')}`;
const bad = (i: number) => `bad ${String(i).padStart(5, '0')}`;

/** The names of each record of a send. */
const sends: Readonly<Record<string, readonly (readonly string[])[]>> = {
  'the first row': [[bad(0), good(1), good(2)]],
  'the last row': [[good(0), good(1), bad(2)]],
  'rows in the middle, neighbours and not': [range(40, (i) => ([7, 8, 9, 21].includes(i) ? bad(i) : good(i)))],
  'rows of two records': [range(9, (i) => (i === 4 ? bad(i) : good(i))), [bad(20), good(21)]],
  'a whole record': [range(5, good), range(12, (i) => bad(100 + i)), [good(200)]],
  'every row': [range(30, bad), range(3, (i) => bad(100 + i))],
};
for (const poison of POISONS.keys()) {
  Sparing(`${poison} refuses what it will; all the rest is stored`, async () => {
    await refuseBad(database.pool, poison);
    for (const [which, names] of Object.entries(sends)) {
      const all = names.flat();
      const outcome = await send(...(await Promise.all(names.map((some) => spanRecord(some)))));
      assert.deepEqual(outcome, { duplicates: 0, deadLettered: all.filter(isBad).length }, which);
      assert.deepEqual(await storedNames(database.pool), all.filter((name) => !isBad(name)).toSorted(), which);
      assert.deepEqual(await deadNames(), all.filter(isBad).toSorted(), which);
      await database.pool.query('DELETE FROM otel_spans; DELETE FROM dead_letters');
    }
  });
}

Sparing('a dead letter says where it came from and why it was refused, and nothing of its row', async () => {
  await refuseBad(database.pool);
  const tenant = { orgId: 'acme', workspaceId: 'red', targetId: 't1' };
  await send(await spanRecord(['good'], { tenant }), await spanRecord(['bad secret'], { tenant }));
  const { rows } = await database.pool.query(
    `SELECT exporter, signal, org_id, workspace_id, target_id, received_at, sqlstate, reason, format, items::int,
       dead_at BETWEEN now() - interval '1 minute' AND now() AS is_new FROM dead_letters`,
  );
  assert.deepEqual(rows, [
    {
      exporter: 'postgres/main',
      signal: 'traces',
      org_id: 'acme',
      workspace_id: 'red',
      target_id: 't1',
      received_at: new Date('2026-11-20T12:00:00.500Z'),
      sqlstate: '23514',
      reason: 'new row for relation "otel_spans_default" violates check constraint "poison"',
      format: 'spans/1',
      items: 1,
      is_new: true,
    },
  ]);
});

Sparing('what a trigger says of a row stays out of the reason', async () => {
  await refuseBad(database.pool, 'a trigger before the row');
  await send(await spanRecord(['bad secret']));
  const { rows } = await database.pool.query('SELECT sqlstate, reason FROM dead_letters');
  assert.deepEqual(rows, [{ sqlstate: 'P0001', reason: 'a trigger refuses the row' }]);
});

Sparing('poison and repeats in one send: each counts as what it is, also when it comes again', async () => {
  await refuseBad(database.pool);
  const queueId = randomUUID();
  const known = await spanRecord(['known', 'too'], { receipt: randomBytes(32), id: { queueId, seq: 1 } });
  await send(known);
  const repeat = { ...known, id: { queueId, seq: 2 } };
  const mixed = await spanRecord(['good', 'bad'], { receipt: randomBytes(32), id: { queueId, seq: 3 } });
  assert.deepEqual(await send(known, repeat, mixed), { duplicates: 2, deadLettered: 1 });
  assert.deepEqual(await send(known, repeat, mixed), { duplicates: 0, deadLettered: 0 }, 'places are known');
  assert.deepEqual(await send({ ...mixed, id: { queueId, seq: 4 } }), { duplicates: 2, deadLettered: 0 });
  assert.deepEqual(await storedNames(database.pool), ['good', 'known', 'too']);
  assert.deepEqual(await deadNames(), ['bad']);
});

Sparing('a repeat that is poison, twice in one send, dies once', async () => {
  await refuseBad(database.pool);
  const record = await spanRecord(['bad'], { receipt: randomBytes(32) });
  assert.deepEqual(await send(record, record), { duplicates: 1, deadLettered: 1 });
  assert.deepEqual(await deadNames(), ['bad']);
});

Sparing('rows that exclude one another: the first of them is stored', async () => {
  await database.pool.query('CREATE UNIQUE INDEX one_of_each ON otel_spans_default (name)');
  const outcome = await send(await spanRecord(['a', 'b', 'a']), await spanRecord(['b', 'c']));
  await database.pool.query('DROP INDEX one_of_each');
  assert.deepEqual(outcome, { duplicates: 0, deadLettered: 2 });
  assert.deepEqual(await storedNames(database.pool), ['a', 'b', 'c']);
});

Sparing('a row refused while megabytes are still on their way', async () => {
  await refuseBad(database.pool);
  const filler = attribute(9, 'v', any.string('x'.repeat(4_000_000)));
  const big = recordOf(await encodeRows('traces', request([Buffer.concat([spanIds(1), filler])])));
  const outcome = await send(await spanRecord(['bad']), ...Array.from({ length: 8 }, () => big));
  assert.deepEqual(outcome, { duplicates: 0, deadLettered: 1 });
  assert.equal(await countRows(database.pool, 'otel_spans'), 8);
});

Sparing('bytes that are no rows are one dead letter, whole rows before them are stored', async () => {
  const whole = await spanRecord(['a', 'b', 'c']);
  const cut = { ...whole, bytes: whole.bytes.subarray(0, -9) };
  const alien = { ...whole, bytes: Buffer.from('no rows at all') };
  assert.deepEqual(await send(cut, alien), { duplicates: 0, deadLettered: 1 + 3 });
  assert.deepEqual(await storedNames(database.pool), ['a', 'b']);
  const { rows } = await database.pool.query('SELECT items::int, sqlstate FROM dead_letters ORDER BY items');
  assert.deepEqual(
    rows.map(({ items }: { items: number }) => items),
    [1, 3],
  );
});

Sparing('when the dead letter cannot be stored, nothing is, and all may be sent again', async () => {
  await refuseBad(database.pool);
  await database.pool.query('ALTER TABLE dead_letters ADD CONSTRAINT full_up CHECK (false)');
  const record = await spanRecord(['good', 'bad'], { receipt: randomBytes(32), id: { queueId: randomUUID(), seq: 1 } });
  await assert.rejects(send(record), RetryableError);
  assert.deepEqual(await storedNames(database.pool), []);
  await database.pool.query('ALTER TABLE dead_letters DROP CONSTRAINT full_up');
  assert.deepEqual(await send(record), { duplicates: 0, deadLettered: 1 });
  assert.deepEqual(await storedNames(database.pool), ['good']);
});

Sparing.run();
