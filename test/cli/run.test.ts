import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Server } from 'node:net';
import { createInterface } from 'node:readline';
import { setImmediate } from 'node:timers/promises';
import { suite } from 'uvu';
import { before, exitOf, OLD_NODE, sluice, startSluice } from './sluice.ts';
import type { Running, SluiceOptions } from './sluice.ts';

/** A gateway that needs no database and no fixed port. */
const CONFIG = {
  'receivers.otlp.protocols.http.endpoint': '127.0.0.1:0',
  'exporters.debug.verbosity': 'basic',
  'service.telemetry.metrics.address': '127.0.0.1:0',
  'service.pipelines.traces': '{receivers: [otlp], exporters: [debug]}',
};
/** Laid over it: probes on a free port. */
const PROBED = { 'extensions.health_check.endpoint': '127.0.0.1:0', 'service.extensions': '[health_check]' };
const PROBES = /probes on http:\/\/([\d.:]+)\/healthz/;
const EMPTY_REQUEST = { method: 'POST', headers: { 'content-type': 'application/json' }, body: '{}' };

const run = suite('run');

for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
  run(`says in one line that it is ready, and ends with 0 at ${signal}`, async () => {
    const { child, lines } = await ready();
    const ended = exitOf(child);
    child.kill(signal);
    assert.deepEqual(await ended, { code: 0, signal: null });
    assert.equal(lines.length, 2);
    assert.match(lines[0] ?? '', /^sluice: ready, traces: otlp → debug/);
    assert.equal(lines[1], 'sluice: stopped; nothing is left in the queues');
  });
}

run('after SIGTERM it is not ready, and takes data for shutdown_delay', async () => {
  const { child, port, probes } = await ready({}, { ...PROBED, 'service.shutdown_delay': '3s' });
  const send = async () => (await fetch(`http://127.0.0.1:${port}/v1/traces`, EMPTY_REQUEST)).status;
  assert.deepEqual(await statuses(probes), { healthz: 200, readyz: 200 });
  assert.equal(await send(), 200);
  const ended = exitOf(child);
  child.kill('SIGTERM');
  await until(async () => (await statuses(probes)).readyz === 503);
  assert.deepEqual(await (await fetch(`${probes}/readyz`)).json(), { status: 'not ready', reasons: ['shutting down'] });
  assert.equal((await fetch(`${probes}/healthz`)).status, 200);
  assert.equal(await send(), 200);
  assert.deepEqual(await ended, { code: 0, signal: null });
});

run('SIGINT from a terminal does not wait for shutdown_delay', async () => {
  const { child } = await ready({}, { 'service.shutdown_delay': '1h' });
  const ended = exitOf(child);
  child.kill('SIGINT');
  assert.deepEqual(await ended, { code: 0, signal: null });
});

run('the last answer on a connection says that it closes', async () => {
  const { child, port } = await ready();
  const client = await requestUnderWay(port);
  const ended = exitOf(child);
  const closed = once(client, 'close');
  child.kill('SIGINT');
  await refused(port);
  client.write(' '.repeat(100));
  const [answer] = await once(client, 'data');
  assert.match(String(answer), /^HTTP\/1\.1 400 [\s\S]*\r\nConnection: close\r\n/);
  await closed;
  assert.deepEqual(await ended, { code: 0, signal: null });
});

run('a signal while it starts ends it too; probes are answered meanwhile', async () => {
  const silent = createServer(() => undefined).listen(0, '127.0.0.1');
  await once(silent, 'listening');
  const { port } = addressOf(silent);
  const child = startSluice(
    argumentsFor({
      ...CONFIG,
      ...PROBED,
      'exporters.postgres': `{database_url: "postgres://127.0.0.1:${port}/a", sending_queue: {durability: commit}}`,
      'service.pipelines.traces': '{receivers: [otlp], exporters: [debug, postgres]}',
      'service.shutdown_timeout': '1s',
    }),
  );
  const lines: string[] = [];
  createInterface(child.stdout).on('line', (line) => lines.push(line));
  const probes = `http://${await loggedAddress(child, PROBES)}`;
  await once(silent, 'connection');
  assert.deepEqual(await statuses(probes), { healthz: 200, readyz: 503 });
  const ended = exitOf(child);
  child.kill('SIGTERM');
  assert.deepEqual(await ended, { code: 0, signal: null });
  assert.deepEqual(lines, ['sluice: stopped; nothing is left in the queues']);
  silent.close();
});

run('switched off, it answers data with 503, counts as ready all the same, and ends with 0', async () => {
  const child = startSluice(argumentsFor({ ...CONFIG, ...PROBED, 'service.enabled': 'false' }));
  const address = loggedAddress(child, /every request to ([\d.:]+)/);
  const probes = loggedAddress(child, PROBES);
  const [line] = await once(createInterface(child.stdout), 'line');
  assert.equal(line, 'sluice: disabled by service.enabled; every request is answered with 503');
  assert.equal((await fetch(`http://${await address}/v1/traces`, { method: 'POST', body: '{}' })).status, 503);
  assert.deepEqual(await statuses(`http://${await probes}`), { healthz: 200, readyz: 200 });
  const ended = exitOf(child);
  child.kill();
  assert.deepEqual(await ended, { code: 0, signal: null });
});

