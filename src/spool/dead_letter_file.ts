/**
 * One file of entries that only people take out of it: frames as in a segment, each durable before it counts, and no more
 * bytes than it may have.
 */
import { randomUUID } from 'node:crypto';
import path from 'node:path';
import { PermanentError, RetryableError } from '../errors.ts';
import { datasync, isDiskFull, messageOf, shortWrite, SyncError, syncDirectory } from './durability.ts';
import { codeOf, realFiles, type Files, type OpenFile } from './files.ts';
import {
  checksum,
  encodeFrameFront,
  encodeSegmentHeader,
  FRAME_HEADER_BYTES,
  frameStart,
  type FrameContent,
  MAX_BODY_BYTES,
  MAX_HEAD_BYTES,
  SEGMENT_HEADER_BYTES,
} from './frame.ts';
import type { FoundDamage, FoundEntry, FoundTail } from './frame_cursor.ts';
import { openSegment, segmentCursor, type OpenSegment } from './segment.ts';

const RETRY_AFTER_MS = 2000;

export interface DeadLetterFileSettings {
  readonly file: string;
  readonly maxBytes: number;
  /** The file cannot be read any more and was put aside under that name. */
  readonly putAside: (file: string) => void;
}

export class DeadLetterFile {
  readonly #settings: DeadLetterFileSettings;
  readonly #files: Files;
  #last: Promise<unknown> = Promise.resolve();
  #target: Target | undefined;
  #failure: SyncError | undefined;
  #isClosed = false;

  constructor(settings: DeadLetterFileSettings, files: Files = realFiles) {
    this.#settings = settings;
    this.#files = files;
  }

