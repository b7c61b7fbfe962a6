/** The storage extension as the pipeline uses it: its directory, its logs, its dead letters and its configuration. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, readdir, rm, stat, truncate, writeFile } from 'node:fs/promises';
import path from 'node:path';
import * as fc from 'fast-check';
import { suite } from 'uvu';
import { lockDirectory } from '../../src/directory_lock.ts';
import { ConfigError, PermanentError, RetryableError } from '../../src/errors.ts';
import { fileStorage } from '../../src/extensions/file_storage.ts';
import {
  readDeadLetters,
  removeDeadLetters,
  type StoredLetter,
} from '../../src/extensions/file_storage/dead_letters.ts';
import { directoryOfLog, logOfDirectory } from '../../src/extensions/file_storage/names.ts';
import { withDirectory } from '../spool/opened_log.ts';
import { SILENT } from '../support/settings.ts';
import { letter, NEVER, NO_EVENTS, storageIn } from './stored_records.ts';

const FileStorage = suite('file_storage');

const ROOT = new URL('../..', import.meta.url);

async function lettersIn(directory: string): Promise<{ seq: number; text: string | undefined }[]> {
  const found = (await Array.fromAsync(readDeadLetters(directory), copyLetter)).filter((each) => 'seq' in each);
  return found.map(({ seq, letter: stored }) => ({ seq, text: stored && Buffer.from(stored.record.bytes).toString() }));
}

function isFull(error: unknown): boolean {
  return error instanceof RetryableError && error.message.includes('sluice dead-letter list');
}

/** The bytes of a letter are gone when the next one is read. */
function copyLetter<T extends object>(found: T | StoredLetter): T | StoredLetter {
  if (!('letter' in found) || found.letter === undefined) return found;
  const { record } = found.letter;
  return { ...found, letter: { ...found.letter, record: { ...record, bytes: Buffer.from(record.bytes) } } };
}

FileStorage('building one touches nothing, and neither does a shutdown without a start', async () => {
  await withDirectory(async (directory) => {
    const place = path.join(directory, 'queue');
    const storage = storageIn(place);
    storage.log('postgres');
    await storage.shutdown?.(NEVER);
    await storage.shutdown?.(NEVER);
    assert.deepEqual(await readdir(directory), []);
  });
});

FileStorage('gives the same log for the same name, each in a directory of its own, only for its owner', async () => {
  await withDirectory(async (directory) => {
    const place = path.join(directory, 'deep/queue');
    const storage = storageIn(place);
    await storage.start?.();
    const log = storage.log('otlp_http/tempo');
    assert.equal(storage.log('otlp_http/tempo'), log);
    await log.open(NO_EVENTS);
    await log.append(Buffer.from('head'), Buffer.from('body'));
    assert.deepEqual((await readdir(place)).toSorted(), ['otlp_http%2ftempo.queue', 'sluice.lock', 'sluice.pid']);
    assert.equal((await stat(place)).mode & 0o777, 0o700);
    const folder = path.join(place, 'otlp_http%2ftempo.queue');
    assert.equal((await stat(folder)).mode & 0o777, 0o700);
    for (const name of await readdir(folder)) assert.equal((await stat(path.join(folder, name))).mode & 0o777, 0o600);
    await storage.shutdown?.(NEVER);
    const again = storageIn(place);
    await again.start?.();
    assert.equal((await again.log('otlp_http/tempo').open(NO_EVENTS)).entries, 1);
    await again.shutdown?.(NEVER);
  });
});

