import assert from 'node:assert/strict';
import { spawn, type ChildProcess, type SpawnOptions } from 'node:child_process';
import { once } from 'node:events';
import { chmod, chown, mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as delay } from 'node:timers/promises';
import { Client } from 'pg';
import { suite } from 'uvu';
import { PermanentError } from '../../src/errors.ts';
import { startEmbeddedPostgres } from '../../src/store/embedded_postgres.ts';

const MODULE = new URL('../../src/store/embedded_postgres.ts', import.meta.url).href;

/** Owns a server until it is killed. Prints the server's URL, or `failed: ` and why it has none. */
const OWNER = `
  process.on('SIGINT', () => undefined);
  const { startEmbeddedPostgres } = await import(${JSON.stringify(MODULE)});
  const [dataDir] = process.argv.slice(1);
  try {
    const server = await startEmbeddedPostgres({ dataDir });
    console.log(server.url);
    process.stdin.on('data', () => process.exit(0));
    setInterval(() => undefined, 1000);
  } catch (error) {
    console.log('failed: ' + error.message);
  }`;

const ORDINARY = { uid: 65_534, gid: 65_534 };
const isRoot = process.getuid?.() === 0;

const Server = suite('embedded postgres');
const folders: string[] = [];

Server.after(async () => {
  for (const folder of folders) await rm(folder, { recursive: true, force: true });
});

async function temporaryFolder(): Promise<string> {
  const folder = await mkdtemp(path.join(os.tmpdir(), 'sluice-embedded-'));
  folders.push(folder);
  return folder;
}

async function query(url: string, text: string): Promise<Record<string, unknown>[]> {
  const client = new Client({ connectionString: url });
  await client.connect();
  try {
    return (await client.query<Record<string, unknown>>(text)).rows;
  } finally {
    await client.end();
  }
}

interface Owner {
  readonly child: ChildProcess;
  /** Its server's URL, or why there is none. */
  readonly said: string;
}

/** `prefix` is a command that runs the command after it. */
async function startOwner(dataDir: string, options: SpawnOptions = {}, prefix: string[] = []): Promise<Owner> {
  const args = [...prefix, process.execPath, '--input-type=module', '-e', OWNER, dataDir];
  const child = spawn(args[0] ?? '', args.slice(1), { ...options, stdio: ['pipe', 'pipe', 'inherit'] });
  assert(child.stdout !== null);
  const lines = createInterface({ input: child.stdout });
  // Whose program it may not run, it cannot become.
  const refused = new Promise<[string]>((resolve) => child.once('error', (error) => resolve([String(error)])));
  const [said] = await Promise.race([refused, once(lines, 'line'), once(lines, 'close')]);
  return { child, said: String(said) };
}

async function kill({ child }: Owner, signal: NodeJS.Signals = 'SIGKILL'): Promise<void> {
  const ended = once(child, 'exit');
  child.kill(signal);
  if (child.exitCode === null && child.signalCode === null) await ended;
}

async function serverPid(dataDir: string): Promise<number> {
  return Number((await readFile(path.join(dataDir, 'postgres', 'postmaster.pid'), 'utf8')).split('\n')[0]);
}

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}

async function untilGone(pid: number): Promise<void> {
  for (let waitedMs = 0; isAlive(pid) && waitedMs < 10_000; waitedMs += 20) await delay(20);
  assert(!isAlive(pid), `process ${pid} is still there`);
}

async function refusal(dataDir: string): Promise<string> {
  const error: unknown = await startEmbeddedPostgres({ dataDir }).then(
    () => undefined,
    (reason: unknown) => reason,
  );
  assert(error instanceof PermanentError, String(error));
  assert(!error.message.includes('\n'));
  return error.message;
}

Server('keeps data between starts, in a private folder with spaces, and nothing but there', async () => {
  const parent = await temporaryFolder();
  const dataDir = path.join(parent, 'a folder', 'data');
  const said: string[] = [];
  const first = await startEmbeddedPostgres({ dataDir, report: (line) => said.push(line) });
  await query(first.url, "CREATE TABLE kept AS SELECT 'ä' AS word");
  await first.stop();
  await first.stop();
  const second = await startEmbeddedPostgres({ dataDir, report: (line) => said.push(line) });
  assert.deepEqual(await query(second.url, 'SELECT word FROM kept'), [{ word: 'ä' }]);
  await second.stop();

  assert.deepEqual(said, ['initialising the database …']);
  assert.equal((await stat(dataDir)).mode & 0o777, 0o700);
  assert.equal((await stat(path.join(dataDir, 'postgres.password'))).mode & 0o777, 0o600);
  assert.deepEqual((await readdir(dataDir)).toSorted(), [
    'postgres',
    'postgres.log',
    'postgres.password',
    'sluice.lock',
  ]);
  assert.deepEqual(await readdir(parent), ['a folder']);
});

