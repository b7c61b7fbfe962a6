import assert from 'node:assert/strict';
import { suite } from 'uvu';
import type { Exporter, QueueRecord } from '../../src/component.ts';
import { PermanentError, RetryableError } from '../../src/errors.ts';
import { postgres } from '../../src/exporters/postgres.ts';
import type { Signal } from '../../src/model/batch.ts';
import { DEFAULT_TENANT, type Tenant } from '../../src/model/tenant.ts';
import { DEFAULT_SHAPE_LIMITS } from '../../src/model/wire.ts';
import { decodeRequest } from '../../src/otlp/decode.ts';
import { createLogger } from '../../src/telemetry/logger.ts';
import { testSettings } from '../support/settings.ts';
import { FULL_TRACE, LOG, METRICS } from '../otlp/golden_vectors.ts';
import { countRows, storedRows } from '../support/gateway.ts';
import { field, request, spanIds } from '../support/otlp_messages.ts';
import { testDatabase, type TestDatabase } from '../support/postgres.ts';
import { tcpProxy } from '../support/tcp_proxy.ts';

const Postgres = suite('postgres exporter');
let database: TestDatabase;

Postgres.before.each(async () => {
  database = await testDatabase();
});
Postgres.after.each(() => database.close());

const SETTINGS = testSettings('postgres', createLogger('error'));
const never = new AbortController().signal;

/** Lends an exporter as configuration would build it. */
async function withExporter(config: object, use: (exporter: Exporter) => Promise<void>): Promise<void> {
  const exporter = postgres.create(postgres.config.parse({ database_url: database.url, ...config }), SETTINGS);
  try {
    await use(exporter);
  } finally {
    await exporter.shutdown?.(never);
  }
}

function encode(
  exporter: Exporter,
  signal: Signal,
  bytes: Uint8Array,
  tenant: Tenant = DEFAULT_TENANT,
): Promise<QueueRecord> {
  const context = { tenant, receivedAtMs: Date.now(), limits: DEFAULT_SHAPE_LIMITS };
  return exporter.encode(decodeRequest(signal, bytes, context).batch);
}

const named = (...names: readonly string[]): Buffer =>
  request(names.map((name, i) => Buffer.concat([spanIds(i), field(5, name)])));

Postgres('records say what they hold, and records of one format are stored together', async () => {
  await withExporter({}, async (exporter) => {
    const [one, other] = [
      await encode(exporter, 'traces', named('a', 'b')),
      await encode(exporter, 'traces', FULL_TRACE),
    ];
    assert.deepEqual([one.signal, one.items, one.tenant], ['traces', 2, DEFAULT_TENANT]);
    assert.equal(one.format, other.format);
    await exporter.send([one, other]);
    assert.equal(await countRows(database.pool, 'otel_spans'), 3);
  });
});

Postgres('each signal has its table and a format of its own', async () => {
  await withExporter({}, async (exporter) => {
    const sent = [
      await encode(exporter, 'traces', FULL_TRACE),
      await encode(exporter, 'logs', LOG),
      await encode(exporter, 'metrics', METRICS),
    ];
    assert.deepEqual(
      sent.map(({ items }) => items),
      [1, 1, 3],
    );
    assert.equal(new Set(sent.map(({ format }) => format)).size, 3);
    for (const record of sent) await exporter.send([record]);
    for (const [table, rows] of [
      ['otel_spans', 1],
      ['otel_logs', 1],
      ['otel_metrics', 3],
    ] as const) {
      assert.equal(await countRows(database.pool, table), rows, table);
    }
  });
});