FileStorage('a directory that another process has is refused in one line, until that process is gone', async () => {
  await withDirectory(async (directory) => {
    const holder = new URL('src/directory_lock.ts', ROOT).href;
    const script = `(await import(${JSON.stringify(holder)})).lockDirectory(${JSON.stringify(directory)}); console.log('held'); setInterval(() => {}, 1e6);`;
    const child = spawn(process.execPath, ['--input-type=module', '-e', script], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const gone = once(child, 'exit');
    const storage = storageIn(directory);
    try {
      await once(child.stdout, 'data');
      const message = `${directory} is in use by another sluice (pid ${child.pid})`;
      await assert.rejects(async () => storage.start?.(), { name: 'PermanentError', message });
    } finally {
      child.kill('SIGKILL');
      await gone;
    }
    await storage.start?.();
    assert.throws(() => lockDirectory(directory), PermanentError);
    await storage.shutdown?.(NEVER);
  });
});

FileStorage('a directory that cannot be used is refused in one line', async () => {
  await withDirectory(async (directory) => {
    const file = path.join(directory, 'file');
    await writeFile(file, '');
    const cases = [
      [storageIn(file), /EEXIST|ENOTDIR/],
      [storageIn(path.join(directory, 'absent'), { create_directory: false }), /ENOENT/],
    ] as const;
    for (const [storage, reason] of cases) {
      const isClear = (error: unknown): boolean =>
        error instanceof ConfigError && reason.test(error.message) && !error.message.includes('\n');
      await assert.rejects(async () => storage.start?.(), isClear);
      await storage.shutdown?.(NEVER);
    }
  });
});

FileStorage('the names of logs on disk can be told apart anywhere, and be read back', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'grapheme', maxLength: 20 }), fc.string({ maxLength: 20 }), (one, other) => {
      const [directory, second] = [directoryOfLog(one), directoryOfLog(other)];
      assert(directory !== undefined && second !== undefined);
      assert.match(directory, /^[a-z0-9_%-]*\.queue$/);
      assert.equal(logOfDirectory(directory), one.toWellFormed());
      assert.equal(directory === second, one.toWellFormed() === other.toWellFormed());
    }),
  );
  assert.equal(directoryOfLog('../Etc'), '%2e%2e%2f%45tc.queue');
  assert.equal(directoryOfLog('x'.repeat(255)), undefined);
  for (const foreign of ['postgres', 'A.queue', '%zz.queue', '%61.queue', 'dead_letters']) {
    assert.equal(logOfDirectory(foreign), undefined);
  }
});

FileStorage('dead letters are there after a restart, in order, with all that is known about them', async () => {
  await withDirectory(async (directory) => {
    const first = storageIn(directory);
    await first.start?.();
    await Promise.all(['one', 'two'].map((text) => first.deadLetters.add(letter(text))));
    await first.shutdown?.(NEVER);
    const second = storageIn(directory);
    await second.start?.();
    await second.deadLetters.add(letter('three'));
    const found = await Array.fromAsync(readDeadLetters(directory), copyLetter);
    assert.deepEqual(
      found,
      ['one', 'two', 'three'].map((text, index) => ({ seq: index + 1, letter: letter(text) })),
    );
    await second.shutdown?.(NEVER);
  });
});

FileStorage(
  'a letter that comes once the directory was given back is refused; one that came before is kept',
  async () => {
    await withDirectory(async (directory) => {
      const storage = storageIn(directory);
      await storage.start?.();
      const before = storage.deadLetters.add(letter('before'));
      const shutdown = storage.shutdown?.(NEVER);
      await before;
      await shutdown;
      await assert.rejects(storage.deadLetters.add(letter('behind')), RetryableError);
      assert.deepEqual(await lettersIn(directory), [{ seq: 1, text: 'before' }]);
    });
  },
);

FileStorage('a full file of dead letters says what to do, and keeps what it has', async () => {
  await withDirectory(async (directory) => {
    const storage = storageIn(directory, { max_dead_letter_size: 65_536 });
    await storage.start?.();
    await storage.deadLetters.add(letter('x'.repeat(60_000)));
    await assert.rejects(storage.deadLetters.add(letter('y'.repeat(6000))), isFull);
    await storage.deadLetters.add(letter('small'));
    await storage.shutdown?.(NEVER);
    assert.deepEqual(
      (await lettersIn(directory)).map(({ text }) => text?.length),
      [60_000, 5],
    );
  });
});

