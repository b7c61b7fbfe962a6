import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import type { Environment } from '../../src/config/environment.ts';
import { loadConfig } from '../../src/config/load.ts';
import { exposureFaults, parseComponentId, parseGateway } from '../../src/config/schema.ts';
import type { ConfigFault } from '../../src/errors.ts';

const test = suite('gateway schema');

let directory = '';
test.before(async () => {
  directory = await mkdtemp(join(tmpdir(), 'sluice-schema-'));
});
test.after(() => rm(directory, { recursive: true }));

async function load(text: string, env: Environment = {}) {
  const file = join(directory, 'config.yaml');
  await writeFile(file, text);
  return loadConfig({ files: [file], sets: [], env });
}

const IDS: [id: string, parsed: object | undefined][] = [
  ['otlp', { type: 'otlp', name: '' }],
  ['otlp/2', { type: 'otlp', name: '2' }],
  ['a_b1/x/y', { type: 'a_b1', name: 'x/y' }],
  ['otlp/', undefined],
  ['/x', undefined],
  ['', undefined],
  ['9otlp', undefined],
  ['ot-lp', undefined],
  ['otlp/a b', undefined],
  ['o'.repeat(64), undefined],
];
for (const [id, parsed] of IDS) {
  test(`the id ${JSON.stringify(id)}`, () => assert.deepEqual(parseComponentId(id), parsed));
}

const MINIMAL = 'service: {pipelines: {traces: {receivers: [otlp], exporters: [debug]}}}';

test('a small gateway has defaults', async () => {
  const { config, faults } = parseGateway(await load(`receivers: {otlp: }\nexporters: {debug: {a: 1}}\n${MINIMAL}`));
  assert.deepEqual(faults, []);
  assert.deepEqual({ ...config.receivers }, { otlp: {} });
  assert.deepEqual({ ...config.exporters }, { debug: { a: 1 } });
  assert.deepEqual(
    { ...config.service.pipelines },
    { traces: { receivers: ['otlp'], processors: [], exporters: ['debug'] } },
  );
  assert.deepEqual(config.service.telemetry, { logs: { level: 'info' }, metrics: {} });
  assert.equal(config.service.shutdown_delay, 1000);
  assert.equal(config.service.shutdown_timeout, 30_000);
  assert.equal(config.service.enabled, true);
  assert.deepEqual(config.query, { endpoint: '127.0.0.1:16686', allow_unauthenticated: false });
});

test('a full gateway keeps what it says', async () => {
  const url = 'postgres://localhost/x';
  const { config, faults } = parseGateway(
    await load(
      [
        'extensions: {health_check: }',
        'service:',
        '  extensions: [health_check]',
        '  pipelines: {logs/2: {receivers: [a], processors: [b, c], exporters: [d]}}',
        '  telemetry: {logs: {level: DEBUG}, metrics: {address: ":8888"}}',
        '  shutdown_timeout: 1m',
        '  enabled: false',
        `query: {endpoint: "[::1]:0", database_url: "${url}", auth: {authenticator: a/b}, allow_unauthenticated: true}`,
      ].join('\n'),
    ),
  );
  assert.deepEqual(faults, []);
  assert.deepEqual(config.service.extensions, ['health_check']);
  assert.deepEqual(config.service.telemetry, { logs: { level: 'debug' }, metrics: { address: ':8888' } });
  assert.equal(config.service.shutdown_timeout, 60_000);
  assert.equal(config.query.endpoint, '[::1]:0');
  assert.equal(config.query.database_url?.reveal(), url);
  assert.equal(config.service.enabled, false);
  assert.deepEqual(config.query.auth, { authenticator: 'a/b' });
  assert.equal(config.query.allow_unauthenticated, true);
});

const SWITCHES: [variable: string, text: string, enabled: boolean | undefined][] = [
  ['false', 'enabled: ${env:SWITCH:-true}', false],
  ['True', 'enabled: ${env:SWITCH:-false}', true],
  ['true', 'enabled: "${env:SWITCH:-false}"', true],
  ['off', 'enabled: ${env:SWITCH:-false}', undefined],
  ['1', 'enabled: ${env:SWITCH:-false}', undefined],
  // Quoted, so that nothing does not count as not given, which would switch on.
  ['', 'enabled: "${env:SWITCH:-false}"', undefined],
];
for (const [variable, text, enabled] of SWITCHES) {
  test(`the switch ${text} with ${JSON.stringify(variable)} is ${enabled ?? 'a fault'}`, async () => {
    const { config, faults } = parseGateway(await load(`service:\n  ${text}`, { SWITCH: variable }));
    const found = faults.filter(({ path }) => path === 'service.enabled').map(({ message }) => message);
    if (enabled === undefined) assert.match(String(found), /^found .*; allowed: true or false$/);
    else assert.deepEqual([config.service.enabled, found], [enabled, []]);
  });
}

const EXPOSED: [query: string, isFault: boolean][] = [
  ['endpoint: 127.0.0.1:1', false],
  ['endpoint: 127.8.9.1:1', false],
  ['endpoint: "[::1]:1"', false],
  ['endpoint: "[0:0:0:0:0:0:0:1]:1"', false],
  ['endpoint: LOCALHOST:1', false],
  ['endpoint: ":1"', true],
  ['endpoint: 0.0.0.0:1', true],
  ['endpoint: "[::]:1"', true],
  ['endpoint: 10.127.0.1:1', true],
  ['endpoint: 127.example:1', true],
  ['endpoint: localhost.example:1', true],
  ['endpoint: ":1", auth: {authenticator: tokens}', false],
  ['endpoint: ":1", allow_unauthenticated: true', false],
  ['endpoint: nowhere', false],
];
for (const [query, isFault] of EXPOSED) {
  test(`a query API with ${query} is ${isFault ? 'a fault' : 'none'}`, async () => {
    const { config } = parseGateway(await load(`query: {${query}}`));
    const faults = exposureFaults(config.query);
    assert.deepEqual(
      faults.map(({ path }) => path),
      isFault ? ['query.endpoint'] : [],
    );
  });
}

