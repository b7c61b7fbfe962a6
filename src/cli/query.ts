/** `sluice query`: the query API by itself, for a database that gateways elsewhere write to. */
import type { Pool } from 'pg';
import assert from 'node:assert/strict';
import type { Authenticator } from '../component.ts';
import { parseEndpoint } from '../config/endpoint.ts';
import type { Endpoint } from '../config/endpoint.ts';
import { loadConfig, withSources } from '../config/load.ts';
import type { ConfigOrigins } from '../config/load.ts';
import { exposureFaults, parseGateway } from '../config/schema.ts';
import type { GatewayConfig } from '../config/schema.ts';
import { ConfigError, PermanentError } from '../errors.ts';
import { buildService } from '../pipeline/build.ts';
import type { BuiltService } from '../pipeline/build.ts';
import { listen } from '../query/listen.ts';
import type { FailureLog } from '../query/problem.ts';
import { admitAll, admitByToken } from '../query/reader.ts';
import { createDisabledQueryApp, createQueryApp } from '../query/server.ts';
import { registry } from '../registry.ts';
import { createPool, describeConnectionError, requireServerVersion } from '../store/connection.ts';
import { requireSchema } from '../store/migrate.ts';
import { READ_LIMITS, spanReader } from '../store/span_tree.ts';
import { createLogger } from '../telemetry/logger.ts';
import { createMetricsRegistry } from '../telemetry/metrics.ts';
import type { Command, CommandContext } from './command.ts';
import { aborted, EXIT } from './command.ts';
import { CONFIG_OPTIONS, configOrigins, queryAuthenticator } from './gateway.ts';

/** Reads at once; what needs one more waits for a connection. */
const MAX_CONNECTIONS = 4;

export interface QuerySettings {
  readonly endpoint: Endpoint;
  readonly databaseUrl: string;
  /** Runs as long as the query API; without it everybody reads what belongs to the default tenant. */
  readonly authenticator?: Authenticator | undefined;
  readonly logger: FailureLog;
}

export interface RunningQuery {
  /** `host:port` as bound. */
  readonly address: string;
  /** Lets answers that are under way end, for some seconds, then closes the connections to the database. */
  shutdown(): Promise<void>;
}

async function requireTables(pool: Pool): Promise<void> {
  await requireServerVersion(pool);
  await requireSchema(pool);
}

/** Rejects with one clear line when the database cannot be used or the endpoint cannot be bound; nothing stays open. */
export async function startQuery({
  endpoint,
  databaseUrl,
  authenticator,
  logger,
}: QuerySettings): Promise<RunningQuery> {
  const pool = createPool({
    url: databaseUrl,
    max: MAX_CONNECTIONS,
    applicationName: 'sluice query',
    statementTimeoutMs: READ_LIMITS.timeoutMs,
  });
  try {
    await requireTables(pool).catch((error: unknown) => {
      throw error instanceof PermanentError ? error : new Error(describeConnectionError(error, databaseUrl));
    });
    const admit = authenticator === undefined ? admitAll : admitByToken(authenticator);
    const app = createQueryApp({ spans: spanReader(pool), admit, logger });
    const listening = await listen(app, endpoint.host, endpoint.port);
    return {
      address: listening.address,
      async shutdown() {
        await listening.close();
        await pool.end();
      },
    };
  } catch (error) {
    await pool.end();
    throw error;
  }
}

/** Serves that it is disabled, without a database. Rejects with one clear line when the endpoint cannot be bound. */
export async function startDisabledQuery(endpoint: Endpoint, logger: FailureLog): Promise<RunningQuery> {
  const listening = await listen(createDisabledQueryApp(logger), endpoint.host, endpoint.port);
  return { address: listening.address, shutdown: () => listening.close() };
}

export const query: Command = {
  name: 'query',
  summary: 'Serve the query API of a database that gateways write to; it must be migrated already.',
  options: CONFIG_OPTIONS,
  async run(context: CommandContext) {
    await using running = new AsyncDisposableStack();
    const address = await open(await readConfig(configOrigins(context)), running);
    context.print(`sluice: query API ready on http://${address}`);
    await aborted(context.stop);
    return EXIT.ok;
  },
};

interface QueryCommandConfig {
  readonly endpoint: Endpoint;
  readonly databaseUrl: string;
  readonly isEnabled: boolean;
  /** With the authenticator of the query API, if there is one, and no other component. */
  readonly service: BuiltService;
  readonly authenticator: Authenticator | undefined;
  readonly logger: FailureLog;
}

/** Resolves to the address. The authenticator starts before whoever asks it, and stops after. */
async function open(
  { service, isEnabled, ...settings }: QueryCommandConfig,
  running: AsyncDisposableStack,
): Promise<string> {
  if (isEnabled) {
    running.defer(async () => void (await service.shutdown()));
    await service.start();
  }
  const api = await (isEnabled ? startQuery(settings) : startDisabledQuery(settings.endpoint, settings.logger));
  running.defer(() => api.shutdown());
  return api.address;
}

/** Throws ConfigError with every fault of the top level and of what the query API asks; of other components none. */
async function readConfig(origins: ConfigOrigins): Promise<QueryCommandConfig> {
  const raw = await loadConfig(origins);
  // What a file that cannot be read would have said shows up as missing in every later check.
  if (!raw.isComplete) throw new ConfigError(raw.faults);
  const { config, faults } = parseGateway(raw);
  const endpoint = parseEndpoint(config.query.endpoint);
  const databaseUrl = config.query.database_url?.reveal();
  // What a faulty section says counts as absent.
  const isReadable = !faults.some(({ path }) => path === '' || path.startsWith('query'));
  if (isReadable) faults.push(...exposureFaults(config.query));
  if (databaseUrl === undefined && isReadable) faults.push(DATABASE_URL);
  const logger = createLogger(config.service.telemetry.logs.level);
  try {
    const metrics = createMetricsRegistry();
    const service = buildService({ config: queryPart(config), raw, faults, registry, logger, metrics });
    assert(endpoint !== undefined && databaseUrl !== undefined, 'their absence is a fault');
    const authenticator = queryAuthenticator(config, service);
    return { endpoint, databaseUrl, isEnabled: config.service.enabled, service, authenticator, logger };
  } catch (error) {
    throw error instanceof ConfigError ? new ConfigError(withSources(raw, error.faults)) : error;
  }
}

/** The same configuration with the extension that the query API asks as its only component. */
function queryPart(config: GatewayConfig): GatewayConfig {
  const isAsked = (id: string): boolean => id === config.query.auth?.authenticator;
  const extensions = Object.fromEntries(Object.entries(config.extensions).filter(([id]) => isAsked(id)));
  const service = { ...config.service, extensions: config.service.extensions.filter(isAsked), pipelines: {} };
  return { ...config, receivers: {}, processors: {}, exporters: {}, extensions, service };
}

/** A gateway needs no database of the query API; this command does. */
const DATABASE_URL = {
  path: 'query.database_url',
  message: 'found nothing; allowed: a URL such as postgres://host:5432/database',
};
