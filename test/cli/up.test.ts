import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { text } from 'node:stream/consumers';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { suite } from 'uvu';
import { testDatabase } from '../support/postgres.ts';
import { exitOf, sluice, startSluice, type Running } from './sluice.ts';

const Up = suite('sluice up');
const ANY_PORT = '127.0.0.1:0';
const ENDPOINTS = {
  SLUICE_OTLP_HTTP_ENDPOINT: ANY_PORT,
  SLUICE_OTLP_GRPC_ENDPOINT: ANY_PORT,
  SLUICE_QUERY_ENDPOINT: ANY_PORT,
  SLUICE_METRICS_ENDPOINT: ANY_PORT,
  SLUICE_HEALTH_ENDPOINT: ANY_PORT,
};

let cwd: string;

Up.before.each(async () => {
  cwd = await mkdtemp(path.join(os.tmpdir(), 'sluice up '));
});
Up.after.each(() => rm(cwd, { recursive: true, force: true }));

interface Ready {
  readonly child: Running;
  /** All that was printed until the last line of the banner. */
  readonly lines: readonly string[];
  readonly queryUrl: string;
}

async function start(env: Record<string, string> = {}, args: readonly string[] = []): Promise<Ready> {
  const child = startSluice(['up', ...args], { cwd, env: { ...ENDPOINTS, ...env } });
  child.stderr.resume();
  const lines: string[] = [];
  for await (const line of createInterface({ input: child.stdout })) {
    lines.push(line);
    const [, queryUrl] = /^Open (http:.*)\/$/.exec(line) ?? [];
    if (queryUrl !== undefined) return { child, lines, queryUrl };
  }
  throw new Error(`no banner: ${lines.join('\n')}`);
}

async function stop({ child }: Ready, signal: NodeJS.Signals = 'SIGINT'): Promise<number | null> {
  const ended = exitOf(child);
  child.kill(signal);
  return (await ended).code;
}

async function serverPid(dataDir: string): Promise<number> {
  return Number((await readFile(path.join(dataDir, 'postgres', 'postmaster.pid'), 'utf8')).split('\n')[0]);
}

async function untilGone(pid: number): Promise<void> {
  for (let waitedMs = 0; waitedMs < 10_000; waitedMs += 20) {
    try {
      process.kill(pid, 0);
    } catch {
      return;
    }
    await delay(20);
  }
  assert.fail(`process ${pid} is still there`);
}

Up('starts everything on a fresh directory, says what runs where, and stops everything', async () => {
  const first = await start();
  const migrations = (await readdir(fileURLToPath(new URL('../../migrations', import.meta.url)))).toSorted();
  assert.deepEqual(first.lines.slice(0, migrations.length + 2), [
    'initialising the database …',
    ...migrations.map((file) => `applied migration ${path.basename(file, '.sql')}`),
    'made 36 day partitions',
  ]);
  assert(first.lines.includes('  export OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf'));
  assert.equal((await fetch(`${first.queryUrl}/healthz`)).status, 200);
  const pid = await serverPid(path.join(cwd, '.sluice'));
  assert.equal(await stop(first), 0);
  await untilGone(pid);
  assert(!(await readdir(path.join(cwd, '.sluice'))).includes('sluice.pid'));
});

Up('says at last what is left, also after SIGTERM, which gives senders a while to hear of it', async () => {
  const running = await start();
  const rest = text(running.child.stdout);
  const stoppedAt = performance.now();
  assert.equal(await stop(running, 'SIGTERM'), 0);
  assert.ok(performance.now() - stoppedAt >= 1000, 'it did not wait');
  assert.match(await rest, /stopping …\nsluice: stopped; nothing is left in the queues\n$/);
});

Up('after a SIGKILL, and while another one runs on the same directory', async () => {
  const env = { SLUICE_DATA_DIR: path.join(cwd, 'data') };
  await stop(await start(env), 'SIGKILL');
  const second = await start(env);
  const third = await sluice(['up'], { cwd, env: { ...ENDPOINTS, ...env } });
  assert.deepEqual(
    { code: third.code, stderr: third.stderr },
    { code: 1, stderr: `sluice: ${env.SLUICE_DATA_DIR} is in use by another sluice (pid ${second.child.pid})\n` },
  );
  assert.equal(await stop(second, 'SIGTERM'), 0);
});

