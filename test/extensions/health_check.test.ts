import assert from 'node:assert/strict';
import { suite } from 'uvu';
import type { Component, Health } from '../../src/component.ts';
import { healthCheck } from '../../src/extensions/health_check.ts';
import { SILENT, testSettings } from '../support/settings.ts';

const test = suite('health_check');

interface Fixture {
  readonly url: string;
  readonly extension: Component;
  health: Health;
}

const WELL: Health = { unready: [], stuck: [] };
let probed: Fixture | undefined;

test.after.each(async () => {
  await probed?.extension.shutdown?.(AbortSignal.timeout(5000));
  probed = undefined;
});

async function started(config: object = {}): Promise<Fixture> {
  let url = '';
  const info = (fields: object) => {
    if ('address' in fields) url = `http://${String(fields.address)}`;
  };
  const settings = { ...testSettings('health_check', { ...SILENT, info }), health: () => fixture.health };
  const extension = healthCheck.create(healthCheck.config.parse({ endpoint: '127.0.0.1:0', ...config }), settings);
  await extension.start?.();
  const fixture: Fixture = { url, extension, health: WELL };
  probed = fixture;
  return fixture;
}

async function probe(url: string, method = 'GET'): Promise<{ status: number; type: string | null; body: string }> {
  const response = await fetch(url, { method });
  return { status: response.status, type: response.headers.get('content-type'), body: await response.text() };
}

const json = (status: number, body: object) => ({ status, type: 'application/json', body: JSON.stringify(body) });

test('a gateway that is well is alive and ready', async () => {
  const { url } = await started();
  assert.deepEqual(await probe(`${url}/healthz`), json(200, { status: 'alive' }));
  assert.deepEqual(await probe(`${url}/readyz?verbose`), json(200, { status: 'ready' }));
});

test('what should get no data is alive, and says why it is not ready', async () => {
  const fixture = await started();
  fixture.health = { unready: ['starting', 'sending queue of exporter postgres: full'], stuck: [] };
  assert.equal((await probe(`${fixture.url}/healthz`)).status, 200);
  assert.deepEqual(
    await probe(`${fixture.url}/readyz`),
    json(503, { status: 'not ready', reasons: fixture.health.unready }),
  );
});

test('what only a restart can help is not alive, and says why', async () => {
  const fixture = await started();
  fixture.health = { unready: [], stuck: ['sending queue of exporter postgres: the log failed'] };
  assert.deepEqual(
    await probe(`${fixture.url}/healthz`),
    json(503, { status: 'stuck', reasons: fixture.health.stuck }),
  );
});

test('HEAD is answered like GET, without a body', async () => {
  const fixture = await started();
  assert.deepEqual(await probe(`${fixture.url}/readyz`, 'HEAD'), { status: 200, type: 'application/json', body: '' });
  fixture.health = { unready: ['starting'], stuck: [] };
  assert.equal((await probe(`${fixture.url}/readyz`, 'HEAD')).status, 503);
});

test('other methods and paths are refused', async () => {
  const { url } = await started();
  assert.equal((await probe(`${url}/healthz`, 'POST')).status, 405);
  assert.equal((await probe(`${url}/metrics`)).status, 404);
});

test("answers at `path` as the Collector's extension does", async () => {
  const fixture = await started({ path: '/health' });
  const good = await probe(`${fixture.url}/health`);
  assert.equal(good.status, 200);
  assert.match(
    good.body,
    /^\{"status":"Server available","upSince":"\d{4}-\d\d-\d\dT[\d:.]+Z","uptime":"\d+(?:\.\d+)?s"\}$/,
  );
  fixture.health = { unready: ['starting'], stuck: [] };
  const bad = { status: 'Server not available', upSince: '0001-01-01T00:00:00Z', uptime: '' };
  assert.deepEqual(await probe(`${fixture.url}/health`), json(503, bad));
  assert.equal((await probe(`${fixture.url}/`)).status, 404);
});

test('the bodies at `path` can be given', async () => {
  const fixture = await started({ response_body: { healthy: 'fine', unhealthy: 'not fine' } });
  assert.deepEqual(await probe(fixture.url), { status: 200, type: 'text/plain', body: 'fine' });
  fixture.health = { unready: ['starting'], stuck: [] };
  assert.deepEqual(await probe(fixture.url), { status: 503, type: 'text/plain', body: 'not fine' });
});

test('a `path` of /healthz or /readyz keeps their meaning', async () => {
  const fixture = await started({ path: '/healthz' });
  fixture.health = { unready: ['starting'], stuck: [] };
  assert.equal((await probe(`${fixture.url}/healthz`)).status, 200);
});

test('a taken port is named with its setting', async () => {
  const { url } = await started();
  const second = healthCheck.create(
    healthCheck.config.parse({ endpoint: new URL(url).host }),
    testSettings('health_check/b'),
  );
  await assert.rejects(async () => second.start?.(), {
    message: `cannot listen on ${new URL(url).host}: address in use (extensions.health_check/b.endpoint)`,
  });
  await second.shutdown?.(AbortSignal.abort());
});

test.run();
