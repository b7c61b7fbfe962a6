/** Runs `bin/sluice.js` as a user's shell would. */
import { spawn } from 'node:child_process';
import type { ChildProcessByStdio } from 'node:child_process';
import type { Readable } from 'node:stream';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';

export const ROOT = fileURLToPath(new URL('../..', import.meta.url));

/** An option of Node that makes `bin/sluice.js` believe that an older Node runs it. */
export const OLD_NODE = before(`Object.defineProperty(process.versions, 'node', { value: '20.0.0' })`);

export interface SluiceOptions {
  /** Added to an environment that says nothing about Sluice or a database. */
  readonly env?: Readonly<Record<string, string>>;
  /** Options of Node itself. */
  readonly nodeOptions?: readonly string[];
  readonly cwd?: string;
}

export interface Ended {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

export type Running = ChildProcessByStdio<null, Readable, Readable>;

/** An option of Node that runs a script before the program. */
export function before(script: string): string {
  return `--import=data:text/javascript,${encodeURIComponent(script)}`;
}

/** Runs one command to its end. */
export async function sluice(args: readonly string[], options: SluiceOptions = {}): Promise<Ended> {
  const child = startSluice(args, options);
  const [ended, stdout, stderr] = await Promise.all([exitOf(child), text(child.stdout), text(child.stderr)]);
  return { ...ended, stdout, stderr };
}

export function startSluice(args: readonly string[], options: SluiceOptions = {}): Running {
  const { env = {}, nodeOptions = [], cwd = ROOT } = options;
  return spawn(process.execPath, [...nodeOptions, `${ROOT}bin/sluice.js`, ...args], {
    cwd,
    env: { ...neutralEnvironment(), ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
}

export function exitOf(child: Running): Promise<Pick<Ended, 'code' | 'signal'>> {
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('exit', (code, signal) => resolve({ code, signal }));
  });
}

function neutralEnvironment(): NodeJS.ProcessEnv {
  const kept = Object.entries(process.env).filter(([name]) => !/^(?:SLUICE_|OTEL_|PG|DATABASE_URL$)/.test(name));
  return Object.fromEntries(kept);
}
