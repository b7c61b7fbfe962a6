import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { gzipSync } from 'node:zlib';
import * as fc from 'fast-check';
import { suite } from 'uvu';
import { SIGNALS, type Signal } from '../../src/model/batch.ts';
import { protobufToJson } from '../../src/otlp/json_encode.ts';
import { ensurePartitions } from '../../src/store/partitions.ts';
import { exitOf, startSluice, type Running } from '../cli/sluice.ts';
import { arbitraryRequest } from '../otlp/arbitrary_request.ts';
import { oracleEncode, type Plain } from '../otlp/oracle.ts';
import {
  countRows,
  freePort,
  GATEWAY_YAML,
  post,
  storedRows,
  testGateway,
  withConfigFile,
  type SignalTable,
  type StoredRow,
  type TestGateway,
} from '../support/gateway.ts';
import { field, request, spanIds } from '../support/otlp_messages.ts';
import { testDatabase } from '../support/postgres.ts';

const Equivalence = suite('equivalence');
let gateway: TestGateway;

Equivalence.before(async () => {
  gateway = await testGateway();
  // Made later, they would take over rows while a test reads them.
  await ensurePartitions(gateway.pool, { today: new Date() });
});
Equivalence.after(() => gateway.close());

const TABLES: Readonly<Record<Signal, SignalTable>> = {
  traces: 'otel_spans',
  logs: 'otel_logs',
  metrics: 'otel_metrics',
};

/** Empties the table, sends the requests and returns its rows in an order that depends on nothing but them. */
async function rowsAfter(signal: Signal, ...requests: readonly Sendable[]): Promise<StoredRow[]> {
  const table = TABLES[signal];
  // A repeat of a request would store nothing.
  await gateway.pool.query(`DELETE FROM ${table}; DELETE FROM receipts`);
  for (const { body, headers } of requests) {
    const answer = await post(`${gateway.url}/v1/${signal}`, body, headers);
    assert.equal(answer.status, 200, answer.body.toString());
  }
  const rows = (await storedRows(gateway.pool, table, 'received_at')).map(withoutArrival);
  return rows.toSorted((a, b) => (printed(a) < printed(b) ? -1 : 1));
}

/** A record that says nothing of its time has that of its arrival. */
function withoutArrival({ received_at, ...row }: StoredRow): StoredRow {
  return row['ts'] === received_at ? { ...row, ts: 'arrival' } : row;
}

function printed(row: StoredRow): string {
  return JSON.stringify(row, (_key, value: unknown) => (typeof value === 'bigint' ? `${value}n` : value));
}

interface Sendable {
  readonly body: string | Uint8Array;
  readonly headers?: Record<string, string>;
}

const GZIP = { 'content-encoding': 'gzip' };

/** The same request in every form that the gateway takes. */
function formsOf(signal: Signal, bytes: Buffer): Readonly<Record<string, Sendable>> {
  const json = protobufToJson(signal, bytes);
  return {
    'protobuf, gzip': { body: gzipSync(bytes), headers: GZIP },
    JSON: { body: json },
    'JSON, gzip': { body: gzipSync(json), headers: { 'content-type': 'application/json', ...GZIP } },
  };
}

const isObject = (value: unknown): value is Plain =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** Three lists deep lie the records: keeps those at even or at odd places, with everything around them. */
function half(message: Plain, parity: 0 | 1, depth = 1): Plain {
  const members = Object.entries(message).map(([name, value]): [string, unknown] => {
    if (!Array.isArray(value)) return [name, value];
    if (depth === 3) return [name, value.filter((_record, i) => i % 2 === parity)];
    return [name, value.map((group: unknown) => (isObject(group) ? half(group, parity, depth + 1) : group))];
  });
  return Object.fromEntries(members);
}

for (const signal of SIGNALS) {
  Equivalence(`${signal}: protobuf or JSON, gzip or not, whole or in two halves, the rows are the same`, async () => {
    const property = fc.asyncProperty(arbitraryRequest(signal), async (plain) => {
      const bytes = oracleEncode(signal, plain);
      const expected = await rowsAfter(signal, { body: bytes });
      for (const [form, sendable] of Object.entries(formsOf(signal, bytes))) {
        assert.deepEqual(await rowsAfter(signal, sendable), expected, form);
      }
      const halves = ([0, 1] as const).map((parity) => ({ body: oracleEncode(signal, half(plain, parity)) }));
      assert.deepEqual(await rowsAfter(signal, ...halves), expected, 'halves');
    });
    await fc.assert(property, { numRuns: 25 });
  });
}

const nameOf = (number: number): Buffer => Buffer.concat([spanIds(number), field(5, `span ${number}`)]);

