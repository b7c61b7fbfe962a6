/** Messages to the server that hold several statements, one of which may be a COPY of bytes that are all in memory. */
import type { Connection, Submittable } from 'pg';
import { COPY_HEADER, COPY_TRAILER } from './copy_writer.ts';

/** One row that a statement of the message returned, as text. */
export type Answer = readonly (string | null)[];

export interface Message {
  /** Statements, as one text. */
  readonly text: string;
  /**
   * What the COPY takes, without header and trailer. Asked once the server waits for it, when it has answered all
   * statements before the COPY: no round trip lies between. Must not throw.
   */
  readonly rows?: (answers: readonly Answer[]) => readonly Uint8Array[];
  /** Gives up the connection. Whether a message that was under way took effect is then unknown. */
  readonly signal?: AbortSignal | undefined;
}

/** CopyData, whose length follows and counts itself, and CopyDone: PostgreSQL manual, "Message Formats". */
const COPY_DATA = 0x64;
const COPY_DONE = Buffer.from([0x63, 0, 0, 0, 4]);
const LENGTH_BYTES = 4;

/** What pg calls on a statement that is under way; it replaces `callback` to stop the clock of `query_timeout`. */
interface PendingMessage extends Submittable {
  callback(error: Error | null): void;
  handleError(error: Error): void;
  handleRowDescription(): void;
  handleDataRow(row: { readonly fields: Answer }): void;
  handleCopyInResponse(connection: Connection): void;
  handleCommandComplete(): void;
  handleReadyForQuery(): void;
}

/**
 * Resolves to the rows that the statements returned, once the server has executed them all. A statement of our own, since
 * pg-copy-streams goes on writing after the server has refused a row, on a connection that it has let go, which ends the
 * process.
 */
export function sendMessage(
  client: { query(statement: PendingMessage): unknown },
  { text, rows, signal }: Message,
): Promise<Answer[]> {
  return new Promise((resolve, reject) => {
    const answers: Answer[] = [];
    let connection: Connection | undefined;
    const giveUp = (): void => void connection?.stream.destroy();
    const settle = (error: Error | null): void => {
      signal?.removeEventListener('abort', giveUp);
      if (error === null) resolve(answers);
      else reject(error);
    };
    const message: PendingMessage = {
      submit(to) {
        connection = to;
        signal?.addEventListener('abort', giveUp);
        if (signal?.aborted === true) giveUp();
        else to.query(text);
      },
      callback: settle,
      handleError: (error) => message.callback(error),
      handleRowDescription: () => {},
      handleDataRow: ({ fields }) => answers.push(fields),
      handleCopyInResponse: ({ stream }) => writeCopy(stream, rows?.(answers) ?? []),
      handleCommandComplete: () => {},
      handleReadyForQuery: () => message.callback(null),
    };
    client.query(message);
  });
}

function writeCopy(stream: Connection['stream'], rows: readonly Uint8Array[]): void {
  stream.cork();
  for (const chunk of [COPY_HEADER, ...rows, COPY_TRAILER]) {
    const head = Buffer.allocUnsafe(1 + LENGTH_BYTES);
    head.writeUInt8(COPY_DATA);
    head.writeInt32BE(LENGTH_BYTES + chunk.length, 1);
    stream.write(head);
    stream.write(chunk);
  }
  stream.write(COPY_DONE);
  stream.uncork();
}
