/**
 * COPY that spares the good rows when some are refused: in windows, each under a savepoint. Inside a transaction of the
 * caller's, so that what is stored and what becomes of the rest commit together.
 */
import { DatabaseError, type PoolClient } from 'pg';
import { sendMessage } from './copy.ts';
import { copyStatement } from './formats.ts';
import type { Piece } from './row_pieces.ts';
import type { RowFormat } from './rows.ts';
import { faultOf, reasonOf } from './sqlstate.ts';

export interface Refused<P extends Piece> {
  readonly piece: P;
  readonly sqlstate: string;
  /** For people. Holds nothing of the row. */
  readonly reason: string;
}

export interface SparingCopy<P extends Piece> {
  readonly format: RowFormat;
  readonly pieces: Iterable<P>;
  /** Called with at least one and at most a window's, in the same transaction. */
  onRefused(refused: readonly Refused<P>[]): Promise<void>;
  readonly signal?: AbortSignal | undefined;
}

/** How much one COPY takes at most; a single piece may be larger. */
const WINDOW_PIECES = 512;
const WINDOW_BYTES = 1_048_576;
/** A window whose pieces took more COPYs than there are makes the next one so much smaller. */
const SHRINK = 4;

/** Deferred constraints would refuse rows at COMMIT, and all of them. */
const CHECK_AT_ONCE = 'SET CONSTRAINTS ALL IMMEDIATE';

/**
 * Stores every piece that the database takes, and hands over the others. Rejects with the server's error when it is about
 * no piece; the transaction is then to be rolled back.
 */
export async function copySparing<P extends Piece>(client: PoolClient, copy: SparingCopy<P>): Promise<void> {
  await sendMessage(client, { text: CHECK_AT_ONCE, signal: copy.signal });
  const pace: Pace = { size: WINDOW_PIECES, most: WINDOW_PIECES };
  for (const pieces of windowsOf(copy.pieces, pace)) {
    const attempt: Attempt<P> = { client, copy, refused: [], copies: 0, tooSlow: Infinity };
    await copyPieces(attempt, pieces);
    if (attempt.refused.length > 0) await copy.onRefused(attempt.refused);
    learn(pace, pieces.length, attempt);
  }
}

/** What happens to one window. */
interface Attempt<P extends Piece> {
  readonly client: PoolClient;
  readonly copy: SparingCopy<P>;
  readonly refused: Refused<P>[];
  copies: number;
  /** How many pieces the smallest COPY had that the server stopped for its time; Infinity for none. */
  tooSlow: number;
}

/** Copies all at once, and where that fails in parts. */
async function copyPieces<P extends Piece>(attempt: Attempt<P>, pieces: readonly P[]): Promise<void> {
  attempt.copies += 1;
  const error = await copyOrUndo(attempt, pieces);
  if (error === undefined) return;
  const fault = faultOf(error);
  if (fault === 'slow') attempt.tooSlow = Math.min(attempt.tooSlow, pieces.length);
  const [piece, ...others] = pieces;
  if (piece !== undefined && others.length === 0 && fault === 'poison') {
    attempt.refused.push({ piece, sqlstate: error.code ?? '', reason: reasonOf(error) });
    return;
  }
  if (others.length === 0 || (fault !== 'poison' && fault !== 'slow')) throw error;
  for (const part of split(pieces, namedRow(error, attempt.copy.format))) await copyPieces(attempt, part);
}

/** The server's error when it took none of them; the transaction goes on either way. */
async function copyOrUndo<P extends Piece>(
  { client, copy: { format, signal } }: Attempt<P>,
  pieces: readonly P[],
): Promise<DatabaseError | undefined> {
  const text = `SAVEPOINT rows; ${copyStatement(format)}; RELEASE SAVEPOINT rows`;
  try {
    // Bytes that lie apart: small enough to put together, which costs less than a message for each.
    await sendMessage(client, { text, rows: () => [Buffer.concat(pieces.map(({ bytes }) => bytes))], signal });
    return undefined;
  } catch (error) {
    if (!(error instanceof DatabaseError)) throw error;
    await sendMessage(client, { text: 'ROLLBACK TO SAVEPOINT rows; RELEASE SAVEPOINT rows', signal });
    return error;
  }
}

/** Before, at and behind the row that the server named, counted from 1; halves where it named none. */
function split<P>(pieces: readonly P[], row: number): P[][] {
  const isNamed = row >= 1 && row <= pieces.length;
  const middle = pieces.length >> 1;
  const [before, behind] = isNamed ? [row - 1, row] : [middle, middle];
  const parts = [pieces.slice(0, before), pieces.slice(before, behind), pieces.slice(behind)];
  return parts.filter((part) => part.length > 0);
}

/**
 * The context of an error names table and row, as in `COPY otel_spans, line 3, column name`: in the server's language, and
 * behind whatever triggers were at work. 0 where it names none.
 */
function namedRow({ where = '' }: DatabaseError, { table }: RowFormat): number {
  const named = new RegExp(`\\b${table}\\b\\D*(\\d+)`);
  const line = where.split('\n').findLast((text) => named.test(text)) ?? '';
  return Number(named.exec(line)?.[1] ?? 0);
}

/** How many pieces the next window takes at most, learnt from those before. */
interface Pace {
  size: number;
  most: number;
}

function* windowsOf<P extends Piece>(pieces: Iterable<P>, pace: Readonly<Pace>): Generator<P[]> {
  let window: P[] = [];
  let bytes = 0;
  for (const piece of pieces) {
    const isFull = window.length >= pace.size || bytes + piece.bytes.length > WINDOW_BYTES;
    if (isFull && window.length > 0) {
      yield window;
      window = [];
      bytes = 0;
    }
    window.push(piece);
    bytes += piece.bytes.length;
  }
  if (window.length > 0) yield window;
}

function learn(pace: Pace, pieces: number, { copies, tooSlow }: Attempt<Piece>): void {
  if (tooSlow < Infinity) pace.most = Math.max(1, tooSlow >> 1);
  const wish = copies > pieces ? Math.max(1, Math.trunc(pace.size / SHRINK)) : pace.size * 2;
  pace.size = Math.min(pace.most, wish);
}
