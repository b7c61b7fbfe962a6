/**
 * How fast the log on disk is: `npm run bench:queue`. Appends records of 20 KB with 1, 16, 64 and 256 of them waiting at
 * once, then writes the same bytes with the same number of fdatasyncs plainly, one after the other, and prints both and
 * their ratio; then reads all back. Figures say nothing between machines, and little while others work on this one.
 */
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import type { LogEvents, LogPlace } from '../../src/component.ts';
import { realFiles, type Files } from '../../src/spool/files.ts';
import { checksum } from '../../src/spool/frame.ts';
import { SpoolLog } from '../../src/spool/log.ts';

const WAITING = [1, 16, 64, 256];
const RECORD_BYTES = 20_000;
const HEAD = Buffer.alloc(200, 'head');
/** Records of each run; fewer where each has a sync of its own. */
const RECORDS = 8192;
const RECORDS_ALONE = 2048;
const READ_BYTES = 4 << 20;
const MB = 1e6;

const NO_EVENTS: LogEvents = {
  visit: () => undefined,
  corrupt: () => undefined,
  settled: () => undefined,
  failed: () => undefined,
};

interface Counted {
  readonly files: Files;
  syncs: number;
}

function countedFiles(): Counted {
  const counted: Counted = {
    syncs: 0,
    files: {
      ...realFiles,
      async open(name, mode) {
        const file = await realFiles.open(name, mode);
        const datasync = (): Promise<void> => {
          counted.syncs += 1;
          return file.datasync();
        };
        return { ...file, datasync };
      },
    },
  };
  return counted;
}

async function secondsOf(work: () => Promise<void>): Promise<number> {
  const startedAtMs = performance.now();
  await work();
  return (performance.now() - startedAtMs) / 1000;
}

/** Each body is other bytes, so that nothing profits from a cache. */
const BODIES = Array.from({ length: 256 }, (_, index) => Buffer.alloc(RECORD_BYTES, `body ${index}`));
const bodyOf = (index: number): Buffer => BODIES[index % BODIES.length] ?? HEAD;

async function append(log: SpoolLog, records: number, waiting: number): Promise<void> {
  let next = 0;
  const lane = async (): Promise<void> => {
    while (next < records) await log.append(HEAD, bodyOf(next++));
  };
  await Promise.all(Array.from({ length: waiting }, lane));
}

async function writePlainly(file: string, records: number, syncs: number): Promise<void> {
  const opened = await realFiles.open(file, 'create');
  const each = Math.ceil(records / syncs);
  let at = 0;
  for (let from = 0; from < records; from += each) {
    const parts = Array.from({ length: Math.min(each, records - from) }, (_, index) => bodyOf(from + index));
    at += await opened.write(parts, at);
    await opened.datasync();
  }
  await opened.close();
}

async function readBack(log: SpoolLog, start: LogPlace): Promise<number> {
  let records = 0;
  for (let place = start; ;) {
    const { entries, next } = await log.read(place, READ_BYTES);
    if (entries.length === 0) return records;
    records += entries.length;
    place = next;
  }
}

async function run(directory: string, waiting: number): Promise<void> {
  const records = waiting === 1 ? RECORDS_ALONE : RECORDS;
  const counted = countedFiles();
  const world = { files: counted.files, checksum, nowMs: () => performance.now() };
  const log = new SpoolLog({ directory: path.join(directory, `log ${waiting}`), minFreeBytes: 0 }, world);
  const { start } = await log.open(NO_EVENTS);
  const seconds = await secondsOf(() => append(log, records, waiting));
  const { syncs } = counted;
  const plainSeconds = await secondsOf(() => writePlainly(path.join(directory, `plain ${waiting}`), records, syncs));
  let read = 0;
  const readSeconds = await secondsOf(async () => {
    read = await readBack(log, start);
  });
  await log.close();
  console.log(
    [
      `${waiting} waiting`.padEnd(12),
      rate(records, seconds),
      `${syncs} syncs`.padStart(11),
      `plain ${rate(records, plainSeconds)}`,
      `ratio ${(plainSeconds / seconds).toFixed(2)}`,
      `read back ${rate(read, readSeconds)}`,
    ].join('  '),
  );
}

function rate(records: number, seconds: number): string {
  const perSecond = Math.round(records / seconds).toLocaleString('en');
  const megabytes = Math.round((records * RECORD_BYTES) / seconds / MB);
  return `${perSecond.padStart(7)} records/s ${String(megabytes).padStart(5)} MB/s`;
}

const clone = fileURLToPath(new URL('../../.sluice', import.meta.url));
await mkdir(clone, { recursive: true });
const directory = await mkdtemp(path.join(clone, 'bench-queue-'));
try {
  for (const waiting of WAITING) await run(directory, waiting);
} finally {
  await rm(directory, { recursive: true, force: true });
}
