/**
 * Keeps the queues of exporters, and the dead letters, in a directory that one gateway has for itself. What it has
 * confirmed survives crashes of the process and of the machine, as far as the disk keeps what it says it has written.
 */
import { access } from 'node:fs/promises';
import path from 'node:path';
import { z } from 'zod';
import { extensionFactory, type Storage } from '../component.ts';
import { duration } from '../config/duration.ts';
import { size } from '../config/size.ts';
import { lockDirectory, type DirectoryLock } from '../directory_lock.ts';
import { ConfigError, PermanentError } from '../errors.ts';
import { DeadLetterFile } from '../spool/dead_letter_file.ts';
import { realFiles } from '../spool/files.ts';
import { SpoolLog } from '../spool/log.ts';
import { deadLetterPath, encodeLetterHead } from './file_storage/dead_letters.ts';
import { directoryOfLog } from './file_storage/names.ts';

const DEFAULT_DIRECTORY = '.sluice/queue';
const DEFAULT_MIN_FREE_BYTES = 256 * 1024 * 1024;
const DEFAULT_DEAD_LETTER_BYTES = 64 * 1024 * 1024;
const MIN_DEAD_LETTER_BYTES = 64 * 1024;

const WITHOUT_EFFECT = 'Without effect; for configurations of the Collector.';

export const fileStorage = extensionFactory({
  type: 'file_storage',
  config: z.strictObject({
    directory: z.string().min(1).default(DEFAULT_DIRECTORY).describe('Where the queues are kept.'),
    create_directory: z.boolean().default(true).describe('Make the directory when it is not there.'),
    min_free_space: size()
      .default(DEFAULT_MIN_FREE_BYTES)
      .describe('With less than this left on the disk, nothing more is taken; 0 to use it up.'),
    max_dead_letter_size: size({ min: MIN_DEAD_LETTER_BYTES })
      .default(DEFAULT_DEAD_LETTER_BYTES)
      .describe('The most bytes of records to keep that their destination will never take.'),
    fsync: z
      .literal(true, {
        error:
          'true: what is confirmed must survive a crash; `durability: memory` of a sending_queue does without a disk',
      })
      .default(true)
      .describe('Always true: an exporter that may lose what waits has `durability: memory` in its sending_queue.'),
    timeout: duration().optional().describe(`${WITHOUT_EFFECT} A directory that is in use is refused at once.`),
    compaction: z
      .record(z.string(), z.unknown())
      .optional()
      .describe(`${WITHOUT_EFFECT} Space is freed as records are delivered.`),
    recreate: z.boolean().optional().describe(`${WITHOUT_EFFECT} What is damaged is put aside, and the rest goes on.`),
    directory_permissions: z.string().optional().describe(`${WITHOUT_EFFECT} Only the owner may enter: 0700.`),
  }),
  create(config, { id, logger }): Storage {
    const directory = path.resolve(config.directory);
    const logs = new Map<string, SpoolLog>();
    const letters = new DeadLetterFile({
      file: deadLetterPath(directory),
      maxBytes: config.max_dead_letter_size,
      putAside: (file) => logger.error({ file }, 'the dead letters are damaged beyond reading and were put aside'),
    });
    let lock: DirectoryLock | undefined;
    return {
      async start() {
        await prepareDirectory(id, directory, config.create_directory);
        lock = lockStorage(id, directory);
      },
      async shutdown() {
        await Promise.all([...logs.values()].map((log) => log.close()));
        await letters.close();
        lock?.release();
      },
      log(name) {
        const known = logs.get(name);
        if (known !== undefined) return known;
        const folder = directoryOfLog(name);
        if (folder === undefined) throw new PermanentError(`the name ${name} is too long for a queue on disk`);
        const log = new SpoolLog({ directory: path.join(directory, folder), minFreeBytes: config.min_free_space });
        logs.set(name, log);
        return log;
      },
      deadLetters: { add: (letter) => letters.add(encodeLetterHead(letter), letter.record.bytes) },
    };
  },
});

/** Rejects with ConfigError where the directory is none that can be used. */
async function prepareDirectory(id: string, directory: string, isCreated: boolean): Promise<void> {
  try {
    if (!isCreated) await access(directory);
    await realFiles.makeDirectory(directory);
  } catch (error) {
    throw unusable(id, directory, error);
  }
}

/** Throws PermanentError when another process has it. */
function lockStorage(id: string, directory: string): DirectoryLock {
  try {
    return lockDirectory(directory);
  } catch (error) {
    throw error instanceof PermanentError ? error : unusable(id, directory, error);
  }
}

function unusable(id: string, directory: string, error: unknown): ConfigError {
  const reason = error instanceof Error ? error.message : String(error);
  return new ConfigError([{ path: `extensions.${id}.directory`, message: `cannot use ${directory}: ${reason}` }]);
}
