/**
 * `sluice up`, which is `npm start`: the whole of Sluice in one process, and a database of its own where DATABASE_URL
 * names none. Started from the database outwards, stopped from the sockets inwards.
 */
import assert from 'node:assert/strict';
import path from 'node:path';
import { parseEndpoint, type Endpoint } from '../config/endpoint.ts';
import type { Environment } from '../config/environment.ts';
import type { ConfigOrigins } from '../config/load.ts';
import { otlp } from '../receivers/otlp/otlp.ts';
import { publicUrl } from '../store/connection.ts';
import { startEmbeddedPostgres } from '../store/embedded_postgres.ts';
import { createLogger } from '../telemetry/logger.ts';
import { EXIT, mayLinger, type Command, type CommandContext } from './command.ts';
import {
  buildGateway,
  CONFIG_OPTIONS,
  configOrigins,
  farewell,
  startUnlessStopped,
  untilStopped,
  type BuiltGateway,
} from './gateway.ts';
import { prepareDatabase } from './migrate.ts';
import { startDisabledQuery, startQuery } from './query.ts';
import type { ReceiverServer } from './receiver_servers.ts';

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
    const checked = await buildGateway(withDatabase(origins, context.env['DATABASE_URL'] || ANY_DATABASE));

    await using running = new AsyncDisposableStack();
    if (!checked.config.service.enabled) return await waitDisabled(checked, context, running);
    const database = await openDatabase(context, running);
    context.stop.throwIfAborted();
    await prepareDatabase(database.url, (line) => context.print(line));
    context.stop.throwIfAborted();
    const gateway = await buildGateway(withDatabase(origins, database.url));
    await openGateway(gateway, context, running);
    const queryAddress = await openQuery(gateway, database, running);

    for (const line of banner(gateway, queryAddress, database)) context.print(line);
    const failure = await Promise.race([untilStopped(gateway, context.stop), databaseFailure(database)]);
    context.print('stopping …');
    if (mayLinger(context.stop)) await gateway.drain();
    if (failure !== undefined) throw new Error(failure);
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

/** `service.enabled` is false: everything says so, and nothing else runs, not even the database. */
async function waitDisabled(
  gateway: BuiltGateway,
  context: CommandContext,
  running: AsyncDisposableStack,
): Promise<number> {
  await openGateway(gateway, context, running);
  const api = await startDisabledQuery(queryEndpoint(gateway), queryLogger(gateway));
  running.defer(() => api.shutdown());
  context.print('Sluice is disabled by service.enabled: every request is answered with 503; Ctrl-C stops it.');
  context.print(`Open http://${reachable(parseEndpoint(api.address))}/`);
  await untilStopped(gateway, context.stop);
  if (mayLinger(context.stop)) await gateway.drain();
  return EXIT.ok;
}

/** Throws the reason to stop when there is one meanwhile. */
async function openGateway(
  gateway: BuiltGateway,
  context: CommandContext,
  running: AsyncDisposableStack,
): Promise<void> {
  await startUnlessStopped(gateway, context.stop);
  running.defer(async () => context.print(farewell(gateway, await gateway.shutdown())));
  context.stop.throwIfAborted();
}

/** After the gateway, whose extensions say who reads. */
async function openQuery(gateway: BuiltGateway, database: Database, running: AsyncDisposableStack): Promise<string> {
  const api = await startQuery({
    endpoint: queryEndpoint(gateway),
    databaseUrl: gateway.config.query.database_url?.reveal() ?? database.url,
    authenticator: gateway.queryAuthenticator,
    logger: queryLogger(gateway),
  });
  running.defer(() => api.shutdown());
  return api.address;
}

function queryEndpoint({ config: { query } }: BuiltGateway): Endpoint {
  const endpoint = parseEndpoint(query.endpoint);
  assert(endpoint !== undefined, 'the configuration was checked');
  return endpoint;
}

const queryLogger = ({ config }: BuiltGateway) => createLogger(config.service.telemetry.logs.level);

function withDatabase(origins: ConfigOrigins, url: string): ConfigOrigins {
  const env: Environment = { ...origins.env, DATABASE_URL: url };
  return { ...origins, env };
}

function banner({ config, servers }: BuiltGateway, queryAddress: string, database: Database): string[] {
  const query = `http://${reachable(parseEndpoint(queryAddress))}`;
  const metrics = reachable(parseEndpoint(config.service.telemetry.metrics.address ?? ''));
  const [http, grpc] = (['http', 'grpc'] as const).map((protocol) =>
    servers.find((server) => server.type === otlp.type && server.protocol === protocol),
  );
  return [
    '',
    'Sluice is running; Ctrl-C stops it.',
    '',
    ...(http === undefined ? [] : [`  OTLP/HTTP  ${urlOf(http)}  (traces, logs, metrics)`]),
    ...(grpc === undefined ? [] : [`  OTLP/gRPC  ${urlOf(grpc)}  (traces, logs, metrics)`]),
    `  Query API  ${query}`,
    ...(metrics === undefined ? [] : [`  Metrics    http://${metrics}/metrics`]),
    `  Database   ${database.label}`,
    '',
    ...(http === undefined ? [] : invitation(http)),
    `Open ${query}/`,
    '',
  ];
}

function invitation(receiver: ReceiverServer): string[] {
  const token = '  export OTEL_EXPORTER_OTLP_HEADERS="Authorization=Bearer%20<token>"  # sluice token create --help';
  return [
    'To send to it from another shell:',
    '',
    `  export OTEL_EXPORTER_OTLP_ENDPOINT=${urlOf(receiver)}`,
    '  export OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf',
    ...(receiver.isAuthenticated ? [token] : []),
    '',
  ];
}

const urlOf = ({ endpoint, tls }: ReceiverServer) => `${tls === undefined ? 'http' : 'https'}://${reachable(endpoint)}`;

/** As a client on this machine would write it: a server on all interfaces is also on the first. */
function reachable(endpoint: Endpoint | undefined): string | undefined {
  if (endpoint === undefined) return undefined;
  const host = ['', '0.0.0.0', '::'].includes(endpoint.host) ? '127.0.0.1' : endpoint.host;
  return `${host.includes(':') ? `[${host}]` : host}:${endpoint.port}`;
}

/** Resolves to what to say when the database ended by itself. */
async function databaseFailure({ ended }: Database): Promise<string> {
  await ended;
  return 'the embedded PostgreSQL ended by itself; postgres.log in the data directory may say why';
}
