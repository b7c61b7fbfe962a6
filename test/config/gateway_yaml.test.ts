import assert from 'node:assert/strict';
import { fileURLToPath } from 'node:url';
import { suite } from 'uvu';
import type { Environment } from '../../src/config/environment.ts';
import { loadConfig } from '../../src/config/load.ts';
import { parseGateway } from '../../src/config/schema.ts';

const test = suite('gateway.yaml');

const FILE = fileURLToPath(new URL('../../config/gateway.yaml', import.meta.url));

async function gateway(env: Environment) {
  const { config, faults } = parseGateway(await loadConfig({ files: [FILE], sets: [], env }));
  assert.deepEqual(faults, []);
  return config;
}

test('needs no variable to be set', async () => {
  const config = await gateway({});
  assert.deepEqual(config.receivers.otlp, { protocols: { http: { endpoint: '127.0.0.1:4318' } } });
  assert.deepEqual(config.processors.promote, {});
  assert.deepEqual(config.exporters.postgres, { database_url: 'postgres://localhost:5432/sluice' });
  assert.equal(config.service.telemetry.metrics.address, '127.0.0.1:8888');
  assert.equal(config.query.endpoint, '127.0.0.1:16686');
  assert.equal(config.query.database_url?.reveal(), 'postgres://localhost:5432/sluice');
  const pipeline = { receivers: ['otlp'], processors: ['promote'], exporters: ['postgres'] };
  assert.deepEqual({ ...config.service.pipelines }, { traces: pipeline, logs: pipeline, metrics: pipeline });
});

test('takes its endpoints and the database from the environment', async () => {
  const config = await gateway({
    SLUICE_OTLP_HTTP_ENDPOINT: ':14318',
    SLUICE_METRICS_ENDPOINT: '[::1]:18888',
    SLUICE_QUERY_ENDPOINT: '0.0.0.0:80',
    DATABASE_URL: 'postgres://db/other',
  });
  assert.deepEqual(config.receivers.otlp, { protocols: { http: { endpoint: ':14318' } } });
  assert.equal(config.service.telemetry.metrics.address, '[::1]:18888');
  assert.equal(config.query.endpoint, '0.0.0.0:80');
  assert.deepEqual(config.exporters.postgres, { database_url: 'postgres://db/other' });
  assert.equal(config.query.database_url?.reveal(), 'postgres://db/other');
});

test.run();
