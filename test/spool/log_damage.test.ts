/** What the log makes of files that were damaged, byte by byte. */
import assert from 'node:assert/strict';
import { readdir, readFile, truncate, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { suite } from 'uvu';
import { appendAll, headsOf, openLog, readAll, withDirectory } from './opened_log.ts';
import { CrashingFiles } from './crashing_files.ts';

const Damage = suite('spool log, damaged');

const DIRECTORY = '/queue';
const SEGMENT = `${DIRECTORY}/0000000000000001.seg`;
const HEADS = ['first', 'second', 'third'];
const SLOT_BYTES = 64 * 1024;
const BODY_BYTES = 100;
const MAX_ALLOCATION = 32 << 20;

/** A segment with three entries, and where each begins and the last ends. */
async function threeEntries(): Promise<{ content: Buffer; bounds: readonly number[] }> {
  const files = new CrashingFiles(() => 0);
  const { log } = await openLog(DIRECTORY, { files: files.process() });
  const appended = await appendAll(log, HEADS, BODY_BYTES);
  return { content: files.contentOf(SEGMENT), bounds: [64, ...appended.map(({ next }) => next.offset)] };
}

/** What a new process finds in a segment of this content, and reads again. */
async function reopened(content: Buffer) {
  const files = new CrashingFiles(() => 0);
  files.put(SEGMENT, content);
  const opened = await openLog(DIRECTORY, { files: files.process() });
  const read = headsOf(await readAll(opened));
  assert.deepEqual(read, opened.visited);
  const [added] = await appendAll(opened.log, ['new']);
  assert.deepEqual(headsOf(await readAll(opened)), [...read, 'new']);
  await opened.log.close();
  const again = await openLog(DIRECTORY, { files: files.process() });
  assert.deepEqual(again.visited, [...read, 'new']);
  return { ...opened, added, files };
}

function allocators(): Pick<BufferConstructor, 'alloc' | 'allocUnsafe' | 'allocUnsafeSlow'> {
  return {
    alloc: Buffer.alloc.bind(Buffer),
    allocUnsafe: Buffer.allocUnsafe.bind(Buffer),
    allocUnsafeSlow: Buffer.allocUnsafeSlow.bind(Buffer),
  };
}

/** Fails where anything allocates more than that at once. */
async function withoutLargeAllocations(work: () => Promise<void>): Promise<void> {
  const original = allocators();
  let largest = 0;
  const noted = <T>(size: number, result: T): T => {
    largest = Math.max(largest, size);
    return result;
  };
  Buffer.alloc = (size: number, ...rest: []) => noted(size, original.alloc(size, ...rest));
  Buffer.allocUnsafe = (size) => noted(size, original.allocUnsafe(size));
  Buffer.allocUnsafeSlow = (size) => noted(size, original.allocUnsafeSlow(size));
  try {
    await work();
  } finally {
    Object.assign(Buffer, original);
  }
  assert(largest > 0 && largest <= MAX_ALLOCATION, `${largest} bytes were allocated at once`);
}

Damage('cut at any byte, it gives the entries before the cut, and says what it cut off', async () => {
  const { content, bounds } = await threeEntries();
  for (let length = 0; length <= content.length; length += 1) {
    const whole = bounds.slice(1).filter((end) => end <= length).length;
    const { visited, found, corrupt } = await reopened(content.subarray(0, length));
    assert.deepEqual([visited, corrupt], [HEADS.slice(0, whole), []], `cut to ${length} bytes`);
    const end = bounds[whole] ?? 0;
    assert.equal(found.tornBytes, length <= 64 ? 0 : length - end, `cut to ${length} bytes`);
  }
});

Damage('with a bit flipped at any byte, it gives all other entries and counts that one', async () => {
  const { content, bounds } = await threeEntries();
  await withoutLargeAllocations(async () => {
    for (let offset = 0; offset < content.length; offset += 1) {
      const flipped = Buffer.from(content);
      flipped[offset] = (flipped[offset] ?? 0) ^ (1 << (offset % 8));
      const hit = bounds.slice(1).findIndex((end) => offset < end && offset >= 64);
      const { visited, found, corrupt } = await reopened(flipped);
      const rest = HEADS.filter((_, index) => index !== hit);
      assert.deepEqual(visited, rest, `flipped at ${offset}`);
      // The last one cannot be told from one that was never finished.
      const isLast = hit === HEADS.length - 1;
      assert.deepEqual(corrupt, hit === -1 || isLast ? [] : ['0000000000000001.seg: 1'], `flipped at ${offset}`);
      assert.equal(found.tornBytes > 0, isLast, `flipped at ${offset}`);
    }
  });
});

Damage('a position damaged at any byte never loses an entry', async () => {
  const files = new CrashingFiles(() => 0);
  const { log } = await openLog(DIRECTORY, { files: files.process() });
  const appended = await appendAll(log, HEADS, BODY_BYTES);
  for (const { id } of appended.slice(0, 2)) {
    log.release(id);
    await log.persist();
  }
  const position = files.contentOf(`${DIRECTORY}/position`);
  const outcomes = new Set<string>();
  for (let offset = 0; offset < position.length; offset += offset % SLOT_BYTES < 64 ? 1 : 4093) {
    const damaged = new CrashingFiles(() => 0);
    const flipped = Buffer.from(position);
    flipped[offset] = (flipped[offset] ?? 0) ^ 4;
    damaged.put(SEGMENT, files.contentOf(SEGMENT));
    damaged.put(`${DIRECTORY}/position`, flipped);
    const { visited, corrupt } = await openLog(DIRECTORY, { files: damaged.process() });
    assert.deepEqual(corrupt, []);
    outcomes.add(visited.join());
  }
  assert.deepEqual([...outcomes].toSorted(), ['second,third', 'third']);
});

Damage('a body that looks like a log is never taken for one, even where its own frame is damaged', async () => {
  const { content } = await threeEntries();
  const files = new CrashingFiles(() => 0);
  const { log } = await openLog(DIRECTORY, { files: files.process() });
  const [before] = await Promise.all([
    log.append(Buffer.from('before'), Buffer.alloc(1)),
    log.append(Buffer.from('hostile'), Buffer.concat([content, content.subarray(64), Buffer.alloc(600_000)])),
    log.append(Buffer.from('behind'), Buffer.alloc(1)),
  ]);
  const stored = Buffer.from(files.contentOf(SEGMENT));
  stored[before.next.offset + 40] = 0xff;
  const { visited, corrupt } = await reopened(stored);
  assert.deepEqual([visited, corrupt], [['before', 'behind'], ['0000000000000001.seg: 1']]);
});

Damage('found while reading, it is passed over, counted, and frees its space', async () => {
  const files = new CrashingFiles(() => 0);
  const opened = await openLog(DIRECTORY, { files: files.process(), segmentBytes: 4096 });
  const appended = await appendAll(opened.log, ['a', 'b', 'c', 'd'], 1800);
  const [first, second] = appended;
  assert(first !== undefined && second !== undefined);
  files.edit(SEGMENT, (content) => content.fill(0, first.next.offset, first.next.offset + 10));
  const read = await readAll(opened, 1);
  assert.deepEqual([headsOf(read), opened.corrupt], [['a', 'c', 'd'], ['0000000000000001.seg: 1']]);
  assert.deepEqual(headsOf(await readAll({ log: opened.log, found: { ...opened.found, start: first.next } })), [
    'c',
    'd',
  ]);
  assert.equal(opened.corrupt.length, 1);
  opened.log.release(first.id);
  await opened.log.persist();
  assert.deepEqual(opened.settled, [2]);
  assert.deepEqual(files.paths(/corrupt/), ['/queue/corrupt/0000000000000001.seg']);
  await opened.log.close();
});

Damage('found while opening, it ends what is told of its life, and of no other', async () => {
  const files = new CrashingFiles(() => 0);
  const first = await openLog(DIRECTORY, { files: files.process() });
  const appended = await appendAll(first.log, ['a', 'b', 'c'], 100);
  const second = await openLog(DIRECTORY, { files: files.process() });
  const [last] = await appendAll(second.log, ['d']);
  files.edit(SEGMENT, (content) => content.fill(0, appended[0]?.next.offset, appended[1]?.next.offset));
  const third = await openLog(DIRECTORY, { files: files.process() });
  for (const { id } of await readAll(third)) third.log.release(id);
  await third.log.close();
  assert.deepEqual(third.visited, ['a', 'c', 'd']);
  assert.deepEqual(
    [...third.marks],
    [
      [appended[0]?.id.queueId, 2],
      [last?.id.queueId, 5],
    ],
  );
  assert.deepEqual(files.paths(/\/queue\/\w+\.seg$/), []);
});

Damage('what the disk cannot read is passed over, and nothing of it removed', async () => {
  const files = new CrashingFiles(() => 0);
  const first = await openLog(DIRECTORY, { files: files.process() });
  const appended = await appendAll(first.log, ['a', 'b', 'c', 'd'], 10_000);
  await first.log.close();
  const bad = (appended[1]?.next.offset ?? 0) - 5000;
  const broken = files.process();
  const opened = await openLog(DIRECTORY, {
    files: {
      ...broken,
      async open(name, mode) {
        const file = await broken.open(name, mode);
        const read = async (into: Uint8Array, position: number): Promise<number> => {
          const isBad = name.endsWith('.seg') && position <= bad && position + into.length > bad;
          if (isBad) throw Object.assign(new Error('i/o error'), { code: 'EIO' });
          return file.read(into, position);
        };
        return { ...file, read };
      },
    },
  });
  assert.deepEqual([opened.visited, opened.corrupt], [['a', 'c', 'd'], ['0000000000000001.seg: 1']]);
  const [added] = await appendAll(opened.log, ['e']);
  assert((added?.id.seq ?? 0) > 4);
  await opened.log.close();
});

Damage('copies of damaged segments take no more than their share of the disk', async () => {
  await withDirectory(async (directory) => {
    const large = 40 << 20;
    for (let round = 0; round < 3; round += 1) {
      const { log } = await openLog(directory);
      await appendAll(log, ['bad', 'good'], 100);
      await log.close();
      const name = (await readdir(directory)).find((file) => file.endsWith('.seg')) ?? '';
      const file = path.join(directory, name);
      const content = await readFile(file);
      content[64 + 60] = 0xff;
      await writeFile(file, content);
      await truncate(file, large);
      const again = await openLog(directory);
      assert.deepEqual(again.visited, ['good']);
      for (const { id } of await readAll(again)) again.log.release(id);
      await truncate(file, large);
      await again.log.close();
    }
    assert.equal((await readdir(path.join(directory, 'corrupt'))).length, 1);
    assert.deepEqual(
      (await readdir(directory)).filter((file) => file.endsWith('.seg')),
      [],
    );
  });
});

Damage.run();