Server('listens on 127.0.0.1 alone, with a password, durably, and without the locale of the machine', async () => {
  const server = await startEmbeddedPostgres({ dataDir: await temporaryFolder() });
  const settings = await query(
    server.url,
    `SELECT current_setting('listen_addresses') AS address, current_setting('unix_socket_directories') AS sockets,
       current_setting('fsync') AS fsync, current_setting('server_encoding') AS encoding, datlocprovider::text AS provider, datlocale
     FROM pg_database WHERE datname = current_database()`,
  );
  assert.deepEqual(settings, [
    { address: '127.0.0.1', sockets: '', fsync: 'on', encoding: 'UTF8', provider: 'b', datlocale: 'C.UTF-8' },
  ]);
  const guess = new URL(server.url);
  guess.password = 'guess';
  await assert.rejects(query(guess.href, 'SELECT 1'), { code: '28P01' });
  await server.stop();
});

Server('writes no statement and no row to its log', async () => {
  const dataDir = await temporaryFolder();
  const server = await startEmbeddedPostgres({ dataDir });
  await query(server.url, 'CREATE TABLE short (word varchar(3) NOT NULL)');
  await assert.rejects(query(server.url, "INSERT INTO short VALUES (NULL), ('private')"));
  await assert.rejects(query(server.url, "SELECT 'private'::int"));
  await server.stop();
  const log = await readFile(path.join(dataDir, 'postgres.log'), 'utf8');
  assert(log.includes('value too long') || log.includes('null value'));
  assert(!log.includes('INSERT'));
});

Server('given the owner was killed, the next start ends the orphan and finds every committed row', async () => {
  const dataDir = await temporaryFolder();
  const owner = await startOwner(dataDir);
  await query(owner.said, 'CREATE TABLE kept AS SELECT 1 AS number');
  const orphan = await serverPid(dataDir);
  await kill(owner);
  assert(isAlive(orphan));

  const server = await startEmbeddedPostgres({ dataDir });
  await untilGone(orphan);
  assert.deepEqual(await query(server.url, 'SELECT number FROM kept'), [{ number: 1 }]);
  await server.stop();
});

Server('given owner and server were killed, the next start recovers', async () => {
  const dataDir = await temporaryFolder();
  const owner = await startOwner(dataDir);
  await query(owner.said, 'CREATE TABLE kept AS SELECT 1 AS number');
  await kill(owner);
  const orphan = await serverPid(dataDir);
  process.kill(orphan, 'SIGKILL');

  const server = await startEmbeddedPostgres({ dataDir });
  assert.deepEqual(await query(server.url, 'SELECT number FROM kept'), [{ number: 1 }]);
  await server.stop();
});

Server('given a stale pid file that names a stranger, starts and leaves the stranger alone', async () => {
  const dataDir = await temporaryFolder();
  const first = await startEmbeddedPostgres({ dataDir });
  const pidFile = path.join(dataDir, 'postgres', 'postmaster.pid');
  const lines = (await readFile(pidFile, 'utf8')).split('\n');
  await first.stop();
  const stranger = spawn('sleep', ['60'], { stdio: 'ignore' });
  await once(stranger, 'spawn');
  await writeFile(pidFile, [stranger.pid, ...lines.slice(1)].join('\n'));
  await chown(pidFile, ...(await ownerOf(path.dirname(pidFile))));

  const second = await startEmbeddedPostgres({ dataDir });
  assert.equal(stranger.exitCode ?? stranger.signalCode, null);
  stranger.kill();
  await second.stop();
});

async function ownerOf(file: string): Promise<[number, number]> {
  const { uid, gid } = await stat(file);
  return [uid, gid];
}

Server('given a first run that was killed half-way, starts afresh', async () => {
  const dataDir = await temporaryFolder();
  await mkdir(path.join(dataDir, 'postgres.new', 'base'), { recursive: true });
  await writeFile(path.join(dataDir, 'postgres.new', 'PG_VERSION'), '18\n');
  await writeFile(path.join(dataDir, 'postgres.password.new'), 'half');
  const server = await startEmbeddedPostgres({ dataDir });
  assert.deepEqual(await query(server.url, 'SELECT 1 AS number'), [{ number: 1 }]);
  await server.stop();
  assert(!(await readdir(dataDir)).some((name) => name.endsWith('.new')));
});

Server('refuses a directory that a living sluice uses, and says which', async () => {
  const dataDir = await temporaryFolder();
  const owner = await startOwner(dataDir);
  assert.equal(await refusal(dataDir), `${dataDir} is in use by another sluice (pid ${owner.child.pid})`);
  assert.deepEqual(await query(owner.said, 'SELECT 1 AS number'), [{ number: 1 }]);
  const pid = await serverPid(dataDir);
  await kill(owner);
  process.kill(pid, 'SIGQUIT');
  await untilGone(pid);
});

