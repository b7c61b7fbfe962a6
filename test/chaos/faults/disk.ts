/** Faults of the disk that the queue lies on: full, failing, slow, damaged, not ours. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { appendFile, open, rm, stat, truncate } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { promisify } from 'node:util';
import { quantile } from '../../bench/statistics.ts';
import { acknowledgesMore, kill9 } from '../acts.ts';
import { mountTmpfs, remount } from '../mount.ts';
import { dumpQueue, lostItems } from '../queue_dump.ts';
import { queueFiles } from '../queue_files.ts';
import type { Row } from '../row.ts';
import type { Stage } from '../stage.ts';
import { attach } from '../strace.ts';
import { until } from '../until.ts';

const BIG = { items: [100, 200], textChars: [200, 400] } as const;
const SMALL = { items: [1, 9], textChars: [10, 150] } as const;
const FULL = '503 with Retry-After';
const EXIT_CONFIG = 78;
/** How many refusals show that the queue takes nothing. */
const REFUSALS = 20;

export const DISK_ROWS: readonly Row[] = [
  {
    number: '14',
    name: 'disk of the queue full (ENOSPC)',
    sets: ['extensions.file_storage.min_free_space=0'],
    prepare: (stage) => mountTmpfs(stage, stage.queueDirectory, 24),
    fault: fillQueue,
  },
  {
    number: '14b',
    name: 'disk of the queue below its low-water mark',
    sets: ['extensions.file_storage.min_free_space=24MiB'],
    prepare: (stage) => mountTmpfs(stage, stage.queueDirectory, 48),
    fault: fillQueue,
  },
  {
    number: '14c',
    name: 'queue full (queue_size)',
    sets: ['exporters.postgres.sending_queue.queue_size=16MiB'],
    fault: fillQueue,
  },
  {
    number: '15',
    name: 'short writes (file size limit)',
    async fault(stage) {
      stage.load.change(BIG);
      await stage.server.stop('fast');
      await limitFileSize(stage, 2_000_000);
      await refuses(stage);
      await limitFileSize(stage, 'unlimited');
      stage.load.change(SMALL);
      await acknowledgesMore(stage, 500);
      await stage.startServer();
    },
  },
  {
    number: '16',
    name: 'fdatasync fails (EIO)',
    isQuick: true,
    async fault(stage) {
      const { daemon, ledger } = stage;
      const tracing = await attach(daemon.pid, { inject: 'fdatasync:error=EIO:when=1+' });
      // What was synced before may still be answered.
      await delay(300);
      const before = ledger.obligedItems;
      const { code } = await daemon.end();
      await tracing.detach();
      assert.equal(ledger.obligedItems, before, 'something was acknowledged that was not synced');
      assert.equal(code, 1, 'a daemon whose queue has failed ends with code 1');
    },
  },
  {
    number: '17',
    name: 'slow disk: fdatasync takes 300 ms',
    async fault(stage) {
      const tracing = await attach(stage.daemon.pid, { inject: 'fdatasync:delay_enter=300000' });
      const before = stage.ledger.latenciesMs.length;
      await acknowledgesMore(stage, 2_000);
      await delay(4_000);
      await tracing.detach();
      const p99 = quantile(stage.ledger.latenciesMs.slice(before), 0.99);
      stage.notes.push(`answers meanwhile: p99 ${Math.round(p99)} ms`);
    },
  },
  {
    number: '18',
    name: 'torn tail: last segment cut, rubbish behind',
    async fault(stage) {
      const segment = await leaveBacklog(stage);
      const before = await dumpQueue(stage.queueDirectory);
      const { size } = await stat(segment);
      await truncate(segment, size - stage.random.between(1, Math.min(Math.floor(size / 4), 65_536)));
      // Also a cut between two records leaves something unfinished.
      await appendFile(segment, stage.random.bytes(100));
      excuseLost(stage, before, await dumpQueue(stage.queueDirectory));
      await recover(stage);
      assert.match(stage.daemon.log, /never finished/, 'the daemon does not say that it cut off a record');
    },
  },
  {
    number: '19',
    name: 'bit flip in the middle of a segment',
    isQuick: true,
    async fault(stage) {
      const segment = await leaveBacklog(stage);
      const before = await dumpQueue(stage.queueDirectory);
      const { size } = await stat(segment);
      // Behind what was delivered before PostgreSQL went away, and in front of the tail.
      await flipBit(segment, stage.random.between(Math.floor(size * 0.6), Math.floor(size * 0.9)), stage);
      const after = await dumpQueue(stage.queueDirectory);
      assert(before.size - after.size <= 1, `${before.size - after.size} records are lost to one bit`);
      excuseLost(stage, before, after);
      await recover(stage);
      if (before.size > after.size) assert.match(stage.daemon.log, /damaged/, 'the daemon does not tell of the damage');
    },
  },
  {
    number: '20',
    name: 'position file deleted',
    async fault(stage) {
      await delay(1_000);
      await kill9(stage);
      const { positions } = await queueFiles(stage.queueDirectory);
      assert(positions.length > 0, 'there is no position file');
      for (const position of positions) await rm(position);
      await stage.daemon.start();
      await delay(1_000);
    },
  },
  {
    number: '21',
    name: 'directory of the queue read-only at start',
    // Larger than what has to stay free of a disk.
    prepare: (stage) => mountTmpfs(stage, stage.queueDirectory, 1024),
    async fault(stage) {
      await kill9(stage);
      remount(stage.queueDirectory, 'ro');
      const from = stage.daemon.log.length;
      stage.daemon.launch();
      const { code } = await stage.daemon.end();
      remount(stage.queueDirectory, 'rw');
      assert.equal(code, EXIT_CONFIG, `the daemon ended with ${code}: ${stage.daemon.log.slice(from)}`);
      stage.notes.push(`it says: ${stage.daemon.log.slice(from).trim().split('\n').at(-1)}`);
    },
  },
  {
    number: '22',
    name: 'second daemon on the same directory',
    async fault(stage) {
      const second = await stage.twin();
      second.launch();
      const { code, signal } = await second.end();
      assert(signal === null && code !== 0, `the second daemon ended with ${signal ?? code}`);
      assert.deepEqual(second.bugs(), []);
      assert(stage.daemon.lives, 'the first daemon did not survive the second');
      stage.notes.push(`it says: ${second.log.trim().split('\n').at(-1)}`);
      await acknowledgesMore(stage, 500);
    },
  },
];