Equivalence('small requests that come together share commits, and each of their rows is there once', async () => {
  await gateway.pool.query('DELETE FROM otel_spans; DELETE FROM receipts');
  const numbers = Array.from({ length: 300 }, (_, i) => i);
  const answers = await Promise.all(numbers.map((i) => post(`${gateway.url}/v1/traces`, request([nameOf(i)]))));
  assert.ok(answers.every(({ status }) => status === 200));
  const { rows } = await gateway.pool.query<{ names: string; total: string; commits: string }>(
    'SELECT count(DISTINCT name) AS names, count(*) AS total, count(DISTINCT xmin::text) AS commits FROM otel_spans',
  );
  assert.equal(rows[0]?.names, '300');
  assert.equal(rows[0].total, '300');
  assert.ok(Number(rows[0].commits) < 150, `${rows[0].commits} commits`);
});

Equivalence('one poisonous request costs none of those that wait with it, and is kept', async () => {
  await gateway.pool.query('DELETE FROM otel_spans; DELETE FROM receipts');
  await gateway.pool.query(`ALTER TABLE otel_spans ADD CONSTRAINT poison CHECK (name <> 'span 7')`);
  const answers = await Promise.all(
    Array.from({ length: 40 }, (_, i) => post(`${gateway.url}/v1/traces`, request([nameOf(i)]))),
  );
  await gateway.pool.query('ALTER TABLE otel_spans DROP CONSTRAINT poison');
  assert.deepEqual(
    answers.map(({ status }) => status),
    Array.from({ length: 40 }, () => 200),
  );
  assert.equal(await countRows(gateway.pool, 'otel_spans'), 39);
  const { rows } = await gateway.pool.query('SELECT exporter, signal, sqlstate, items::int AS items FROM dead_letters');
  assert.deepEqual(rows, [{ exporter: 'postgres', signal: 'traces', sqlstate: '23514', items: 1 }]);
});

Equivalence.run();

const Kill = suite('a killed gateway');

const SPANS_A_REQUEST = 40;

/** A request whose spans are those of one trace, so that rows tell which request they came with. */
function traceRequest(traceId: Buffer): Buffer {
  const spans = Array.from({ length: SPANS_A_REQUEST }, () =>
    Buffer.concat([field(1, traceId), field(2, randomBytes(8))]),
  );
  return request(spans);
}

async function ready(child: Running): Promise<void> {
  let output = '';
  child.stderr.on('data', (chunk: Buffer) => (output += chunk.toString()));
  for await (const chunk of child.stdout as AsyncIterable<Buffer>) {
    output += chunk.toString();
    if (output.includes('sluice: ready')) return;
  }
  throw new Error(`the gateway did not start: ${output}`);
}

Kill('leaves whole requests only, and every request that it acknowledged', async () => {
  const database = await testDatabase();
  const port = await freePort();
  const env = { DATABASE_URL: database.url, SLUICE_OTLP_HTTP_ENDPOINT: `127.0.0.1:${port}` };
  await withConfigFile(GATEWAY_YAML, async (file) => {
    const child = startSluice(['run', '--config', file], { env });
    const exited = exitOf(child);
    await ready(child);
    const acknowledged = await sendUntilKilled(child, `http://127.0.0.1:${port}/v1/traces`);
    assert.equal((await exited).signal, 'SIGKILL');
    assert.ok(acknowledged.length >= 100);

    const { rows } = await database.pool.query<{ waiting: number }>(
      `SELECT count(pg_terminate_backend(pid, 10000))::int AS waiting FROM pg_stat_activity
       WHERE datname = current_database() AND application_name = 'sluice'`,
    );
    assert.equal(rows.length, 1);
    const stored = await spansByTrace(database.pool);
    for (const [traceId, spans] of stored) assert.equal(spans, SPANS_A_REQUEST, traceId);
    for (const traceId of acknowledged) assert.ok(stored.has(traceId), `${traceId} was acknowledged`);
  });
  await database.close();
});

async function spansByTrace(pool: TestGateway['pool']): Promise<Map<string, number>> {
  const { rows } = await pool.query<{ trace_id: string; spans: number }>(
    'SELECT trace_id, count(*)::int AS spans FROM otel_spans GROUP BY trace_id',
  );
  return new Map(rows.map(({ trace_id, spans }) => [trace_id, spans]));
}

/** Sends from eight sides at once, kills the gateway in the middle, and resolves to the traces it acknowledged. */
async function sendUntilKilled(child: Running, url: string): Promise<string[]> {
  const acknowledged: string[] = [];
  const sender = async (): Promise<void> => {
    for (;;) {
      const traceId = randomBytes(16);
      const answer = await post(url, traceRequest(traceId)).catch(() => undefined);
      if (answer === undefined) return;
      assert.equal(answer.status, 200);
      if (acknowledged.push(traceId.toString('hex')) === 100) child.kill('SIGKILL');
    }
  };
  await Promise.all(Array.from({ length: 8 }, sender));
  if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
  return acknowledged;
}

Kill.run();
