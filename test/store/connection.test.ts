import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:net';
import type { Pool } from 'pg';
import { suite } from 'uvu';
import { PermanentError } from '../../src/errors.ts';
import { createPool, describeConnectionError, requireServerVersion, transaction } from '../../src/store/connection.ts';
import { testDatabase, type TestDatabase } from '../support/postgres.ts';

const Connection = suite('connection');
let database: TestDatabase;

Connection.before(async () => {
  database = await testDatabase();
});
Connection.after(() => database.close());

/** What an operator reads when a pool on this URL runs its first query. */
async function complaint(url: string): Promise<string> {
  const pool = createPool({ url, max: 1, applicationName: 'test', statementTimeoutMs: 5_000 });
  try {
    await pool.query('SELECT 1');
    return 'no complaint';
  } catch (error) {
    return describeConnectionError(error, url);
  } finally {
    await pool.end();
  }
}

async function closedPort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  server.close();
  assert(typeof address === 'object' && address !== null);
  return address.port;
}

const faults: { name: string; spoil: (url: URL) => void | Promise<void>; says: RegExp }[] = [
  {
    name: 'a port where nothing listens',
    spoil: async (url) => {
      url.port = String(await closedPort());
    },
    says: /^the database cannot be used: nothing listens on 127\.0\.0\.1:\d+$/,
  },
  {
    name: 'a host that does not exist',
    spoil: (url) => {
      url.hostname = 'nowhere.invalid';
    },
    says: /: (?:there is no host named nowhere\.invalid|the host name nowhere\.invalid cannot be resolved now)$/,
  },
  {
    name: 'a wrong password',
    spoil: (url) => {
      url.password = randomBytes(8).toString('hex');
    },
    says: /: 127\.0\.0\.1:\d+ refuses the password of user sluice$/,
  },
  {
    name: 'a database that does not exist',
    spoil: (url) => {
      url.pathname = '/nothing';
    },
    says: /: 127\.0\.0\.1:\d+ has no database named nothing$/,
  },
  {
    name: 'TLS asked of a server without',
    spoil: (url) => {
      url.searchParams.set('sslmode', 'verify-full');
    },
    says: /: 127\.0\.0\.1:\d+ does not speak TLS: set sslmode=disable in the URL$/,
  },
];

for (const { name, spoil, says } of faults) {
  Connection(`explains ${name} in one line, without the password`, async () => {
    const url = new URL(database.url);
    await spoil(url);
    const line = await complaint(url.href);
    assert.match(line, says);
    assert(url.password === '' || !line.includes(url.password));
  });
}

Connection('explains a URL it cannot read without repeating it', () => {
  const secret = randomBytes(8).toString('hex');
  const line = describeConnectionError(new Error('Invalid URL'), `postgres://user:${secret}@host:port:1/x`);
  assert.match(line, /^the database URL cannot be read/);
  assert(!line.includes(secret));
});

function coded(code: string): Error {
  return Object.assign(new Error('words of a library'), { code });
}

Connection('explains what only a remote server says', () => {
  const url = 'postgres://me@db.example:6432/app';
  const said = (error: Error): string =>
    describeConnectionError(error, url).replace('the database cannot be used: ', '');
  assert.equal(said(coded('CERT_HAS_EXPIRED')), 'the TLS certificate of db.example:6432 has expired');
  assert.match(said(coded('SELF_SIGNED_CERT_IN_CHAIN')), /signed by nobody we trust/);
  assert.equal(said(coded('53300')), 'db.example:6432 has no connection left for us');
  // Not tried on a real server: pg leaves that connection half-open, where it holds up the end of the test.
  assert.equal(
    said(new Error('SASL: SCRAM-SERVER-FIRST-MESSAGE: client password must be a string')),
    'db.example:6432 asks for a password of user me',
  );
  assert.equal(said(new Error('timeout exceeded when trying to connect')), 'db.example:6432 does not answer');
  assert.equal(
    said(new Error('no pg_hba.conf entry for host "10.0.0.1", user "me", database "app", no encryption')),
    'db.example:6432 demands TLS: add sslmode=require to the URL',
  );
  assert.equal(said(new AggregateError([coded('ECONNREFUSED')], '')), 'nothing listens on db.example:6432');
  assert.equal(said(new Error('Something new.\nin two lines')), 'db.example:6432 says: Something new');
});

async function backendPid(pool: Pool): Promise<number> {
  const { rows } = await pool.query<{ pid: number }>('SELECT pg_backend_pid() AS pid');
  const [row] = rows;
  assert(row !== undefined);
  return row.pid;
}

