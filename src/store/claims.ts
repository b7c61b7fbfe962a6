/**
 * How a send finds out which of its records are stored already. In the transaction of their rows it inserts the place of
 * each record in its queue and the receipt of the request that it came in; what exists already inserts nothing. Where the
 * same is under way in another transaction, the INSERT waits until that one has ended: a COMMIT whose answer was lost is
 * resolved by sending again.
 */
import assert from 'node:assert/strict';
import type { Pool } from 'pg';
import { RetryableError } from '../errors.ts';
import type { QueueRecord, RecordId } from '../model/record.ts';
import { transaction } from './connection.ts';
import type { Answer } from './copy.ts';

/** `stored`: an earlier try stored this very record. `repeat`: its request came before, in another record. */
export type Verdict = 'new' | 'stored' | 'repeat';

export interface Claim {
  /** What goes before the rows in their transaction; empty when there is nothing to find out. */
  readonly statements: readonly string[];
  /** One for each record. `answers` are the rows that the statements returned. */
  verdicts(answers: readonly Answer[]): Verdict[];
}

/** What one record wants to insert, each key as its row is written and answered: `queue_id seq` and `day key`. */
interface Wish {
  readonly position: string | undefined;
  readonly receipts: readonly string[];
  /** A record before it in the same send wants the same. */
  readonly isTwice: boolean;
  readonly isRepeat: boolean;
}

const DAY_MS = 86_400_000;
const UUID = /^[\da-f]{8}-[\da-f]{4}-[\da-f]{4}-[\da-f]{4}-[\da-f]{12}$/i;
/** Tells rows of `queue_marks` from the others. */
const MARK = 'mark';

export function claimRecords(records: readonly QueueRecord[]): Claim {
  const positions = new Set<string>();
  const receipts = new Set<string>();
  const wishes = records.map((record): Wish => {
    const position = positionOf(record.id);
    const mine = receiptsOf(record);
    const isTwice = position !== undefined && positions.has(position);
    const isRepeat = mine.some((receipt) => receipts.has(receipt));
    if (position !== undefined) positions.add(position);
    for (const receipt of mine) receipts.add(receipt);
    return { position, receipts: mine, isTwice, isRepeat };
  });
  return {
    statements: [
      ...(receipts.size > 0 ? [insertReceipts(receipts)] : []),
      ...(positions.size > 0 ? [insertPositions(positions), selectMarks(positions)] : []),
    ],
    verdicts(answers) {
      const inserted = new Set(answers.map(([kind, one, other]) => (kind === MARK ? '' : `${one} ${other}`)));
      const marks = new Map(answers.flatMap(([kind, queue, below]) => (kind === MARK ? [[queue, Number(below)]] : [])));
      return wishes.map((wish) => verdictOf(wish, inserted, marks));
    },
  };
}

function verdictOf(
  { position, receipts, isTwice, isRepeat }: Wish,
  inserted: ReadonlySet<string>,
  marks: ReadonlyMap<string | null | undefined, number>,
): Verdict {
  if (position !== undefined) {
    const [queueId, seq] = position.split(' ');
    if (isTwice || !inserted.has(position) || Number(seq) < (marks.get(queueId) ?? 0)) return 'stored';
  }
  return !isRepeat && receipts.every((receipt) => inserted.has(receipt)) ? 'new' : 'repeat';
}

function positionOf(id: RecordId | undefined): string | undefined {
  if (id === undefined) return undefined;
  assert(UUID.test(id.queueId) && Number.isSafeInteger(id.seq), 'a record id is a UUID and an integer');
  return `${id.queueId.toLowerCase()} ${id.seq}`;
}

/** The UTC day of arrival and the next, in days since 1970. */
function receiptsOf({ receipt, receivedAtMs }: QueueRecord): string[] {
  if (receipt === undefined) return [];
  const day = Math.floor(receivedAtMs / DAY_MS);
  assert(Number.isSafeInteger(day), 'a time of arrival is a number of milliseconds');
  const hex = Buffer.from(receipt.buffer, receipt.byteOffset, receipt.byteLength).toString('hex');
  return [`${day} ${hex}`, `${day + 1} ${hex}`];
}

/*
 * One message takes no parameters. What goes into its text is hex digits that we made from bytes, integers, and UUIDs that
 * were matched character by character; nothing else may. Keys are sorted, so that two sends that have some of them in
 * common take their locks in the same order.
 */

function insertReceipts(keys: ReadonlySet<string>): string {
  const [days, hexes] = arraysOf(keys);
  return `INSERT INTO receipts (day, key)
    SELECT DATE '1970-01-01' + day, decode(hex, 'hex') FROM unnest('${days}'::int[], '${hexes}'::text[]) AS t (day, hex)
    ON CONFLICT DO NOTHING RETURNING 'receipt', (day - DATE '1970-01-01')::text, encode(key, 'hex')`;
}

function insertPositions(keys: ReadonlySet<string>): string {
  const [queueIds, seqs] = arraysOf(keys);
  return `INSERT INTO queue_positions (queue_id, seq) SELECT * FROM unnest('${queueIds}'::uuid[], '${seqs}'::bigint[])
    ON CONFLICT DO NOTHING RETURNING 'position', queue_id::text, seq::text`;
}

/**
 * After the positions were inserted: a position that could be, because `forgetPositions` deleted it meanwhile, then finds
 * the mark which was raised before that.
 */
function selectMarks(keys: ReadonlySet<string>): string {
  const queues = new Set([...keys].map((key) => `'${key.slice(0, key.indexOf(' '))}'`));
  return `SELECT '${MARK}', queue_id::text, below::text FROM queue_marks WHERE queue_id IN (${[...queues].join(', ')})`;
}

/** The two parts of all keys as two array literals. */
function arraysOf(keys: ReadonlySet<string>): [string, string] {
  const pairs = [...keys].toSorted().map((key) => key.split(' '));
  return [`{${pairs.map(([one]) => one).join()}}`, `{${pairs.map(([, other]) => other).join()}}`];
}

const RAISE_MARK = `
  INSERT INTO queue_marks AS mark (queue_id, below) VALUES ($1, $2)
  ON CONFLICT (queue_id) DO UPDATE SET below = excluded.below, updated_at = now() WHERE mark.below < excluded.below`;

/** Rows are never updated, so a row stays where it was found. */
const DELETE_SOME = `
  DELETE FROM queue_positions WHERE ctid = ANY (ARRAY(
    SELECT ctid FROM queue_positions WHERE queue_id = $1 AND seq < $2 ORDER BY seq LIMIT $3))`;

const DELETE_ROWS = 10_000;
const DELETES = 100;

/**
 * Every record of the queue below `seq` is stored from now on, whether it is sent once more or not. Each part is a
 * transaction of its own, so that a backlog of any size takes no statement for long. Rejects with RetryableError when there
 * is more to delete than one call may; the mark is raised in any case.
 */
export async function forgetPositions(pool: Pool, { queueId, seq }: RecordId): Promise<void> {
  await transaction(pool, (client) => client.query(RAISE_MARK, [queueId, seq]));
  for (let deletes = 0; deletes < DELETES; deletes += 1) {
    const { rowCount } = await transaction(pool, (client) => client.query(DELETE_SOME, [queueId, seq, DELETE_ROWS]));
    if ((rowCount ?? 0) < DELETE_ROWS) return;
  }
  throw new RetryableError('more positions of the queue can be forgotten than at once');
}
