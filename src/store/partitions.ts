/**
 * Day partitions of the signal tables and of the receipts. Made ahead of time and without stopping writers: a partition
 * is built as a table of its own and attached when it is complete. Rows of its day that came too early wait in the default
 * partition and move over in the same transaction, since PostgreSQL attaches nothing whose rows the default partition
 * holds.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { DatabaseError, type Pool, type PoolClient } from 'pg';
import { RetryableError } from '../errors.ts';
import { queryWithin, transaction } from './connection.ts';

interface PartitionedTable {
  readonly name: string;
  /** The column whose UTC day decides. */
  readonly timeColumn: string;
}

const TABLES: readonly PartitionedTable[] = [
  { name: 'otel_spans', timeColumn: 'started_at' },
  { name: 'otel_logs', timeColumn: 'ts' },
  { name: 'otel_metrics', timeColumn: 'ts' },
  { name: 'receipts', timeColumn: 'day' },
];

const DAYS_BACK = 1;
const DAYS_AHEAD = 7;
const RECEIPT_DAYS_KEPT = 3;
const DAY_MS = 86_400_000;

/** Serialises changes of partitions in one database: an arbitrary number that nothing else uses. */
const ADVISORY_LOCK = 7_310_220_002;
/** Who waits for a table holds up everybody who comes after: better to give way and come back. */
const LOCK_TIMEOUT_MS = 500;
const ATTEMPTS = 20;
const PAUSE_MS = 250;
/** Bounds reading and moving what the default partition holds. */
const STATEMENT_TIMEOUT_MS = 300_000;

/** SQLSTATE: lock_not_available and deadlock_detected. */
const LOCK_FAULTS: ReadonlySet<string | undefined> = new Set(['55P03', '40P01']);

interface Partition {
  readonly name: string;
  readonly table: PartitionedTable;
  /** UTC midnights, as PostgreSQL reads them. */
  readonly from: string;
  readonly to: string;
}

export interface Upkeep {
  readonly today: Date;
  /** Ends it between two partitions, with an AbortError. */
  readonly signal?: AbortSignal;
}

/**
 * Makes the partitions that are missing from the day before `today` to seven days after it, and resolves to the names of
 * those this call made. Any number of replicas may call it at once. A table that has a partition's name without being
 * one is left alone: somebody detached it. Rejects with RetryableError when other work keeps the tables locked.
 */
export async function ensurePartitions(pool: Pool, { today, signal }: Upkeep): Promise<string[]> {
  const wanted = TABLES.flatMap((table) => partitionsAround(today, table));
  const { rows } = await pool.query<{ name: string }>(
    'SELECT name FROM unnest($1::text[]) AS name WHERE to_regclass(name) IS NULL',
    [wanted.map(({ name }) => name)],
  );
  const missing = new Set(rows.map(({ name }) => name));
  const made: string[] = [];
  for (const partition of wanted) {
    if (!missing.has(partition.name)) continue;
    const isOurs = await persistently(pool, partition.name, (client) => makePartition(client, partition), signal);
    if (isOurs) made.push(partition.name);
  }
  return made;
}

/**
 * Drops the partitions of receipts that are more than three days older than `today`, and resolves to the names of those
 * this call dropped. A receipt tells of a repeat that came within 24 hours, whose own receipts carry its day or the next:
 * what is older can only meet a repeat that waited for days in the queue of another gateway. Any number of replicas may
 * call it at once. `today` is the database's, since what is dropped is everybody's. Rejects as `ensurePartitions` does.
 */
export async function pruneReceipts(pool: Pool, { today, signal }: Upkeep): Promise<string[]> {
  const oldest = new Date(today.getTime() - RECEIPT_DAYS_KEPT * DAY_MS).toISOString().slice(0, 10);
  const { rows } = await pool.query<{ name: string }>(
    "SELECT relname AS name FROM pg_inherits JOIN pg_class ON oid = inhrelid WHERE inhparent = 'receipts'::regclass",
  );
  const dropped: string[] = [];
  for (const { name } of rows) {
    const [, day] = RECEIPT_PARTITION.exec(name) ?? [];
    if (day === undefined || day >= oldest.replaceAll('-', '')) continue;
    if (await persistently(pool, name, (client) => dropPartition(client, name), signal)) dropped.push(name);
  }
  await pool.query('DELETE FROM receipts_default WHERE day < $1', [oldest]);
  return dropped;
}

