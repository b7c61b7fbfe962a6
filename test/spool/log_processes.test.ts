/** The log in processes of its own: killed, on full disks, and with more on disk than it may hold in memory. */
import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { suite } from 'uvu';
import { appendAll, headsOf, openLog, readAll, withDirectory } from './opened_log.ts';

const Processes = suite('spool log, in processes');

const PROGRAM = fileURLToPath(new URL('appending_process.ts', import.meta.url));
const KILLS = 4;
const BACKLOG_BYTES = 200 << 20;
const MAX_MEMORY_KB = 150 * 1024;

interface Run {
  readonly directory: string;
  readonly first?: number;
  readonly count: number;
  readonly bodyBytes: number;
  readonly waiting: number;
}

function start({ directory, first = 0, count, bodyBytes, waiting }: Run, before: readonly string[] = []) {
  const numbers = [first, count, bodyBytes, waiting].map(String);
  const [program = '', ...args] = [...before, process.execPath, PROGRAM, directory, ...numbers];
  return spawn(program, args, { stdio: ['ignore', 'pipe', 'inherit'] });
}

async function linesOf(run: Run, before: readonly string[] = []): Promise<string[]> {
  const child = start(run, before);
  const [output] = await Promise.all([text(child.stdout), once(child, 'exit')]);
  return output.trimEnd().split('\n');
}

const numbersOf = (lines: readonly string[], word: string): string[] =>
  lines.flatMap((line) => (line.startsWith(`${word} `) ? [line.split(' ')[1] ?? ''] : []));

Processes('what a killed process had acknowledged is there for the next one, once', async () => {
  await withDirectory(async (directory) => {
    const acknowledged: string[] = [];
    for (let round = 0; round < KILLS; round += 1) {
      const child = start({ directory, first: round * 1e6, count: 1e6, bodyBytes: 5000, waiting: 8 });
      const killAt = acknowledged.length + 50 + Math.floor(Math.random() * 500);
      for await (const line of createInterface(child.stdout)) {
        if (line.startsWith('ack ')) acknowledged.push(line.slice(4));
        if (acknowledged.length === killAt) child.kill('SIGKILL');
      }
    }
    const opened = await openLog(directory);
    const heads = headsOf(await readAll(opened));
    assert.deepEqual(heads, opened.visited);
    assert.deepEqual(opened.corrupt, []);
    const found = new Set(heads);
    assert.equal(found.size, heads.length);
    assert.deepEqual(
      acknowledged.filter((number) => !found.has(number)),
      [],
    );
    await opened.log.close();
  });
});

Processes('a full disk refuses what does not fit, keeps what it acknowledged, and is left by releasing', async () => {
  await withDirectory(async (directory) => {
    const disk = path.join(directory, 'disk');
    await mkdir(disk);
    try {
      execFileSync('/bin/mount', ['-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', disk], { stdio: 'ignore' });
    } catch {
      console.log('SKIP a small file system cannot be mounted here');
      return;
    }
    try {
      const lines = await linesOf({ directory: path.join(disk, 'log'), count: 100, bodyBytes: 20_000, waiting: 3 });
      const [kept, refused] = [numbersOf(lines, 'ack'), numbersOf(lines, 'refused')];
      assert(kept.length > 30 && refused.length > 30 && kept.length + refused.length === 100);
      assert(
        lines.some((line) => line.endsWith('the disk of the queue is full')),
        lines.join('\n'),
      );
      await writeFile(path.join(disk, 'filler'), Buffer.alloc(1 << 20)).catch(() => undefined);
      const opened = await openLog(path.join(disk, 'log'));
      const entries = await readAll(opened);
      assert.deepEqual(headsOf(entries).toSorted(), kept.toSorted());
      for (const { id } of entries) opened.log.release(id);
      await opened.log.persist();
      await rm(path.join(disk, 'filler'), { force: true });
      await appendAll(opened.log, ['again'], 20_000);
      await opened.log.close();
      const last = await openLog(path.join(disk, 'log'));
      assert.deepEqual(last.visited, ['again']);
      await last.log.close();
    } finally {
      execFileSync('/bin/umount', [disk]);
    }
  });
});

Processes('a bound on the size of files only makes segments smaller', async () => {
  await withDirectory(async (directory) => {
    const bound = ['sh', '-c', 'ulimit -f 300 && exec "$@"', 'sh'];
    const lines = await linesOf({ directory, count: 40, bodyBytes: 20_000, waiting: 2 }, bound);
    const [kept, refused] = [numbersOf(lines, 'ack'), numbersOf(lines, 'refused')];
    assert(refused.length > 0 && kept.length > refused.length, lines.join('\n'));
    const opened = await openLog(directory);
    assert.deepEqual(opened.visited.toSorted(), kept.toSorted());
    await opened.log.close();
  });
});

Processes('starting and reading takes little memory, whatever waits on disk', async () => {
  await withDirectory(async (directory) => {
    const { log } = await openLog(directory);
    const heads = Array.from({ length: 64 }, (_, index) => `entry ${index}`);
    const rounds = BACKLOG_BYTES / (64 * 20_000);
    for (let round = 0; round < rounds; round += 1) await appendAll(log, heads, 20_000);
    await log.close();
    const lines = await linesOf({ directory, count: 1, bodyBytes: 1, waiting: 1 });
    const entries = Math.ceil(rounds) * 64;
    assert.deepEqual([numbersOf(lines, 'visited'), numbersOf(lines, 'read')], [[`${entries}`], [`${entries + 1}`]]);
    const memoryKb = Number(numbersOf(lines, 'done')[0]);
    assert(memoryKb > 0 && memoryKb < MAX_MEMORY_KB, `it took ${memoryKb} KiB`);
  });
});

Processes.run();
