/** strace, which makes system calls of the daemon fail, wait, or end the process as they begin. */
import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { Skip } from './row.ts';

export interface Injection {
  /** As strace takes it: `fdatasync:error=EIO:when=1+`. Calls are counted by thread. */
  readonly inject: string;
  /** Only calls about these files; all where it is empty. */
  readonly paths?: readonly string[];
}

export interface Tracing {
  /** Lets the process go on untouched; also where it has ended. */
  detach(): Promise<void>;
}

const ATTACH_TIMEOUT_MS = 10_000;

/** The command to start the daemon under, which gives it its own process id, exit code and signals. */
export function under(injection: Injection): readonly string[] {
  requireStrace();
  return ['strace', '-D', '-f', '-qq', '-o', '/dev/null', ...argumentsOf(injection)];
}

/** Resolves when the injection is in force for every thread of the process. */
export async function attach(pid: number, injection: Injection): Promise<Tracing> {
  requireStrace();
  const tracer = spawn('strace', ['-f', '-o', '/dev/null', ...argumentsOf(injection), '-p', String(pid)], {
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  const ended = once(tracer, 'exit');
  await attached(tracer);
  tracer.stderr.resume();
  return {
    async detach() {
      tracer.kill('SIGTERM');
      await ended;
    },
  };
}

async function attached(tracer: ChildProcess): Promise<void> {
  let said = '';
  const timeout = AbortSignal.timeout(ATTACH_TIMEOUT_MS);
  while (!said.includes('attached')) {
    const heard = tracer.stderr && once(tracer.stderr, 'data', { signal: timeout });
    const [chunk]: unknown[] = await Promise.race([heard ?? [], once(tracer, 'exit', { signal: timeout })]);
    if (!(chunk instanceof Buffer)) throw new Skip(`strace cannot attach here: ${said.trim()}`);
    said += chunk.toString();
  }
}

function argumentsOf({ inject, paths = [] }: Injection): string[] {
  const calls = inject.split(':', 1)[0] ?? '';
  return ['-e', `trace=${calls}`, '-e', `inject=${inject}`, ...paths.flatMap((path) => ['-P', path])];
}

function requireStrace(): void {
  if (spawnSync('strace', ['--version']).status !== 0) throw new Skip('there is no strace');
}
