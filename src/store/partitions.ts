/**
 * Day partitions of the signal tables. Made ahead of time and without stopping writers: a partition is built as a table
 * of its own and attached when it is complete. Rows of its day that came too early wait in the default partition and
 * move over in the same transaction, since PostgreSQL attaches nothing whose rows the default partition holds.
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
];

const DAYS_BACK = 1;
const DAYS_AHEAD = 7;
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

/**
 * Makes the partitions that are missing from the day before `today` to seven days after it, and resolves to the names of
 * those this call made. Any number of replicas may call it at once. A table that has a partition's name without being
 * one is left alone: somebody detached it. Rejects with RetryableError when other work keeps the tables locked.
 */
export async function ensurePartitions(pool: Pool, { today }: { today: Date }): Promise<string[]> {
  const wanted = TABLES.flatMap((table) => partitionsAround(today, table));
  const { rows } = await pool.query<{ name: string }>(
    'SELECT name FROM unnest($1::text[]) AS name WHERE to_regclass(name) IS NULL',
    [wanted.map(({ name }) => name)],
  );
  const missing = new Set(rows.map(({ name }) => name));
  const made: string[] = [];
  for (const partition of wanted) {
    if (missing.has(partition.name) && (await makePersistently(pool, partition))) made.push(partition.name);
  }
  return made;
}

function partitionsAround(today: Date, table: PartitionedTable): Partition[] {
  const firstMs = Math.floor(today.getTime() / DAY_MS) * DAY_MS - DAYS_BACK * DAY_MS;
  return Array.from({ length: DAYS_BACK + 1 + DAYS_AHEAD }, (_, day) => {
    const from = new Date(firstMs + day * DAY_MS).toISOString();
    const to = new Date(firstMs + (day + 1) * DAY_MS).toISOString();
    return { name: `${table.name}_${from.slice(0, 10).replaceAll('-', '')}`, table, from, to };
  });
}

/** Whether this call made it: another replica may have been faster. */
async function makePersistently(pool: Pool, partition: Partition): Promise<boolean> {
  const settings = { lockTimeoutMs: LOCK_TIMEOUT_MS, statementTimeoutMs: STATEMENT_TIMEOUT_MS };
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await transaction(pool, (client) => makePartition(client, partition), settings);
    } catch (error) {
      if (!(error instanceof DatabaseError) || !LOCK_FAULTS.has(error.code)) throw error;
      if (attempt === ATTEMPTS)
        throw new RetryableError(`${partition.name} was not made: its table is locked`, { cause: error });
      await delay(PAUSE_MS * (0.5 + Math.random()));
    }
  }
}

async function makePartition(client: PoolClient, { name, table, from, to }: Partition): Promise<boolean> {
  await client.query('SELECT pg_advisory_xact_lock($1)', [ADVISORY_LOCK]);
  // Not to_regclass, which may answer from what the session remembers of the time before the lock.
  const taken = await client.query('SELECT FROM pg_class WHERE relname = $1 AND pg_table_is_visible(oid)', [name]);
  if (taken.rows.length > 0) return false;
  for (const text of makeStatements(name, table, from, to)) {
    await queryWithin(client, STATEMENT_TIMEOUT_MS, text);
  }
  return true;
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
