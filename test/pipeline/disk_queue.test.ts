import assert from 'node:assert/strict';
import { mkdtemp, open, readdir, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { suite } from 'uvu';
import type { Component, Storage } from '../../src/component.ts';
import { PermanentError, RetryableError } from '../../src/errors.ts';
import { fileStorage } from '../../src/extensions/file_storage.ts';
import type { Signal } from '../../src/model/batch.ts';
import type { QueueRecord } from '../../src/model/record.ts';
import { DEFAULT_TENANT } from '../../src/model/tenant.ts';
import { DiskQueue } from '../../src/pipeline/disk_queue.ts';
import { QueueRoom } from '../../src/pipeline/queue_room.ts';
import { Senders } from '../../src/pipeline/senders.ts';
import { SILENT, testSettings } from '../support/settings.ts';

const test = suite<{ directory: string }>('disk queue', { directory: '' });

test.before.each(async (context) => {
  context.directory = await mkdtemp(path.join(os.tmpdir(), 'sluice-queue-'));
});

test.after.each(({ directory }) => rm(directory, { recursive: true }));

const never = new AbortController().signal;
const MIB = 1_048_576;

/** A destination that takes everything, nothing, or what the test lets it. */
class Destination {
  /** First byte of each record that it has, in order. */
  readonly taken: number[] = [];
  readonly forgotten: [queueId: string, seq: number][] = [];
  readonly recovered: number[] = [];
  readonly lost: number[] = [];
  readonly corrupt: number[] = [];
  refusal: ((record: QueueRecord) => Error | undefined) | undefined;
}

interface Life {
  readonly queue: DiskQueue;
  readonly storage: Storage;
  put(mark: number, bytes?: number, signal?: Signal): Promise<void>;
  end(deadline?: AbortSignal): Promise<void>;
}

interface Bounds {
  readonly bytes?: number;
  readonly unreadyAfterMs?: number;
}

/** From start to shutdown of one daemon on the directory. */
async function live(directory: string, destination: Destination, { bytes = 1e9, unreadyAfterMs = 0 }: Bounds = {}) {
  const storage = fileStorage.create(fileStorage.config.parse({ directory }), testSettings('file_storage'));
  assert(isStorage(storage));
  await storage.start?.();
  const room = new QueueRoom({ queue_size: bytes, sizer: 'bytes', max_tenant_share: 1 });
  const senders = new Senders({
    num_consumers: 2,
    maxItems: 4,
    retry: {
      enabled: true,
      initial_interval: 5,
      max_interval: 5,
      multiplier: 1,
      randomization_factor: 0,
      max_elapsed_time: 0,
    },
    giveUp: async () => undefined,
    send: async (records) => {
      for (const record of records) {
        const error = destination.refusal?.(record);
        if (error) throw error;
      }
      destination.taken.push(...records.map((record) => record.bytes[0] ?? -1));
    },
  });
  const queue = new DiskQueue({
    room,
    senders,
    logger: SILENT,
    unreadyAfterMs,
    lane: (signal) => ({
      log: storage.log(`postgres/${signal}`),
      recycle: () => undefined,
      count: {
        recovered: (items) => destination.recovered.push(items),
        enqueueFailed: () => undefined,
        lost: (items) => destination.lost.push(items),
        corrupt: (records) => destination.corrupt.push(records),
      },
    }),
    forget: async (queueId, seq) => void destination.forgotten.push([queueId, seq]),
  });
  await queue.start();
  const life: Life = {
    queue,
    storage,
    put: async (mark, size = 1, signal = 'traces') => {
      const record = recordOf(mark, size, signal);
      await queue.take(record, queue.reserve(signal, DEFAULT_TENANT, { items: record.items, bytes: size }));
    },
    end: async (deadline = never) => {
      await queue.shutdown(deadline);
      await storage.shutdown?.(never);
    },
  };
  return life;
}

function isStorage(component: Component): component is Storage {
  return 'log' in component && 'deadLetters' in component;
}

function recordOf(mark: number, size: number, signal: Signal): QueueRecord {
  const bytes = new Uint8Array(size).fill(mark);
  const head = { signal, tenant: DEFAULT_TENANT, format: 'v1', items: 1 } as const;
  return { ...head, bytes, receivedAtMs: Date.now() - 5000, receipt: undefined, id: undefined };
}

async function until(isTrue: () => boolean): Promise<void> {
  while (!isTrue()) await new Promise((resolve) => setTimeout(resolve, 1));
}

const numbers = (count: number): number[] => Array.from({ length: count }, (_, mark) => mark);

test('what is taken is delivered, once, also over restarts', async ({ directory }) => {
  const destination = new Destination();
  for (const marks of [[1, 2, 3], [4], []]) {
    const life = await live(directory, destination);
    await Promise.all(marks.map((mark) => life.put(mark)));
    await life.end();
    assert.equal(life.queue.leftover(), undefined);
  }
  assert.deepEqual(
    destination.taken.toSorted((a, b) => a - b),
    [1, 2, 3, 4],
  );
  assert.deepEqual(destination.recovered, []);
});

test('what could not be delivered stays, is said to stay, and comes at the next start', async ({ directory }) => {
  const destination = new Destination();
  destination.refusal = () => new RetryableError('away');
  const first = await live(directory, destination);
  for (const mark of numbers(10)) await first.put(mark);
  await first.end(AbortSignal.abort());
  assert.match(first.queue.leftover() ?? '', /^10 records \(10 items, 10 bytes\) stay on disk/);
  destination.refusal = undefined;
  const second = await live(directory, destination);
  await until(() => destination.taken.length === 10);
  await second.end();
  assert.deepEqual(
    destination.taken.toSorted((a, b) => a - b),
    numbers(10),
  );
  assert.deepEqual(
    destination.recovered,
    Array.from({ length: 10 }, () => 1),
  );
});

test('more than memory should hold stays on disk and comes in order, while more is taken', async ({ directory }) => {
  const destination = new Destination();
  destination.refusal = () => new RetryableError('away');
  const life = await live(directory, destination);
  for (const mark of numbers(60)) await life.put(mark, MIB);
  destination.refusal = undefined;
  for (const mark of numbers(60)) await life.put(60 + mark, MIB);
  await until(() => destination.taken.length === 120);
  await life.end();
  assert.deepEqual(
    destination.taken.toSorted((a, b) => a - b),
    numbers(120),
  );
  const misplaced = destination.taken.filter((mark, place) => Math.abs(mark - place) > 32);
  assert.deepEqual(misplaced, [], 'about in the order in which they came');
});

test('is full at its bound, takes more when something has left, and loses nothing', async ({ directory }) => {
  const destination = new Destination();
  destination.refusal = () => new RetryableError('away');
  const life = await live(directory, destination, { bytes: 3 });
  for (const mark of numbers(3)) await life.put(mark);
  await assert.rejects(life.put(9), (error) => error instanceof RetryableError && /queue is full/.test(error.message));
  assert.equal(life.queue.unready(), 'the queue is full');
  destination.refusal = undefined;
  await until(() => destination.taken.length === 3);
  assert.equal(life.queue.unready(), undefined);
  await life.put(3);
  await life.end();
  assert.deepEqual(
    destination.taken.toSorted((a, b) => a - b),
    numbers(4),
  );
});

test('says that it is not ready when data waits too long', async ({ directory }) => {
  const destination = new Destination();
  destination.refusal = () => new RetryableError('away');
  const life = await live(directory, destination, { unreadyAfterMs: 1000 });
  assert.equal(life.queue.unready(), undefined);
  await life.put(1);
  assert.match(life.queue.unready() ?? '', /^data waits for \d+ s$/);
  await life.end(AbortSignal.abort());
});

test('a signal that cannot be stored holds up no other', async ({ directory }) => {
  const destination = new Destination();
  destination.refusal = ({ signal }) => (signal === 'logs' ? new RetryableError('no table') : undefined);
  const life = await live(directory, destination);
  for (const mark of numbers(30)) await life.put(mark, MIB, 'logs');
  for (const mark of numbers(30)) await life.put(100 + mark, MIB, 'traces');
  await until(() => destination.taken.length === 30);
  destination.refusal = undefined;
  await life.end();
  assert.equal(destination.taken.length, 60);
});

test('a record that is damaged while it waits is counted and waited for no longer', async ({ directory }) => {
  const destination = new Destination();
  destination.refusal = () => new RetryableError('away');
  const life = await live(directory, destination);
  for (const mark of numbers(40)) await life.put(mark, MIB);
  const [last = ''] = (await segmentsIn(directory)).toReversed();
  const file = await open(last, 'r+');
  await file.write(Buffer.from('damage'), 0, 6, 5000);
  await file.close();
  destination.refusal = undefined;
  await until(() => life.queue.room.records === 0);
  await life.end();
  assert.equal(life.queue.leftover(), undefined);
  assert.deepEqual([destination.taken.length, destination.lost, destination.corrupt], [39, [1], [1]]);
});

async function segmentsIn(directory: string): Promise<string[]> {
  const entries = await readdir(directory, { recursive: true, withFileTypes: true });
  const paths = entries.map(({ parentPath, name }) => path.join(parentPath, name));
  return paths.filter((name) => name.endsWith('.seg')).toSorted();
}

test('what is given up does not come again', async ({ directory }) => {
  const destination = new Destination();
  destination.refusal = ({ bytes }) => (bytes[0] === 1 ? new PermanentError('never') : undefined);
  const first = await live(directory, destination);
  await Promise.all(numbers(3).map((mark) => first.put(mark)));
  await first.end();
  destination.refusal = undefined;
  const second = await live(directory, destination);
  await second.end();
  assert.deepEqual(
    destination.taken.toSorted((a, b) => a - b),
    [0, 2],
  );
});

test('the destination may forget what will not come again', async ({ directory }) => {
  const destination = new Destination();
  const life = await live(directory, destination);
  await Promise.all(numbers(3).map((mark) => life.put(mark)));
  await life.end();
  assert.equal(destination.forgotten.length, 1);
});

test.run();