run('a SIGINT that arrives from the terminal and forwarded as well counts once', async () => {
  const { child } = await ready();
  const ended = exitOf(child);
  child.kill('SIGINT');
  child.kill('SIGINT');
  assert.deepEqual(await ended, { code: 0, signal: null });
});

run('under an older Node, signals reach the gateway and its exit code comes back', async () => {
  const { child } = await ready({ nodeOptions: [OLD_NODE] });
  const ended = exitOf(child);
  child.kill('SIGTERM');
  assert.deepEqual(await ended, { code: 0, signal: null });
});

run('a second signal ends it at once while a request holds the shutdown up', async () => {
  const { child, port } = await ready();
  const ended = exitOf(child);
  const client = await requestUnderWay(port);
  const insist = setInterval(() => child.kill('SIGTERM'), 50);
  assert.deepEqual(await ended, { code: 143, signal: null });
  clearInterval(insist);
  client.destroy();
});

run('a taken port is one line and exit code 1', async () => {
  const { child, port } = await ready();
  const taken = `127.0.0.1:${port}`;
  const second = await sluice(argumentsFor({ ...CONFIG, 'receivers.otlp.protocols.http.endpoint': taken }));
  assert.equal(second.code, 1);
  const complaints = second.stderr
    .trimEnd()
    .split('\n')
    .filter((line) => !line.startsWith('{'));
  assert.equal(complaints.length, 1, second.stderr);
  assert.match(complaints[0] ?? '', new RegExp(`^sluice: .*${taken}.*in use`));
  const ended = exitOf(child);
  child.kill();
  await ended;
});

run('a promise that nobody waits for ends it with one line, the stack and exit code 1', async () => {
  const script = `setInterval(() => {
    if (process.listenerCount('uncaughtException') > 0) Promise.reject(new Error('nobody waits', { cause: new Error('why') }));
  }, 1)`;
  const { code, stderr } = await sluice(argumentsFor(CONFIG), { nodeOptions: [before(script)] });
  assert.equal(code, 1);
  assert.match(stderr, /^sluice: nobody waits: why\nError: nobody waits\n {4}at /m);
});

run('a faulty configuration starts nothing and ends with 78', async () => {
  const { code, stdout } = await sluice(argumentsFor({ ...CONFIG, 'exporters.debug.verbosity': 'loud' }));
  assert.deepEqual({ code, stdout }, { code: 78, stdout: '' });
});

run.run();

interface Ready {
  readonly child: Running;
  /** What it printed up to now. */
  readonly lines: readonly string[];
  /** Where it takes OTLP/HTTP. */
  readonly port: number;
  /** Base URL of its probes, where it has some. */
  readonly probes: string;
}

/** Resolves when the gateway says that it is ready. */
async function ready(options: SluiceOptions = {}, more: Readonly<Record<string, string>> = {}): Promise<Ready> {
  const child = startSluice(argumentsFor({ ...CONFIG, ...more }), options);
  const lines: string[] = [];
  const printed = createInterface(child.stdout).on('line', (line) => lines.push(line));
  const address = loggedAddress(child, /OTLP\/HTTP on http:\/\/([\d.:]+)/);
  const probes = 'service.extensions' in more ? await loggedAddress(child, PROBES) : '';
  if (lines.length === 0) await once(printed, 'line');
  return { child, lines, port: Number((await address).split(':')[1]), probes: `http://${probes}` };
}

async function statuses(probes: string): Promise<{ healthz: number; readyz: number }> {
  const [healthz, readyz] = await Promise.all(['healthz', 'readyz'].map((path) => fetch(`${probes}/${path}`)));
  return { healthz: healthz?.status ?? 0, readyz: readyz?.status ?? 0 };
}

async function until(holds: () => Promise<boolean>): Promise<void> {
  while (!(await holds())) await setImmediate();
}

/** Resolves when nobody listens there any more. */
async function refused(port: number): Promise<void> {
  await until(async () => {
    const socket = connect(port, '127.0.0.1');
    const isRefused = await Promise.race([
      once(socket, 'connect').then(() => false),
      once(socket, 'error').then(() => true),
    ]).catch(() => true);
    socket.destroy();
    return isRefused;
  });
}

function addressOf(server: Server): AddressInfo {
  const address = server.address();
  assert(typeof address === 'object' && address !== null);
  return address;
}

function loggedAddress({ stderr }: Running, pattern: RegExp): Promise<string> {
  return new Promise((resolve) => {
    createInterface(stderr).on('line', (line) => {
      const [, found] = pattern.exec(line) ?? [];
      if (found !== undefined) resolve(found);
    });
  });
}

/** An OTLP request of which only the beginning is sent, and which the gateway waits for. */
async function requestUnderWay(port: number): Promise<ReturnType<typeof connect>> {
  const client = connect(port, '127.0.0.1').on('error', () => undefined);
  client.write('POST /v1/traces HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 100\r\n');
  client.write('Expect: 100-continue\r\n\r\n');
  await once(client, 'data');
  return client;
}

/** The configuration as `--set` options, over a file that is empty. */
function argumentsFor(config: Readonly<Record<string, string>>): string[] {
  const sets = Object.entries(config).flatMap(([key, value]) => ['--set', `${key}=${value}`]);
  return ['run', '--config', '/dev/null', ...sets];
}
