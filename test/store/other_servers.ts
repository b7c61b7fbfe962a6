/** Database servers besides the one that tests run on: an older PostgreSQL, and a pooler in front of any. */
import assert from 'node:assert/strict';
import { spawn, type ChildProcess } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { text } from 'node:stream/consumers';
import { setTimeout as delay } from 'node:timers/promises';
import { Client } from 'pg';
import { findServerAccount, type ServerAccount } from '../../src/store/server_account.ts';
import { freePort } from '../support/gateway.ts';
import { prepareTemplate, type TestServer } from '../support/postgres.ts';

interface Programs {
  readonly initdb: string;
  readonly postgres: string;
}

const USER = 'sluice';
const READY_TIMEOUT_MS = 60_000;
const POLL_MS = 50;
const POOLERS = ['/usr/sbin/pgbouncer', '/usr/bin/pgbouncer'];

/** PostgreSQL 15, ready for `testDatabase`; undefined where its programs are not installed. */
export async function startPostgres15(): Promise<TestServer | undefined> {
  const programs = await import('postgres-15-linux-x64').catch(() => undefined);
  if (programs === undefined) return undefined;
  const directory = await mkdtemp(path.join(os.tmpdir(), 'sluice-postgres-15-'));
  const account = await findServerAccount(programs.postgres, directory);
  const password = randomBytes(12).toString('hex');
  await initialise(account, programs, directory, password);
  const port = await freePort();
  const settings = [`port=${port}`, 'listen_addresses=127.0.0.1', 'unix_socket_directories=', 'fsync=off'];
  const args = ['-D', path.join(directory, 'data'), ...settings.flatMap((setting) => ['-c', setting])];
  const child = account.spawn(programs.postgres, args, ['ignore', 'ignore', 'ignore']);
  const server = supervised(child, 'SIGQUIT', directory, `postgres://${USER}:${password}@127.0.0.1:${port}/postgres`);
  await untilReady(server.url, child);
  await prepareTemplate(server.url);
  return server;
}

async function initialise(
  account: ServerAccount,
  { initdb }: Programs,
  directory: string,
  password: string,
): Promise<void> {
  const passwordFile = path.join(directory, 'password');
  await writeFile(passwordFile, password);
  const options = [
    '--encoding=UTF8',
    '--locale=C',
    `--username=${USER}`,
    `--pwfile=${passwordFile}`,
    '--auth=scram-sha-256',
  ];
  const child = account.spawn(initdb, ['-D', path.join(directory, 'data'), ...options], ['ignore', 'ignore', 'pipe']);
  const closed = once(child, 'close');
  const complaint = child.stderr === null ? '' : await text(child.stderr);
  await closed;
  assert.equal(child.exitCode, 0, complaint);
}

/** PgBouncer in transaction mode before the server of a URL; undefined where it is not installed. */
export async function startPooler(serverUrl: string): Promise<TestServer | undefined> {
  const pooler = POOLERS.find((file) => existsSync(file));
  if (pooler === undefined) return undefined;
  const directory = await mkdtemp(path.join(os.tmpdir(), 'sluice-pooler-'));
  const url = new URL(serverUrl);
  const port = await freePort();
  const users = path.join(directory, 'users.txt');
  const config = path.join(directory, 'pgbouncer.ini');
  await writeFile(users, `"${url.username}" "${decodeURIComponent(url.password)}"\n`);
  await writeFile(config, poolerConfig(url, port, users));
  // It refuses to run as root, and reads its files before it becomes somebody else.
  const identity = process.getuid?.() === 0 ? ['-u', 'nobody'] : [];
  const child = spawn(pooler, ['-q', ...identity, config], { stdio: 'ignore', cwd: '/' });
  url.port = String(port);
  const server = supervised(child, 'SIGKILL', directory, url.href);
  await untilReady(server.url, child);
  return server;
}

/** Passwords are checked by both sides; any database of the server is found by its name. */
function poolerConfig({ hostname, port }: URL, listenPort: number, users: string): string {
  return `
[databases]
* = host=${hostname} port=${port}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = ${listenPort}
unix_socket_dir =
auth_type = scram-sha-256
auth_file = ${users}
pool_mode = transaction
default_pool_size = 8
max_client_conn = 200
`;
}

/** Ends with this process at the latest. */
function supervised(child: ChildProcess, signal: NodeJS.Signals, directory: string, url: string): TestServer {
  const end = () => child.kill(signal);
  process.on('exit', end);
  const closed = once(child, 'close');
  return {
    url,
    async stop() {
      end();
      await closed;
      process.off('exit', end);
      await rm(directory, { recursive: true, force: true });
    },
  };
}

async function untilReady(url: string, child: ChildProcess): Promise<void> {
  const deadline = performance.now() + READY_TIMEOUT_MS;
  while (!(await answers(url))) {
    assert.equal(child.exitCode, null, 'the server ended');
    assert(performance.now() < deadline, 'the server does not answer');
    await delay(POLL_MS);
  }
}

async function answers(url: string): Promise<boolean> {
  const client = new Client({ connectionString: url });
  try {
    await client.connect();
    await client.query('SELECT 1');
    return true;
  } catch {
    return false;
  } finally {
    await client.end();
  }
}
