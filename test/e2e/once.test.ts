/** An identical request is stored once on each of its ways, however often and wherever it comes. */
import assert from 'node:assert/strict';
import { suite } from 'uvu';
import { countRows, GATEWAY_YAML, post, testGateway } from '../support/gateway.ts';
import { field, fixed64, request, spanIds } from '../support/otlp_messages.ts';

const test = suite('stored once');

const BODY = request([Buffer.concat([spanIds(1), field(5, 'a'), fixed64(7, 1_790_000_000_000_000_000n)])]);

const EXPORTERS =
  'exporters={postgres: {database_url: "${env:DATABASE_URL}", sending_queue: {durability: commit}},' +
  ' postgres/two: {database_url: "${env:DATABASE_URL}", sending_queue: {durability: commit}}}';

test('in each pipeline and by each exporter of one database, and no more by a repeat', async () => {
  const gateway = await testGateway({
    config: GATEWAY_YAML,
    sets: [
      EXPORTERS,
      'service.pipelines.traces={receivers: [otlp], exporters: [postgres, postgres/two]}',
      'service.pipelines.traces/again={receivers: [otlp], exporters: [postgres]}',
    ],
  });
  for (let sent = 0; sent < 3; sent++) {
    assert.equal((await post(`${gateway.url}/v1/traces`, BODY)).status, 200);
    assert.equal(await countRows(gateway.pool, 'otel_spans'), 3);
  }
  await gateway.close();
});

test('by two gateways that get it at the same time', async () => {
  const one = await testGateway();
  const other = await testGateway({
    sets: [`exporters.postgres.database_url=${one.databaseUrl}`],
  });
  const answers = await Promise.all(
    Array.from({ length: 20 }, (_, at) => post(`${(at % 2 === 0 ? one : other).url}/v1/traces`, BODY)),
  );
  assert.ok(answers.every(({ status }) => status === 200));
  assert.equal(await countRows(one.pool, 'otel_spans'), 1);
  await other.close();
  await one.close();
});

test.run();
