/** The tests of storing and delivery once more, on other servers than the one that all tests run on. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { text } from 'node:stream/consumers';
import { suite } from 'uvu';
import { testDatabase } from '../support/postgres.ts';
import { startPooler, startPostgres15 } from './other_servers.ts';

const Servers = suite('other servers');

const ROOT = new URL('../..', import.meta.url);

const DELIVERY = [
  'test/store/deliver.test.ts',
  'test/store/copy_sparing.test.ts',
  'test/store/dead_letters.test.ts',
  'test/store/row_values.test.ts',
  'test/store/span_rows.test.ts',
  'test/store/log_rows.test.ts',
  'test/store/metric_rows.test.ts',
  'test/exporters/postgres.test.ts',
];

/** Runs test files as processes of their own, one after the other. */
async function passOn(serverUrl: string, files: readonly string[]): Promise<void> {
  for (const file of files) {
    const child = spawn(process.execPath, [file], {
      cwd: ROOT,
      env: { ...process.env, SLUICE_TEST_SERVER_URL: serverUrl },
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    const [output] = await Promise.all([text(child.stdout), once(child, 'close')]);
    assert.equal(child.exitCode, 0, `${file}\n${output}`);
    assert.match(output, /Passed: +[1-9]/, file);
  }
}

Servers('PostgreSQL 15 passes the same tests', async () => {
  const server = await startPostgres15();
  if (server === undefined) {
    console.log('SKIP PostgreSQL 15 is not installed');
    return;
  }
  try {
    await passOn(server.url, [...DELIVERY, 'test/store/migrate.test.ts', 'test/store/partitions.test.ts']);
  } finally {
    await server.stop();
  }
});

Servers('a transaction pooler passes the same tests', async () => {
  const database = await testDatabase();
  const url = new URL(database.url);
  url.pathname = '/postgres';
  const pooler = await startPooler(url.href);
  try {
    if (pooler === undefined) console.log('SKIP PgBouncer is not installed');
    else await passOn(pooler.url, DELIVERY);
  } finally {
    await pooler?.stop();
    await database.close();
  }
});

Servers.run();
