import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { suite } from 'uvu';
import { InvalidDataError, RetryableError } from '../../src/errors.ts';
import {
  deadLetterIds,
  dropDeadLetters,
  listDeadLetters,
  replayDeadLetters,
  showDeadLetter,
  type LetterFilter,
} from '../../src/store/dead_letters.ts';
import { deliver } from '../../src/store/deliver.ts';
import { LOG, METRICS } from '../otlp/golden_vectors.ts';
import { countRows, storedRows } from '../support/gateway.ts';
import { testDatabase, type TestDatabase } from '../support/postgres.ts';
import { refuseBad, takeAll } from './poison.ts';
import { encodeRows, recordOf } from './row_store.ts';
import { spanRecord, storedNames } from './span_records.ts';

const Letters = suite('dead letters');
let database: TestDatabase;

Letters.before(async () => {
  database = await testDatabase();
});
Letters.before.each(async () => {
  await database.pool.query('DELETE FROM dead_letters; DELETE FROM otel_spans');
});
Letters.after(() => database.close());

const tenant = (orgId: string) => ({ orgId, workspaceId: 'red', targetId: undefined });
const badNames = (length: number) => Array.from({ length }, (_, i) => `bad ${i}`);

/** Sends spans that die, and returns their ids, the newest first. */
async function bury(names: readonly string[], { exporter = 'postgres', orgId = 'acme' } = {}): Promise<string[]> {
  await refuseBad(database.pool);
  await deliver(database.pool, { records: [await spanRecord(names, { tenant: tenant(orgId) })], exporter });
  await takeAll(database.pool);
  return ids();
}

async function ids(filter: LetterFilter = {}): Promise<string[]> {
  return (await Array.fromAsync(deadLetterIds(database.pool, filter))).flat();
}

async function count(filter: LetterFilter): Promise<number> {
  return (await ids(filter)).length;
}

Letters('are listed newest first, page by page', async () => {
  for (let i = 0; i < 3; i++) await bury(badNames(4));
  const seen: string[] = [];
  let after: string | undefined;
  do {
    const page = await listDeadLetters(database.pool, {}, { limit: 5, after });
    seen.push(...page.letters.map(({ id, dead_at }) => `${dead_at} ${id}`));
    after = page.next;
  } while (after !== undefined);
  assert.equal(new Set(seen).size, 12);
  assert.deepEqual(seen, seen.toSorted().toReversed());
});

Letters('a page goes on where it ended, also when its last letter is gone', async () => {
  const all = await bury(badNames(4));
  const { letters, next } = await listDeadLetters(database.pool, {}, { limit: 2 });
  await dropDeadLetters(
    database.pool,
    letters.map(({ id }) => id),
  );
  const rest = await listDeadLetters(database.pool, {}, { limit: 2, after: next });
  assert.deepEqual(
    [...letters, ...rest.letters].map(({ id }) => id),
    all,
  );
});

Letters('a place that is none is refused', async () => {
  for (const after of ['', 'x', `2026-11-20_${randomUUID()}`, `2026-11-20T12:00:00.000000Z_'; DROP`]) {
    await assert.rejects(listDeadLetters(database.pool, {}, { limit: 1, after }), InvalidDataError);
  }
});

Letters('are found by exporter, signal and tenant', async () => {
  await bury(['bad'], { exporter: 'postgres/main', orgId: 'acme' });
  await bury(['bad'], { exporter: 'postgres', orgId: 'umbrella' });
  assert.equal(await count({}), 2);
  assert.equal(await count({ exporter: 'postgres/main' }), 1);
  assert.equal(await count({ orgId: 'acme' }), 1);
  assert.equal(await count({ orgId: 'acme', exporter: 'postgres' }), 0);
  assert.equal(await count({ workspaceId: 'red', signal: 'traces' }), 2);
  assert.equal(await count({ signal: 'logs' }), 0);
});

Letters('one is shown with its row, column by column', async () => {
  const [id = ''] = await bury(['bad secret']);
  const shown = await showDeadLetter(database.pool, id);
  assert(shown !== undefined);
  const { values, ...summary } = shown;
  const { letters } = await listDeadLetters(database.pool, {}, { limit: 1 });
  assert.deepEqual([summary], letters);
  assert.deepEqual([summary.org_id, summary.items, summary.sqlstate], ['acme', 1, '23514']);
  assert.deepEqual([values?.['name'], values?.['org_id'], values?.['kind']], ['bad secret', 'default', 0]);
  assert.equal(await showDeadLetter(database.pool, randomUUID()), undefined);
});

