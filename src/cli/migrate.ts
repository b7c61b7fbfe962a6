/** `sluice migrate`: brings a database to the schema of this program and makes the partitions of the coming days. */
import { loadConfig, withSources } from '../config/load.ts';
import { parseGateway } from '../config/schema.ts';
import { ConfigError, PermanentError } from '../errors.ts';
import { createPool, describeConnectionError, requireServerVersion } from '../store/connection.ts';
import { migrate as applyMigrations, migrationStatus } from '../store/migrate.ts';
import { ensurePartitions } from '../store/partitions.ts';
import { EXIT, type Command, type CommandContext } from './command.ts';
import { CONFIG_OPTIONS, configOrigins } from './gateway.ts';

const STATEMENT_TIMEOUT_MS = 30_000;

type Pool = ReturnType<typeof createPool>;

export const migrate: Command = {
  name: 'migrate',
  summary: 'Bring the database to the schema of this version; safe to run at any time, and several times at once.',
  options: {
    'database-url': {
      type: 'string',
      value: 'URL',
      describe: 'The database; without it query.database_url of the configuration, which is DATABASE_URL by default.',
    },
    status: { type: 'boolean', describe: 'Print each migration and when it was applied; change nothing.' },
    ...CONFIG_OPTIONS,
  },
  async run(context) {
    const url = await databaseUrl(context);
    const print = (line: string): void => context.print(line);
    if (context.values['status'] === true) await withDatabase(url, (pool) => printStatus(pool, print));
    else await prepareDatabase(url, print);
    return EXIT.ok;
  },
};

/**
 * Migrates the database and makes its partitions, and prints what it did. Rejects with one clear line when the database
 * cannot be used, is too old or is newer than the program.
 */
export async function prepareDatabase(url: string, print: (line: string) => void): Promise<void> {
  await withDatabase(url, async (pool) => {
    const { applied } = await applyMigrations(pool);
    for (const name of applied) print(`applied migration ${name}`);
    const made = await ensurePartitions(pool, { today: new Date() });
    if (made.length > 0) print(`made ${made.length} day partitions`);
    if (applied.length + made.length === 0) print('the database is up to date');
  });
}

async function withDatabase(url: string, work: (pool: Pool) => Promise<void>): Promise<void> {
  const pool = createPool({ url, max: 1, applicationName: 'sluice migrate', statementTimeoutMs: STATEMENT_TIMEOUT_MS });
  try {
    await requireServerVersion(pool).catch((error: unknown) => {
      throw error instanceof PermanentError ? error : new Error(describeConnectionError(error, url));
    });
    await work(pool);
  } finally {
    await pool.end();
  }
}

async function printStatus(pool: Pool, print: (line: string) => void): Promise<void> {
  for (const { name, appliedAt } of await migrationStatus(pool)) {
    print(`${name}  ${appliedAt === undefined ? 'pending' : `applied ${appliedAt.toISOString()}`}`);
  }
}

/** Throws ConfigError with every fault of the top level; the components are no concern of this command. */
async function databaseUrl(context: CommandContext): Promise<string> {
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
