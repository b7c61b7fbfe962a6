/** The PostgreSQL under test: one server for the run, which rows stop, crash, hang and start again. */
import { randomBytes } from 'node:crypto';
import { mkdir } from 'node:fs/promises';
import path from 'node:path';
import { Client } from 'pg';
import { createPool } from '../../src/store/connection.ts';
import { startEmbeddedPostgres, type EmbeddedPostgres } from '../../src/store/embedded_postgres.ts';
import { migrate } from '../../src/store/migrate.ts';
import { readServerPid } from '../../src/store/server_process.ts';

export interface DatabaseServer {
  /** Of the server now; it has another port after every start. */
  urlOf(database: string): string;
  /** A migrated database without day partitions; resolves to its name. */
  create(): Promise<string>;
  drop(database: string): Promise<void>;
  /** Statements that belong to no database of a row, one by one. */
  administer(...statements: readonly string[]): Promise<void>;
  /** `fast` ends sessions in order; `immediate` leaves everything to the next start's recovery. */
  stop(mode: 'fast' | 'immediate'): Promise<void>;
  /** Does nothing where the server runs. */
  start(): Promise<void>;
  close(): Promise<void>;
}

const TEMPLATE = 'chaos_template';
const STATEMENT_TIMEOUT_MS = 60_000;
const CONNECT_TIMEOUT_MS = 10_000;

export async function startDatabaseServer(directory: string): Promise<DatabaseServer> {
  const dataDir = path.join(directory, 'database');
  await mkdir(dataDir, { mode: 0o700 });
  let server: EmbeddedPostgres | undefined = await startEmbeddedPostgres({ dataDir });
  const { url } = server;
  const urlOf = (database: string): string => withDatabase(server?.url ?? url, database);
  const administer = (...statements: readonly string[]): Promise<void> =>
    withClient(urlOf('postgres'), async (client) => {
      for (const statement of statements) await client.query(statement);
    });
  await administer(`CREATE DATABASE ${TEMPLATE}`);
  await migrateDatabase(urlOf(TEMPLATE));

  const stop = async (mode: 'fast' | 'immediate'): Promise<void> => {
    const stopped = server;
    server = undefined;
    if (mode === 'immediate') await crash(stopped, path.join(dataDir, 'postgres'));
    else await stopped?.stop();
  };
  return {
    urlOf,
    async create() {
      const name = `chaos_${randomBytes(6).toString('hex')}`;
      await administer(`CREATE DATABASE ${name} TEMPLATE ${TEMPLATE}`);
      return name;
    },
    drop: (name) => administer(`DROP DATABASE IF EXISTS ${name} WITH (FORCE)`),
    administer,
    stop,
    async start() {
      server ??= await startEmbeddedPostgres({ dataDir });
    },
    close: () => stop('immediate'),
  };
}

/** Lends a connection of its own, so that no row inherits what another one did to a pool. */
export async function withClient<T>(url: string, use: (client: Client) => Promise<T>): Promise<T> {
  const client = new Client({
    connectionString: url,
    connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
    statement_timeout: STATEMENT_TIMEOUT_MS,
  });
  client.on('error', () => undefined);
  await client.connect();
  try {
    return await use(client);
  } finally {
    await client.end();
  }
}

/** SIGQUIT is PostgreSQL's immediate shutdown: as a crash, but for the memory of the machine. */
async function crash(server: EmbeddedPostgres | undefined, cluster: string): Promise<void> {
  if (server === undefined) return;
  const running = await readServerPid(cluster);
  if (running !== undefined) process.kill(running.pid, 'SIGQUIT');
  // Waits until it is gone, and asks once more.
  await server.stop();
}

async function migrateDatabase(url: string): Promise<void> {
  const pool = createPool({ url, max: 1, applicationName: 'sluice chaos', statementTimeoutMs: STATEMENT_TIMEOUT_MS });
  try {
    await migrate(pool);
  } finally {
    await pool.end();
  }
}

function withDatabase(serverUrl: string, name: string): string {
  const url = new URL(serverUrl);
  url.pathname = `/${name}`;
  return url.href;
}
