import assert from 'node:assert/strict';
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

const FAULTY: readonly (readonly [behaviour: string, set: string[], paths: readonly string[]])[] = [
  ['needs a database', ['query.database_url='], ['query.database_url']],
  ['needs an endpoint to listen on', ['query.endpoint=nowhere'], ['query.endpoint']],
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