test('looking up a component finds no inherited names', async () => {
  const { config } = parseGateway(await load(MINIMAL));
  for (const sections of [config.receivers, config.service.pipelines]) {
    assert.ok(!('constructor' in sections) && !('toString' in sections));
  }
});

test('what is read of a faulty pipeline still counts', async () => {
  const raw = await load('service: {pipelines: {traces: {receivers: [otlp, 5], exporters: [debug], procesors: []}}}');
  const { config, faults } = parseGateway(raw);
  assert.equal(faults.length, 2);
  assert.deepEqual(config.service.pipelines.traces, { receivers: ['otlp'], processors: [], exporters: ['debug'] });
});

const GATEWAY_FAULTS: [behaviour: string, text: string, faults: ConfigFault[]][] = [
  [
    'nothing at all',
    '',
    [
      {
        path: 'service.pipelines',
        message: 'found no pipeline; allowed: one or more, such as traces, logs and metrics',
      },
    ],
  ],
  [
    'a misspelt section, and nothing else for it',
    'servce: {}',
    [
      {
        path: 'servce',
        message:
          'unknown key `servce`; did you mean `service`? allowed: receivers, processors, exporters, extensions, service, query',
      },
    ],
  ],
  [
    'misspelt pipelines, and nothing else for it',
    'service: {pipeline: {}}',
    [
      {
        path: 'service.pipeline',
        message:
          'unknown key `pipeline`; did you mean `pipelines`? allowed: enabled, extensions, pipelines, telemetry, shutdown_delay, shutdown_timeout',
      },
    ],
  ],
  [
    'sections that are no maps',
    `receivers: [otlp]\n${MINIMAL}`,
    [{ path: 'receivers', message: 'found a list; allowed: a map' }],
  ],
  ['a service that is no map', 'service: 1', [{ path: 'service', message: 'found 1; allowed: a map' }]],
  [
    'pipelines that are a list',
    'service: {pipelines: [traces]}',
    [{ path: 'service.pipelines', message: 'found a list; allowed: a map' }],
  ],
  [
    'an empty pipeline',
    'service: {pipelines: {traces: }}',
    [
      { path: 'service.pipelines.traces.receivers', message: 'missing; allowed: a list' },
      { path: 'service.pipelines.traces.exporters', message: 'missing; allowed: a list' },
    ],
  ],
  [
    'a pipeline of an unset variable, once',
    'service: {pipelines: {traces: "${env:NONE}"}}',
    [
      {
        path: 'service.pipelines.traces',
        message: 'environment variable `NONE` is not set; set it or write ${env:NONE:-default}',
      },
    ],
  ],
];
for (const [behaviour, text, faults] of GATEWAY_FAULTS) {
  test(`reports ${behaviour}`, async () => assert.deepEqual(parseGateway(await load(text)).faults, faults));
}

test('ten different faults in one file are ten faults with ten paths', async () => {
  const text = `
receivers:
  otlp:
  otlp:
  9lives:
exporters:
  postgres:
    database_url: \${env:NO_SUCH_DATABASE}
reciever: {}
service:
  shutdown_timeout: 10
  telemetry:
    logs: {level: loud}
  pipelines:
    traces:
      receivers: [otlp, otlp]
      exporters: []
    logs: [otlp]
query:
  endpoint: localhost
`;
  const { faults } = parseGateway(await load(text));
  const file = join(directory, 'config.yaml');
  const endpointForm = 'host:port such as 127.0.0.1:4318, [::1]:4318, or :4318 for all interfaces';
  assert.deepEqual(faults, [
    { path: 'receivers.otlp', message: `found twice, at ${file}:3 and ${file}:4; allowed: once` },
    {
      path: 'exporters.postgres.database_url',
      message: 'environment variable `NO_SUCH_DATABASE` is not set; set it or write ${env:NO_SUCH_DATABASE:-default}',
    },
    {
      path: 'reciever',
      message:
        'unknown key `reciever`; did you mean `receivers`? allowed: receivers, processors, exporters, extensions, service, query',
    },
    {
      path: 'receivers.9lives',
      message:
        'found the id "9lives"; allowed: type or type/name, the type of letters, digits and _, such as otlp or otlp/internal',
    },
    {
      path: 'service.pipelines.traces.receivers[1]',
      message: 'found "otlp"; allowed: each component once in a list',
    },
    { path: 'service.pipelines.traces.exporters', message: 'found a list; allowed: at least 1 item' },
    { path: 'service.pipelines.logs', message: 'found a list; allowed: a map' },
    { path: 'service.telemetry.logs.level', message: 'found "loud"; allowed: debug, info, warn, error' },
    {
      path: 'service.shutdown_timeout',
      message: 'found 10; allowed: a duration such as 200ms, 5s or 1h30m, at most 1h',
    },
    { path: 'query.endpoint', message: `found "localhost"; allowed: ${endpointForm}` },
  ]);
  assert.equal(new Set(faults.map(({ path }) => path)).size, 10);
});

test.run();
