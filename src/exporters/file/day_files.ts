/**
 * The files of one directory, which belongs to one process: which of them is written to, which are finished, which are
 * old. A file that is finished is never written again; what comes late for its day goes into a part with the next number.
 */
import { lstat, readdir, realpath, rm, stat, unlink } from 'node:fs/promises';
import path from 'node:path';
import type { Logger } from '../../component.ts';
import { lockDirectory, type DirectoryLock } from '../../directory_lock.ts';
import type { Signal } from '../../model/batch.ts';
import { appendLines, makeDirectory, repairTail, syncDirectory } from './append.ts';
import { compressFile } from './compress.ts';
import type { DataFile, NameTemplate } from './names.ts';

const WRITABLE_BY_ALL = 0o002;
const DAY_MS = 86_400_000;

/** Records of a day may still be under way for a while when it is over. */
const FINISHED_AFTER_MS = 900_000;

/** How often finished and old files are looked for. */
const UPKEEP_EVERY_MS = 600_000;

export interface DayFilesSettings {
  readonly directory: string;
  readonly names: NameTemplate;
  /** Largest file, unless what is written at once is larger. */
  readonly maxBytes: number;
  /** 0 keeps files for ever. */
  readonly maxDays: number;
  readonly isCompressed: boolean;
  readonly logger: Logger;
}

/** Lines of one signal that were received on one day. */
export interface DayLines {
  readonly receivedAtMs: number;
  readonly pieces: readonly Uint8Array[];
}

export class DayFiles {
  readonly #settings: DayFilesSettings;
  /** The part that is written to, by series. */
  readonly #parts = new Map<string, number>();
  readonly #stop = new AbortController();
  #directory = '';
  #lock: DirectoryLock | undefined;
  #timer: NodeJS.Timeout | undefined;
  /** What changes files waits for one another here. Never rejects. */
  #last: Promise<unknown> = Promise.resolve();
  #upkeep: Promise<void> | undefined;

  constructor(settings: DayFilesSettings) {
    this.#settings = settings;
  }

