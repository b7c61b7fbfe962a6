import assert from 'node:assert/strict';
import { networkInterfaces } from 'node:os';
import { Counter } from 'prom-client';
import { suite } from 'uvu';
import { ConfigError } from '../../src/errors.ts';
import { createMetricsRegistry, serveMetrics } from '../../src/telemetry/metrics.ts';

const test = suite('metrics');
const ANY_PORT = '127.0.0.1:0';

test('serves counters and process metrics as Prometheus text', async () => {
  const registry = createMetricsRegistry();
  new Counter({ name: 'spans_total', help: 'Spans.', registers: [registry] }).inc(3);
  const server = serveMetrics({ address: ANY_PORT, registry });
  const address = await server.start();
  try {
    const response = await fetch(`http://${address}/metrics`);
    const text = await response.text();
    assert.equal(response.status, 200);
    assert.match(response.headers.get('content-type') ?? '', /^text\/plain; version=0\.0\.4/);
    assert.match(text, /^spans_total 3$/m);
    assert.match(text, /^process_cpu_seconds_total /m);
  } finally {
    await server.shutdown();
  }
});

test('answers 404 to every other path and method', async () => {
  const server = serveMetrics({ address: ANY_PORT, registry: createMetricsRegistry() });
  const address = await server.start();
  try {
    const statuses: number[] = [];
    for (const [method, path] of [
      ['GET', '/'],
      ['GET', '/metrics/'],
      ['POST', '/metrics'],
      ['GET', '/metrics?name=x'],
    ]) {
      const response = await fetch(`http://${address}${path}`, { method: method ?? 'GET' });
      await response.arrayBuffer();
      statuses.push(response.status);
    }
    assert.deepEqual(statuses, [404, 404, 404, 200]);
  } finally {
    await server.shutdown();
  }
});

test('says in one line that the port is taken, and stops cleanly all the same', async () => {
  const registry = createMetricsRegistry();
  const first = serveMetrics({ address: ANY_PORT, registry });
  const address = await first.start();
  const second = serveMetrics({ address, registry });
  await assert.rejects(second.start(), {
    message: `cannot listen on ${address}: address in use (service.telemetry.metrics.address)`,
  });
  await second.shutdown();
  await first.shutdown();
  await first.shutdown();
});

test('stops without ever having started', async () => {
  await serveMetrics({ address: ANY_PORT, registry: createMetricsRegistry() }).shutdown();
});

for (const address of ['8888', 'localhost', 'http://localhost:8888', '::1:8888', '127.0.0.1:70000', '127.0.0.1:']) {
  test(`refuses the address ${JSON.stringify(address)}`, () => {
    assert.throws(() => serveMetrics({ address, registry: createMetricsRegistry() }), ConfigError);
  });
}

const hasIpv6 = Object.values(networkInterfaces()).some((list) => list?.some((one) => one.address === '::1'));
for (const address of ['localhost:0', ':0', ...(hasIpv6 ? ['[::1]:0'] : [])]) {
  test(`listens on ${address}`, async () => {
    const server = serveMetrics({ address, registry: createMetricsRegistry() });
    assert.match(await server.start(), /:\d+$/);
    await server.shutdown();
  });
}

test.run();
