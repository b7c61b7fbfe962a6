/** Compares what the database holds with what the ledger demands, allows and forbids. */
import type { Client } from 'pg';
import { standingOf, type Entry, type Ledger } from './ledger.ts';

export interface Findings {
  /** Items stored or kept as dead letters. */
  readonly stored: number;
  readonly deadLettered: number;
  /** Items that were acknowledged more than once and stored once. */
  readonly absorbed: number;
  /** Acknowledged and not there, or one of a request whose others are there: requests are whole or absent. */
  readonly missing: readonly string[];
  /** One entry for each row too many. */
  readonly doubled: readonly string[];
  /** Nobody sent it, or every answer to it was a refusal. */
  readonly invented: readonly string[];
  /** Other than it was sent; or a dead letter that nothing is wrong with, or poison in a table. */
  readonly corrupted: readonly string[];
}

/** Nanoseconds since 1970, of a time column and its rest. */
const nanos = (column: string, rest: string): string =>
  `((extract(epoch FROM ${column}) * 1000000)::bigint * 1000 + ${rest})::text`;
const timeOf = (column: string, rest: string): string =>
  `CASE WHEN attributes ? 'chaos.timeless' THEN '-' ELSE ${nanos(column, rest)} END`;
const own = (key: string): string => `attributes->>'chaos.${key}'`;

/** What the sender's checksum is of: traffic.ts, `contentOf`. */
const CONTENT: Readonly<Record<string, readonly string[]>> = {
  otel_spans: [
    own('id'),
    'org_id',
    'service_name',
    'name',
    timeOf('started_at', 'started_ns_rest'),
    'duration_ns::text',
    own('number'),
    own('text'),
  ],
  otel_logs: [
    own('id'),
    'org_id',
    'service_name',
    'severity_number::text',
    timeOf('ts', 'ts_ns_rest'),
    own('number'),
    'body',
  ],
  otel_metrics: [
    own('id'),
    'org_id',
    'service_name',
    'metric_name',
    timeOf('ts', 'ts_ns_rest'),
    'value_int::text',
    own('text'),
  ],
};

const PAGE_ROWS = 20_000;

/** @param excused ids that may be missing, because the fault destroyed them after they were acknowledged */
export async function compare(client: Client, ledger: Ledger, excused: ReadonlySet<string>): Promise<Findings> {
  const known = ledger.items();
  const rows = new Map<string, number>();
  const doubled: string[] = [];
  const invented: string[] = [];
  const corrupted: string[] = [];
  const take = (id: string, isIntact: (sum: string, isPoison: boolean) => boolean): void => {
    const found = known.get(id);
    const times = (rows.get(id) ?? 0) + 1;
    rows.set(id, times);
    if (times > 1) doubled.push(id);
    else if (found === undefined || standingOf(found.entry) === 'prohibited') invented.push(id);
    else if (!isIntact(found.item.sum, found.item.isPoison)) corrupted.push(id);
  };
  for await (const { id, sum } of storedItems(client)) take(id, (sent, isPoison) => sum === sent && !isPoison);
  const deadLetters = await deadLetteredItems(client);
  for (const id of deadLetters) take(id, (_, isPoison) => isPoison);
  const missing = ledger.entries.flatMap((entry) => missingOf(entry, rows, excused));
  return {
    stored: rows.size,
    deadLettered: deadLetters.length,
    absorbed: absorbedItems(ledger.entries, rows),
    missing,
    doubled,
    invented,
    corrupted,
  };
}

/** An open request may be absent, but not in part. */
function missingOf(entry: Entry, rows: ReadonlyMap<string, number>, excused: ReadonlySet<string>): string[] {
  const absent = entry.request.items.filter(({ id }) => !rows.has(id) && !excused.has(id)).map(({ id }) => id);
  const isAbsent = absent.length === entry.request.items.length;
  return standingOf(entry) === 'obliged' || !isAbsent ? absent : [];
}

function absorbedItems(entries: readonly Entry[], rows: ReadonlyMap<string, number>): number {
  let absorbed = 0;
  for (const { request, acknowledgements } of entries) {
    if (acknowledgements < 2) continue;
    absorbed += (acknowledgements - 1) * request.items.filter(({ id }) => rows.get(id) === 1).length;
  }
  return absorbed;
}

async function* storedItems(client: Client): AsyncGenerator<{ id: string; sum: string }> {
  for (const [table, content] of Object.entries(CONTENT)) {
    await client.query('BEGIN');
    await client.query(
      `DECLARE items CURSOR FOR SELECT coalesce(${own('id')}, '(no id)') AS id, ` +
        `md5(concat_ws('|', ${content.join(', ')})) AS sum FROM ${table}`,
    );
    for (;;) {
      const { rows } = await client.query<{ id: string; sum: string }>(`FETCH ${PAGE_ROWS} FROM items`);
      if (rows.length === 0) break;
      yield* rows;
    }
    await client.query('COMMIT');
  }
}

const ID_IN_ROW = /"chaos\.id": ?"([0-9.]+)"/;

async function deadLetteredItems(client: Client): Promise<string[]> {
  const { rows } = await client.query<{ bytes: Buffer }>('SELECT bytes FROM dead_letters');
  return rows.map(({ bytes }) => ID_IN_ROW.exec(bytes.toString('latin1'))?.[1] ?? '(no id)');
}

/** How many items the database holds, dead letters included; cheap enough to ask again and again. */
export async function countItems(client: Client): Promise<number> {
  const tables = [...Object.keys(CONTENT), 'dead_letters'];
  const counts = tables.map((table) => `(SELECT count(*) FROM ${table})`).join(' + ');
  const { rows } = await client.query<{ items: number }>(`SELECT (${counts})::int AS items`);
  return rows[0]?.items ?? Number.NaN;
}
