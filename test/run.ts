/**
 * Runs the tests: `node test/run.ts [--timeout SECONDS] [PART OF A FILE NAME]`. One PostgreSQL serves all files; each file
 * is a process of its own, in its own process group, two at once. Ends with `N passed, N failed`.
 *
 * A test that cannot run here prints a line `SKIP <reason>` and returns; it counts as skipped, not as passed.
 */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { glob, mkdir, readdir, rm } from 'node:fs/promises';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { testServer } from './support/postgres.ts';

interface Verdict {
  readonly file: string;
  readonly seconds: number;
  readonly passed: number;
  readonly failed: number;
  /** The reason of each. */
  readonly skipped: readonly string[];
  /** Why the file failed although no test of it says so; empty otherwise. */
  readonly trouble: string;
  readonly output: string;
}

interface Ended {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

interface Finished extends Ended {
  readonly output: string;
  readonly timedOut: boolean;
}

const ROOT = new URL('..', import.meta.url);
const FILES_AT_ONCE = 2;
const TIMEOUT_SECONDS = 120;
/** Of a file's output only the end is kept; uvu writes failures and totals last. */
const OUTPUT_MAX_CHARS = 1 << 20;

/** uvu puts the suite's name and a mark for each finished test before what a test prints. */
const SKIP_LINE = /^(?: \S.*? {2})?(?:[•✘] )*SKIP (.+)$/gm;
const TOTALS = /^ {2}Total: +(\d+)\n {2}Passed: +(\d+)$/gm;

const running = new Set<ChildProcess>();

const { values, positionals } = parseArgs({
  options: { timeout: { type: 'string', default: String(TIMEOUT_SECONDS) } },
  allowPositionals: true,
});
const timeoutMs = Number(values.timeout) * 1000;
assert(timeoutMs > 0, '--timeout takes seconds');
/** Those not yet started. */
const waiting = await testFiles(positionals);
if (waiting.length === 0) {
  console.error(`no test file matches ${positionals.join(' ')}`);
  process.exit(1);
}
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, interrupt);
// Nothing is written outside the clone.
const temporary = await temporaryDirectory();
process.env['TMPDIR'] = temporary;
const server = await testServer();
const env = { ...testEnvironment(), SLUICE_TEST_SERVER_URL: server.url };
try {
  process.exitCode = summarise(await runAll(env));
} finally {
  await server.stop();
  await rm(temporary, { recursive: true, force: true });
}

/** A directory of this run, so that several runs may go on at once; what a killed run left is swept by the next one. */
async function temporaryDirectory(): Promise<string> {
  const parent = fileURLToPath(new URL('.sluice/test', ROOT));
  await mkdir(parent, { recursive: true });
  for (const name of await readdir(parent)) {
    if (/^\d+$/.test(name) && !isAlive(Number(name)))
      await rm(path.join(parent, name), { recursive: true, force: true });
  }
  const directory = path.join(parent, String(process.pid));
  await mkdir(directory);
  return directory;
}

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}

async function testFiles(filters: readonly string[]): Promise<string[]> {
  const found = await Array.fromAsync(glob('test/**/*.test.ts', { cwd: ROOT }));
  return found.filter((file) => filters.every((filter) => file.includes(filter))).toSorted();
}

/** uvu colours its output unless told otherwise, and the runner reads it. */
function testEnvironment(): NodeJS.ProcessEnv {
  const { FORCE_COLOR: _, ...rest } = process.env;
  return { ...rest, NO_COLOR: '1' };
}

async function runAll(environment: NodeJS.ProcessEnv): Promise<Verdict[]> {
  const verdicts: Verdict[] = [];
  const lane = async (): Promise<void> => {
    for (let file = waiting.shift(); file !== undefined; file = waiting.shift()) {
      const verdict = await runFile(file, environment);
      report(verdict);
      verdicts.push(verdict);
    }
  };
  await Promise.all(Array.from({ length: FILES_AT_ONCE }, lane));
  return verdicts;
}

