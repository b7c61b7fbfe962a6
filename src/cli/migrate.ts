/** `sluice migrate`: brings a database to the schema of this program and makes the partitions of the coming days. */
import { migrate as applyMigrations, migrationStatus } from '../store/migrate.ts';
import { ensurePartitions } from '../store/partitions.ts';
import { EXIT, type Command } from './command.ts';
import { DATABASE_OPTIONS, databaseUrl, withDatabase } from './database.ts';

const APPLICATION_NAME = 'sluice migrate';

export const migrate: Command = {
  name: 'migrate',
  summary: 'Bring the database to the schema of this version; safe to run at any time, and several times at once.',
  options: {
    status: { type: 'boolean', describe: 'Print each migration and when it was applied; change nothing.' },
    ...DATABASE_OPTIONS,
  },
  async run(context) {
    const url = await databaseUrl(context);
    const print = (line: string): void => context.print(line);
    if (context.values['status'] === true) await reportStatus(url, print);
    else await prepareDatabase(url, print);
    return EXIT.ok;
  },
};

/**
 * Migrates the database and makes its partitions, and prints what it did. Rejects with one clear line when the database
 * cannot be used, is too old or is newer than the program.
 */
export async function prepareDatabase(url: string, print: (line: string) => void): Promise<void> {
  await withDatabase({ url, applicationName: APPLICATION_NAME }, async (pool) => {
    const { applied } = await applyMigrations(pool);
    for (const name of applied) print(`applied migration ${name}`);
    const made = await ensurePartitions(pool, { today: new Date() });
    if (made.length > 0) print(`made ${made.length} day partitions`);
    if (applied.length + made.length === 0) print('the database is up to date');
  });
}

async function reportStatus(url: string, print: (line: string) => void): Promise<void> {
  const statuses = await withDatabase({ url, applicationName: APPLICATION_NAME }, migrationStatus);
  for (const { name, appliedAt } of statuses) {
    print(`${name}  ${appliedAt === undefined ? 'pending' : `applied ${appliedAt.toISOString()}`}`);
  }
}
