import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { suite } from 'uvu';
import { buildGateway } from '../../src/cli/gateway.ts';
import type { Environment } from '../../src/config/environment.ts';
import { loadConfig } from '../../src/config/load.ts';
import { parseGateway } from '../../src/config/schema.ts';
import { ConfigError } from '../../src/errors.ts';
import { withConfigFile } from '../support/gateway.ts';

const test = suite('gateway.yaml');

const FILE = fileURLToPath(new URL('../../config/gateway.yaml', import.meta.url));

async function gateway(env: Environment) {
  const { config, faults } = parseGateway(await loadConfig({ files: [FILE], sets: [], env }));
  assert.deepEqual(faults, []);
  return config;
}

test('needs no variable to be set', async () => {
  const config = await gateway({});
  assert.deepEqual(config.receivers.otlp, {
    protocols: {
      http: { endpoint: '127.0.0.1:4318', allow_unauthenticated: false },
      grpc: { endpoint: '127.0.0.1:4317', allow_unauthenticated: false },
    },
  });
  assert.deepEqual(config.processors.promote, {});
  assert.deepEqual(config.exporters.postgres, {
    database_url: 'postgres://localhost:5432/sluice',
    sending_queue: { durability: 'disk' },
  });
  assert.deepEqual(config.extensions.file_storage, { directory: '.sluice/queue' });
  assert.deepEqual(config.extensions.health_check, { endpoint: '127.0.0.1:13133' });
  assert.equal(config.service.telemetry.metrics.address, '127.0.0.1:8888');
  assert.equal(config.query.endpoint, '127.0.0.1:16686');
  assert.equal(config.query.database_url?.reveal(), 'postgres://localhost:5432/sluice');
  const pipeline = { receivers: ['otlp'], processors: ['promote'], exporters: ['postgres'] };
  assert.deepEqual({ ...config.service.pipelines }, { traces: pipeline, logs: pipeline, metrics: pipeline });
});

test('takes its endpoints and the database from the environment', async () => {
  const config = await gateway({
    SLUICE_OTLP_HTTP_ENDPOINT: ':14318',
    SLUICE_OTLP_GRPC_ENDPOINT: ':14317',
    SLUICE_METRICS_ENDPOINT: '[::1]:18888',
    SLUICE_QUERY_ENDPOINT: '0.0.0.0:80',
    SLUICE_ALLOW_UNAUTHENTICATED: 'true',
    DATABASE_URL: 'postgres://db/other',
    SLUICE_HEALTH_ENDPOINT: ':13133',
    SLUICE_DATA_DIR: '/data',
    SLUICE_DURABILITY: 'commit',
  });
  assert.deepEqual(config.receivers.otlp, {
    protocols: {
      http: { endpoint: ':14318', allow_unauthenticated: true },
      grpc: { endpoint: ':14317', allow_unauthenticated: true },
    },
  });
  assert.equal(config.query.allow_unauthenticated, true);
  assert.equal(config.service.telemetry.metrics.address, '[::1]:18888');
  assert.equal(config.query.endpoint, '0.0.0.0:80');
  assert.deepEqual(config.exporters.postgres, {
    database_url: 'postgres://db/other',
    sending_queue: { durability: 'commit' },
  });
  assert.deepEqual(config.extensions.file_storage, { directory: '/data/queue' });
  assert.deepEqual(config.extensions.health_check, { endpoint: ':13133' });
  assert.equal(config.query.database_url?.reveal(), 'postgres://db/other');
});

test('is refused on an address that others can reach', async () => {
  assert.deepEqual(await faultPaths(FILE, EXPOSED), [
    'query.endpoint',
    'receivers.otlp.protocols.grpc.endpoint',
    'receivers.otlp.protocols.http.endpoint',
  ]);
});

test('has authentication without the "# " in front of each line with ingest_tokens, as it says', async () => {
  const lines = (await readFile(FILE, 'utf8')).split('\n');
  const uncommented = lines.map((line) =>
    /^ *# (?:- ingest_tokens|auth: .*ingest_tokens|ingest_tokens: )/.test(line) ? line.replace('# ', '') : line,
  );
  assert.notDeepEqual(uncommented, lines);
  await withConfigFile(uncommented.join('\n'), async (file) => {
    assert.deepEqual(await faultPaths(file, EXPOSED), []);
    const { queryAuthenticator } = await buildGateway({ files: [file], sets: [], env: EXPOSED });
    assert(queryAuthenticator);
  });
});

/** On all interfaces. */
const EXPOSED = { SLUICE_OTLP_HTTP_ENDPOINT: ':0', SLUICE_OTLP_GRPC_ENDPOINT: ':0', SLUICE_QUERY_ENDPOINT: ':0' };

async function faultPaths(file: string, env: Environment): Promise<string[]> {
  try {
    await buildGateway({ files: [file], sets: [], env });
    return [];
  } catch (error) {
    assert(error instanceof ConfigError);
    return error.faults.map(({ path }) => path).toSorted();
  }
}

test.run();
