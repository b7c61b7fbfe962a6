import assert from 'node:assert/strict';
import { once } from 'node:events';
import { Agent, request as httpRequest } from 'node:http';
import type { Socket } from 'node:net';
import { setImmediate } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import { deflateSync, gzipSync, zstdCompressSync } from 'node:zlib';
import { suite } from 'uvu';
import { field, spanIds, varint } from '../support/otlp_messages.ts';
import { PROTOBUF, SPANS } from './otlp_requests.ts';
import { head, openSocket, received, runningOtlp, stopAll } from './served.ts';

const MAX_P99_MS = 100;
const MAX_BLOCKED_MS = 100;

/** How long an honest client waits for each answer, in ms, while something else goes on. */
async function honestLatencies(url: string, isDone: (sent: number) => boolean): Promise<number[]> {
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  const latencies: number[] = [];
  while (!isDone(latencies.length)) {
    const sentAt = performance.now();
    const sent = httpRequest(url, { method: 'POST', headers: { 'content-type': PROTOBUF }, agent }).end(SPANS);
    const [answer] = await once(sent, 'response');
    assert.equal(answer.statusCode, 200);
    await once(answer.resume(), 'end');
    latencies.push(performance.now() - sentAt);
  }
  agent.destroy();
  return latencies.toSorted((a, b) => a - b);
}

function p99(sorted: readonly number[]): number {
  return sorted[Math.floor(sorted.length * 0.99)] ?? Number.NaN;
}

function cpuMs(): number {
  const { user, system } = process.threadCpuUsage();
  return (user + system) / 1000;
}

/** The most CPU time of one turn of the event loop, in ms: what an honest client waits for on a machine of its own. */
async function longestTurnMs(isDone: () => boolean): Promise<number> {
  let longest = 0;
  for (let before = cpuMs(); !isDone();) {
    await setImmediate();
    const now = cpuMs();
    longest = Math.max(longest, now - before);
    before = now;
  }
  return longest;
}

const report = (what: string, sorted: readonly number[]): void => {
  const longest = sorted.at(-1)?.toFixed(1);
  console.log(
    `\n  ${what}: honest p99 ${p99(sorted).toFixed(1)} ms, longest ${longest} ms of ${sorted.length} requests`,
  );
};

const slow = suite('slow clients');
slow.after.each(stopAll);

const SLOW_SOCKETS = 500;
/** What each of them sends, and nothing more. */
const PARTS: readonly (readonly string[])[] = [
  [],
  ['POST /v1/tra'],
  ['POST /v1/traces HTTP/1.1\r\nHost: a\r\nX-A: '],
  [head('/v1/traces', `Content-Type: ${PROTOBUF}`, 'Content-Length: 1000'), 'x'],
  [head('/v1/traces', `Content-Type: ${PROTOBUF}`, 'Transfer-Encoding: chunked'), '5\r\nab'],
];

slow(`${SLOW_SOCKETS} of them stop nobody else, and are cut off after their time`, async () => {
  const gateway = await runningOtlp({ read_header_timeout: '2s', read_timeout: '2s' });
  const sockets: Socket[] = [];
  for (let index = 0; index < SLOW_SOCKETS; index++) {
    const socket = await openSocket(gateway.port, ...(PARTS[index % PARTS.length] ?? []));
    sockets.push(socket.on('error', () => {}).resume());
  }
  const closed = Promise.all(sockets.map(async (socket) => socket.destroyed || once(socket, 'close')));
  const openedAt = performance.now();
  const latencies = await honestLatencies(`${gateway.url}/v1/traces`, (sent) => sent === 300);
  report(`${SLOW_SOCKETS} slow sockets`, latencies);
  assert.ok(p99(latencies) < MAX_P99_MS);
  await closed;
  // Node looks every second, and a socket that sent nothing at all is seen in its own time.
  assert.ok(performance.now() - openedAt < 10_000, 'they were cut off late');
});

