/**
 * `sluice up`, which is `npm start`: the whole of Sluice in one process, and a database of its own where DATABASE_URL
 * names none. Started from the database outwards, stopped from the sockets inwards.
 */
import path from 'node:path';
import { parseEndpoint, type Endpoint } from '../config/endpoint.ts';
import type { Environment } from '../config/environment.ts';
import type { ConfigOrigins } from '../config/load.ts';
import type { GatewayConfig } from '../config/schema.ts';
import { otlp } from '../receivers/otlp/otlp.ts';
import { publicUrl } from '../store/connection.ts';
import { startEmbeddedPostgres } from '../store/embedded_postgres.ts';
import { createLogger } from '../telemetry/logger.ts';
import { EXIT, type Command, type CommandContext } from './command.ts';
import { buildGateway, CONFIG_OPTIONS, configOrigins, type BuiltGateway } from './gateway.ts';
import { prepareDatabase } from './migrate.ts';
import { startQuery } from './query.ts';

const DATA_DIRECTORY = '.sluice';

/** Stands in for the database that is not running yet while the configuration is checked. */
const ANY_DATABASE = 'postgres://127.0.0.1:5432/sluice';

interface Database {
  readonly url: string;
  /** What the banner says of it. */
  readonly label: string;
  /** Settles when the database is known to be gone; never where it is not ours. */
  readonly ended: Promise<void>;
}

export const up: Command = {
  name: 'up',
  summary: 'Run everything here: gateway, query API and, unless DATABASE_URL is set, a database in SLUICE_DATA_DIR.',
  options: CONFIG_OPTIONS,
  async run(context) {
    const origins = configOrigins(context);
    await buildGateway(withDatabase(origins, context.env['DATABASE_URL'] || ANY_DATABASE));

    await using running = new AsyncDisposableStack();
    const database = await openDatabase(context, running);
    context.stop.throwIfAborted();
    await prepareDatabase(database.url, (line) => context.print(line));
    context.stop.throwIfAborted();
    const gateway = await buildGateway(withDatabase(origins, database.url));
    const queryAddress = await openQuery(gateway, database, running);
    await openGateway(gateway, running);

    for (const line of banner(gateway.config, queryAddress, database)) context.print(line);
    await Promise.race([aborted(context.stop), failure(database)]);
    context.print('stopping …');
    return EXIT.ok;
  },
};

async function openDatabase(context: CommandContext, running: AsyncDisposableStack): Promise<Database> {
  const { env } = context;
  const given = env['DATABASE_URL'];
  if (given) return { url: given, label: publicUrl(given), ended: new Promise(() => undefined) };
  const dataDir = path.resolve(env['SLUICE_DATA_DIR'] || DATA_DIRECTORY);
  const server = await startEmbeddedPostgres({ dataDir, report: (line) => context.print(line) });
  running.defer(() => server.stop());
  const label = `${publicUrl(server.url)}  (password in ${path.join(dataDir, 'postgres.password')})`;
  return { url: server.url, label, ended: server.ended };
}

async function openQuery(gateway: BuiltGateway, database: Database, running: AsyncDisposableStack): Promise<string> {
  const { query, service } = gateway.config;
  const endpoint = parseEndpoint(query.endpoint);
  if (endpoint === undefined) throw new Error(`query.endpoint: ${query.endpoint} is no address to listen on`);
  const api = await startQuery({
    endpoint,
    databaseUrl: query.database_url?.reveal() ?? database.url,
    logger: createLogger(service.telemetry.logs.level),
  });
  running.defer(() => api.shutdown());
  return api.address;
}

/** Last of all, so that data arrives when everything can take it, and stops arriving first. */
async function openGateway(gateway: BuiltGateway, running: AsyncDisposableStack): Promise<void> {
  await gateway.start();
  running.defer(() => gateway.shutdown());
}

function withDatabase(origins: ConfigOrigins, url: string): ConfigOrigins {
  const env: Environment = { ...origins.env, DATABASE_URL: url };
  return { ...origins, env };
}

function banner(config: GatewayConfig, queryAddress: string, database: Database): string[] {
  const query = `http://${reachable(parseEndpoint(queryAddress))}`;
  const metrics = reachable(parseEndpoint(config.service.telemetry.metrics.address ?? ''));
  const otlpHttp = reachable(otlpEndpoint(config));
  return [
    '',
    'Sluice is running; Ctrl-C stops it.',
    '',
    ...(otlpHttp === undefined ? [] : [`  OTLP/HTTP  http://${otlpHttp}  (traces, logs, metrics)`]),
    `  Query API  ${query}`,
    ...(metrics === undefined ? [] : [`  Metrics    http://${metrics}/metrics`]),
    `  Database   ${database.label}`,
    '',
    ...(otlpHttp === undefined ? [] : invitation(otlpHttp)),
    `Open ${query}/`,
    '',
  ];
}

function invitation(otlpHttp: string): string[] {
  return [
    'To send to it from another shell:',
    '',
    `  export OTEL_EXPORTER_OTLP_ENDPOINT=http://${otlpHttp}`,
    '  export OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf',
    '',
  ];
}

function otlpEndpoint({ receivers }: GatewayConfig): Endpoint | undefined {
  const section = Object.entries(receivers).find(([id]) => id.split('/')[0] === otlp.type)?.[1];
  return otlp.config.safeParse(section).data?.protocols.http.endpoint;
}

/** As a client on this machine would write it: a server on all interfaces is also on the first. */
function reachable(endpoint: Endpoint | undefined): string | undefined {
  if (endpoint === undefined) return undefined;
  const host = ['', '0.0.0.0', '::'].includes(endpoint.host) ? '127.0.0.1' : endpoint.host;
  return `${host.includes(':') ? `[${host}]` : host}:${endpoint.port}`;
}

async function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return;
  await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }));
}

async function failure({ ended }: Database): Promise<never> {
  await ended;
  throw new Error('the embedded PostgreSQL ended by itself; postgres.log in the data directory may say why');
}
