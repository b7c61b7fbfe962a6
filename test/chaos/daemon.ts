/** The daemon under test: `sluice run` in a process of its own, as operators start it, which rows kill and start again. */
import assert from 'node:assert/strict';
import { spawn, type ChildProcess } from 'node:child_process';
import { memoryBytes } from '../bench/process_figures.ts';
import { ROOT } from '../cli/sluice.ts';
import { until } from './until.ts';

export interface DaemonSettings {
  readonly configFiles: readonly string[];
  /** Where it runs. */
  readonly directory: string;
  /** As `--set` takes them. */
  readonly sets: readonly string[];
  readonly env: Readonly<Record<string, string>>;
}

export interface StartOptions {
  /** A command that starts the daemon in its own place, such as strace. */
  readonly under?: readonly string[];
  readonly nodeOptions?: readonly string[];
  readonly sets?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
}

export interface Ended {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

const READY = 'sluice: ready';
const READY_TIMEOUT_MS = 30_000;
const END_TIMEOUT_MS = 60_000;
/** Of what the daemon wrote, over all its lives, the end is kept. */
const LOG_MAX_CHARS = 4_194_304;
/** A bug of ours, whatever else happens; words of Node and of V8. */
const BUG =
  /uncaughtException|unhandledRejection|UnhandledPromise|AssertionError|ERR_ASSERTION|TypeError|ReferenceError|RangeError|FATAL ERROR/;

export class Daemon {
  readonly #settings: DaemonSettings;
  #child: ChildProcess | undefined;
  #ended: Promise<Ended> = Promise.resolve({ code: 0, signal: null });
  #peakBytes = 0;
  /** What all its lives wrote to both streams. */
  log = '';

  constructor(settings: DaemonSettings) {
    this.#settings = settings;
  }

  get pid(): number {
    const pid = this.#child?.pid;
    assert(pid !== undefined, 'the daemon was not started');
    return pid;
  }

  get lives(): boolean {
    return this.#child !== undefined && this.#child.exitCode === null && this.#child.signalCode === null;
  }

  /** How its last life ended, or will. */
  get ended(): Promise<Ended> {
    return this.#ended;
  }

  /** The most memory that any of its lives was seen to have. */
  get peakBytes(): number {
    return this.#peakBytes;
  }

  /** Resolves when it takes requests; to how long that took, in milliseconds. */
  async start(options: StartOptions = {}): Promise<number> {
    const startedAt = performance.now();
    const from = this.log.length;
    this.launch(options);
    await this.says(READY, { from });
    return performance.now() - startedAt;
  }

  /** Starts the process, which ends with this one at the latest, and waits for nothing. */
  launch({ under = [], nodeOptions = [], sets = [], env = {} }: StartOptions = {}): void {
    assert(!this.lives, 'the daemon runs already');
    const { configFiles, directory, sets: always, env: base } = this.#settings;
    const files = configFiles.flatMap((file) => ['--config', file]);
    const flags = [...always, ...sets].flatMap((set) => ['--set', set]);
    const program = [process.execPath, ...nodeOptions, `${ROOT}bin/sluice.js`, 'run', ...files, ...flags];
    const [command = '', ...args] = [...under, ...program];
    const child = spawn(command, args, {
      cwd: directory,
      env: { ...environment(), ...base, ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    const quit = (): boolean => child.kill('SIGKILL');
    process.once('exit', quit);
    child.once('exit', () => process.off('exit', quit));
    for (const stream of [child.stdout, child.stderr]) stream.setEncoding('utf8').on('data', this.#hear);
    this.#child = child;
    this.#ended = endOf(child);
  }

  /**
   * Resolves when it has written the text. Rejects when it ends without, or takes too long.
   * @param from a length of `log`: what was written before does not count
   */
  async says(text: string, { from = 0, withinMs = READY_TIMEOUT_MS } = {}): Promise<void> {
    const heard = (): boolean => this.log.slice(from).includes(text);
    const isOver = (): boolean => heard() || !this.lives;
    await until(`the daemon says "${text}"`, isOver, { withinMs });
    assert(heard(), `the daemon ended before it said "${text}": ${this.log.slice(-1000)}`);
  }

  /** As a power cut of the process; resolves when it is gone. */
  async kill(): Promise<Ended> {
    await this.measure();
    return this.signal('SIGKILL');
  }

  /** Resolves when it has ended, which must not take longer than the deadline that its configuration gives. */
  async signal(signal: NodeJS.Signals): Promise<Ended> {
    this.#child?.kill(signal);
    return this.end();
  }

  async end(withinMs = END_TIMEOUT_MS): Promise<Ended> {
    await until('the daemon ends', () => !this.lives, { withinMs });
    return this.#ended;
  }

  /** Notes how much memory it had at most. */
  async measure(): Promise<number> {
    if (!this.lives) return 0;
    const bytes = await memoryBytes(this.pid, 'peak').catch(() => 0);
    this.#peakBytes = Math.max(this.#peakBytes, bytes || 0);
    return bytes;
  }

  /** Lines of its log that only a bug of ours writes. */
  bugs(): string[] {
    return this.log.split('\n').filter((line) => BUG.test(line));
  }

  readonly #hear = (text: string): void => {
    this.log = (this.log + text).slice(-LOG_MAX_CHARS);
  };
}

function endOf(child: ChildProcess): Promise<Ended> {
  return new Promise((resolve) => {
    child.once('error', () => resolve({ code: null, signal: null }));
    child.once('close', (code, signal) => resolve({ code, signal }));
  });
}

function environment(): NodeJS.ProcessEnv {
  const kept = Object.entries(process.env).filter(
    ([name]) => !/^(?:SLUICE_|OTEL_|PG|DATABASE_URL$|NODE_OPTIONS$)/.test(name),
  );
  return Object.fromEntries(kept);
}
