/** Who may use a directory; that a killed process leaves no lock is tested with what locks one (`file_storage`). */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdir, readdir, readFile } from 'node:fs/promises';
import path from 'node:path';
import { suite } from 'uvu';
import { lockDirectory } from '../src/directory_lock.ts';
import { PermanentError } from '../src/errors.ts';
import { withDirectory } from './spool/opened_log.ts';

const Lock = suite('directory lock');

Lock('is held by one at a time, told by process id, and may be released twice', async () => {
  await withDirectory(async (directory) => {
    const lock = lockDirectory(directory);
    assert.equal(await readFile(path.join(directory, 'sluice.pid'), 'utf8'), `${process.pid}\n`);
    const message = `${directory} is in use by another sluice (pid ${process.pid})`;
    assert.throws(() => lockDirectory(directory), new PermanentError(message));
    lock.release();
    lock.release();
    const other = lockDirectory(directory);
    lock.release();
    assert.throws(() => lockDirectory(directory), PermanentError);
    other.release();
    assert.deepEqual(await readdir(directory), ['sluice.lock']);
  });
});

Lock('does not need its file with the process id', async () => {
  await withDirectory(async (directory) => {
    await mkdir(path.join(directory, 'sluice.pid'));
    const lock = lockDirectory(directory);
    assert.throws(() => lockDirectory(directory), /in use by another sluice \(pid unknown\)/);
    lock.release();
  });
});

Lock('stays when nobody refers to it any more', async () => {
  await withDirectory(async (directory) => {
    const module = new URL('../src/directory_lock.ts', import.meta.url).href;
    const script = `
      const { lockDirectory } = await import(${JSON.stringify(module)});
      lockDirectory(${JSON.stringify(directory)});
      for (let turn = 0; turn < 5; turn += 1) await new Promise(setImmediate), globalThis.gc();
      lockDirectory(${JSON.stringify(directory)});`;
    const { stderr } = spawnSync(process.execPath, ['--expose-gc', '--input-type=module', '-e', script], {
      encoding: 'utf8',
    });
    assert.match(stderr, /in use by another sluice/);
  });
});

Lock.run();
