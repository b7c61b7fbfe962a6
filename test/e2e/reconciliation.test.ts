/**
 * Nothing vanishes uncounted: whatever becomes of what was sent, the counters that the gateway shows account for every
 * item, at any time.
 */
import assert from 'node:assert/strict';
import { suite } from 'uvu';
import { countRows, freePort, post, testGateway, type TestGateway } from '../support/gateway.ts';
import { field, fixed64, request, spanIds } from '../support/otlp_messages.ts';

const test = suite('reconciliation');

let gateway: TestGateway;
let metricsUrl: string;

test.before(async () => {
  const metricsPort = await freePort();
  metricsUrl = `http://127.0.0.1:${metricsPort}/metrics`;
  const sets = [`service.telemetry.metrics.address=127.0.0.1:${metricsPort}`];
  gateway = await testGateway({ sets, durability: 'disk' });
  await gateway.pool.query("ALTER TABLE otel_spans ADD CONSTRAINT no_poison CHECK (name <> 'poison')");
});

test.after(() => gateway.close());

interface Balance {
  readonly received: number;
  readonly sent: number;
  readonly duplicate: number;
  readonly rejected: number;
  readonly deadLettered: number;
  readonly queued: number;
}

/** What the counters say of all signals together. Nothing is sampled or filtered here. */
async function balance(): Promise<Balance> {
  const text = await (await fetch(metricsUrl)).text();
  const sum = (name: RegExp): number =>
    text
      .split('\n')
      .filter((line) => !line.startsWith('#') && name.test(line.split(/[{ ]/, 1)[0] ?? ''))
      .reduce((total, line) => total + Number(line.split(' ').at(-1)), 0);
  const rejected = sum(/^otelcol_receiver_refused_/);
  return {
    received: sum(/^otelcol_receiver_accepted_/) + rejected,
    sent: sum(/^otelcol_exporter_sent_/),
    duplicate: sum(/^sluice_exporter_duplicate_items$/),
    rejected,
    deadLettered: sum(/^sluice_exporter_dead_lettered_items$/),
    queued: sum(/^sluice_exporter_queue_items$/),
  };
}

async function balanceWhere(isReached: (found: Balance) => boolean): Promise<Balance> {
  for (;;) {
    const found = await balance();
    const { received, sent, duplicate, rejected, deadLettered, queued } = found;
    assert.equal(received, sent + duplicate + rejected + deadLettered + queued, JSON.stringify(found));
    if (isReached(found)) return found;
  }
}

let next = 0;

/** Spans that nobody sent before, each with a time. */
function spans(...names: readonly string[]): Buffer {
  return request(names.map((name) => Buffer.concat([spanIds(next++), field(5, name), STARTED])));
}

/** `start_time_unix_nano`, without which nobody can tell a repeat. */
const STARTED = fixed64(7, 1_790_000_000_000_000_000n);

async function send(body: Uint8Array, status = 200): Promise<void> {
  const response = await post(`${gateway.url}/v1/traces`, body);
  assert.equal(response.status, status);
}

test('every item that was received is stored, a repeat, rejected, a dead letter or in the queue', async () => {
  const repeated = spans('a', 'b', 'c', 'd', 'e');
  await send(repeated);
  await send(repeated);
  await send(request([Buffer.concat([spanIds(next++), STARTED]), field(5, 'without ids')]));
  await send(spans('f', 'poison', 'g'));
  await send(Buffer.from('no protobuf'), 400);
  assert.deepEqual(await balanceWhere(({ queued }) => queued === 0), {
    received: 15,
    sent: 8,
    duplicate: 5,
    rejected: 1,
    deadLettered: 1,
    queued: 0,
  });
  assert.equal(await countRows(gateway.pool, 'otel_spans'), 8);
});

test('and so it is while the database lets nobody in', async () => {
  const before = await balance();
  const client = await gateway.pool.connect();
  try {
    await client.query('BEGIN; LOCK TABLE otel_spans IN ACCESS EXCLUSIVE MODE');
    await send(spans('h', 'i'));
    await send(spans('j'));
    assert.equal((await balanceWhere(() => true)).queued, 3);
  } finally {
    await client.query('ROLLBACK');
    client.release();
  }
  const after = await balanceWhere(({ queued }) => queued === 0);
  assert.equal(after.sent - before.sent, 3);
});

test.run();