slow('a slow client is told 408', async () => {
  const gateway = await runningOtlp({ read_header_timeout: '1s', read_timeout: '1s' });
  for (const parts of PARTS.slice(1)) {
    const socket = await openSocket(gateway.port, ...parts);
    assert.match(await received(socket, /\r\n\r\n/), /^HTTP\/1\.1 408 /);
    socket.destroy();
  }
});

slow.run();

const hostile = suite('hostile bodies');
hostile.after.each(stopAll);

const LONGEST = 64 * 1_048_576;
const keyValue = field(9, field(1, 'k'), field(2, field(1, 'v')));
const spans = (count: number, ...parts: readonly Uint8Array[]): Buffer => {
  const span = field(2, spanIds(1), ...parts);
  return field(1, field(2, Buffer.alloc(count * span.length, span)));
};
const attributes = (count: number): Buffer => Buffer.alloc(count * keyValue.length, keyValue);

interface Hostile {
  readonly body: Uint8Array;
  readonly status: number;
  readonly encoding?: string;
  readonly type?: string;
}

const BODIES: Readonly<Record<string, () => Hostile>> = {
  '50,000 spans of 19 attributes': () => ({ body: spans(50_000, attributes(19)), status: 200 }),
  '50,000 spans, compressed': () => ({ body: gzipSync(spans(50_000, attributes(19))), status: 200, encoding: 'gzip' }),
  '64 MB of long names': () => ({ body: spans(50_000, field(5, Buffer.alloc(1250, 65))), status: 200 }),
  'a million attributes in a span': () => ({ body: spans(1, attributes(999_000)), status: 200 }),
  'empty spans in 8 MiB': () => ({
    body: field(1, field(2, Buffer.alloc(8_388_608, Buffer.of(0x12, 0)))),
    status: 400,
  }),
  'fields that nobody knows': () => ({ body: Buffer.alloc(LONGEST, varint(15, 1)), status: 200 }),
  '64 MiB of JSON': () => ({
    body: Buffer.concat([Buffer.from('{"a":['), Buffer.alloc(LONGEST - 10, '[1,"x",{}],'), Buffer.from('1')]),
    status: 400,
    type: 'application/json',
  }),
  'a bomb of gzip': () => ({ body: gzipSync(Buffer.alloc(100_000_000)), status: 413, encoding: 'gzip' }),
  'a bomb of deflate': () => ({ body: deflateSync(Buffer.alloc(100_000_000)), status: 413, encoding: 'deflate' }),
  'a bomb of zstd': () => ({ body: zstdCompressSync(Buffer.alloc(100_000_000)), status: 413, encoding: 'zstd' }),
};

for (const [name, make] of Object.entries(BODIES)) {
  hostile(`${name}: nobody is blocked for ${MAX_BLOCKED_MS} ms`, async () => {
    const { body, status, encoding, type = PROTOBUF } = make();
    const gateway = await runningOtlp();
    const url = `${gateway.url}/v1/traces`;
    const headers = { 'content-type': type, ...(encoding !== undefined && { 'content-encoding': encoding }) };
    const sender = new Worker(new URL('hostile_sender.ts', import.meta.url), { workerData: { url, body, headers } });
    const statuses: unknown[] = [];
    sender.on('message', (got) => statuses.push(got));
    await once(sender, 'message');
    gateway.batches.length = 0;
    let isDone = false;
    const turn = longestTurnMs(() => isDone);
    const latencies = await honestLatencies(url, (sent) => {
      gateway.batches.length = 0;
      return sent >= 100 && statuses.length >= 3;
    });
    isDone = true;
    const blockedMs = await turn;
    sender.postMessage('stop', []);
    await once(sender, 'exit');
    report(`${name}, ${blockedMs.toFixed(1)} ms of CPU at most in one turn`, latencies);
    assert.deepEqual(new Set(statuses), new Set([status]));
    assert.ok(blockedMs < MAX_BLOCKED_MS);
  });
}

hostile.run();
