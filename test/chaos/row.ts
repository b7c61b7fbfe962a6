/** A row of the matrix, and what became of it. */
import type { Findings } from './oracle.ts';
import type { Stage } from './stage.ts';
import type { Profile } from './traffic.ts';

export interface Row {
  /** That of the fault matrix it comes from; rows of our own have a word. */
  readonly number: string;
  readonly name: string;
  /** Part of the run that every change has to pass. */
  readonly isQuick?: boolean;
  /** As `--set` takes them. */
  readonly sets?: readonly string[];
  /** YAML that is laid over the configuration. */
  readonly config?: string;
  readonly profile?: Partial<Profile>;
  /** How long the daemon has, once all is well again, to store everything. */
  readonly drainMs?: number;
  /** What the database no longer protects from. */
  readonly sabotage?: Sabotage;
  /** The oracle has to notice: the row fails where nothing is doubled. */
  readonly expectsDoubled?: boolean;
  /** Before the daemon is started for the first time. */
  prepare?(stage: Stage): Promise<void>;
  /**
   * With daemon and load running: makes the fault, makes sure that it really happened, and ends it. What still lies down
   * afterwards (server, daemon, proxy) is set up again by who called.
   */
  fault(stage: Stage): Promise<void>;
  /** What this row demands besides that nothing is missing, doubled, invented or corrupted. The daemon has ended by then. */
  verify?(stage: Stage, findings: Findings): Promise<void> | void;
}

/** `receipt`: repeats of a request are stored. `position`: so are records that a queue sends once more. */
export type Sabotage = 'receipt' | 'position';

export interface Verdict {
  readonly number: string;
  readonly name: string;
  readonly outcome: 'ok' | 'FAIL' | 'SKIP';
  readonly seconds: number;
  readonly figures: Figures | undefined;
  /** Why it failed or was left out, and what else is worth knowing; a line each. */
  readonly remarks: readonly string[];
}

export interface Figures {
  readonly requests: number;
  /** Items. */
  readonly acknowledged: number;
  readonly findings: Findings;
  readonly drainSeconds: number;
  /** The most memory that the daemon had. */
  readonly peakBytes: number;
}

/** A row that cannot run here; the message says why. */
export class Skip extends Error {
  override readonly name = 'Skip';
}