Up('ends when its database does', async () => {
  const running = await start();
  const ended = exitOf(running.child);
  process.kill(await serverPid(path.join(cwd, '.sluice')), 'SIGKILL');
  assert.equal((await ended).code, 1);
});

Up('uses the database of DATABASE_URL, and then starts none of its own', async () => {
  const database = await testDatabase();
  const running = await start({ DATABASE_URL: database.url });
  assert(running.lines.includes('made 36 day partitions'));
  assert(!running.lines.join('\n').includes(new URL(database.url).password));
  assert.equal(await stop(running), 0);
  assert.deepEqual(await readdir(path.join(cwd, '.sluice')), ['queue']);
  await database.close();
});

Up('switched off, it says so, and starts no database', async () => {
  const child = startSluice(['up', '--set', 'service.enabled=false'], { cwd, env: ENDPOINTS });
  child.stderr.resume();
  const printed: string[] = [];
  for await (const line of createInterface({ input: child.stdout })) {
    printed.push(line);
    if (line.startsWith('Open ')) break;
  }
  assert.match(printed[0] ?? '', /^Sluice is disabled by service\.enabled/);
  const [url] = /http:.*(?=\/$)/.exec(printed[1] ?? '') ?? [];
  assert.equal((await fetch(`${url}/healthz`)).status, 200);
  assert.equal((await fetch(`${url}/observability/scans/s/trace`)).status, 503);
  assert.deepEqual(await readdir(cwd), []);
  assert.equal(await stop({ child, lines: printed, queryUrl: url ?? '' }), 0);
});

Up('with authentication, the query API asks the extension of the gateway', async () => {
  const reader = randomBytes(16).toString('hex');
  const extension =
    'extensions.static_tokens={tokens: [{token: "${env:READER}", org_id: a, workspace_id: b, scopes: [scans:read]}]}';
  const sets = [
    extension,
    'service.extensions=[health_check, file_storage, static_tokens]',
    'query.auth.authenticator=static_tokens',
  ];
  const running = await start(
    { READER: reader },
    sets.flatMap((set) => ['--set', set]),
  );
  const url = `${running.queryUrl}/observability/scans/s/trace`;
  assert.equal((await fetch(url)).status, 401);
  assert.equal((await fetch(url, { headers: { authorization: `Bearer ${reader}` } })).status, 404);
  assert.equal(await stop(running), 0);
});

Up('a taken port, a wrong database and an unreadable directory give one line each', async () => {
  const database = await testDatabase();
  const wrong = new URL(database.url);
  wrong.password = 'guess';
  const taken = createServer().listen(0, '127.0.0.1');
  await once(taken, 'listening');
  const address = taken.address();
  assert(typeof address === 'object' && address !== null);
  await writeFile(path.join(cwd, 'file'), '');
  const cases: [Record<string, string>, RegExp][] = [
    [
      { SLUICE_OTLP_HTTP_ENDPOINT: `127.0.0.1:${address.port}`, DATABASE_URL: database.url },
      /^sluice: [^\n]*:\d+[^\n]*\n$/,
    ],
    [
      { DATABASE_URL: wrong.href },
      /^sluice: the database cannot be used: [^\n]* refuses the password of user sluice\n$/,
    ],
    [{ SLUICE_DATA_DIR: path.join(cwd, 'file') }, /^sluice: the data directory [^\n]* \(ENOTDIR\)\n$/],
  ];
  for (const [env, says] of cases) {
    const { code, stderr } = await sluice(['up'], { cwd, env: { ...ENDPOINTS, ...env } });
    assert.equal(code, 1);
    assert.match(stderr.replaceAll(/^\{.*\n/gm, ''), says);
  }
  taken.close();
  await database.close();
});

Up('a wrong configuration is reported before anything is started', async () => {
  const { code, stderr } = await sluice(['up', '--set', 'exporters.postgres.nothing=1'], { cwd, env: ENDPOINTS });
  assert.equal(code, 78);
  assert.match(stderr, /^exporters\.postgres\.nothing: /m);
  assert.deepEqual(await readdir(cwd), []);
});

Up.run();
