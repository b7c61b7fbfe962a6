/** The shape of a `sluice` command: one file each, listed in `commands.ts`, run by `main.ts`. */
import type { Environment } from '../config/environment.ts';

export const EXIT = {
  ok: 0,
  /** The command ran and failed: a taken port, an unreachable database. */
  failed: 1,
  /** The command line itself is wrong: an unknown command or flag. */
  usage: 2,
  /** The configuration is wrong; nothing was started. The number is EX_CONFIG of sysexits.h. */
  config: 78,
} as const;

/** The command line cannot be understood. `main.ts` prints the message and points to the help. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
}

/** Why a command stops: the process was asked to. Named as what Node's own functions throw when a signal aborts them. */
export class StopRequest extends Error {
  override readonly name = 'AbortError';
  readonly signal: 'SIGINT' | 'SIGTERM' | 'SIGHUP';

  constructor(signal: StopRequest['signal']) {
    super(`stopped by ${signal}`);
    this.signal = signal;
  }
}

export interface CommandOption {
  readonly type: 'string' | 'boolean';
  readonly short?: string;
  readonly multiple?: boolean;
  /** Placeholder of the value in `--help`, such as `FILE`. */
  readonly value?: string;
  readonly describe: string;
}

/** What a command may touch of the world besides files, sockets and the database. */
export interface CommandContext {
  /** Options and operands by name. */
  readonly values: Readonly<Record<string, string | boolean | (string | boolean)[] | undefined>>;
  readonly env: Environment;
  /** Writes one line to standard output. */
  print(line: string): void;
  /** Aborts at the first SIGINT or SIGTERM with a `StopRequest`; at the second, `main.ts` ends the process. */
  readonly stop: AbortSignal;
}

export interface Command {
  /** One word, or two: those of commands that share the first are listed together. */
  readonly name: string;
  readonly summary: string;
  /** Names of the arguments that are no options, in order; all are required. */
  readonly operands?: readonly string[];
  /** Name of the arguments behind those, of which there may be any number. */
  readonly rest?: string;
  readonly options: Readonly<Record<string, CommandOption>>;
  /**
   * Resolves to the exit code. An error it throws is printed as one clear line; ConfigError exits with `EXIT.config` and
   * UsageError with `EXIT.usage`.
   */
  run(context: CommandContext): Promise<number>;
}

/** Resolves when the signal aborts, at once where it already has. */
export async function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return;
  await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }));
}

/**
 * Whether those who send data should get time to hear that this process stops. An orchestrator, which sends SIGTERM, tells
 * them meanwhile; somebody at a terminal does not wait.
 */
export function mayLinger({ reason }: AbortSignal): boolean {
  return reason instanceof StopRequest && reason.signal === 'SIGTERM';
}
