/**
 * Stores the records of one send in one transaction, each record once however often it is sent. Rows that the database
 * refuses for what they are become dead letters, and keep none of the others out.
 */
import type { Pool, PoolClient } from 'pg';
import { PermanentError } from '../errors.ts';
import type { QueueRecord } from '../model/record.ts';
import { claimRecords, type Claim, type Verdict } from './claims.ts';
import { messageTransaction, transaction } from './connection.ts';
import { copySparing } from './copy_sparing.ts';
import { sendMessage, type Answer } from './copy.ts';
import { storeDeadLetters, type RefusedRow } from './dead_letters.ts';
import { copyStatement, rowFormat } from './formats.ts';
import { piecesOf } from './row_pieces.ts';
import type { RowFormat } from './rows.ts';
import { faultOf, storeError } from './sqlstate.ts';

export interface Delivery {
  /** Of one format. */
  readonly records: readonly QueueRecord[];
  /** Id of the exporter, which dead letters name. */
  readonly exporter: string;
  /** Gives up; what was not committed by then is not stored, but for a COMMIT under way. */
  readonly signal?: AbortSignal | undefined;
}

/** In items. */
export interface Delivered {
  readonly duplicates: number;
  readonly deadLettered: number;
}

/**
 * Stores all records or, when it rejects, none; they are durable once it resolves.
 * @throws PermanentError when a later program wrote the records, RetryableError for all else
 */
export async function deliver(pool: Pool, delivery: Delivery): Promise<Delivered> {
  const { records } = delivery;
  const [first] = records;
  if (first === undefined) return { duplicates: 0, deadLettered: 0 };
  const format = rowFormat(first.format);
  if (format === undefined) throw new PermanentError(`this version does not know rows of the format ${first.format}`);
  const claim = claimRecords(records);
  for (let tries = 1; ; tries += 1) {
    try {
      return await deliverOrSpare(pool, delivery, format, claim);
    } catch (error) {
      if (faultOf(error) !== 'moved' || tries === MOVED_TRIES) throw storeError(error);
    }
  }
}

/**
 * What a send waits for is mostly another one with the same request. Where that one's gateway is frozen in the middle of
 * its COPY, the wait ends with it or not at all: no time-out of the server applies while it reads a COPY. Giving up soon
 * leaves the sender free for other records.
 */
const LOCK_TIMEOUT_MS = 3_000;
/** A gateway that is frozen between two statements keeps its locks for so long: far above any pause of a live one. */
const IDLE_TIMEOUT_MS = 10_000;

/** How often rows may be overtaken by a new partition; each day has but one. */
const MOVED_TRIES = 5;

async function deliverOrSpare(pool: Pool, delivery: Delivery, format: RowFormat, claim: Claim): Promise<Delivered> {
  try {
    return await deliverAtOnce(pool, delivery, format, claim);
  } catch (error) {
    if (!mayBeForSomeRows(error)) throw error;
    return deliverSparing(pool, delivery, format, claim);
  }
}

function mayBeForSomeRows(error: unknown): boolean {
  const fault = faultOf(error);
  return fault === 'poison' || fault === 'slow';
}

/** The way of nearly every send: one message, whose COPY leaves out what the statements before it found stored. */
function deliverAtOnce(pool: Pool, { records, signal }: Delivery, format: RowFormat, claim: Claim): Promise<Delivered> {
  const work = async (client: PoolClient, before: string): Promise<Delivered> => {
    const text = before + [...claim.statements, copyStatement(format)].join('; ');
    /** Undefined until the COPY begins. */
    let verdicts: readonly Verdict[] | undefined;
    const rows = (answers: readonly Answer[]): Uint8Array[] => {
      verdicts = claim.verdicts(answers);
      return newOf(records, verdicts).map(({ bytes }) => bytes);
    };
    try {
      await sendMessage(client, { text, rows, signal });
      return { duplicates: repeatedItems(records, verdicts ?? []), deadLettered: 0 };
    } catch (error) {
      // What failed before the COPY, such as waiting for another try, says nothing of the rows.
      throw verdicts === undefined && mayBeForSomeRows(error) ? storeError(error) : error;
    }
  };
  return messageTransaction(pool, work, { lockTimeoutMs: LOCK_TIMEOUT_MS });
}

/** Row by row where it has to be. What is refused becomes a dead letter in the same transaction, so exactly once. */
function deliverSparing(
  pool: Pool,
  { records, exporter, signal }: Delivery,
  format: RowFormat,
  claim: Claim,
): Promise<Delivered> {
  const work = async (client: PoolClient): Promise<Delivered> => {
    const verdicts = await judge(client, claim, signal);
    let deadLettered = 0;
    await copySparing(client, {
      format,
      pieces: rowsOf(newOf(records, verdicts)),
      signal,
      async onRefused(refused) {
        await storeDeadLetters(client, exporter, refused, signal);
        for (const { piece } of refused) deadLettered += piece.items;
      },
    });
    return { duplicates: repeatedItems(records, verdicts), deadLettered };
  };
  return transaction(pool, work, { lockTimeoutMs: LOCK_TIMEOUT_MS, idleTimeoutMs: IDLE_TIMEOUT_MS });
}

async function judge(client: PoolClient, claim: Claim, signal: AbortSignal | undefined): Promise<Verdict[]> {
  if (claim.statements.length === 0) return claim.verdicts([]);
  return claim.verdicts(await sendMessage(client, { text: claim.statements.join('; '), signal }));
}

function* rowsOf(records: readonly QueueRecord[]): Generator<RefusedRow> {
  for (const record of records) {
    for (const { bytes, items } of piecesOf(record)) yield { record, bytes, items };
  }
}

function newOf(records: readonly QueueRecord[], verdicts: readonly Verdict[]): QueueRecord[] {
  return records.filter((_, i) => verdicts[i] === 'new');
}

function repeatedItems(records: readonly QueueRecord[], verdicts: readonly Verdict[]): number {
  return records.reduce((sum, { items }, i) => sum + (verdicts[i] === 'repeat' ? items : 0), 0);
}
