/** `sluice query`: the query API by itself, for a database that gateways elsewhere write to. */
import { parseEndpoint } from '../config/endpoint.ts';
import type { Endpoint } from '../config/endpoint.ts';
import { loadConfig, withSources } from '../config/load.ts';
import type { ConfigOrigins } from '../config/load.ts';
import { parseGateway } from '../config/schema.ts';
import { ConfigError, PermanentError } from '../errors.ts';
import { listen } from '../query/listen.ts';
import type { FailureLog } from '../query/problem.ts';
import { createQueryApp } from '../query/server.ts';
import { createPool, describeConnectionError, requireServerVersion } from '../store/connection.ts';
import { READ_LIMITS, spanReader } from '../store/span_tree.ts';
import { createLogger } from '../telemetry/logger.ts';
import type { Command, CommandContext } from './command.ts';
import { EXIT } from './command.ts';
import { CONFIG_OPTIONS, configOrigins } from './gateway.ts';

/** Reads at once; what needs one more waits for a connection. */
const MAX_CONNECTIONS = 4;

export interface QuerySettings {
  readonly endpoint: Endpoint;
  readonly databaseUrl: string;
  readonly logger: FailureLog;
}

export interface RunningQuery {
  /** `host:port` as bound. */
  readonly address: string;
  /** Lets answers that are under way end, for some seconds, then closes the connections to the database. */
  shutdown(): Promise<void>;
}

/** Rejects with one clear line when the database cannot be used or the endpoint cannot be bound; nothing stays open. */
export async function startQuery({ endpoint, databaseUrl, logger }: QuerySettings): Promise<RunningQuery> {
  const pool = createPool({
    url: databaseUrl,
    max: MAX_CONNECTIONS,
    applicationName: 'sluice query',
    statementTimeoutMs: READ_LIMITS.timeoutMs,
  });
  try {
    await requireServerVersion(pool).catch((error: unknown) => {
      throw error instanceof PermanentError ? error : new Error(describeConnectionError(error, databaseUrl));
    });
    const app = createQueryApp({ spans: spanReader(pool), logger });
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

export const query: Command = {
  name: 'query',
  summary: 'Serve the query API of a database that gateways write to; it must be migrated already.',
  options: CONFIG_OPTIONS,
  async run(context: CommandContext) {
    const running = await startQuery(await readSettings(configOrigins(context)));
    context.print(`sluice: query API ready on http://${running.address}`);
    await aborted(context.stop);
    await running.shutdown();
    return EXIT.ok;
  },
};

/** Throws ConfigError with every fault of the top level; the components are no concern of this command. */
async function readSettings(origins: ConfigOrigins): Promise<QuerySettings> {
  const raw = await loadConfig(origins);
  // What a file that cannot be read would have said shows up as missing in every later check.
  if (!raw.isComplete) throw new ConfigError(raw.faults);
  const { config, faults } = parseGateway(raw);
  const endpoint = parseEndpoint(config.query.endpoint);
  const databaseUrl = config.query.database_url?.reveal();
  // What a faulty section says counts as absent.
  const isReadable = !faults.some(({ path }) => path === '' || path.startsWith('query'));
  if (databaseUrl === undefined && isReadable) faults.push(DATABASE_URL);
  if (faults.length > 0 || endpoint === undefined || databaseUrl === undefined) {
    throw new ConfigError(withSources(raw, faults));
  }
  return { endpoint, databaseUrl, logger: createLogger(config.service.telemetry.logs.level) };
}

/** A gateway needs no database of the query API; this command does. */
const DATABASE_URL = {
  path: 'query.database_url',
  message: 'found nothing; allowed: a URL such as postgres://host:5432/database',
};

async function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return;
  await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }));
}