Server('says what is wrong with a directory it cannot use', async () => {
  const folder = await temporaryFolder();
  const file = path.join(folder, 'file');
  await writeFile(file, '');
  assert.match(await refusal(file), /^the data directory .*file cannot be read and written \(ENOTDIR\)$/);

  const foreign = path.join(folder, 'foreign');
  await mkdir(path.join(foreign, 'postgres', 'something'), { recursive: true });
  assert.match(await refusal(foreign), /holds something else than a PostgreSQL cluster$/);

  const lost = path.join(folder, 'lost');
  const server = await startEmbeddedPostgres({ dataDir: lost });
  await server.stop();
  await rm(path.join(lost, 'postgres.password'));
  assert.match(await refusal(lost), /postgres\.password is missing/);
  await writeFile(path.join(lost, 'postgres.password'), 'x\n');
  await writeFile(path.join(lost, 'postgres', 'PG_VERSION'), '9\n');
  assert.match(await refusal(lost), /^the embedded PostgreSQL did not start: .*(incompatible|data directory)/);
});

Server('tells when the server ends by itself, and the next start is not hindered', async () => {
  const dataDir = await temporaryFolder();
  const server = await startEmbeddedPostgres({ dataDir });
  process.kill(await serverPid(dataDir), 'SIGKILL');
  // The server alone does not keep a process alive.
  const alive = setInterval(() => undefined, 1000);
  await server.ended;
  clearInterval(alive);
  await server.stop();
  const next = await startEmbeddedPostgres({ dataDir });
  assert.deepEqual(await query(next.url, 'SELECT 1 AS number'), [{ number: 1 }]);
  await next.stop();
});

Server('ends with a process that exits without stopping it', async () => {
  const dataDir = await temporaryFolder();
  const owner = await startOwner(dataDir);
  const pid = await serverPid(dataDir);
  const ended = once(owner.child, 'exit');
  owner.child.stdin?.write('exit\n');
  await ended;
  await untilGone(pid);
});

Server('is out of reach of a Ctrl-C in the terminal of its owner', async () => {
  const dataDir = await temporaryFolder();
  const owner = await startOwner(dataDir, { detached: true });
  const pid = await serverPid(dataDir);
  assert(owner.child.pid !== undefined);
  process.kill(-owner.child.pid, 'SIGINT');
  assert.deepEqual(await query(owner.said, 'SELECT 1 AS number'), [{ number: 1 }]);
  await kill(owner);
  process.kill(pid, 'SIGQUIT');
  await untilGone(pid);
});

Server('runs as an ordinary user, who is told about a directory that is not his', async () => {
  if (!isRoot) return skip('this user is an ordinary one: every other test showed it');
  const folder = await temporaryFolder();
  await chown(folder, ORDINARY.uid, ORDINARY.gid);
  const owner = await startOwner(path.join(folder, 'data'), ORDINARY);
  if (/EACCES|Cannot find|^undefined/.test(owner.said)) return skip('an ordinary user cannot read this clone');
  assert.deepEqual(await query(owner.said, 'SELECT 1 AS number'), [{ number: 1 }]);
  assert.equal((await stat(path.join(folder, 'data', 'postgres'))).uid, ORDINARY.uid);
  const pid = await serverPid(path.join(folder, 'data'));
  const ended = once(owner.child, 'exit');
  owner.child.stdin?.write('exit\n');
  await ended;
  await untilGone(pid);

  const closed = await temporaryFolder();
  await chmod(closed, 0o700);
  const { said } = await startOwner(closed, ORDINARY);
  assert.equal(said, `failed: the data directory ${closed} cannot be read and written (EACCES)`);
});

Server('run by root in the folder of a user, leaves files that this user can go on with', async () => {
  if (!isRoot) return skip('only root can try this');
  const folder = await temporaryFolder();
  await chown(folder, ORDINARY.uid, ORDINARY.gid);
  const dataDir = path.join(folder, 'data');
  const server = await startEmbeddedPostgres({ dataDir }).catch((error: unknown) => String(error));
  if (typeof server === 'string') {
    assert.match(server, /cannot run here .* start Sluice as an ordinary user/);
    return skip('this user cannot enter the clone');
  }
  await server.stop();
  for (const name of await readdir(dataDir)) {
    assert.equal((await stat(path.join(dataDir, name))).uid, ORDINARY.uid, name);
  }
});

Server('runs as root where user namespaces are forbidden, and later where they are not', async () => {
  if (!isRoot) return skip('only root can try this');
  const dataDir = await temporaryFolder();
  const cage = await temporaryFolder();
  // The kernel forbids user namespaces in a changed root, as container engines do by other means.
  const script = 'mount --rbind / "$0" && exec chroot "$0" "$@"';
  const prefix = ['unshare', '--mount', '--propagation', 'slave', 'sh', '-c', script, cage];
  const caged = await startOwner(dataDir, {}, prefix);
  if (!caged.said.startsWith('postgres:')) return skip(`no changed root here (${caged.said})`);
  assert.deepEqual(await query(caged.said, 'SELECT 1 AS number'), [{ number: 1 }]);
  const { uid } = await stat(path.join(dataDir, 'postgres'));
  assert.notEqual(uid, 0);
  await kill(caged);

  const server = await startEmbeddedPostgres({ dataDir });
  assert.deepEqual(await query(server.url, 'SELECT 1 AS number'), [{ number: 1 }]);
  await server.stop();
});

function skip(reason: string): void {
  console.log(`SKIP ${reason}`);
}

Server.run();