/** The name is used in a statement: nothing but digits may vary. */
const RECEIPT_PARTITION = /^receipts_(\d{8})$/;

function partitionsAround(today: Date, table: PartitionedTable): Partition[] {
  const firstMs = Math.floor(today.getTime() / DAY_MS) * DAY_MS - DAYS_BACK * DAY_MS;
  return Array.from({ length: DAYS_BACK + 1 + DAYS_AHEAD }, (_, day) => {
    const from = new Date(firstMs + day * DAY_MS).toISOString();
    const to = new Date(firstMs + (day + 1) * DAY_MS).toISOString();
    return { name: `${table.name}_${from.slice(0, 10).replaceAll('-', '')}`, table, from, to };
  });
}

/** Runs `work`, which says whether it changed anything, in one transaction that gives way to others and comes back. */
async function persistently(
  pool: Pool,
  name: string,
  work: (client: PoolClient) => Promise<boolean>,
  signal: AbortSignal | undefined,
): Promise<boolean> {
  const settings = { lockTimeoutMs: LOCK_TIMEOUT_MS, statementTimeoutMs: STATEMENT_TIMEOUT_MS };
  for (let attempt = 1; ; attempt += 1) {
    signal?.throwIfAborted();
    try {
      return await transaction(pool, work, settings);
    } catch (error) {
      if (!(error instanceof DatabaseError) || !LOCK_FAULTS.has(error.code)) throw error;
      if (attempt === ATTEMPTS)
        throw new RetryableError(`${name} cannot be made or dropped: its table is locked`, { cause: error });
      await delay(PAUSE_MS * (0.5 + Math.random()), undefined, signal === undefined ? {} : { signal });
    }
  }
}

/** False where another replica was faster. */
async function makePartition(client: PoolClient, { name, table, from, to }: Partition): Promise<boolean> {
  if (await existsWhenLocked(client, name)) return false;
  for (const text of makeStatements(name, table, from, to)) {
    await queryWithin(client, STATEMENT_TIMEOUT_MS, text);
  }
  return true;
}

async function dropPartition(client: PoolClient, name: string): Promise<boolean> {
  if (!(await existsWhenLocked(client, name))) return false;
  await queryWithin(client, STATEMENT_TIMEOUT_MS, `DROP TABLE ${name}`);
  return true;
}

async function existsWhenLocked(client: PoolClient, name: string): Promise<boolean> {
  await client.query('SELECT pg_advisory_xact_lock($1)', [ADVISORY_LOCK]);
  // Not to_regclass, which may answer from what the session remembers of the time before the lock.
  const { rows } = await client.query('SELECT FROM pg_class WHERE relname = $1 AND pg_table_is_visible(oid)', [name]);
  return rows.length > 0;
}

/**
 * DDL takes no parameters: every part is a constant or the ISO form of a date. The constraint spares ATTACH the reading
 * of the new table. The default partition is locked before its rows move, so that none arrives in between, and last of
 * all, so that writers wait for nothing but the move.
 */
function makeStatements(
  name: string,
  { name: parent, timeColumn }: PartitionedTable,
  from: string,
  to: string,
): string[] {
  const day = `${timeColumn} >= '${from}' AND ${timeColumn} < '${to}'`;
  return [
    `CREATE TABLE ${name} (LIKE ${parent} INCLUDING ALL, CONSTRAINT ${name}_day CHECK (${day}))`,
    `LOCK TABLE ${parent}_default IN ACCESS EXCLUSIVE MODE`,
    `WITH early AS (DELETE FROM ${parent}_default WHERE ${day} RETURNING *) INSERT INTO ${name} SELECT * FROM early`,
    `ALTER TABLE ${parent} ATTACH PARTITION ${name} FOR VALUES FROM ('${from}') TO ('${to}')`,
    `ALTER TABLE ${name} DROP CONSTRAINT ${name}_day`,
  ];
}
