/**
 * Appends entries to the segments of a log: one write and one fdatasync for all that wait. An entry counts only behind
 * both, and behind the fsync of the directory where its segment is new. What a failed write left is cut off again; a
 * failed sync is the end of the log, because nobody can know what it left.
 */
import path from 'node:path';
import type { Appended } from '../component.ts';
import { PermanentError, RetryableError } from '../errors.ts';
import type { DiskSpace } from './disk_space.ts';
import { datasync, isDiskFull, shortWrite, SyncError, syncDirectory } from './durability.ts';
import { codeOf, type OpenFile } from './files.ts';
import {
  encodeFrameFront,
  encodeSegmentHeader,
  FRAME_HEADER_BYTES,
  frameStart,
  MAX_BODY_BYTES,
  MAX_HEAD_BYTES,
  SEGMENT_HEADER_BYTES,
  segmentName,
} from './frame.ts';
import type { Place, Segment } from './segment.ts';

/** One round takes no more than this, but at least one entry. */
const ROUND_BYTES = 4 << 20;
/** Two parts each and a segment header come to less than the 1,024 that one call may write. */
const ROUND_ENTRIES = 500;
/** The exporters of SDKs give up after 10 s in all, so it must be short. */
const RETRY_AFTER_MS = 2000;
/** What the sender of the data may read, so without paths. */
const LOW_DISK = 'the disk of the queue is nearly full';
const FULL_DISK = 'the disk of the queue is full';

export interface LogWriterSettings extends Place {
  readonly queueId: string;
  readonly segmentBytes: number;
  readonly space: DiskSpace;
  readonly nextSeq: number;
  /** The `seq` of the last entry in the log so far. */
  readonly previous: number;
  /** Resolves once the position file has all the room it will need. */
  readonly preparePosition: () => Promise<unknown>;
  /** The first entry of a new segment is durable. */
  readonly begun: (segment: Segment) => void;
  /** No entry will ever have these numbers. */
  readonly skipped: (first: number, last: number) => void;
  readonly failed: (error: Error) => void;
}

interface Waiting {
  readonly head: Uint8Array;
  readonly body: Uint8Array;
  readonly resolve: (appended: Appended) => void;
  readonly reject: (error: Error) => void;
}

interface Target {
  readonly file: OpenFile;
  readonly segment: Segment;
  /** Its header and its name are on disk. */
  isBegun: boolean;
}

export class LogWriter {
  readonly #settings: LogWriterSettings;
  readonly #frameStart: Buffer;
  #waiting: Waiting[] = [];
  #isRunning = false;
  #idle: Promise<void> = Promise.resolve();
  #target: Target | undefined;
  #nextSeq: number;
  #previous: number;
  #failure: Error | undefined;

  constructor(settings: LogWriterSettings) {
    this.#settings = settings;
    this.#frameStart = frameStart(settings.queueId);
    this.#nextSeq = settings.nextSeq;
    this.#previous = settings.previous;
  }

  get failure(): Error | undefined {
    return this.#failure;
  }

  /** The segment that grows. */
  get current(): Segment | undefined {
    return this.#target?.segment;
  }