Connection('replaces an idle connection that the server closed', async () => {
  const pool = createPool({ url: database.url, max: 1, applicationName: 'test', statementTimeoutMs: 5_000 });
  const first = await backendPid(pool);
  const lost = new Promise((resolve) => pool.once('remove', resolve));
  await database.pool.query('SELECT pg_terminate_backend($1)', [first]);
  await lost;
  assert.notEqual(await backendPid(pool), first);
  await pool.end();
});

Connection('commits what the work did, durably whatever the default is', async () => {
  await database.pool.query('CREATE TABLE done (number int)');
  await database.pool.query(`
    ALTER DATABASE ${databaseName()} SET synchronous_commit = off;
    ALTER DATABASE ${databaseName()} SET default_transaction_isolation = 'serializable'`);
  const pool = createPool({ url: database.url, max: 1, applicationName: 'test', statementTimeoutMs: 7_000 });
  const settings = await transaction(pool, async (client) => {
    await client.query('INSERT INTO done VALUES (1)');
    const { rows } = await client.query(
      `SELECT current_setting('synchronous_commit') AS commit, current_setting('transaction_isolation') AS isolation,
         current_setting('statement_timeout') AS limit`,
    );
    return rows[0];
  });
  assert.deepEqual(settings, { commit: 'on', isolation: 'read committed', limit: '7s' });
  assert.equal((await pool.query('SELECT FROM done')).rowCount, 1);
  assert.deepEqual((await pool.query('SHOW statement_timeout')).rows, [{ statement_timeout: '0' }]);
  await pool.end();
});

Connection('rolls back when the work fails, and keeps the connection', async () => {
  const pool = createPool({ url: database.url, max: 1, applicationName: 'test', statementTimeoutMs: 5_000 });
  const pid = await backendPid(pool);
  const failure = new Error('on purpose');
  const work = transaction(pool, async (client) => {
    await client.query('CREATE TABLE never ()');
    throw failure;
  });
  await assert.rejects(work, failure);
  const refused = transaction(pool, (client) => client.query('CREATE TABLE never ()'), { readOnly: true });
  await assert.rejects(refused, { code: '25006' });
  const slow = transaction(pool, (client) => client.query('SELECT pg_sleep(60)'), { statementTimeoutMs: 20 });
  await assert.rejects(slow, { code: '57014' });
  assert.deepEqual((await pool.query("SELECT to_regclass('never') AS never")).rows, [{ never: null }]);
  assert.equal(await backendPid(pool), pid);
  await pool.end();
});

Connection('gives up a connection that is lost inside a transaction', async () => {
  const pool = createPool({ url: database.url, max: 1, applicationName: 'test', statementTimeoutMs: 5_000 });
  const pid = await backendPid(pool);
  const work = transaction(pool, async (client) => {
    await client.query('SELECT pg_terminate_backend(pg_backend_pid())');
  });
  await assert.rejects(work, { code: '57P01' });
  assert.notEqual(await backendPid(pool), pid);
  await pool.end();
});

Connection('the server ends a transaction that nobody goes on with', async () => {
  const pool = createPool({ url: database.url, max: 1, applicationName: 'test', statementTimeoutMs: 5_000 });
  const settings = { idleTimeoutMs: 20, lockTimeoutMs: 20 };
  const work = transaction(
    pool,
    async (client) => {
      await new Promise((resolve) => client.once('end', resolve));
      await client.query('SELECT 1');
    },
    settings,
  );
  await assert.rejects(work);
  const limits = await transaction(pool, (client) => client.query('SHOW lock_timeout'), settings);
  assert.deepEqual(limits.rows, [{ lock_timeout: '20ms' }]);
  await pool.end();
});

/** The only old server at hand is a new one whose version function is covered by another. */
Connection('refuses a server that is too old', async () => {
  await requireServerVersion(database.pool);
  const old = await testDatabase();
  await old.pool.query(`
    CREATE FUNCTION current_setting(text) RETURNS text LANGUAGE sql AS
      $$ SELECT CASE $1 WHEN 'server_version_num' THEN '140011' ELSE '14.11' END $$`);
  await old.pool.query(`ALTER DATABASE ${databaseName(old)} SET search_path = public, pg_catalog`);
  const pool = createPool({ url: old.url, max: 1, applicationName: 'test', statementTimeoutMs: 5_000 });
  const expected = new PermanentError('PostgreSQL 14.11 is too old: Sluice needs version 15 or newer');
  await assert.rejects(requireServerVersion(pool), expected);
  await pool.end();
  await old.close();
});

function databaseName({ url } = database): string {
  return new URL(url).pathname.slice(1);
}

Connection.run();
