/** Stores encoded rows by one COPY in one transaction. */
import type { Connection, Pool, Submittable } from 'pg';
import { messageTransaction } from './connection.ts';
import { COPY_HEADER, COPY_TRAILER } from './copy_writer.ts';
import { LOG_ROWS } from './log_rows.ts';
import { METRIC_ROWS } from './metric_rows.ts';
import type { RowFormat } from './rows.ts';
import { SPAN_ROWS } from './span_rows.ts';
import { storeError } from './sqlstate.ts';

const FORMATS: ReadonlyMap<string, RowFormat> = new Map(
  [SPAN_ROWS, LOG_ROWS, METRIC_ROWS].map((rows) => [rows.format, rows]),
);

/**
 * Stores rows of one format, all or none; they are durable once this resolves.
 * @param chunks what the encoder of this format wrote, any number of batches
 * @throws PermanentError when the server refuses the rows for what they are, else RetryableError
 */
export async function copyRows(pool: Pool, format: string, chunks: readonly Uint8Array[]): Promise<void> {
  const rows = FORMATS.get(format);
  if (rows === undefined) throw new TypeError(`unknown row format ${format}`);
  const statement = `COPY ${rows.table} (${rows.columns.join(', ')}) FROM STDIN (FORMAT binary)`;
  try {
    await messageTransaction(pool, (client, before) =>
      copyIn(client, `${before}${statement}`, [COPY_HEADER, ...chunks, COPY_TRAILER]),
    );
  } catch (error) {
    throw storeError(error);
  }
}

/** CopyData, whose length follows and counts itself, and CopyDone: PostgreSQL manual, "Message Formats". */
const COPY_DATA = 0x64;
const COPY_DONE = Buffer.from([0x63, 0, 0, 0, 4]);
const LENGTH_BYTES = 4;

/** What pg calls on a statement that is under way; it replaces `callback` to stop the clock of `query_timeout`. */
interface CopyStatement extends Submittable {
  callback(error: Error | null): void;
  handleError(error: Error): void;
  handleCopyInResponse(connection: Connection): void;
  handleCommandComplete(): void;
  handleReadyForQuery(): void;
}

/**
 * Resolves when the server has taken every chunk. A statement of our own, since all bytes are in memory: pg-copy-streams
 * goes on writing after the server has refused a row, on a connection that it has let go, which ends the process.
 */
function copyIn(
  client: { query(statement: CopyStatement): unknown },
  text: string,
  chunks: readonly Uint8Array[],
): Promise<void> {
  return new Promise((resolve, reject) => {
    const statement: CopyStatement = {
      submit: (connection) => connection.query(text),
      callback: (error) => (error === null ? resolve() : reject(error)),
      handleError: (error) => statement.callback(error),
      handleCopyInResponse: ({ stream }) => writeCopy(stream, chunks),
      handleCommandComplete: () => {},
      handleReadyForQuery: () => statement.callback(null),
    };
    client.query(statement);
  });
}

function writeCopy(stream: Connection['stream'], chunks: readonly Uint8Array[]): void {
  stream.cork();
  for (const chunk of chunks) {
    const head = Buffer.allocUnsafe(1 + LENGTH_BYTES);
    head.writeUInt8(COPY_DATA);
    head.writeInt32BE(LENGTH_BYTES + chunk.length, 1);
    stream.write(head);
    stream.write(chunk);
  }
  stream.write(COPY_DONE);
  stream.uncork();
}