  /** Reads the bytes until the promise settles; they must not change meanwhile. How much waits is up to the caller. */
  append(head: Uint8Array, body: Uint8Array): Promise<Appended> {
    if (head.byteLength > MAX_HEAD_BYTES || body.byteLength > MAX_BODY_BYTES) {
      return Promise.reject(new PermanentError(`a record of ${body.byteLength} bytes is too large for the queue`));
    }
    if (this.#failure !== undefined) return Promise.reject(failedError(this.#failure));
    return new Promise((resolve, reject) => {
      this.#waiting.push({ head, body, resolve, reject });
      if (!this.#isRunning) this.#idle = this.#run();
    });
  }

  /** Nothing more may be appended. Waits for what waits. */
  async close(): Promise<void> {
    await this.#idle;
    await this.#seal();
  }

  /** Lets the next entry begin a new segment. False when something is being written now. */
  async retire(): Promise<boolean> {
    if (this.#isRunning) return false;
    await this.#seal();
    return true;
  }

  /** The log has failed outside of a write. */
  fail(error: Error): void {
    if (this.#failure !== undefined) return;
    this.#failure = error;
    this.#settings.failed(error);
  }

  async #run(): Promise<void> {
    this.#isRunning = true;
    while (this.#waiting.length > 0) await this.#round();
    this.#isRunning = false;
  }

  /** Never rejects. */
  async #round(): Promise<void> {
    let round: readonly Waiting[] | undefined;
    try {
      const [first] = this.#waiting;
      if (this.#failure !== undefined) throw failedError(this.#failure);
      if (await this.#settings.space.isLow()) throw new RetryableError(LOW_DISK, { retryAfterMs: RETRY_AFTER_MS });
      const target = await this.#targetFor(first === undefined ? 0 : bytesOf(first));
      round = this.#take(target);
      await this.#store(target, round);
    } catch (error) {
      const reason = this.#reasonOf(error);
      for (const { reject } of round ?? this.#waiting.splice(0)) reject(reason);
    }
  }

  /** As many of those that wait as fit into the segment, but one at least. */
  #take({ segment }: Target): readonly Waiting[] {
    const room = Math.min(ROUND_BYTES, this.#settings.segmentBytes - segment.end);
    let [count, bytes] = [0, 0];
    for (const waiting of this.#waiting) {
      bytes += bytesOf(waiting);
      if (count > 0 && (bytes > room || count >= ROUND_ENTRIES)) break;
      count += 1;
    }
    return this.#waiting.splice(0, count);
  }

  async #store(target: Target, round: readonly Waiting[]): Promise<void> {
    const { segment, file } = target;
    const first = this.#nextSeq;
    // A number is used once, whatever becomes of the entry: a crash may yet bring back what was cut off.
    this.#nextSeq += round.length;
    try {
      await this.#write(target, this.#encode(target, round, first));
      await datasync(file);
      if (!target.isBegun) await syncDirectory(this.#settings.files, this.#settings.directory);
    } catch (error) {
      this.#settings.skipped(first, first + round.length - 1);
      throw error;
    }
    const { queueId } = segment;
    const appended = round.map((waiting, index) => {
      segment.end += bytesOf(waiting);
      return { id: { queueId, seq: first + index }, next: { segment: segment.first, offset: segment.end } };
    });
    segment.last = this.#previous = first + round.length - 1;
    if (!target.isBegun) this.#settings.begun(segment);
    target.isBegun = true;
    for (const [index, { resolve }] of round.entries()) {
      const result = appended[index];
      if (result !== undefined) resolve(result);
    }
  }

  /** The buffers of the callers as they are, with what belongs in front of each. */
  #encode({ segment, isBegun }: Target, round: readonly Waiting[], first: number): Uint8Array[] {
    const { checksum } = this.#settings;
    const parts: Uint8Array[] = isBegun ? [] : [encodeSegmentHeader(segment, Date.now(), checksum)];
    let previous = this.#previous;
    for (const [index, { head, body }] of round.entries()) {
      const seq = first + index;
      parts.push(encodeFrameFront(this.#frameStart, { seq, previous, head, body }, checksum), body);
      previous = seq;
    }
    return parts;
  }

  /** Rejects with the segment given up, and nothing of it left there if that is possible. */
  async #write(target: Target, parts: readonly Uint8Array[]): Promise<void> {
    const at = target.isBegun ? target.segment.end : 0;
    const bytes = parts.reduce((sum, { byteLength }) => sum + byteLength, 0);
    try {
      const written = await target.file.write(parts, at);
      if (written < bytes) throw shortWrite(written, bytes);
    } catch (error) {
      // What cannot be cut off is passed over by readers. A new segment helps where only the size of a file is bounded.
      await target.file.truncate(at).catch(() => undefined);
      await this.#seal();
      throw error;
    }
  }

  async #targetFor(bytes: number): Promise<Target> {
    const target = this.#target;
    if (target !== undefined) {
      const isEmpty = target.segment.last < target.segment.first;
      if (isEmpty || target.segment.end + bytes <= this.#settings.segmentBytes) return target;
      await this.#seal();
    }
    this.#target = await this.#create();
    return this.#target;
  }

  async #create(): Promise<Target> {
    const { files, directory, queueId, preparePosition, skipped } = this.#settings;
    await preparePosition();
    const first = this.#nextSeq;
    const file = await files.open(path.join(directory, segmentName(first)), 'create').catch((error: unknown) => {
      // What nobody could remove keeps its name, and the next attempt takes another one.
      if (codeOf(error) === 'EEXIST') skipped(first, this.#nextSeq++);
      throw error;
    });
    const segment = { first, queueId, last: first - 1, end: SEGMENT_HEADER_BYTES, isDamaged: false };
    return { file, segment, isBegun: false };
  }

  /** Nothing more goes into the current segment; without an entry it is taken away. Never rejects. */
  async #seal(): Promise<void> {
    const target = this.#target;
    this.#target = undefined;
    if (target === undefined) return;
    await target.file.close().catch(() => undefined);
    const { files, directory } = this.#settings;
    if (target.isBegun) return;
    await files.remove(path.join(directory, segmentName(target.segment.first))).catch(() => undefined);
  }

  #reasonOf(error: unknown): RetryableError {
    if (error instanceof SyncError) this.fail(error);
    if (error instanceof RetryableError) return error;
    if (this.#failure !== undefined) return failedError(this.#failure);
    const message = isDiskFull(error) ? FULL_DISK : `the queue cannot be written (${codeOf(error)})`;
    return new RetryableError(message, { cause: error, retryAfterMs: RETRY_AFTER_MS });
  }
}

function bytesOf({ head, body }: Waiting): number {
  return FRAME_HEADER_BYTES + head.byteLength + body.byteLength;
}

function failedError(failure: Error): RetryableError {
  return new RetryableError('the queue on disk has failed', { cause: failure, retryAfterMs: RETRY_AFTER_MS });
}
