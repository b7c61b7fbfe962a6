/**
 * A whole gateway for tests: the real one, built from configuration, on a free port and with a database of its own. And
 * what it stored, column by column, without the losses of JavaScript's default conversions.
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import os from 'node:os';
import path from 'node:path';
import type { Pool } from 'pg';
import { startGateway, type Gateway } from '../../src/cli/gateway.ts';
import type { QueueSettings } from '../../src/component.ts';
import { transaction } from '../../src/store/connection.ts';
import { testDatabase } from './postgres.ts';

export interface TestGateway {
  /** Base URL of OTLP/HTTP, without a trailing slash. */
  readonly url: string;
  readonly port: number;
  readonly databaseUrl: string;
  readonly pool: Pool;
  /** Shuts the gateway down and keeps its database; may be repeated. */
  stop(): Promise<void>;
  /** Stops the gateway and drops its database. */
  close(): Promise<void>;
}

export interface TestGatewayOptions {
  /** YAML text; it finds the endpoint and the database in the variables that `GATEWAY_YAML` uses. */
  readonly config?: string;
  /** As `--set` takes them, such as `receivers.otlp.limits.max_depth=8`. */
  readonly sets?: readonly string[];
  /** Of the exporter `postgres`: by default what is acknowledged can be read from the database at once. */
  readonly durability?: QueueSettings['durability'];
}

/** All three signals from OTLP to PostgreSQL, as in the default configuration; quiet. */
export const GATEWAY_YAML = `
receivers:
  otlp:
    protocols:
      http:
        endpoint: \${env:SLUICE_OTLP_HTTP_ENDPOINT}
processors:
  promote:
exporters:
  postgres:
    database_url: \${env:DATABASE_URL}
    sending_queue: { durability: commit }
service:
  pipelines:
    traces: { receivers: [otlp], processors: [promote], exporters: [postgres] }
    logs: { receivers: [otlp], processors: [promote], exporters: [postgres] }
    metrics: { receivers: [otlp], processors: [promote], exporters: [postgres] }
  telemetry:
    logs:
      level: \${env:SLUICE_TEST_LOG_LEVEL:-error}
`;

/** Another process may take the port between its choice and its use. */
const START_ATTEMPTS = 5;

export async function testGateway(options: TestGatewayOptions = {}): Promise<TestGateway> {
  const database = await testDatabase();
  const dataDir = await mkdtemp(path.join(os.tmpdir(), 'sluice-gateway-'));
  const remove = async () => {
    await database.close();
    await rm(dataDir, { recursive: true });
  };
  try {
    const sets = [...(options.sets ?? []), ...queueSets(options.durability ?? 'commit', dataDir)];
    const { config = GATEWAY_YAML } = options;
    const { gateway, port } = await withConfigFile(config, (file) => start(file, sets, database.url));
    const stop = async () => void (await gateway.shutdown());
    const close = async () => {
      await stop();
      await remove();
    };
    return { url: `http://127.0.0.1:${port}`, port, databaseUrl: database.url, pool: database.pool, stop, close };
  } catch (error) {
    await remove();
    throw error;
  }
}

function queueSets(durability: QueueSettings['durability'], dataDir: string): string[] {
  const set = `exporters.postgres.sending_queue.durability=${durability}`;
  if (durability !== 'disk') return [set];
  return [set, `extensions.file_storage.directory=${path.join(dataDir, 'queue')}`, 'service.extensions=[file_storage]'];
}

/** Lends a file with this text, gone when `use` has ended. */
export async function withConfigFile<T>(text: string, use: (file: string) => Promise<T>): Promise<T> {
  const directory = await mkdtemp(path.join(os.tmpdir(), 'sluice-config-'));
  try {
    const file = path.join(directory, 'gateway.yaml');
    await writeFile(file, text);
    return await use(file);
  } finally {
    await rm(directory, { recursive: true });
  }
}