  /**
   * Resolves once the entry is on disk for good. Rejects with RetryableError when the file or the disk is full, or when
   * nothing can be made durable any more, or once it is closed.
   */
  add(head: Uint8Array, body: Uint8Array): Promise<void> {
    if (this.#isClosed) return Promise.reject(new RetryableError('the dead letters are closed'));
    const added = this.#last.then(() => this.#add(head, body));
    this.#last = added.catch(() => undefined);
    return added;
  }

  /** Waits for what is being added; behind that nothing touches the file any more. */
  async close(): Promise<void> {
    this.#isClosed = true;
    await this.#last;
    const target = this.#target;
    this.#target = undefined;
    await target?.file.close();
  }

  async #add(head: Uint8Array, body: Uint8Array): Promise<void> {
    if (head.byteLength > MAX_HEAD_BYTES || body.byteLength > MAX_BODY_BYTES) {
      throw new PermanentError(`a record of ${body.byteLength} bytes is too large for the dead letters`);
    }
    try {
      if (this.#failure !== undefined) throw this.#failure;
      const target = (this.#target ??= await openTarget(this.#files, this.#settings));
      if (target.end + FRAME_HEADER_BYTES + head.byteLength + body.byteLength > this.#settings.maxBytes) {
        throw new RetryableError(FULL, { retryAfterMs: RETRY_AFTER_MS });
      }
      await writeFrame(target, { seq: target.seq + 1, head, body });
      await datasync(target.file);
    } catch (error) {
      throw this.#reasonOf(error);
    }
  }

  #reasonOf(error: unknown): Error {
    if (error instanceof RetryableError || error instanceof PermanentError) return error;
    if (error instanceof SyncError) this.#failure = error;
    const why = isDiskFull(error) ? 'the disk is full' : messageOf(error);
    return new RetryableError(`the dead letters cannot be written: ${why}`, {
      cause: error,
      retryAfterMs: RETRY_AFTER_MS,
    });
  }
}

const FULL =
  'the file of dead letters is full; see `sluice dead-letter list`, then replay or drop some, or raise max_dead_letter_size';

interface Target {
  readonly file: OpenFile;
  readonly start: Buffer;
  /** Behind the last frame. */
  end: number;
  /** Of the last frame. */
  seq: number;
}

/** Opens the file for appending, behind what is whole in it. */
async function openTarget(files: Files, { file: name, putAside }: DeadLetterFileSettings): Promise<Target> {
  const opened = await openSegment({ files, checksum }, name, 'update');
  if (opened?.queueId !== undefined) return continueFile(opened, opened.queueId);
  if (opened !== undefined) {
    await opened.file.close();
    const aside = `${name}.damaged`;
    await files.rename(name, aside);
    putAside(aside);
  }
  const target = await createFile(files, name, { queueId: randomUUID(), first: 1 });
  await syncDirectory(files, path.dirname(name));
  return target;
}

async function continueFile(opened: OpenSegment, queueId: string): Promise<Target> {
  const { file, size, first } = opened;
  const cursor = segmentCursor({ checksum }, { file, queueId, end: size, last: 0 });
  let end = size;
  try {
    for (let found = await cursor.next(); found !== undefined; found = await cursor.next()) {
      if (found.kind === 'tail') end = found.offset;
    }
    if (end < size) await file.truncate(end);
  } catch (error) {
    await file.close();
    throw error;
  }
  return { file, start: frameStart(queueId), end, seq: Math.max(first - 1, cursor.last ?? 0) };
}

/** A new file that has only a header, durably; its name is not yet. */
async function createFile(
  files: Files,
  name: string,
  header: { readonly queueId: string; readonly first: number },
): Promise<Target> {
  const file = await files.open(name, 'create');
  try {
    const written = await file.write([encodeSegmentHeader(header, Date.now(), checksum)], 0);
    if (written < SEGMENT_HEADER_BYTES) throw shortWrite(written, SEGMENT_HEADER_BYTES);
    await datasync(file);
  } catch (error) {
    await file.close();
    await files.remove(name);
    throw error;
  }
  return { file, start: frameStart(header.queueId), end: SEGMENT_HEADER_BYTES, seq: header.first - 1 };
}

/** Rejects with nothing of it left in the file, unless that cannot be cut either. */
async function writeFrame(target: Target, content: Omit<FrameContent, 'previous'>): Promise<void> {
  const { seq, body } = content;
  const front = encodeFrameFront(target.start, { ...content, previous: target.seq }, checksum);
  const bytes = front.length + body.byteLength;
  try {
    const written = await target.file.write([front, body], target.end);
    if (written < bytes) throw shortWrite(written, bytes);
  } catch (error) {
    await target.file.truncate(target.end).catch(() => undefined);
    throw error;
  }
  target.end += bytes;
  target.seq = seq;
}

/**
 * All that is in the file, oldest first, also while somebody adds to it. The bytes of an entry are valid until the next
 * one is asked for. Nothing where there is no file; throws PermanentError for one that cannot be read at all.
 */
export async function* readDeadLetterFile(
  name: string,
  files: Files = realFiles,
): AsyncGenerator<FoundEntry | FoundDamage | FoundTail> {
  const opened = await openSegment({ files, checksum }, name);
  if (opened === undefined) return;
  const { file, size, queueId } = opened;
  try {
    if (queueId === undefined) throw new PermanentError(`${name} is damaged beyond reading`);
    const cursor = segmentCursor({ checksum }, { file, queueId, end: size, last: undefined });
    for (let found = await cursor.next(); found !== undefined; found = await cursor.next()) yield found;
  } finally {
    await file.close();
  }
}

/**
 * Writes the file anew without some of its entries and without what is damaged, and resolves to how many those entries
 * were. The old file stays until the new one is on disk for good. Nobody else may have it open.
 */
export async function removeFromDeadLetterFile(
  name: string,
  isRemoved: (seq: number) => boolean,
  files: Files = realFiles,
): Promise<number> {
  const [next, last] = [`${name}.new`, await lastSeq(name, files)];
  if (last === undefined) return 0;
  await files.remove(next).catch((error: unknown) => {
    if (codeOf(error) !== 'ENOENT') throw error;
  });
  const target = await createFile(files, next, { queueId: randomUUID(), first: last + 1 });
  let removed = 0;
  try {
    target.seq = 0;
    for await (const found of readDeadLetterFile(name, files)) {
      if (found.kind !== 'entry') continue;
      if (isRemoved(found.seq)) removed += 1;
      else await writeFrame(target, found);
    }
    await datasync(target.file);
  } finally {
    await target.file.close();
  }
  await files.rename(next, name);
  await syncDirectory(files, path.dirname(name));
  return removed;
}

/** Undefined when there is no file. */
async function lastSeq(name: string, files: Files): Promise<number | undefined> {
  const opened = await openSegment({ files, checksum }, name);
  if (opened === undefined) return undefined;
  let last = opened.first - 1;
  await opened.file.close();
  for await (const found of readDeadLetterFile(name, files)) {
    if (found.kind === 'entry') last = Math.max(last, found.seq);
  }
  return last;
}
