/** The database that a command works on: which one it is, and a connection to it for as long as the work takes. */
import type { Pool } from 'pg';
import { loadConfig, withSources } from '../config/load.ts';
import { parseGateway } from '../config/schema.ts';
import { ConfigError, PermanentError } from '../errors.ts';
import { createPool, describeConnectionError, requireServerVersion } from '../store/connection.ts';
import type { CommandContext, CommandOption } from './command.ts';
import { CONFIG_OPTIONS, configOrigins } from './gateway.ts';

const STATEMENT_TIMEOUT_MS = 30_000;

export const DATABASE_OPTIONS = {
  'database-url': {
    type: 'string',
    value: 'URL',
    describe: 'The database; without it query.database_url of the configuration, which is DATABASE_URL by default.',
  },
  ...CONFIG_OPTIONS,
} as const satisfies Readonly<Record<string, CommandOption>>;

/**
 * Of the options `DATABASE_OPTIONS`. Throws ConfigError with every fault of the top level; components are no concern of
 * a command that only needs a database.
 */
export async function databaseUrl(context: Pick<CommandContext, 'values' | 'env'>): Promise<string> {
  const given = context.values['database-url'];
  if (typeof given === 'string') return given;
  const raw = await loadConfig(configOrigins(context));
  if (!raw.isComplete) throw new ConfigError(raw.faults);
  const { config, faults } = parseGateway(raw);
  const url = config.query.database_url?.reveal();
  if (faults.length > 0) throw new ConfigError(withSources(raw, faults));
  if (url === undefined) {
    throw new ConfigError([{ path: 'query.database_url', message: 'found nothing; or name one with --database-url' }]);
  }
  return url;
}

/** Rejects with one clear line when the database cannot be used or its server is too old. */
export async function withDatabase<T>(
  { url, applicationName }: { readonly url: string; readonly applicationName: string },
  work: (pool: Pool) => Promise<T>,
): Promise<T> {
  const pool = createPool({ url, max: 1, applicationName, statementTimeoutMs: STATEMENT_TIMEOUT_MS });
  try {
    await requireServerVersion(pool).catch((error: unknown) => {
      throw error instanceof PermanentError ? error : new Error(describeConnectionError(error, url));
    });
    return await work(pool);
  } finally {
    await pool.end();
  }
}
