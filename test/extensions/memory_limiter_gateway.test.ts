import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { createInterface } from 'node:readline';
import { text } from 'node:stream/consumers';
import { setImmediate } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { suite } from 'uvu';
import { countRows, post, testGateway } from '../support/gateway.ts';
import { any, attribute, request, spanIds } from '../support/otlp_messages.ts';
import { testDatabase } from '../support/postgres.ts';

const MAIN = fileURLToPath(new URL('../../src/main.ts', import.meta.url));

const gateways = suite('gateways that are short of memory');

let lastSpan = 0;
const spans = (count: number, bytes = 0): Buffer =>
  request(
    Array.from({ length: count }, () => {
      lastSpan += 1;
      const padding = bytes === 0 ? [] : [attribute(9, 'text', any.string('x'.repeat(bytes)))];
      return Buffer.concat([spanIds(lastSpan), ...padding]);
    }),
  );

gateways('bodies that are too many at once are told to come again, and each is stored once in the end', async () => {
  const bodies = Array.from({ length: 30 }, () => spans(100, 3000));
  const gateway = await testGateway({
    sets: ['extensions.memory_limiter.max_request_bytes_in_flight=1MiB', 'service.extensions=[memory_limiter]'],
  });
  let refused = 0;
  const send = async (body: Buffer): Promise<void> => {
    for (;;) {
      const { status, headers } = await post(`${gateway.url}/v1/traces`, body);
      if (status === 200) return;
      assert.deepEqual({ status, retryAfter: headers.get('retry-after') }, { status: 503, retryAfter: '1' });
      refused += 1;
    }
  };
  await Promise.all(bodies.map(send));
  assert.ok(refused > 0, 'nothing was refused');
  assert.equal(await countRows(gateway.pool, 'otel_spans'), 3000);
  const { rows } = await gateway.pool.query('SELECT count(DISTINCT span_id)::int AS spans FROM otel_spans');
  assert.deepEqual(rows, [{ spans: 3000 }]);
  await gateway.close();
});

/** Bodies of so many spans, so many at once: what they become takes some four times the heap. */
const SPANS = 20_000;
const SENDERS = 100;
const HEAP_MIB = 256;
/** Beside the heap there are its youngest objects, the bodies, and what was made of them. */
const MAX_RSS_MIB = 4 * HEAP_MIB;

gateways(`with a heap of ${HEAP_MIB} MiB and four times the load it refuses before it dies`, async () => {
  const database = await testDatabase();
  const child = spawn(process.execPath, [`--max-old-space-size=${HEAP_MIB}`, MAIN, 'run', ...flags(database.url)], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const ended = once(child, 'exit');
  const url = await traceUrl(child.stderr);
  // Until the lock goes, nothing that was let in can leave.
  const blocker = await database.pool.connect();
  await blocker.query('BEGIN; LOCK TABLE otel_spans IN ACCESS EXCLUSIVE MODE');
  const body = spans(SPANS);
  const enough = Promise.withResolvers<void>();
  let refused = 0;
  const answers = Array.from({ length: SENDERS }, async () => {
    // A client that is slow to send may see the connection close before it has read the answer.
    const status = await post(url, body).then(
      (answer) => answer.status,
      () => 503,
    );
    if (status === 503) refused += 1;
    if (refused === SENDERS / 4) enough.resolve();
    return status;
  });
  await enough.promise;
  await blocker.query('COMMIT');
  blocker.release();
  const statuses = await Promise.all(answers);
  assert.deepEqual(new Set(statuses), new Set([200, 503]));
  const stored = statuses.filter((status) => status === 200).length * SPANS;
  assert.equal(await countRows(database.pool, 'otel_spans'), stored);
  const peakMib = await peakRssMib(child.pid);
  console.log(`\n  ${refused} of ${SENDERS} refused, ${stored} spans stored, at most ${peakMib} MiB`);
  assert.ok(peakMib < MAX_RSS_MIB, `${peakMib} MiB`);
  await accepted(url);
  child.kill('SIGINT');
  assert.match(await text(child.stdout), /^sluice: ready, .*\nsluice: stopped; nothing is left in the queues\n$/);
  assert.deepEqual(await ended, [0, null]);
  await database.close();
});

/** Resolves when a small request is taken. */
async function accepted(url: string): Promise<void> {
  while ((await post(url, spans(1))).status !== 200) await setImmediate();
}

function flags(databaseUrl: string): string[] {
  const sets = [
    'receivers.otlp.protocols.http.endpoint=127.0.0.1:0',
    `exporters.postgres={database_url: "${databaseUrl}", sending_queue: {durability: commit}}`,
    'service.pipelines.traces={receivers: [otlp], exporters: [postgres]}',
  ];
  return ['--config', '/dev/null', ...sets.flatMap((set) => ['--set', set])];
}

async function traceUrl(stderr: NodeJS.ReadableStream): Promise<string> {
  const { promise, resolve } = Promise.withResolvers<string>();
  createInterface(stderr).on('line', (line) => {
    const [, url] = /OTLP\/HTTP on (http:[^"]+)/.exec(line) ?? [];
    if (url !== undefined) resolve(`${url}/v1/traces`);
  });
  return promise;
}

async function peakRssMib(pid = 0): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8');
  return Math.round(Number(/^VmHWM:\s+(\d+) kB$/m.exec(status)?.[1]) / 1024);
}

gateways.run();
