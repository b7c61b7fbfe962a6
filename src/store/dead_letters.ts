/**
 * Rows that the database refused, in the table `dead_letters`: put there by a send, looked at, stored after all or dropped
 * by an operator.
 */
import type { Pool, PoolClient } from 'pg';
import { InvalidDataError } from '../errors.ts';
import type { Signal } from '../model/batch.ts';
import type { QueueRecord } from '../model/record.ts';
import { transaction } from './connection.ts';
import { copySparing, type Refused } from './copy_sparing.ts';
import { sendMessage } from './copy.ts';
import { CopyWriter } from './copy_writer.ts';
import { copyStatement, rowFormat } from './formats.ts';
import type { Piece } from './row_pieces.ts';
import { decodeRow, type RowValues } from './row_values.ts';
import type { RowFormat } from './rows.ts';
import { storeError } from './sqlstate.ts';

/** A row of a record. */
export interface RefusedRow extends Piece {
  readonly record: QueueRecord;
}

/** How `storeDeadLetters` writes; `bytes` is last, so that it needs no copy. */
const LETTERS: RowFormat = {
  format: 'dead_letters/1',
  table: 'dead_letters',
  columns: [
    'exporter',
    'signal',
    'org_id',
    'workspace_id',
    'target_id',
    'received_at',
    'sqlstate',
    'reason',
    'format',
    'items',
    'bytes',
  ],
};

/** In the transaction of the rows beside them. */
export async function storeDeadLetters(
  client: PoolClient,
  exporter: string,
  refused: readonly Refused<RefusedRow>[],
  signal?: AbortSignal,
): Promise<void> {
  const writer = new CopyWriter();
  const heads = refused.map((letter) => {
    const start = writer.pos;
    writeLetter(writer, exporter, letter);
    return { start, end: writer.pos, bytes: letter.piece.bytes };
  });
  const written = writer.bytes();
  const rows = heads.flatMap(({ start, end, bytes }) => [written.subarray(start, end), lengthOf(bytes), bytes]);
  await sendMessage(client, { text: copyStatement(LETTERS), rows: () => rows, signal });
}

/** All of a letter's row but its bytes. */
function writeLetter(writer: CopyWriter, exporter: string, { piece, sqlstate, reason }: Refused<RefusedRow>): void {
  const { signal, tenant, receivedAtMs, format } = piece.record;
  writer.row(LETTERS.columns.length);
  writer.string(exporter);
  writer.string(signal);
  writer.string(tenant.orgId);
  writer.string(tenant.workspaceId);
  writer.stringOrNull(tenant.targetId);
  writer.timestampMs(receivedAtMs);
  writer.string(sqlstate);
  writer.string(reason);
  writer.string(format);
  writer.bigint(BigInt(piece.items));
}

function lengthOf(bytes: Uint8Array): Uint8Array {
  const field = Buffer.allocUnsafe(4);
  field.writeInt32BE(bytes.length);
  return field;
}

/** What is left out matches all. */
export interface LetterFilter {
  readonly exporter?: string | undefined;
  readonly signal?: Signal | undefined;
  readonly orgId?: string | undefined;
  readonly workspaceId?: string | undefined;
}

/** All of a letter but its row. */
export interface LetterSummary {
  readonly id: string;
  /** ISO text in UTC, with microseconds. */
  readonly dead_at: string;
  readonly exporter: string;
  readonly signal: string;
  readonly org_id: string;
  readonly workspace_id: string;
  readonly target_id: string | null;
  readonly received_at: Date;
  readonly sqlstate: string;
  readonly reason: string;
  readonly format: string;
  readonly items: number;
  readonly size_bytes: number;
}

export interface LetterPage {
  readonly letters: readonly LetterSummary[];
  /** Where the next page begins; undefined behind the last. */
  readonly next: string | undefined;
}

const SUMMARY = `
  id, to_char(dead_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') AS dead_at, exporter, signal, org_id,
  workspace_id, target_id, received_at, sqlstate, reason, format, items::float8 AS items,
  octet_length(bytes)::float8 AS size_bytes`;

const LIST = `
  SELECT ${SUMMARY} FROM dead_letters
  WHERE ($1::text IS NULL OR exporter = $1) AND ($2::text IS NULL OR signal = $2)
    AND ($3::text IS NULL OR org_id = $3) AND ($4::text IS NULL OR workspace_id = $4)
    AND ($5::timestamptz IS NULL OR (dead_letters.dead_at, id) < ($5, $6::uuid))
  ORDER BY dead_letters.dead_at DESC, id DESC LIMIT $7`;

const PLACE = /^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z)_([\da-f-]{36})$/;

/**
 * The newest first.
 * @param after the `next` of the page before
 * @throws InvalidDataError when `after` is none
 */
export async function listDeadLetters(
  pool: Pool,
  filter: LetterFilter,
  { limit, after }: { readonly limit: number; readonly after?: string | undefined },
): Promise<LetterPage> {
  const { exporter, signal, orgId, workspaceId } = filter;
  const values = [exporter, signal, orgId, workspaceId, ...placeOf(after), limit];
  const { rows } = await pool.query<LetterSummary>(LIST, values);
  const last = rows.at(-1);
  return { letters: rows, next: last && rows.length === limit ? `${last.dead_at}_${last.id}` : undefined };
}

