/**
 * What one row of the matrix plays on: a database of its own behind a proxy, a data directory, a daemon and a load with its
 * ledger. Rows share nothing but the database server, which is running again when a row has ended.
 */
import { randomInt } from 'node:crypto';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import path from 'node:path';
import { generateToken } from '../../src/model/token.ts';
import { tcpProxy, type TcpProxy } from '../support/tcp_proxy.ts';
import { Daemon } from './daemon.ts';
import { withClient, type DatabaseServer } from './database_server.ts';
import { Ledger } from './ledger.ts';
import { Load } from './load.ts';
import type { Random } from './random.ts';
import { createSender } from './sender.ts';
import { TENANTS, type Profile } from './traffic.ts';

interface Ports {
  readonly http: number;
  readonly grpc: number;
  readonly metrics: number;
  readonly health: number;
}

export interface Stage {
  readonly random: Random;
  /** The ninety-second part of the matrix: faults last shorter. */
  readonly isQuick: boolean;
  readonly server: DatabaseServer;
  /** Name of the database. */
  readonly database: string;
  /** Between the daemon and the server. */
  readonly proxy: TcpProxy;
  readonly daemon: Daemon;
  readonly ledger: Ledger;
  readonly load: Load;
  /** By tenant. */
  readonly tokens: ReadonlyMap<string, string>;
  readonly ports: Ports;
  /** Holds everything of the row. */
  readonly directory: string;
  /** SLUICE_DATA_DIR. */
  readonly dataDirectory: string;
  /** Where the daemon keeps its queues. */
  readonly queueDirectory: string;
  /** Ids that may be missing, because the fault destroyed them after they were acknowledged. */
  readonly excused: Set<string>;
  /** What people should know of the row, beside its figures. */
  readonly notes: string[];
  /** Past the proxy, on a connection of its own. */
  readonly sql: <R extends object = Record<string, unknown>>(text: string, values?: unknown[]) => Promise<R[]>;
  readonly startServer: () => Promise<void>;
  /** The daemon's; what a row adds holds from the next start on. */
  readonly env: Record<string, string>;
  /** Another daemon on the same data directory and database, with ports of its own. */
  readonly twin: () => Promise<Daemon>;
  /** What to undo when the row has ended, once daemon and database are gone; the last first. */
  readonly closing: (() => void | Promise<void>)[];
  readonly close: () => Promise<void>;
}

export interface StageSettings {
  readonly name: string;
  /** Folder of the run. */
  readonly directory: string;
  readonly random: Random;
  readonly isQuick: boolean;
  readonly server: DatabaseServer;
  readonly sets?: readonly string[];
  readonly config?: string;
  readonly profile?: Partial<Profile>;
}

/** All signals over HTTP and gRPC from three tenants to PostgreSQL, through a queue on disk. */
const CONFIG = `
extensions:
  static_tokens:
    tokens:
${TENANTS.map((tenant, index) => `      - { token: "\${env:CHAOS_TOKEN_${index}}", org_id: ${tenant}, workspace_id: w }`).join('\n')}
  file_storage: { directory: "\${env:SLUICE_DATA_DIR}/queue" }
  health_check: { endpoint: "127.0.0.1:\${env:CHAOS_HEALTH_PORT}" }
receivers:
  otlp:
    protocols:
      http: { endpoint: "127.0.0.1:\${env:CHAOS_HTTP_PORT}", auth: { authenticator: static_tokens } }
      grpc: { endpoint: "127.0.0.1:\${env:CHAOS_GRPC_PORT}", auth: { authenticator: static_tokens } }
processors:
  promote:
exporters:
  postgres:
    database_url: "\${env:DATABASE_URL}"
    statement_timeout: 4s
    retry_on_failure: { max_interval: 2s }
service:
  extensions: [static_tokens, file_storage, health_check]
  shutdown_delay: 0s
  pipelines:
    traces: { receivers: [otlp], processors: [promote], exporters: [postgres] }
    logs: { receivers: [otlp], processors: [promote], exporters: [postgres] }
    metrics: { receivers: [otlp], processors: [promote], exporters: [postgres] }
  telemetry:
    metrics: { address: "127.0.0.1:\${env:CHAOS_METRICS_PORT}" }
`;

