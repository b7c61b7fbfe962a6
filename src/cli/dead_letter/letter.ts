/** A dead letter as the commands show it, in whichever of the two places it is. */
import type { LetterSummary } from '../../store/dead_letters.ts';

export interface Letter extends Omit<LetterSummary, 'sqlstate'> {
  /** Null where no database refused it. */
  readonly sqlstate: string | null;
  /** A database without its password, or a storage directory. */
  readonly where: string;
}

/** What is in a letter, in the form that fits it. */
export type Content =
  /** A row by column. */
  | { readonly row: Readonly<Record<string, unknown>> }
  /** Requests in OTLP/JSON. */
  | { readonly requests: readonly unknown[] }
  /** Bytes that this program cannot read. */
  | { readonly base64: string };

/** Without content where there is no way to show it. */
export interface OpenedLetter {
  readonly letter: Letter;
  readonly content: Content | undefined;
}
