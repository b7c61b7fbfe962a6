/** The log on real files: what it reads back, what it frees, and what it says when it cannot write. */
import assert from 'node:assert/strict';
import { copyFile, mkdir, readdir, rm, stat, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { suite } from 'uvu';
import { PermanentError, RetryableError } from '../../src/errors.ts';
import { realFiles, type Files, type OpenFile } from '../../src/spool/files.ts';
import { appendAll, headsOf, openLog, readAll, withDirectory } from './opened_log.ts';

const Log = suite('spool log');

const SMALL_SEGMENTS = { segmentBytes: 4096 };

/** Real files but for some operations of the files that are opened. */
function filesWith(change: (file: OpenFile, name: string) => Partial<OpenFile>): Files {
  return {
    ...realFiles,
    async open(name, mode) {
      const file = await realFiles.open(name, mode);
      return { ...file, ...change(file, path.basename(name)) };
    },
  };
}

const noSpace = (): Promise<never> => Promise.reject(Object.assign(new Error('no space left'), { code: 'ENOSPC' }));
const ioError = (): Promise<never> => Promise.reject(Object.assign(new Error('i/o error'), { code: 'EIO' }));

Log('an idle start and stop leaves no files', async () => {
  await withDirectory(async (directory) => {
    const { log, found } = await openLog(path.join(directory, 'new'));
    assert.deepEqual(found.start, found.end);
    await log.close();
    assert.deepEqual(await readdir(path.join(directory, 'new')), []);
  });
});

Log('entries come back with their bytes, in order, and in places that join', async () => {
  await withDirectory(async (directory) => {
    const first = await openLog(directory, SMALL_SEGMENTS);
    const heads = Array.from({ length: 40 }, (_, index) => `entry ${index}`);
    const appended = await appendAll(first.log, heads, 300);
    const { entries, next } = await first.log.read(first.found.start, 1 << 20);
    assert.deepEqual(headsOf(entries), heads);
    assert.deepEqual(next, appended.at(-1)?.next);
    for (const [index, { id, body }] of entries.entries()) {
      assert.deepEqual(id, appended[index]?.id);
      assert(Buffer.alloc(300, heads[index]).equals(body));
    }
    await first.log.close();
    const second = await openLog(directory, SMALL_SEGMENTS);
    assert.deepEqual(second.visited, heads);
    assert.deepEqual([second.found.entries, second.found.tornBytes, second.corrupt], [40, 0, []]);
    assert.deepEqual(headsOf(await readAll(second, 1000)), heads);
    const [added] = await appendAll(second.log, ['later']);
    assert(added !== undefined && added.id.seq > (appended.at(-1)?.id.seq ?? 0));
    assert.notEqual(added.id.queueId, appended[0]?.id.queueId);
    await second.log.close();
  });
});

Log('what is read keeps its bytes while more is read', async () => {
  await withDirectory(async (directory) => {
    const opened = await openLog(directory);
    await appendAll(opened.log, ['a', 'b', 'c', 'd'], 200_000);
    const entries = await readAll(opened, 1);
    assert.deepEqual(headsOf(entries), ['a', 'b', 'c', 'd']);
    for (const { head, body } of entries) assert(Buffer.alloc(200_000, head).equals(body));
    await opened.log.close();
  });
});

Log('an entry larger than a segment has one of its own', async () => {
  await withDirectory(async (directory) => {
    const opened = await openLog(directory, SMALL_SEGMENTS);
    await appendAll(opened.log, ['small', 'large', 'last'], 1_000_000);
    await opened.log.close();
    const again = await openLog(directory, SMALL_SEGMENTS);
    const entries = await readAll(again);
    assert.deepEqual(
      entries.map(({ head, body }) => [Buffer.from(head).toString(), body.byteLength]),
      [
        ['small', 1_000_000],
        ['large', 1_000_000],
        ['last', 1_000_000],
      ],
    );
    await again.log.close();
    await assert.rejects(again.log.append(Buffer.alloc(1), Buffer.alloc(1)), RetryableError);
    const other = await openLog(directory);
    await assert.rejects(other.log.append(Buffer.alloc(2 << 20), Buffer.alloc(1)), PermanentError);
    await other.log.close();
  });
});

Log('what is released frees its segments once that is durable, also around an entry that stays', async () => {
  await withDirectory(async (directory) => {
    const opened = await openLog(directory, SMALL_SEGMENTS);
    const appended = await appendAll(opened.log, ['a', 'b', 'c', 'd', 'e'], 4000);
    const segments = async (): Promise<number> =>
      (await readdir(directory)).filter((name) => name.endsWith('.seg')).length;
    assert.equal(await segments(), 5);
    for (const { id } of appended) if (id.seq !== 2) opened.log.release(id);
    assert.equal(await segments(), 5);
    await opened.log.persist();
    assert.deepEqual([await segments(), opened.settled], [2, [2]]);
    await opened.log.close();
    const again = await openLog(directory, SMALL_SEGMENTS);
    assert.deepEqual([again.visited, again.corrupt], [['b'], []]);
    for (const { id } of await readAll(again)) again.log.release(id);
    await again.log.close();
    assert.deepEqual(again.settled, [6]);
    assert.deepEqual(await readdir(directory), ['position']);
    const last = await openLog(directory);
    assert.equal((await appendAll(last.log, ['f']))[0]?.id.seq, 6);
    await last.log.close();
  });
});

Log('releases reach the disk by themselves', async () => {
  await withDirectory(async (directory) => {
    const opened = await openLog(directory, SMALL_SEGMENTS);
    const [first] = await appendAll(opened.log, ['a', 'b'], 4000);
    assert(first !== undefined);
    const written = Promise.withResolvers<void>();
    const seen = setInterval(() => {
      if (opened.settled.length > 0) written.resolve();
    }, 5);
    opened.log.release(first.id);
    await written.promise;
    clearInterval(seen);
    assert.deepEqual(opened.settled, [2]);
    await opened.log.close();
  });
});

Log('foreign and empty files, and missing segments, do not stop the start; what is missing is counted', async () => {
  await withDirectory(async (directory) => {
    const first = await openLog(directory, SMALL_SEGMENTS);
    await appendAll(first.log, ['a', 'b', 'c'], 4000);
    await first.log.close();
    await writeFile(path.join(directory, 'notes.txt'), 'mine');
    await writeFile(path.join(directory, '0000000000000009.seg'), '');
    await writeFile(
      path.join(directory, '000000000000000a.seg'),
      'not a segment, but longer than the header of one would be',
    );
    await writeFile(path.join(directory, '000000000000000b.seg'), Buffer.alloc(200, 'nor is this'));
    await mkdir(path.join(directory, 'folder.seg'));
    await rm(path.join(directory, '0000000000000002.seg'));
    const { log, visited, corrupt } = await openLog(directory, SMALL_SEGMENTS);
    assert.deepEqual([visited, corrupt], [['a', 'c'], ['0000000000000003.seg: 1']]);
    await log.close();
    assert.deepEqual((await readdir(directory)).toSorted(), [
      '0000000000000001.seg',
      '0000000000000003.seg',
      'corrupt',
      'folder.seg',
      'notes.txt',
      'position',
    ]);
  });
});

Log('a copy of a directory gives its entries the same identities, and new ones others', async () => {
  await withDirectory(async (directory) => {
    const [one, other] = [path.join(directory, 'one'), path.join(directory, 'other')];
    const original = await openLog(one);
    const [appended] = await appendAll(original.log, ['a']);
    await mkdir(other);
    for (const name of await readdir(one)) await copyFile(path.join(one, name), path.join(other, name));
    const copy = await openLog(other);
    assert.deepEqual((await readAll(copy))[0]?.id, appended?.id);
    const [here, there] = [await appendAll(original.log, ['b']), await appendAll(copy.log, ['c'])];
    assert.equal(here[0]?.id.seq, there[0]?.id.seq);
    assert.notEqual(here[0]?.id.queueId, there[0]?.id.queueId);
    await original.log.close();
    await copy.log.close();
  });
});

Log('a segment of a newer program is not touched', async () => {
  await withDirectory(async (directory) => {
    const { log } = await openLog(directory);
    await appendAll(log, ['a']);
    await log.close();
    const { encodeSegmentHeader, checksum } = await import('../../src/spool/frame.ts');
    const header = encodeSegmentHeader({ queueId: '00000000-0000-4000-8000-000000000000', first: 9 }, 0, checksum);
    header.writeUInt32LE(2, 8);
    header.writeUInt32LE(checksum(header.subarray(0, 60)), 60);
    await writeFile(path.join(directory, '0000000000000009.seg'), Buffer.concat([header, Buffer.alloc(100)]));
    await assert.rejects(openLog(directory), /newer sluice/);
    assert.equal((await stat(path.join(directory, '0000000000000009.seg'))).size, 164);
  });
});

Log('a short write is cut off and told; the next append succeeds', async () => {
  await withDirectory(async (directory) => {
    let isShort = false;
    const files = filesWith((file) => ({
      write: (parts, position) => file.write(isShort ? [Buffer.concat(parts).subarray(0, 60)] : parts, position),
    }));
    const opened = await openLog(directory, { files });
    await appendAll(opened.log, ['a']);
    isShort = true;
    const failed = await appendAll(opened.log, ['b', 'c']).catch((error: unknown) => error);
    assert(failed instanceof RetryableError && /disk of the queue is full/.test(failed.message));
    assert((failed.retryAfterMs ?? 0) > 0);
    isShort = false;
    await appendAll(opened.log, ['d']);
    assert.deepEqual(headsOf(await readAll(opened)), ['a', 'd']);
    assert.equal(opened.log.unable(), undefined);
    await opened.log.close();
    const again = await openLog(directory);
    assert.deepEqual([again.visited, again.found.tornBytes, again.corrupt], [['a', 'd'], 0, []]);
    await again.log.close();
  });
});

Log('where the rest of a failed write cannot be cut off, a new segment begins', async () => {
  await withDirectory(async (directory) => {
    let isBad = false;
    const files = filesWith((file) => ({
      write: async (parts, position) =>
        isBad ? (await file.write(parts, position), noSpace()) : file.write(parts, position),
      truncate: (bytes) => (isBad ? ioError() : file.truncate(bytes)),
    }));
    const opened = await openLog(directory, { files });
    await appendAll(opened.log, ['a']);
    isBad = true;
    await assert.rejects(appendAll(opened.log, ['b']), RetryableError);
    isBad = false;
    await appendAll(opened.log, ['c']);
    assert.deepEqual(headsOf(await readAll(opened)), ['a', 'c']);
    await opened.log.close();
  });
});

Log('a failed fdatasync ends the log for good; what is there is still read and released', async () => {
  await withDirectory(async (directory) => {
    let syncs = 0;
    let isBroken = false;
    const files = filesWith((file, name) => ({
      datasync: () => {
        if (name.endsWith('.seg')) syncs += 1;
        return isBroken && name.endsWith('.seg') ? ioError() : file.datasync();
      },
    }));
    const opened = await openLog(directory, { files, ...SMALL_SEGMENTS });
    const [first] = await appendAll(opened.log, ['a', 'b'], 4000);
    assert(first !== undefined);
    isBroken = true;
    const waiting = await Promise.allSettled(['c', 'd', 'e'].map((head) => appendAll(opened.log, [head], 4000)));
    assert(waiting.every((result) => result.status === 'rejected' && result.reason instanceof RetryableError));
    const before = syncs;
    isBroken = false;
    await assert.rejects(appendAll(opened.log, ['f']), RetryableError);
    assert.equal(syncs, before);
    assert.equal(opened.failures.length, 1);
    assert(opened.log.failure !== undefined && /has failed/.test(opened.log.unable() ?? ''));
    assert.deepEqual(headsOf(await readAll(opened)), ['a', 'b']);
    opened.log.release(first.id);
    await opened.log.persist();
    assert.deepEqual(opened.settled, [2]);
    await opened.log.close();
  });
});

Log('below the low-water mark of the disk nothing is appended, until there is room again', async () => {
  await withDirectory(async (directory) => {
    let [freeBytes, nowMs, looks] = [1000, 0, 0];
    const freeBytesOf = async (): Promise<number> => {
      looks += 1;
      return freeBytes;
    };
    const files = { ...realFiles, freeBytes: freeBytesOf };
    const { log } = await openLog(directory, { files, minFreeBytes: 500, nowMs: () => nowMs });
    const [first] = await appendAll(log, ['a']);
    assert(first !== undefined);
    freeBytes = 499;
    await appendAll(log, ['b']);
    nowMs = 1000;
    await assert.rejects(appendAll(log, ['c']), /nearly full/);
    assert.match(log.unable() ?? '', /nearly full/);
    log.release(first.id);
    await log.persist();
    freeBytes = 500;
    nowMs = 2000;
    log.unable();
    await appendAll(log, ['d']);
    assert.equal(log.unable(), undefined);
    assert.equal(looks, 3);
    await log.close();
  });
});

Log('a directory that cannot be used is refused in one line', async () => {
  await withDirectory(async (directory) => {
    const file = path.join(directory, 'file');
    await writeFile(file, '');
    for (const place of [file, path.join(file, 'below')]) {
      await assert.rejects(openLog(place), (error) => error instanceof PermanentError && !error.message.includes('\n'));
    }
  });
});

Log.run();