  /** Takes the directory and ends torn lines in it. Rejects with one line when it cannot be used. */
  async open(): Promise<void> {
    const { directory, logger } = this.#settings;
    await makeDirectory(directory);
    // From here on its place is fixed, whatever becomes of links on the way to it.
    this.#directory = await realpath(directory);
    if (((await stat(this.#directory)).mode & WRITABLE_BY_ALL) !== 0) {
      logger.warn({ directory }, 'everybody on this machine can write to the directory');
    }
    this.#lock = lockDirectory(this.#directory);
    await this.#recover();
    this.#timer = setInterval(() => this.#keepUp(), UPKEEP_EVERY_MS).unref();
    this.#keepUp();
  }

  /** A file that cannot be repaired stops nothing: what is to be written to it fails later, and is tried again. */
  async #recover(): Promise<void> {
    const { logger } = this.#settings;
    for (const file of await this.#list()) {
      if (file.form === 'unfinished') await rm(this.#pathOf(file), { force: true });
      else this.#note(file);
      if (file.form !== 'plain') continue;
      try {
        const bytes = await repairTail(this.#directory, file.name);
        if (bytes > 0) logger.warn({ file: file.name, bytes }, 'cut off an unfinished line at the end of a file');
      } catch (error) {
        logger.warn({ err: error, file: file.name }, 'a file cannot be read');
      }
    }
    // Which files there are may not have become durable before a crash.
    await syncDirectory(this.#directory);
  }

  /** Resolves when all lines are on disk for good; when it rejects, none of them count as written. */
  append(signal: Signal, days: readonly DayLines[]): Promise<void> {
    return this.#inTurn(async () => {
      const all = [];
      for (const { receivedAtMs, pieces } of days) {
        const series = this.#settings.names.series(signal, receivedAtMs);
        all.push({ name: await this.#nameFor(series, byteLength(pieces)), pieces });
      }
      await appendLines(this.#directory, all);
    });
  }

  /** Waits for what is under way; once the deadline aborts, compression is left to the next start. */
  async close(deadline: AbortSignal): Promise<void> {
    clearInterval(this.#timer);
    const onAbort = () => this.#stop.abort();
    deadline.addEventListener('abort', onAbort, { once: true });
    if (deadline.aborted) onAbort();
    await this.#last;
    await this.#upkeep;
    deadline.removeEventListener('abort', onAbort);
    this.#stop.abort();
    this.#lock?.release();
  }

  /** The name of the part that has room for so many bytes. */
  async #nameFor(series: string, bytes: number): Promise<string> {
    const { names, maxBytes } = this.#settings;
    const part = this.#parts.get(series) ?? 1;
    const name = names.partOf(series, part);
    const size = await this.#sizeOf(name);
    const isFull = size > 0 && size + bytes > maxBytes;
    this.#parts.set(series, isFull ? part + 1 : part);
    if (!isFull) return name;
    this.#keepUp();
    return names.partOf(series, part + 1);
  }

  async #sizeOf(name: string): Promise<number> {
    try {
      return (await lstat(path.join(this.#directory, name))).size;
    } catch {
      return 0;
    }
  }

  /** A compressed part is finished: the next one is written to. */
  #note({ series, part, form }: DataFile): void {
    const next = form === 'compressed' ? part + 1 : part;
    this.#parts.set(series, Math.max(next, this.#parts.get(series) ?? 1));
  }

  /** Removes what is old and compresses what is finished, in the background; a failure is for the next time. */
  #keepUp(): void {
    if (this.#upkeep !== undefined || this.#stop.signal.aborted) return;
    const { logger, isCompressed } = this.#settings;
    const run = async (): Promise<void> => {
      try {
        await this.#inTurn(() => this.#prune());
        if (isCompressed) await this.#compress();
      } catch (error) {
        if (!this.#stop.signal.aborted) logger.warn({ err: error }, 'old files could not be looked after');
      }
      this.#upkeep = undefined;
    };
    // Not before its caller is done: a file that was just found full is finished then.
    this.#upkeep = Promise.resolve().then(run);
  }

  async #prune(): Promise<void> {
    const { maxDays, logger } = this.#settings;
    if (maxDays === 0) return;
    const kept = new Set<string>();
    const pruned: DataFile[] = [];
    for (const file of await this.#list()) {
      const { mtimeMs } = await lstat(this.#pathOf(file));
      // What was queued for long is as old as its day and still new here.
      const isOld = Math.max(file.dayEndMs, mtimeMs) + maxDays * DAY_MS <= Date.now();
      if (isOld) await unlink(this.#pathOf(file));
      if (isOld) pruned.push(file);
      else kept.add(file.series);
    }
    for (const { series } of pruned) if (!kept.has(series)) this.#parts.delete(series);
    const [oldest] = pruned;
    if (oldest === undefined) return;
    await syncDirectory(this.#directory);
    logger.info({ files: pruned.length, oldest: oldest.name }, 'removed old files');
  }

  async #compress(): Promise<void> {
    for (const file of await this.#list()) {
      if (file.form !== 'plain' || !(await this.#inTurn(() => this.#isFinished(file)))) continue;
      await compressFile(this.#directory, file.name, this.#stop.signal);
    }
  }

  /** Says so of the last part of a day that is over, too, and then makes it so. */
  async #isFinished(file: DataFile): Promise<boolean> {
    const current = this.#parts.get(file.series) ?? 1;
    if (file.part < current) return true;
    const { mtimeMs } = await lstat(this.#pathOf(file));
    if (Math.max(file.dayEndMs, mtimeMs) + FINISHED_AFTER_MS > Date.now()) return false;
    this.#parts.set(file.series, file.part + 1);
    return true;
  }

  async #list(): Promise<DataFile[]> {
    const entries = await readdir(this.#directory, { withFileTypes: true });
    return entries
      .filter((entry) => entry.isFile())
      .flatMap(({ name }) => this.#settings.names.parse(name) ?? [])
      .toSorted((a, b) => a.dayEndMs - b.dayEndMs || a.part - b.part);
  }

  #pathOf({ name }: DataFile): string {
    return path.join(this.#directory, name);
  }

  #inTurn<T>(action: () => Promise<T>): Promise<T> {
    const result = this.#last.then(action);
    this.#last = result.catch(() => undefined);
    return result;
  }
}

function byteLength(pieces: readonly Uint8Array[]): number {
  return pieces.reduce((sum, piece) => sum + piece.length, 0);
}
