/**
 * A PostgreSQL server known only by the `postmaster.pid` in its data directory. The number in that file may belong to
 * anybody by now, so a process is ours only while it runs PostgreSQL on that very directory.
 */
import { execFile } from 'node:child_process';
import { readFile, readlink, realpath } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { promisify } from 'node:util';

export interface ServerPid {
  readonly pid: number;
  /** Whether the server has reported that it takes connections. */
  readonly ready: boolean;
}

/** Line of `postmaster.pid` with the server's state, counted from 0 (miscadmin.h, LOCK_FILE_LINE_PM_STATUS). */
const STATUS_LINE = 7;
const POLL_MS = 20;

/** Signals and how long each may take: fast shutdown, immediate shutdown (recovered at the next start), the end. */
const SHUTDOWN: readonly (readonly [NodeJS.Signals, number])[] = [
  ['SIGINT', 20_000],
  ['SIGQUIT', 5_000],
  ['SIGKILL', 5_000],
];

export const pidFile = (cluster: string): string => path.join(cluster, 'postmaster.pid');

/** What the pid file says, which need not be true; undefined where there is none. */
export async function readServerPid(cluster: string): Promise<ServerPid | undefined> {
  const lines = (await readIfPresent(pidFile(cluster))).split('\n');
  const pid = Number(lines[0]);
  return Number.isSafeInteger(pid) && pid > 1 ? { pid, ready: lines[STATUS_LINE]?.trim() === 'ready' } : undefined;
}

/** Whether the process exists and is a PostgreSQL server on that data directory. */
export async function isServer(pid: number, cluster: string): Promise<boolean> {
  if (process.platform !== 'linux') return (await commandLine(pid)).includes(cluster);
  const [program = '', ...args] = (await readIfPresent(`/proc/${pid}/cmdline`)).split('\0');
  if (path.basename(program) !== 'postgres') return false;
  return args.includes(cluster) || (await worksIn(pid, cluster));
}

/** Ends the server, gently first, and resolves when it is gone; false when even the last signal did not end it. */
export async function stopServer(pid: number, cluster: string): Promise<boolean> {
  for (const [signal, limitMs] of SHUTDOWN) {
    if (!(await isServer(pid, cluster))) return true;
    process.kill(pid, signal);
    const deadline = performance.now() + limitMs;
    while (performance.now() < deadline) {
      await delay(POLL_MS);
      if (!(await isServer(pid, cluster))) return true;
    }
  }
  return false;
}

/** A server works in its data directory, under whatever name that was when it started. */
async function worksIn(pid: number, cluster: string): Promise<boolean> {
  try {
    return (await readlink(`/proc/${pid}/cwd`)) === (await realpath(cluster));
  } catch {
    return false;
  }
}

async function commandLine(pid: number): Promise<string> {
  try {
    return (await promisify(execFile)('ps', ['-ww', '-o', 'command=', '-p', String(pid)])).stdout;
  } catch {
    return '';
  }
}

async function readIfPresent(file: string): Promise<string> {
  try {
    return await readFile(file, 'utf8');
  } catch {
    return '';
  }
}
