import assert from 'node:assert/strict';
import { randomBytes, randomUUID } from 'node:crypto';
import { suite } from 'uvu';
import { DELIVERED, type Exporter, type Logger, type SendOutcome } from '../../src/component.ts';
import { PermanentError, RetryableError } from '../../src/errors.ts';
import { postgres } from '../../src/exporters/postgres.ts';
import type { Signal } from '../../src/model/batch.ts';
import type { QueueRecord } from '../../src/model/record.ts';
import { DEFAULT_TENANT, type Tenant } from '../../src/model/tenant.ts';
import { DEFAULT_SHAPE_LIMITS } from '../../src/model/wire.ts';
import { decodeRequest } from '../../src/otlp/decode.ts';
import { SILENT, testSettings } from '../support/settings.ts';
import { FULL_TRACE, LOG, METRICS } from '../otlp/golden_vectors.ts';
import { countRows, storedRows } from '../support/gateway.ts';
import { field, request, spanIds } from '../support/otlp_messages.ts';
import { testDatabase, type TestDatabase } from '../support/postgres.ts';
import { tcpProxy } from '../support/tcp_proxy.ts';

const Postgres = suite('postgres exporter');
let database: TestDatabase;

Postgres.before(async () => {
  database = await testDatabase();
});
Postgres.before.each(async () => {
  await database.pool.query('TRUNCATE otel_spans, otel_logs, otel_metrics, dead_letters');
});
Postgres.after(() => database.close());

const SETTINGS = testSettings('postgres');
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

/** A record as it comes out of a queue in memory. */
async function encode(
  exporter: Exporter,
  signal: Signal,
  bytes: Uint8Array,
  tenant: Tenant = DEFAULT_TENANT,
): Promise<QueueRecord> {
  const receivedAtMs = Date.now();
  const { batch } = decodeRequest(signal, bytes, { tenant, receivedAtMs, limits: DEFAULT_SHAPE_LIMITS });
  return { signal, tenant, receivedAtMs, receipt: undefined, id: undefined, ...(await exporter.encode(batch)) };
}

function send(exporter: Exporter, ...records: readonly QueueRecord[]): Promise<SendOutcome> {
  return exporter.send(records, never);
}

const named = (...names: readonly string[]): Buffer =>
  request(names.map((name, i) => Buffer.concat([spanIds(i), field(5, name)])));

Postgres('records say what they hold, and records of one format are stored together', async () => {
  await withExporter({}, async (exporter) => {
    const [one, other] = [
      await encode(exporter, 'traces', named('a', 'b')),
      await encode(exporter, 'traces', FULL_TRACE),
    ];
    assert.equal(one.items, 2);
    assert.equal(one.format, other.format);
    await send(exporter, one, other);
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
    for (const record of sent) await send(exporter, record);
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
    const records = tenants.map((tenant, i) => encode(exporter, 'traces', request([spanIds(i)]), tenant));
    await send(exporter, ...(await Promise.all(records)));
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
    await send(exporter, record);
    const { rows } = await database.pool.query<{ names: string }>(
      'SELECT count(DISTINCT name) AS names FROM otel_spans',
    );
    assert.equal(rows[0]?.names, String(names.length));
  });
});

Postgres('a row that the database refuses becomes a dead letter of the exporter, and the rest is stored', async () => {
  await database.pool.query(`ALTER TABLE otel_spans ADD CONSTRAINT poison CHECK (name <> 'bad')`);
  await withExporter({}, async (exporter) => {
    const records = [
      await encode(exporter, 'traces', named('good')),
      await encode(exporter, 'traces', named('good', 'bad')),
    ];
    assert.deepEqual(await send(exporter, ...records), { ...DELIVERED, deadLettered: 1 });
    await database.pool.query('ALTER TABLE otel_spans DROP CONSTRAINT poison');
    assert.equal(await countRows(database.pool, 'otel_spans'), 2);
    const { rows } = await database.pool.query('SELECT exporter FROM dead_letters');
    assert.deepEqual(rows, [{ exporter: 'postgres' }]);
  });
});

Postgres('a repeated request is stored once, a record that is sent again as well, and a forgotten one', async () => {
  await withExporter({}, async (exporter) => {
    const id = { queueId: randomUUID(), seq: 4 };
    const record = { ...(await encode(exporter, 'traces', named('a', 'b'))), receipt: randomBytes(32), id };
    assert.deepEqual(await send(exporter, record), DELIVERED);
    assert.deepEqual(await send(exporter, record), DELIVERED);
    assert.deepEqual(await send(exporter, { ...record, id: { ...id, seq: 5 } }), { ...DELIVERED, duplicates: 2 });
    await exporter.forget?.(id.queueId, 6);
    assert.deepEqual(await send(exporter, { ...record, receipt: undefined }), DELIVERED);
    assert.equal(await countRows(database.pool, 'otel_spans'), 2);
  });
});

Postgres(
  'records that share memory, as those from a disk do, are not overwritten by what is encoded next',
  async () => {
    await withExporter({}, async (exporter) => {
      const names = Array.from({ length: 500 }, (_, i) => `span ${i}`);
      const record = await encode(exporter, 'traces', named(...names));
      const shared = Buffer.concat([record.bytes, record.bytes]);
      const [one, other] = [shared.subarray(0, record.bytes.length), shared.subarray(record.bytes.length)];
      await send(exporter, { ...record, bytes: one });
      await encode(exporter, 'traces', named(...names.map(() => 'overwritten')));
      await send(exporter, { ...record, bytes: other });
      const { rows } = await database.pool.query('SELECT count(DISTINCT name)::int AS names FROM otel_spans');
      assert.deepEqual(rows, [{ names: 500 }]);
    });
  },
);