/** PostgreSQL is away until the queue takes nothing more, and comes back. */
async function fillQueue(stage: Stage): Promise<void> {
  await stage.server.stop('fast');
  stage.load.change(BIG);
  await refuses(stage);
  assert(stage.daemon.lives, 'the daemon did not survive a full queue');
  stage.load.change(SMALL);
  await stage.startServer();
  await acknowledgesMore(stage, 500);
}

async function refuses({ ledger }: Stage): Promise<void> {
  const wanted = ledger.answered(FULL) + REFUSALS;
  await until('requests are refused for now, with Retry-After', () => ledger.answered(FULL) >= wanted);
}

async function limitFileSize({ daemon }: Stage, bytes: number | 'unlimited'): Promise<void> {
  await promisify(execFile)('prlimit', ['--pid', String(daemon.pid), `--fsize=${bytes}:unlimited`]);
}

/** With PostgreSQL stopped and the daemon killed; resolves to the newest segment, which holds what was not delivered. */
async function leaveBacklog(stage: Stage): Promise<string> {
  await stage.server.stop('fast');
  await acknowledgesMore(stage, stage.isQuick ? 1_500 : 4_000);
  await kill9(stage);
  const { segments } = await queueFiles(stage.queueDirectory);
  const segment = segments.at(-1);
  assert(segment !== undefined, 'the daemon left no segment');
  return segment;
}

async function recover(stage: Stage): Promise<void> {
  await stage.startServer();
  await stage.daemon.start();
  await delay(500);
}

/** Requests under way when the fault came may be there by another way: a client repeats what was not acknowledged. */
function excuseLost(stage: Stage, before: Map<string, readonly string[]>, after: Map<string, readonly string[]>): void {
  const lost = lostItems(before, after);
  for (const id of lost) stage.excused.add(id);
  stage.notes.push(`${before.size - after.size} of ${before.size} records (${lost.length} items) were destroyed`);
}

async function flipBit(file: string, at: number, { random }: Stage): Promise<void> {
  const handle = await open(file, 'r+');
  try {
    const byte = Buffer.alloc(1);
    await handle.read(byte, 0, 1, at);
    byte.writeUInt8(byte.readUInt8() ^ (1 << random.between(0, 7)));
    await handle.write(byte, 0, 1, at);
    await handle.sync();
  } finally {
    await handle.close();
  }
}