Letters('replayed once the cause is gone, the rows are stored and the letters are no more', async () => {
  const all = await bury(badNames(120));
  const unknown = randomUUID();
  const replayed = await replayDeadLetters(database.pool, [...all, unknown]);
  assert.deepEqual(replayed, [...all.map((id) => ({ id, outcome: 'stored' })), { id: unknown, outcome: 'absent' }]);
  assert.deepEqual(await storedNames(database.pool), badNames(120).toSorted());
  assert.deepEqual(await ids(), []);
  assert.deepEqual(await replayDeadLetters(database.pool, all.slice(0, 1)), [{ id: all[0], outcome: 'absent' }]);
  assert.equal(await countRows(database.pool, 'otel_spans'), 120);
});

Letters('replayed while some are still refused, those stay with the reason of today', async () => {
  await bury(['bad 1', 'bad 2', 'bad 3']);
  await database.pool.query(`ALTER TABLE otel_spans ADD CONSTRAINT later CHECK (name <> 'bad 2')`);
  const replayed = await replayDeadLetters(database.pool, await ids());
  await database.pool.query('ALTER TABLE otel_spans DROP CONSTRAINT later');
  assert.deepEqual(replayed.map(({ outcome }) => outcome).toSorted(), ['refused', 'stored', 'stored']);
  const { letters } = await listDeadLetters(database.pool, {}, { limit: 10 });
  assert.deepEqual(
    letters.map(({ reason }) => reason),
    ['new row for relation "otel_spans_default" violates check constraint "later"'],
  );
  assert.equal(replayed.find(({ outcome }) => outcome === 'refused')?.reason, letters[0]?.reason);
  assert.deepEqual(await storedNames(database.pool), ['bad 1', 'bad 3']);
});

Letters('of every signal, replayed together, are stored as they would have been', async () => {
  const records = [
    await spanRecord(['a']),
    recordOf({ signal: 'logs', ...(await encodeRows('logs', LOG)) }),
    recordOf({ signal: 'metrics', ...(await encodeRows('metrics', METRICS)) }),
  ];
  const tables = ['otel_spans', 'otel_logs', 'otel_metrics'] as const;
  const content = () => Promise.all(tables.map((table) => storedRows(database.pool, table, `${table}::text`)));
  for (const record of records) await deliver(database.pool, { records: [record], exporter: 'postgres' });
  const expected = await content();
  for (const table of tables) {
    await database.pool.query(`TRUNCATE ${table}; ALTER TABLE ${table} ADD CONSTRAINT none CHECK (false)`);
  }
  for (const record of records) await deliver(database.pool, { records: [record], exporter: 'postgres' });
  for (const table of tables) await database.pool.query(`ALTER TABLE ${table} DROP CONSTRAINT none`);
  assert.equal((await ids()).length, 5);
  assert.equal((await ids({ signal: 'metrics' })).length, 3);
  await replayDeadLetters(database.pool, await ids());
  assert.deepEqual(await content(), expected);
  assert.deepEqual(await ids(), []);
});

Letters('of a later program stay', async () => {
  const [id = ''] = await bury(['bad']);
  await database.pool.query(`UPDATE dead_letters SET format = 'spans/99'`);
  const reason = 'this version does not know rows of the format spans/99';
  assert.deepEqual(await replayDeadLetters(database.pool, [id]), [{ id, outcome: 'refused', reason }]);
  assert.equal((await showDeadLetter(database.pool, id))?.reason, reason);
  assert.equal((await showDeadLetter(database.pool, id))?.values, undefined);
});

Letters('two replays at once store each row once', async () => {
  const all = await bury(badNames(60));
  const both = await Promise.all([1, 2].map(() => replayDeadLetters(database.pool, all)));
  assert.equal(both.flat().filter(({ outcome }) => outcome === 'stored').length, 60);
  assert.equal(await countRows(database.pool, 'otel_spans'), 60);
});

Letters('a replay that the database cannot do now changes nothing', async () => {
  const all = await bury(['bad']);
  await database.pool.query('ALTER TABLE otel_spans RENAME TO away');
  await assert.rejects(replayDeadLetters(database.pool, all), RetryableError);
  await database.pool.query('ALTER TABLE away RENAME TO otel_spans');
  assert.deepEqual(await ids(), all);
});

Letters('dropped, they are gone', async () => {
  const [first = '', ...others] = await bury(badNames(3));
  assert.equal(await dropDeadLetters(database.pool, [first, randomUUID()]), 1);
  assert.deepEqual(await ids(), others);
});

Letters.run();