async function runFile(file: string, environment: NodeJS.ProcessEnv): Promise<Verdict> {
  const startedAtMs = performance.now();
  const finished = await runProcess(file, environment);
  return { file, seconds: (performance.now() - startedAtMs) / 1000, output: finished.output, ...judge(finished) };
}

async function runProcess(file: string, environment: NodeJS.ProcessEnv): Promise<Finished> {
  const child = spawn(process.execPath, [file], {
    cwd: ROOT,
    env: environment,
    detached: true,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  running.add(child);
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text: string) => {
      output = (output + text).slice(-OUTPUT_MAX_CHARS);
    });
  }
  let timedOut = false;
  const timer = setTimeout(() => {
    timedOut = true;
    killGroup(child);
  }, timeoutMs);
  // What outlives the file would keep its pipes open, and this wait with them.
  child.once('exit', () => killGroup(child));
  const { code, signal } = await ended(child);
  clearTimeout(timer);
  running.delete(child);
  return { output, code, signal, timedOut };
}

function ended(child: ChildProcess): Promise<Ended> {
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code, signal) => resolve({ code, signal }));
  });
}

function judge({ output, code, signal, timedOut }: Finished): Omit<Verdict, 'file' | 'seconds' | 'output'> {
  const skipped = [...output.matchAll(SKIP_LINE)].map(([, reason = '']) => reason);
  const totals = [...output.matchAll(TOTALS)].at(-1);
  const [total, ok] = [Number(totals?.[1] ?? 0), Number(totals?.[2] ?? 0)];
  const passed = Math.max(0, ok - skipped.length);
  const trouble = troubleOf({ timedOut, signal, code, ran: total + skipped.length, failed: total - ok });
  return { passed, failed: total - ok + (trouble === '' ? 0 : 1), skipped, trouble };
}

interface Ending extends Omit<Finished, 'output'> {
  readonly ran: number;
  readonly failed: number;
}

function troubleOf({ timedOut, signal, code, ran, failed }: Ending): string {
  if (timedOut) return `did not end within ${timeoutMs / 1000} s`;
  if (signal !== null) return `was ended by ${signal}`;
  if (code !== 0 && failed === 0) return `exited with ${code} although no test failed`;
  if (ran === 0) return 'ran no test';
  return '';
}

function report({ file, seconds, passed, failed, skipped, trouble, output }: Verdict): void {
  const counts = `${passed} passed${failed > 0 ? `, ${failed} failed` : ''}`;
  console.log(`${failed > 0 ? 'FAIL' : 'ok  '} ${file}  ${counts}  ${seconds.toFixed(1)} s`);
  for (const reason of skipped) console.log(`     skipped: ${reason}`);
  if (failed > 0) console.log(output.trimEnd());
  if (trouble !== '') console.log(`     ${file} ${trouble}`);
}

/** Prints the last line and returns the exit code. */
function summarise(all: readonly Verdict[]): number {
  const count = (of: (verdict: Verdict) => number): number => all.reduce((sum, verdict) => sum + of(verdict), 0);
  const failed = count((verdict) => verdict.failed);
  const skipped = count((verdict) => verdict.skipped.length);
  const bad = all.filter((verdict) => verdict.failed > 0).map(({ file }) => file);
  if (bad.length > 0) console.log(`\nFailed: ${bad.toSorted().join(' ')}`);
  console.log(
    `${count((verdict) => verdict.passed)} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ''}`,
  );
  return failed > 0 ? 1 : 0;
}

/** Kills the process and all it started, except what it put into another group. */
function killGroup({ pid }: ChildProcess): void {
  if (pid === undefined) return;
  try {
    process.kill(-pid, 'SIGKILL');
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'ESRCH')) throw error;
  }
}

/** The server stops by its own listener when the process exits. */
function interrupt(): never {
  for (const child of running) killGroup(child);
  process.exit(130);
}