/** A port of this machine on which nothing listens now. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  assert(typeof address === 'object' && address !== null);
  server.close();
  await once(server, 'close');
  return address.port;
}

async function start(
  file: string,
  sets: readonly string[],
  databaseUrl: string,
): Promise<{ gateway: Gateway; port: number }> {
  for (let attempt = 1; ; attempt += 1) {
    const port = await freePort();
    const env = { ...process.env, DATABASE_URL: databaseUrl, SLUICE_OTLP_HTTP_ENDPOINT: `127.0.0.1:${port}` };
    try {
      return { gateway: await startGateway({ files: [file], sets: [...sets], env }), port };
    } catch (error) {
      const isTaken = error instanceof Error && error.message.includes('address in use');
      if (!isTaken || attempt === START_ATTEMPTS) throw error;
    }
  }
}

export type SignalTable = 'otel_spans' | 'otel_logs' | 'otel_metrics';

/** A row by column name. Text and timestamps as PostgreSQL prints them (UTC), bigint and numeric as bigints, JSON parsed. */
export type StoredRow = Readonly<Record<string, unknown>>;

const JSON_TYPES = new Set([114, 3802]);
/** bigint and numeric. */
const EXACT = new Set([20, 1700]);
/** smallint, integer and double precision. */
const NUMBERS = new Set([21, 23, 701]);
const BOOLEAN = 16;

/** Every column of every row, in the order given. */
export async function storedRows(pool: Pool, table: SignalTable, orderBy: string): Promise<StoredRow[]> {
  const { rows } = await transaction(pool, async (client) => {
    await client.query(`SET LOCAL TimeZone = 'UTC'`);
    const text = `SELECT * FROM ${table} ORDER BY ${orderBy}`;
    return client.query<Record<string, unknown>>({ text, types: { getTypeParser: parserOf } });
  });
  return rows;
}

/** The row but for when it came, which no sender can tell beforehand. */
export function withoutArrival(row: StoredRow): StoredRow {
  const { received_at: _, ...rest } = row;
  return rest;
}

export async function countRows(pool: Pool, table: SignalTable): Promise<number> {
  const { rows } = await pool.query<{ count: number }>(`SELECT count(*)::int AS count FROM ${table}`);
  return rows[0]?.count ?? Number.NaN;
}

function parserOf(oid: number): (text: string) => unknown {
  if (JSON_TYPES.has(oid)) return parseExact;
  if (EXACT.has(oid)) return BigInt;
  if (NUMBERS.has(oid)) return Number;
  if (oid === BOOLEAN) return (text) => text === 't';
  return (text) => text;
}

/** JSON whose integers beyond the safe ones become bigints. */
function parseExact(text: string): unknown {
  return JSON.parse(text, (_key, value: unknown, { source = '' }: { source?: string } = {}) =>
    typeof value === 'number' && !Number.isSafeInteger(value) && /^-?\d+$/.test(source) ? BigInt(source) : value,
  );
}

/** Nanoseconds since 1970 as PostgreSQL prints them: microseconds without trailing zeros. */
export function timestamptz(unixNano: bigint): string {
  const seconds = unixNano / 1_000_000_000n;
  const micros = (unixNano / 1000n) % 1_000_000n;
  const fraction = micros === 0n ? '' : `.${String(micros).padStart(6, '0').replace(/0+$/, '')}`;
  return `${new Date(Number(seconds) * 1000).toISOString().slice(0, 19).replace('T', ' ')}${fraction}+00`;
}

export interface Answer {
  readonly status: number;
  readonly headers: Headers;
  readonly body: Buffer;
}

/** Sends one OTLP request as a client would. */
export async function post(
  url: string,
  body: string | Uint8Array,
  headers: Record<string, string> = {},
): Promise<Answer> {
  const type = typeof body === 'string' ? 'application/json' : 'application/x-protobuf';
  const response = await fetch(url, {
    method: 'POST',
    body: Buffer.from(body),
    headers: { 'content-type': type, ...headers },
  });
  return { status: response.status, headers: response.headers, body: Buffer.from(await response.arrayBuffer()) };
}
