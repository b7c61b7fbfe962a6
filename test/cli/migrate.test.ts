import assert from 'node:assert/strict';
import { suite } from 'uvu';
import { testDatabase, type TestDatabase } from '../support/postgres.ts';
import { sluice } from './sluice.ts';

const Migrate = suite('sluice migrate');
let database: TestDatabase;

Migrate.before(async () => {
  database = await testDatabase();
});
Migrate.after(() => database.close());

Migrate('brings an empty database up to date, and says what it did and what there is', async () => {
  await database.pool.query('DROP SCHEMA public CASCADE');
  await database.pool.query('CREATE SCHEMA public');
  const env = { DATABASE_URL: database.url };
  assert.match((await sluice(['migrate', '--status'], { env })).stdout, /^0001_signals {2}pending$/m);
  const first = await sluice(['migrate'], { env });
  assert.deepEqual({ code: first.code, stderr: first.stderr }, { code: 0, stderr: '' });
  assert.match(first.stdout, /^applied migration 0001_signals\n[^]*made 36 day partitions\n$/);
  const second = await sluice(['migrate', '--database-url', database.url]);
  assert.equal(second.stdout, 'the database is up to date\n');
  assert.match((await sluice(['migrate', '--status'], { env })).stdout, /^0001_signals {2}applied \d{4}-\d\d-\d\dT/m);
});

Migrate('says in one line why there is no database, without the password', async () => {
  const url = new URL(database.url);
  url.pathname = '/nothing';
  const { code, stdout, stderr } = await sluice(['migrate', '--database-url', url.href]);
  assert.deepEqual({ code, stdout }, { code: 1, stdout: '' });
  assert.equal(stderr, `sluice: the database cannot be used: ${url.host} has no database named nothing\n`);
});

Migrate('a wrong configuration is reported as such', async () => {
  const { code, stderr } = await sluice(['migrate', '--set', 'query.databse_url=x']);
  assert.equal(code, 78);
  assert.match(stderr, /^query\.databse_url: /m);
});

Migrate.run();
