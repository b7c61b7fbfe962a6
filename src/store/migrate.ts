/**
 * Brings a database to the schema of this program: the numbered files of `migrations/`, forward only, each in one
 * transaction of its own and recorded with it, so that any number of daemons may start at once and a kill at any point
 * leaves whole migrations only.
 */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import type { Pool, PoolClient } from 'pg';
import { PermanentError } from '../errors.ts';
import { queryWithin, transaction } from './connection.ts';

const DIRECTORY = new URL('../../migrations/', import.meta.url);
const FILE_NAME = /^(\d{4})_([a-z0-9_]+)\.sql$/;
/** Serialises migrations of one database: an arbitrary number that nothing else uses. */
const ADVISORY_LOCK = 7_310_220_001;
/** Long enough for a statement that rewrites a table, and for waiting until another daemon has migrated. */
const STATEMENT_TIMEOUT_MS = 600_000;

const CREATE_HISTORY = `
  CREATE TABLE IF NOT EXISTS schema_migrations (
    version integer PRIMARY KEY,
    name text NOT NULL,
    checksum text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
  )`;

export interface MigrationState {
  readonly version: number;
  readonly name: string;
  /** Undefined while the migration is pending. */
  readonly appliedAt: Date | undefined;
}

interface Migration {
  readonly version: number;
  readonly name: string;
  /** SHA-256 of the text, in hex; line ends do not count. */
  readonly checksum: string;
  readonly sql: string;
}

interface AppliedMigration {
  readonly version: number;
  readonly name: string;
  readonly checksum: string;
  readonly applied_at: Date;
}

/**
 * Applies what is missing and resolves to the names of what this call applied, oldest first. Rejects with PermanentError
 * when the database is newer than the program or was migrated by other files. Needs no right to create anything when
 * nothing is missing.
 */
export async function migrate(pool: Pool): Promise<{ applied: string[] }> {
  const migrations = await readMigrations();
  const applied: string[] = [];
  let next = pendingOf(migrations, await readHistory(pool));
  while (next !== undefined) {
    const done = await transaction(pool, (client) => applyNext(client, migrations), {
      statementTimeoutMs: STATEMENT_TIMEOUT_MS,
    });
    if (done !== undefined) applied.push(done.name);
    next = done;
  }
  return { applied };
}

/** Every migration of this program, oldest first. Rejects as `migrate` does; changes nothing. */
export async function migrationStatus(pool: Pool): Promise<MigrationState[]> {
  const migrations = await readMigrations();
  const history = await readHistory(pool);
  pendingOf(migrations, history);
  return migrations.map(({ version, name }, index) => ({ version, name, appliedAt: history[index]?.applied_at }));
}

/** Rejects with PermanentError, saying what to do, when the tables are not those that this program reads and writes. */
export async function requireSchema(pool: Pool): Promise<void> {
  const missing = (await migrationStatus(pool)).find(({ appliedAt }) => appliedAt === undefined);
  if (missing !== undefined) {
    throw new PermanentError(`the database lacks the migration ${missing.name}: run \`sluice migrate\` first`);
  }
}

async function applyNext(client: PoolClient, migrations: readonly Migration[]): Promise<Migration | undefined> {
  await queryWithin(client, STATEMENT_TIMEOUT_MS, 'SELECT pg_advisory_xact_lock($1)', [ADVISORY_LOCK]);
  await client.query(CREATE_HISTORY);
  const next = pendingOf(migrations, await readHistory(client));
  if (next === undefined) return undefined;
  await queryWithin(client, STATEMENT_TIMEOUT_MS, next.sql);
  await client.query('INSERT INTO schema_migrations (version, name, checksum) VALUES ($1, $2, $3)', [
    next.version,
    next.name,
    next.checksum,
  ]);
  return next;
}

/** The first migration that is missing, once it is certain that all before it are the ones we know. */
function pendingOf(migrations: readonly Migration[], history: readonly AppliedMigration[]): Migration | undefined {
  for (const [index, applied] of history.entries()) {
    const known = migrations[index];
    if (known === undefined) throw new PermanentError(newerDatabase(applied, migrations.length));
    if (known.version !== applied.version || known.checksum !== applied.checksum) {
      throw new PermanentError(otherHistory(applied, known));
    }
  }
  return migrations[history.length];
}

function newerDatabase({ name }: AppliedMigration, known: number): string {
  return (
    `the database is newer than this program: it has migration ${name}, and this program knows ${known}; ` +
    'start the newer Sluice, or use another database'
  );
}

function otherHistory(applied: AppliedMigration, known: Migration): string {
  return applied.version === known.version
    ? `migration ${known.name} differs from the one that the database was migrated with; an applied file must not change`
    : `the database was migrated with ${applied.name} where this program has ${known.name}`;
}

async function readHistory(database: Pool | PoolClient): Promise<AppliedMigration[]> {
  const { rows: found } = await database.query<{ present: boolean }>(
    "SELECT to_regclass('schema_migrations') IS NOT NULL AS present",
  );
  if (!(found[0]?.present ?? false)) return [];
  const { rows } = await database.query<AppliedMigration>(
    'SELECT version, name, checksum, applied_at FROM schema_migrations ORDER BY version',
  );
  return rows;
}

async function readMigrations(): Promise<Migration[]> {
  const names = (await readdir(DIRECTORY)).filter((name) => name.endsWith('.sql')).toSorted();
  const migrations = await Promise.all(names.map(readMigration));
  migrations.forEach(({ version, name }, index) => assert.equal(version, index + 1, `${name} breaks the numbering`));
  return migrations;
}

async function readMigration(fileName: string): Promise<Migration> {
  const [, digits] = FILE_NAME.exec(fileName) ?? [];
  assert(digits !== undefined, `${fileName} is no name for a migration`);
  const sql = (await readFile(new URL(fileName, DIRECTORY), 'utf8')).replaceAll('\r\n', '\n');
  const checksum = createHash('sha256').update(sql).digest('hex');
  return { version: Number(digits), name: fileName.slice(0, -'.sql'.length), checksum, sql };
}
