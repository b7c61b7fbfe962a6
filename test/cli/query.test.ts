import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { suite } from 'uvu';
import { query, startQuery } from '../../src/cli/query.ts';
import { ConfigError } from '../../src/errors.ts';
import { createLogger } from '../../src/telemetry/logger.ts';
import { insertSpans } from '../store/insert_spans.ts';
import { testDatabase } from '../support/postgres.ts';

const queryCommand = suite('query command');
const database = await testDatabase();
const logger = createLogger('error');
const ANY_PORT = { host: '127.0.0.1', port: 0 };

queryCommand.before(() => insertSpans(database.pool, [{ span_id: 'a', scan_id: 's' }]));
queryCommand.after(() => database.close());

queryCommand('serves the scans of the database in the configuration until it is told to stop', async () => {
  const stop = new AbortController();
  const lines: string[] = [];
  const ready = Promise.withResolvers<string>();
  const ended = query.run({
    values: { set: ['service.telemetry.logs.level=error'] },
    env: { SLUICE_QUERY_ENDPOINT: '127.0.0.1:0', DATABASE_URL: database.url },
    print(line) {
      lines.push(line);
      ready.resolve(line);
    },
    stop: stop.signal,
  });
  const line = await Promise.race([ready.promise, ended.then(String)]);
  const [url] = /http:\/\/127\.0\.0\.1:\d+$/.exec(line) ?? [];
  const response = await fetch(`${url}/observability/scans/s/trace`);
  assert.equal(response.status, 200);
  assert.match(await response.text(), /^\{"scan_id":"s","span_count":1,"tree":\[\{"span_id":"a"/);
  stop.abort();
  assert.equal(await ended, 0);
  assert.equal(lines.length, 1);
  await assert.rejects(fetch(`${url}/healthz`));
});

/** An authenticator in the configuration, and a component of which the command knows nothing. */
const WITH_TOKEN = [
  'service.telemetry.logs.level=error',
  'extensions.static_tokens={tokens: [{token: "${env:READER}", org_id: default, workspace_id: default, scopes: [scans:read]}]}',
  'service.extensions=[static_tokens, unheard_of]',
  'extensions.unheard_of={}',
  'query.auth.authenticator=static_tokens',
];

queryCommand('asks the authenticator that the configuration names, and builds no other component', async () => {
  const reader = randomBytes(16).toString('hex');
  const { url, stopped } = await started({ set: WITH_TOKEN, env: { READER: reader } });
  const statuses: number[] = [];
  for (const headers of [{}, { authorization: 'Bearer nonsense' }, { authorization: `Bearer ${reader}` }]) {
    statuses.push((await fetch(`${url}/observability/scans/s/trace`, { headers })).status);
  }
  assert.deepEqual(statuses, [401, 401, 200]);
  assert.equal(await stopped(), 0);
});

queryCommand('says that it is disabled, and needs no database for that', async () => {
  const set = ['service.enabled=false', 'query.database_url=postgres://someone@127.0.0.1:1/none'];
  const { url, stopped } = await started({ set });
  assert.equal((await fetch(`${url}/observability/scans/s/trace`)).status, 503);
  assert.equal((await fetch(`${url}/healthz`)).status, 200);
  assert.equal(await stopped(), 0);
});

interface Started {
  readonly url: string;
  /** Tells it to stop; resolves to the exit code. */
  readonly stopped: () => Promise<number>;
}

async function started({ set, env = {} }: { set: string[]; env?: Record<string, string> }): Promise<Started> {
  const stop = new AbortController();
  const ready = Promise.withResolvers<string>();
  const ended = query.run({
    values: { set },
    env: { SLUICE_QUERY_ENDPOINT: '127.0.0.1:0', DATABASE_URL: database.url, ...env },
    print: ready.resolve,
    stop: stop.signal,
  });
  const [url = ''] = /http:\/\/127\.0\.0\.1:\d+$/.exec(await Promise.race([ready.promise, ended.then(String)])) ?? [];
  const stopped = (): Promise<number> => {
    stop.abort();
    return ended;
  };
  return { url, stopped };
}

const FAULTY: readonly (readonly [behaviour: string, set: string[], paths: readonly string[]])[] = [
  ['needs a database', ['query.database_url='], ['query.database_url']],
  ['needs an endpoint to listen on', ['query.endpoint=nowhere'], ['query.endpoint']],
  ['refuses an address that others can reach without authentication', ['query.endpoint=:0'], ['query.endpoint']],
  ['needs an authenticator that exists', ['query.auth.authenticator=none'], ['query.auth.authenticator']],
  [
    'needs an authenticator without faults, and reports those only',
    ['query.auth.authenticator=static_tokens', 'extensions.static_tokens={}', 'service.extensions=[static_tokens]'],
    ['extensions.static_tokens.tokens'],
  ],
  ['reports every fault', ['query.endpoint=nowhere', 'query.colour=1'], ['query.endpoint', 'query.colour']],
];

for (const [behaviour, set, paths] of FAULTY) {
  queryCommand(behaviour, async () => {
    const env = { DATABASE_URL: database.url };
    const running = query.run({ values: { set }, env, print: assert.fail, stop: AbortSignal.abort() });
    await assert.rejects(running, (error: unknown) => {
      assert.ok(error instanceof ConfigError);
      assert.deepEqual(
        error.faults.map(({ path }) => path),
        paths,
      );
      return true;
    });
  });
}

queryCommand('says in one line that its port is taken', async () => {
  const running = await startQuery({ endpoint: ANY_PORT, databaseUrl: database.url, logger });
  const endpoint = { host: '127.0.0.1', port: Number(running.address.split(':')[1]) };
  await assert.rejects(
    startQuery({ endpoint, databaseUrl: database.url, logger }),
    /^Error: cannot listen on 127\.0\.0\.1:\d+: address in use \(query\.endpoint\)$/,
  );
  await running.shutdown();
});

queryCommand('says in one line that there is no database', async () => {
  const databaseUrl = 'postgres://someone@127.0.0.1:1/none';
  await assert.rejects(startQuery({ endpoint: ANY_PORT, databaseUrl, logger }), /nothing listens on 127\.0\.0\.1:1$/);
});

queryCommand.run();
