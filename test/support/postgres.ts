/**
 * Real databases for tests. One server serves the whole test process, or all of them when the test runner started one;
 * each call of `testDatabase` gets a migrated database of its own, copied from a template.
 */
import { randomBytes } from 'node:crypto';
import { existsSync, rmSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { Client, type Pool } from 'pg';
import { processEnvironment } from '../../src/config/environment.ts';
import { createPool } from '../../src/store/connection.ts';
import { startEmbeddedPostgres } from '../../src/store/embedded_postgres.ts';
import { migrate } from '../../src/store/migrate.ts';

export interface TestDatabase {
  readonly url: string;
  readonly pool: Pool;
  /** Ends the pool and drops the database. */
  close(): Promise<void>;
}

export interface TestServer {
  /** Pass it to test processes as SLUICE_TEST_SERVER_URL. */
  readonly url: string;
  /** Stops the server and removes its data. */
  stop(): Promise<void>;
}

const TEMPLATE = 'sluice_template';
const STATEMENT_TIMEOUT_MS = 30_000;
const POOL_SIZE = 5;
const REMOVE_ATTEMPTS = 50;
const REMOVE_PAUSE_MS = 50;

/** An empty migrated database. Partitions are not made: rows go to the default ones unless a test asks for others. */
export async function testDatabase(): Promise<TestDatabase> {
  const serverUrl = await sharedServerUrl();
  const name = `test_${randomBytes(6).toString('hex')}`;
  await administer(serverUrl, `CREATE DATABASE ${name} TEMPLATE ${TEMPLATE}`);
  const url = withDatabase(serverUrl, name);
  const pool = testPool(url);
  return {
    url,
    pool,
    async close() {
      await pool.end();
      await administer(serverUrl, `DROP DATABASE IF EXISTS ${name} WITH (FORCE)`);
    },
  };
}

/** A server with the template that `testDatabase` copies. Ends with this process at the latest. */
export async function testServer(): Promise<TestServer> {
  const dataDir = await mkdtemp(path.join(os.tmpdir(), 'sluice-test-'));
  const remove = (): void => removeUnderServer(dataDir);
  try {
    const server = await startEmbeddedPostgres({ dataDir });
    // After the server's own listener, which has signalled it by then.
    process.on('exit', remove);
    await prepareTemplate(server.url);
    return {
      url: server.url,
      async stop() {
        await server.stop();
        process.off('exit', remove);
        await rm(dataDir, { recursive: true, force: true });
      },
    };
  } catch (error) {
    remove();
    throw error;
  }
}

/**
 * The server was told to end and still writes and deletes, which makes a removal stop early, not always with an error.
 * Nothing asynchronous happens any more when a process exits.
 */
function removeUnderServer(directory: string): void {
  const clock = new Int32Array(new SharedArrayBuffer(4));
  for (let attempt = 0; attempt < REMOVE_ATTEMPTS && existsSync(directory); attempt += 1) {
    if (attempt > 0) Atomics.wait(clock, 0, 0, REMOVE_PAUSE_MS);
    try {
      rmSync(directory, { recursive: true, force: true });
    } catch {
      continue;
    }
  }
}

let shared: Promise<string> | undefined;

function sharedServerUrl(): Promise<string> {
  shared ??= startShared();
  return shared;
}

/** The process has no listener for `beforeExit` but ours, and reaches it only when every database is closed. */
async function startShared(): Promise<string> {
  const given = processEnvironment()['SLUICE_TEST_SERVER_URL'];
  if (given !== undefined) return given;
  const server = await testServer();
  process.once('beforeExit', () => void server.stop());
  process.once('SIGINT', () => process.exit(130));
  process.once('SIGTERM', () => process.exit(143));
  return server.url;
}

/** Makes the database that `testDatabase` copies, on a server that has none. */
export async function prepareTemplate(serverUrl: string): Promise<void> {
  await administer(serverUrl, `CREATE DATABASE ${TEMPLATE}`);
  const pool = testPool(withDatabase(serverUrl, TEMPLATE));
  await migrate(pool);
  await pool.end();
  await administer(serverUrl, `ALTER DATABASE ${TEMPLATE} WITH ALLOW_CONNECTIONS false`);
}

function testPool(url: string): Pool {
  return createPool({ url, max: POOL_SIZE, applicationName: 'sluice test', statementTimeoutMs: STATEMENT_TIMEOUT_MS });
}

async function administer(serverUrl: string, statement: string): Promise<void> {
  const client = new Client({ connectionString: serverUrl });
  await client.connect();
  try {
    await client.query(statement);
  } finally {
    await client.end();
  }
}

function withDatabase(serverUrl: string, name: string): string {
  const url = new URL(serverUrl);
  url.pathname = `/${name}`;
  return url.href;
}