export async function openStage(settings: StageSettings): Promise<Stage> {
  const { random, isQuick, server, sets = [], config = '{}', profile } = settings;
  const directory = await mkdtemp(path.join(settings.directory, `row-${settings.name}-`));
  const dataDirectory = path.join(directory, 'data');
  await mkdir(dataDirectory, { mode: 0o700 });
  const configFiles = await writeFiles(directory, { 'gateway.yaml': CONFIG, 'row.yaml': config });
  const database = await server.create();
  const proxy = await tcpProxy(server.urlOf(database));
  const tokens = new Map(TENANTS.map((tenant) => [tenant, generateToken('in')]));
  const ports = await freePorts();
  const ledger = new Ledger();
  const sender = createSender({ httpPort: ports.http, grpcPort: ports.grpc, tokens });
  const env = environmentOf(proxy.url, dataDirectory, tokens, ports);
  const settingsOf = { configFiles, sets, directory };
  const daemon = new Daemon({ ...settingsOf, env });
  const closing: (() => void | Promise<void>)[] = [];
  const load = new Load({ sender, ledger, random, ...(profile && { profile }) });
  return {
    random,
    isQuick,
    server,
    database,
    proxy,
    daemon,
    ledger,
    load,
    tokens,
    ports,
    directory,
    dataDirectory,
    queueDirectory: path.join(dataDirectory, 'queue'),
    excused: new Set(),
    notes: [],
    sql: <R extends object>(text: string, values: unknown[] = []) =>
      withClient(server.urlOf(database), async (client) => (await client.query<R>(text, values)).rows),
    async startServer() {
      await server.start();
      proxy.retarget(server.urlOf(database));
    },
    env,
    twin: async () => new Daemon({ ...settingsOf, env: { ...env, ...portVariables(await freePorts()) } }),
    closing,
    async close() {
      load.close();
      await daemon.signal('SIGKILL');
      await proxy.close();
      await server.start();
      await server.drop(database);
      for (const undo of closing.toReversed()) await undo();
      await rm(directory, { recursive: true, force: true });
    },
  };
}

function environmentOf(
  databaseUrl: string,
  dataDirectory: string,
  tokens: ReadonlyMap<string, string>,
  ports: Ports,
): Record<string, string> {
  return {
    DATABASE_URL: databaseUrl,
    SLUICE_DATA_DIR: dataDirectory,
    ...portVariables(ports),
    ...Object.fromEntries([...tokens.values()].map((token, index) => [`CHAOS_TOKEN_${index}`, token])),
  };
}

function portVariables({ http, grpc, metrics, health }: Ports): Record<string, string> {
  return {
    CHAOS_HTTP_PORT: String(http),
    CHAOS_GRPC_PORT: String(grpc),
    CHAOS_METRICS_PORT: String(metrics),
    CHAOS_HEALTH_PORT: String(health),
  };
}

async function writeFiles(directory: string, files: Readonly<Record<string, string>>): Promise<string[]> {
  const paths: string[] = [];
  for (const [name, text] of Object.entries(files)) {
    paths.push(path.join(directory, name));
    await writeFile(path.join(directory, name), text);
  }
  return paths;
}

async function freePorts(): Promise<Ports> {
  const [http, grpc, metrics, health] = [await freePort(), await freePort(), await freePort(), await freePort()];
  return { http, grpc, metrics, health };
}

/** Below those that Linux gives to outgoing connections, so that nobody has it when a daemon comes back to it. */
const QUIET_PORTS = [15_000, 30_000] as const;
const PORT_ATTEMPTS = 100;

async function freePort(): Promise<number> {
  for (let attempt = 0; attempt < PORT_ATTEMPTS; attempt++) {
    const port = randomInt(...QUIET_PORTS);
    if (await isFree(port)) return port;
  }
  throw new Error('there is no free port');
}

function isFree(port: number): Promise<boolean> {
  const server = createServer();
  return new Promise((resolve) => {
    server.once('error', () => resolve(false));
    server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)));
  });
}