Postgres("rows carry the batch's tenant", async () => {
  const tenants: Tenant[] = [
    { orgId: 'acme', workspaceId: 'red', targetId: 't1' },
    { orgId: 'acme', workspaceId: 'blue\0', targetId: undefined },
  ];
  await withExporter({}, async (exporter) => {
    await exporter.send(
      await Promise.all(tenants.map((tenant, i) => encode(exporter, 'traces', request([spanIds(i)]), tenant))),
    );
    const rows = await storedRows(database.pool, 'otel_spans', 'span_id');
    assert.deepEqual(
      rows.map(({ org_id, workspace_id, target_id }) => ({ org_id, workspace_id, target_id })),
      [
        { org_id: 'acme', workspace_id: 'red', target_id: 't1' },
        { org_id: 'acme', workspace_id: 'blue\uFFFD', target_id: null },
      ],
    );
  });
});

Postgres('a batch of many slices is encoded whole', async () => {
  await withExporter({}, async (exporter) => {
    const names = Array.from({ length: 20_000 }, (_, i) => `span ${i}`);
    const record = await encode(exporter, 'traces', named(...names));
    assert.equal(record.items, names.length);
    await exporter.send([record]);
    const { rows } = await database.pool.query<{ names: string }>(
      'SELECT count(DISTINCT name) AS names FROM otel_spans',
    );
    assert.equal(rows[0]?.names, String(names.length));
  });
});

Postgres('data that the database refuses is refused for good, and alone', async () => {
  await database.pool.query(`ALTER TABLE otel_spans ADD CONSTRAINT poison CHECK (name <> 'bad')`);
  await withExporter({}, async (exporter) => {
    const [good, bad] = [
      await encode(exporter, 'traces', named('good')),
      await encode(exporter, 'traces', named('good', 'bad')),
    ];
    await assert.rejects(exporter.send([good, bad]), PermanentError);
    assert.equal(await countRows(database.pool, 'otel_spans'), 0);
    await exporter.send([good]);
    await assert.rejects(exporter.send([bad]), PermanentError);
    assert.equal(await countRows(database.pool, 'otel_spans'), 1);
  });
});

Postgres('the message of a failure has nothing of the data, the user or the password', async () => {
  await database.pool.query(`ALTER TABLE otel_spans ADD CONSTRAINT poison CHECK (name <> 'confidential')`);
  await withExporter({}, async (exporter) => {
    const record = await encode(exporter, 'traces', named('confidential'));
    await assert.rejects(exporter.send([record]), { message: 'the database refuses the data (SQLSTATE 23514)' });
  });
});

Postgres('while the server is gone sends may be repeated, and they succeed when it is back', async () => {
  const way = await tcpProxy(database.url);
  await withExporter({ database_url: way.url }, async (exporter) => {
    const record = await encode(exporter, 'traces', FULL_TRACE);
    await exporter.send([record]);
    way.cut();
    for (let attempt = 0; attempt < 3; attempt++) await assert.rejects(exporter.send([record]), RetryableError);
    way.mend();
    await exporter.send([record]);
    assert.equal(await countRows(database.pool, 'otel_spans'), 2);
  });
  await way.close();
});

Postgres('no more sends than connections, the rest wait for their turn', async () => {
  await withExporter({ sending_queue: { num_consumers: 2 } }, async (exporter) => {
    const record = await encode(exporter, 'traces', FULL_TRACE);
    await Promise.all(Array.from({ length: 20 }, () => exporter.send([record])));
    assert.equal(await countRows(database.pool, 'otel_spans'), 20);
    const { rows } = await database.pool.query<{ connections: string }>(
      "SELECT count(*) AS connections FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'sluice'",
    );
    assert.ok(Number(rows[0]?.connections) <= 2);
  });
});

Postgres('building it and shutting it down opens no connection', async () => {
  const config = postgres.config.parse({ database_url: 'postgres://127.0.0.1:1/none' });
  await postgres.create(config, SETTINGS).shutdown?.(never);
});

Postgres('the configuration needs a URL and shows none', () => {
  assert.equal(postgres.config.safeParse({}).success, false);
  const config = postgres.config.parse({ database_url: database.url });
  assert.doesNotMatch(JSON.stringify(config), /postgres(ql)?:\/\//);
});

Postgres.run();