Postgres('the message of a failure has nothing of the data, the user or the password', async () => {
  await withExporter({}, async (exporter) => {
    const record = await encode(exporter, 'traces', named('confidential'));
    await database.pool.query('ALTER TABLE otel_spans RENAME TO away');
    await assert.rejects(send(exporter, record), {
      message:
        'the database cannot store now (SQLSTATE 42P01): its tables are not those of this version: run `sluice migrate`',
    });
    await database.pool.query('ALTER TABLE away RENAME TO otel_spans');
  });
});

Postgres('what only an operator can end is logged as an error, once until it has ended', async () => {
  const logged: string[] = [];
  const logger: Logger = { ...SILENT, error: (_, message) => logged.push(message) };
  const exporter = postgres.create(
    postgres.config.parse({ database_url: database.url }),
    testSettings('postgres', logger),
  );
  const record = await encode(exporter, 'traces', FULL_TRACE);
  for (let round = 0; round < 2; round++) {
    await database.pool.query('ALTER TABLE otel_spans RENAME TO away');
    for (let attempt = 0; attempt < 2; attempt++) await assert.rejects(send(exporter, record), RetryableError);
    await database.pool.query('ALTER TABLE away RENAME TO otel_spans');
    await send(exporter, record);
  }
  assert.equal(logged.length, 2);
  assert.match(logged[0] ?? '', /run `sluice migrate`/);
  await exporter.shutdown?.(never);
});

Postgres(
  'what only an operator can end is logged once for each kind of rows, in whatever order they come',
  async () => {
    const logged: string[] = [];
    const logger: Logger = { ...SILENT, error: (_, message) => logged.push(message) };
    const exporter = postgres.create(
      postgres.config.parse({ database_url: database.url }),
      testSettings('postgres', logger),
    );
    const records = [await encode(exporter, 'traces', FULL_TRACE), await encode(exporter, 'metrics', METRICS)];
    await database.pool.query(`
    ALTER TABLE otel_spans RENAME COLUMN name TO away;
    ALTER TABLE otel_metrics RENAME TO away`);
    for (let attempt = 0; attempt < 3; attempt++) {
      for (const record of records) await assert.rejects(send(exporter, record), RetryableError);
      await send(exporter, await encode(exporter, 'logs', LOG));
    }
    await database.pool.query(`
    ALTER TABLE otel_spans RENAME COLUMN away TO name;
    ALTER TABLE away RENAME TO otel_metrics`);
    assert.deepEqual(
      logged.map((message) => /SQLSTATE (\w+)/.exec(message)?.[1]),
      ['42703', '42P01'],
    );
    await exporter.shutdown?.(never);
  },
);

const starts: readonly (readonly [queue: object, words: string])[] = [
  [{}, 'waits'],
  [{ durability: 'memory' }, 'waits'],
  [{ durability: 'commit' }, 'is refused'],
  [{ enabled: false }, 'is refused'],
];
for (const [sending_queue, words] of starts) {
  Postgres(`the log at the start says that data ${words}, with ${JSON.stringify(sending_queue)}`, async () => {
    const logged: string[] = [];
    const logger: Logger = { ...SILENT, warn: (_, message) => logged.push(message) };
    const config = postgres.config.parse({ database_url: 'postgres://127.0.0.1:1/none', sending_queue });
    const exporter = postgres.create(config, testSettings('postgres', logger));
    await exporter.start?.();
    await exporter.shutdown?.(never);
    assert.deepEqual(logged, [`the database is away; data ${words} until it is back`]);
  });
}

Postgres('a database without our tables stops the start, one that is away does not', async () => {
  await database.pool.query('ALTER TABLE schema_migrations RENAME TO away');
  await withExporter({}, (exporter) => assert.rejects(Promise.resolve(exporter.start?.()), PermanentError));
  await database.pool.query('ALTER TABLE away RENAME TO schema_migrations');
  const config = postgres.config.parse({ database_url: 'postgres://127.0.0.1:1/none' });
  const exporter = postgres.create(config, testSettings('postgres'));
  await exporter.start?.();
  await exporter.shutdown?.(never);
});

Postgres('while the server is gone sends may be repeated, and they succeed when it is back', async () => {
  const way = await tcpProxy(database.url);
  await withExporter({ database_url: way.url }, async (exporter) => {
    const record = await encode(exporter, 'traces', FULL_TRACE);
    await send(exporter, record);
    way.cut();
    for (let attempt = 0; attempt < 3; attempt++) await assert.rejects(send(exporter, record), RetryableError);
    way.mend();
    await send(exporter, record);
    assert.equal(await countRows(database.pool, 'otel_spans'), 2);
  });
  await way.close();
});

Postgres('no more sends than connections, the rest wait for their turn', async () => {
  await withExporter({ sending_queue: { num_consumers: 2 } }, async (exporter) => {
    const record = await encode(exporter, 'traces', FULL_TRACE);
    await Promise.all(Array.from({ length: 20 }, () => send(exporter, record)));
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
