import assert from 'node:assert/strict';
import { readdir } from 'node:fs/promises';
import { suite } from 'uvu';
import { PermanentError } from '../../src/errors.ts';
import { createPool } from '../../src/store/connection.ts';
import { migrate, migrationStatus } from '../../src/store/migrate.ts';
import { testDatabase, type TestDatabase } from '../support/postgres.ts';

const Migrate = suite('migrate');
const FILES = (await readdir(new URL('../../migrations/', import.meta.url)))
  .filter((name) => name.endsWith('.sql'))
  .map((name) => name.slice(0, -'.sql'.length))
  .toSorted();

let database: TestDatabase;

Migrate.before.each(async () => {
  database = await testDatabase();
});
Migrate.after.each(() => database.close());

async function empty({ pool }: TestDatabase): Promise<void> {
  await pool.query('DROP SCHEMA public CASCADE');
  await pool.query('CREATE SCHEMA public');
}

Migrate('applies every file once, in order', async () => {
  await empty(database);
  const before = await migrationStatus(database.pool);
  assert.deepEqual(
    before.map(({ name, appliedAt }) => [name, appliedAt]),
    FILES.map((name) => [name, undefined]),
  );
  assert.deepEqual(await migrate(database.pool), { applied: FILES });
  assert.deepEqual(await migrate(database.pool), { applied: [] });
  const after = await migrationStatus(database.pool);
  assert(after.every(({ appliedAt }) => appliedAt instanceof Date));
  assert.equal((await database.pool.query('SELECT FROM otel_spans')).rowCount, 0);
});

Migrate('given daemons that start at once, each file is applied by one of them', async () => {
  await empty(database);
  const daemons = [1, 2, 3].map((number) =>
    createPool({ url: database.url, max: 2, applicationName: `daemon ${number}`, statementTimeoutMs: 5_000 }),
  );
  const results = await Promise.all(daemons.map((pool) => migrate(pool)));
  assert.deepEqual(results.flatMap(({ applied }) => applied).toSorted(), FILES);
  await Promise.all(daemons.map((pool) => pool.end()));
});

Migrate('refuses a database that is newer than the program', async () => {
  const next = FILES.length + 1;
  await database.pool.query('INSERT INTO schema_migrations (version, name, checksum) VALUES ($1, $2, $3)', [
    next,
    '9999_later',
    'x',
  ]);
  const expected = new PermanentError(
    `the database is newer than this program: it has migration 9999_later, and this program knows ${FILES.length}; ` +
      'start the newer Sluice, or use another database',
  );
  await assert.rejects(migrate(database.pool), expected);
  await assert.rejects(migrationStatus(database.pool), expected);
});

Migrate('refuses a database whose applied file has changed since', async () => {
  await database.pool.query("UPDATE schema_migrations SET checksum = 'other' WHERE version = 1");
  await assert.rejects(migrate(database.pool), (error: unknown) => {
    assert(error instanceof PermanentError);
    assert.match(error.message, /^migration 0001_\w+ differs from the one that the database was migrated with/);
    return true;
  });
});

Migrate('a file that fails leaves nothing behind, and is applied when its obstacle is gone', async () => {
  await empty(database);
  await database.pool.query('CREATE TABLE otel_metrics ()');
  await assert.rejects(migrate(database.pool), { code: '42P07' });
  assert.deepEqual((await database.pool.query("SELECT to_regclass('otel_spans') AS spans")).rows, [{ spans: null }]);
  await database.pool.query('DROP TABLE otel_metrics');
  assert.deepEqual(await migrate(database.pool), { applied: FILES });
});

Migrate('needs no right to change anything where nothing is missing', async () => {
  const reader = createPool({
    url: database.url,
    max: 1,
    applicationName: 'reader',
    statementTimeoutMs: 5_000,
  });
  await reader.query('SET default_transaction_read_only = on');
  assert.deepEqual(await migrate(reader), { applied: [] });
  await reader.end();
});

Migrate.run();