function placeOf(after: string | undefined): [deadAt: string | null, id: string | null] {
  if (after === undefined) return [null, null];
  const [, deadAt, id] = PLACE.exec(after) ?? [];
  if (deadAt === undefined || id === undefined) throw new InvalidDataError('this is no place in the dead letters');
  return [deadAt, id];
}

/** The ids of all that match, in pages; letters that come meanwhile are left out, whatever is done with these. */
export async function* deadLetterIds(pool: Pool, filter: LetterFilter): AsyncGenerator<readonly string[]> {
  let after: string | undefined;
  do {
    const { letters, next } = await listDeadLetters(pool, filter, { limit: REPLAYED_AT_ONCE, after });
    if (letters.length > 0) yield letters.map(({ id }) => id);
    after = next;
  } while (after !== undefined);
}

export interface ShownLetter extends LetterSummary {
  /** Undefined for bytes that are no row, or one of a later program. */
  readonly values: RowValues | undefined;
}

/** Undefined for an unknown id. */
export async function showDeadLetter(pool: Pool, id: string): Promise<ShownLetter | undefined> {
  const text = `SELECT ${SUMMARY}, bytes FROM dead_letters WHERE id = $1`;
  const { rows } = await pool.query<LetterSummary & { readonly bytes: Buffer }>(text, [id]);
  if (rows[0] === undefined) return undefined;
  const { bytes, ...letter } = rows[0];
  return { ...letter, values: decodeRow(letter.format, bytes) };
}

export interface ReplayedLetter {
  readonly id: string;
  /** `absent`: there is none with this id, or somebody else is at work on it. */
  readonly outcome: 'stored' | 'refused' | 'absent';
  /** Why it was refused again. */
  readonly reason?: string;
}

const REPLAYED_AT_ONCE = 50;

interface Letter extends Piece {
  readonly id: string;
  readonly format: string;
}

const LOCK_LETTERS = `
  SELECT id, format, items::float8 AS items, bytes FROM dead_letters WHERE id = ANY ($1::uuid[]) FOR UPDATE SKIP LOCKED`;
const DELETE_LETTERS = 'DELETE FROM dead_letters WHERE id = ANY ($1::uuid[])';
const KEEP_LETTERS = `
  UPDATE dead_letters AS letter SET sqlstate = again.sqlstate, reason = again.reason
  FROM unnest($1::uuid[], $2::text[], $3::text[]) AS again (id, sqlstate, reason) WHERE letter.id = again.id`;

/**
 * Stores the rows of these letters after all: each that the database takes now is a letter no more, the others stay with
 * the reason of today. In the order of the ids.
 * @throws RetryableError when the database cannot store now; what came before it in the list may be stored
 */
export async function replayDeadLetters(pool: Pool, ids: readonly string[]): Promise<ReplayedLetter[]> {
  const replayed: ReplayedLetter[] = [];
  for (let i = 0; i < ids.length; i += REPLAYED_AT_ONCE) {
    const some = ids.slice(i, i + REPLAYED_AT_ONCE);
    try {
      replayed.push(...(await transaction(pool, (client) => replay(client, some))));
    } catch (error) {
      throw storeError(error);
    }
  }
  return replayed;
}

async function replay(client: PoolClient, ids: readonly string[]): Promise<ReplayedLetter[]> {
  const { rows } = await client.query<Letter>(LOCK_LETTERS, [ids]);
  const refused = new Map<string, Refused<Letter>>();
  for (const [name, pieces] of Map.groupBy(rows, ({ format }) => format)) {
    for (const again of await refusedOf(client, name, pieces)) refused.set(again.piece.id, again);
  }
  const stored = new Set(rows.map(({ id }) => id).filter((id) => !refused.has(id)));
  await client.query(DELETE_LETTERS, [[...stored]]);
  const kept = [...refused.values()];
  await client.query(KEEP_LETTERS, [
    kept.map(({ piece }) => piece.id),
    kept.map(({ sqlstate }) => sqlstate),
    kept.map(({ reason }) => reason),
  ]);
  return ids.map((id) => {
    const reason = refused.get(id)?.reason;
    if (reason !== undefined) return { id, outcome: 'refused', reason };
    return { id, outcome: stored.has(id) ? 'stored' : 'absent' };
  });
}

async function refusedOf(client: PoolClient, name: string, pieces: readonly Letter[]): Promise<Refused<Letter>[]> {
  const format = rowFormat(name);
  const refused: Refused<Letter>[] = [];
  if (format === undefined) {
    const reason = `this version does not know rows of the format ${name}`;
    return pieces.map((piece) => ({ piece, sqlstate: '0A000', reason }));
  }
  await copySparing(client, {
    format,
    pieces,
    onRefused: async (some) => {
      refused.push(...some);
    },
  });
  return refused;
}

/** Resolves to how many there were. */
export async function dropDeadLetters(pool: Pool, ids: readonly string[]): Promise<number> {
  const { rowCount } = await transaction(pool, (client) => client.query(DELETE_LETTERS, [ids]));
  return rowCount ?? 0;
}
