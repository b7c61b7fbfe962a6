/** What a log tells and keeps of its lives: which entries come back, which marks are reported, and what happens after it closed. */
import assert from 'node:assert/strict';
import { readdir } from 'node:fs/promises';
import { suite } from 'uvu';
import { RetryableError } from '../../src/errors.ts';
import { realFiles, type Files } from '../../src/spool/files.ts';
import { checksum } from '../../src/spool/frame.ts';
import { SpoolLog } from '../../src/spool/log.ts';
import { CrashingFiles } from './crashing_files.ts';
import { appendAll, headsOf, openLog, readAll, withDirectory } from './opened_log.ts';

const Lives = suite('spool log, its lives');

const DIRECTORY = '/queue';
const SEGMENT = /\/queue\/\w+\.seg$/;
const ignore = (): undefined => undefined;
const SMALL_SEGMENTS = { segmentBytes: 4096 };

Lives('a thousand gaps between what was released are there again after a restart', async () => {
  await withDirectory(async (directory) => {
    const first = await openLog(directory);
    const heads = Array.from({ length: 2001 }, (_, index) => `${index}`);
    const appended = await appendAll(first.log, heads, 1);
    for (const [index, { id }] of appended.entries()) if (index % 2 === 1) first.log.release(id);
    await first.log.close();
    const again = await openLog(directory);
    assert.deepEqual(
      again.visited,
      heads.filter((_, index) => index % 2 === 0),
    );
    await again.log.close();
  });
});

Lives('fewer gaps than before are not mixed with older ones that stand behind them in the file', async () => {
  await withDirectory(async (directory) => {
    const first = await openLog(directory);
    const appended = await appendAll(first.log, ['a', 'b', 'c', 'd', 'e', 'f'], 1);
    for (const at of [1, 3, 0, 2]) {
      const id = appended[at]?.id;
      assert(id !== undefined);
      first.log.release(id);
      await first.log.persist();
    }
    await first.log.close();
    const again = await openLog(directory);
    assert.deepEqual(again.visited, ['e', 'f']);
    await again.log.close();
  });
});

Lives('a life that a kill ended is reported by the next one, before its last segment goes', async () => {
  const files = new CrashingFiles(() => 0);
  const first = await openLog(DIRECTORY, { files: files.process() });
  const [a, b] = await appendAll(first.log, ['a', 'b']);
  assert(a !== undefined && b !== undefined);
  for (const { id } of [a, b]) first.log.release(id);
  await first.log.persist();
  assert.deepEqual([...first.marks], [[a.id.queueId, 3]]);
  const second = await openLog(DIRECTORY, { files: files.process() });
  assert.deepEqual([second.visited, second.settled, files.paths(SEGMENT).length], [[], [], 1]);
  await second.log.persist();
  assert.deepEqual([[...second.marks], files.paths(SEGMENT)], [[[a.id.queueId, 3]], []]);
});

Lives(
  'a life is reported to its end whatever is stuck in an older one, and its newest segment stays till then',
  async () => {
    const files = new CrashingFiles(() => 0);
    const first = await openLog(DIRECTORY, { files: files.process(), ...SMALL_SEGMENTS });
    const [stuck] = await appendAll(first.log, ['a', 'b', 'c'], 4000);
    const second = await openLog(DIRECTORY, { files: files.process(), ...SMALL_SEGMENTS });
    const later = await appendAll(second.log, ['d', 'e'], 4000);
    assert(stuck !== undefined);
    for (const { id } of await readAll(second)) if (id.seq !== stuck.id.seq) second.log.release(id);
    await second.log.close();
    assert.deepEqual(
      [...second.marks],
      [
        [stuck.id.queueId, 1],
        [later[0]?.id.queueId, 6],
      ],
    );
    assert.deepEqual(files.paths(SEGMENT), ['/queue/0000000000000001.seg', '/queue/0000000000000003.seg']);
    const third = await openLog(DIRECTORY, { files: files.process(), ...SMALL_SEGMENTS });
    assert.deepEqual(third.visited, ['a']);
    third.log.release(stuck.id);
    await third.log.close();
    assert.deepEqual([[...third.marks], files.paths(SEGMENT)], [[[stuck.id.queueId, 4]], []]);
  },
);

/** Real files that note each thing which is done with them. */
function notingFiles(done: string[]): Files {
  return {
    ...realFiles,
    async open(name, mode) {
      done.push(`open ${mode}`);
      const file = await realFiles.open(name, mode);
      return {
        ...file,
        write: async (parts, position) => {
          const written = await file.write(parts, position);
          done.push('write');
          return written;
        },
      };
    },
    async remove(file) {
      await realFiles.remove(file);
      done.push('remove');
    },
  };
}

Lives('once closed it leaves the directory alone; before that it finishes what is under way', async () => {
  await withDirectory(async (directory) => {
    const done: string[] = [];
    const { log, found } = await openLog(directory, { files: notingFiles(done) });
    const [first] = await appendAll(log, ['a']);
    assert(first !== undefined);
    log.release(first.id);
    const underWay = log.append(Buffer.from('b'), Buffer.alloc(100));
    const [closing, alsoClosing] = [log.close(), log.close()];
    await alsoClosing;
    const { length } = done;
    assert.equal((await underWay).id.seq, 2);
    await closing;
    log.release((await underWay).id);
    await log.persist();
    await assert.rejects(log.append(Buffer.from('c'), Buffer.alloc(1)), RetryableError);
    await assert.rejects(log.read(found.start, 1), RetryableError);
    assert.equal(done.length, length);
    const again = await openLog(directory);
    assert.deepEqual(headsOf(await readAll(again)), ['b']);
    await again.log.close();
  });
});

Lives('a log that is closed while it opens is closed behind that', async () => {
  await withDirectory(async (directory) => {
    const first = await openLog(directory);
    await appendAll(first.log, ['a']);
    await first.log.close();
    const done: string[] = [];
    const world = { files: notingFiles(done), checksum, nowMs: () => 0 };
    const log = new SpoolLog({ directory, minFreeBytes: 0 }, world);
    const opening = log.open({ visit: ignore, corrupt: ignore, settled: ignore, failed: ignore });
    await log.close();
    const { length } = done;
    assert.equal((await opening).entries, 1);
    await log.persist();
    assert.equal(done.length, length);
    assert.deepEqual((await readdir(directory)).toSorted(), ['0000000000000001.seg', 'position']);
  });
});

Lives.run();