FileStorage('letters are removed only while no gateway has the directory; the others keep their numbers', async () => {
  await withDirectory(async (directory) => {
    const storage = storageIn(directory);
    await storage.start?.();
    for (const text of ['one', 'two', 'three']) await storage.deadLetters.add(letter(text));
    await assert.rejects(
      removeDeadLetters(directory, () => true),
      /in use by another sluice/,
    );
    await storage.shutdown?.(NEVER);
    await writeFile(path.join(directory, 'dead_letters.new'), 'left by a crash');
    assert.equal(await removeDeadLetters(directory, (seq) => seq !== 2), 2);
    assert.deepEqual(await lettersIn(directory), [{ seq: 2, text: 'two' }]);
    assert.equal(await removeDeadLetters(directory, () => true), 1);
    const again = storageIn(directory);
    await again.start?.();
    await again.deadLetters.add(letter('four'));
    assert.deepEqual(await lettersIn(directory), [{ seq: 4, text: 'four' }]);
    await again.shutdown?.(NEVER);
    await rm(path.join(directory, 'dead_letters'));
    assert.equal(await removeDeadLetters(directory, () => true), 0);
  });
});

FileStorage('a file of dead letters that ends in the middle of one goes on behind the last whole one', async () => {
  await withDirectory(async (directory) => {
    const storage = storageIn(directory);
    await storage.start?.();
    for (const text of ['one', 'two']) await storage.deadLetters.add(letter(text));
    await storage.shutdown?.(NEVER);
    const file = path.join(directory, 'dead_letters');
    await truncate(file, (await stat(file)).size - 1);
    const again = storageIn(directory);
    await again.start?.();
    await again.deadLetters.add(letter('three'));
    await again.shutdown?.(NEVER);
    assert.deepEqual(
      (await lettersIn(directory)).map(({ text }) => text),
      ['one', 'three'],
    );
  });
});

FileStorage('a file of dead letters that cannot be read at all is put aside and told', async () => {
  await withDirectory(async (directory) => {
    const told: object[] = [];
    await writeFile(path.join(directory, 'dead_letters'), Buffer.alloc(1000, 'rubbish'));
    await assert.rejects(Array.fromAsync(readDeadLetters(directory)), /damaged beyond reading/);
    const storage = storageIn(directory, {}, { ...SILENT, error: (fields) => told.push(fields) });
    await storage.start?.();
    await storage.deadLetters.add(letter('one'));
    await storage.shutdown?.(NEVER);
    assert.deepEqual(told, [{ file: path.join(directory, 'dead_letters.damaged') }]);
    assert.deepEqual(
      (await lettersIn(directory)).map(({ text }) => text),
      ['one'],
    );
  });
});

FileStorage('takes the keys of the Collector, but never less than fsync, and no others', () => {
  const collector = {
    directory: '/var/lib/otelcol/mydir',
    timeout: '1s',
    compaction: { on_start: true, directory: '/tmp/', max_transaction_size: 65_536 },
    create_directory: true,
    directory_permissions: '0750',
    recreate: true,
    fsync: true,
  };
  assert(fileStorage.config.safeParse(collector).success);
  assert.match(fileStorage.config.safeParse({ fsync: false }).error?.message ?? '', /durability: memory/);
  assert(!fileStorage.config.safeParse({ directry: 'x' }).success);
  assert(!fileStorage.config.safeParse({ max_dead_letter_size: '1KiB' }).success);
});

FileStorage('starts on a directory where everything but its own files is foreign', async () => {
  await withDirectory(async (directory) => {
    await mkdir(path.join(directory, 'lost+found'));
    await writeFile(path.join(directory, 'sluice.pid'), 'not a number');
    const storage = storageIn(directory);
    await storage.start?.();
    assert.equal((await storage.log('postgres').open(NO_EVENTS)).entries, 0);
    await storage.shutdown?.(NEVER);
  });
});

FileStorage.run();
