/**
 * A crash-safe log in a directory of its own: what was appended is there again after any crash, each entry once and in
 * order, until it is released. Each opening is a new life of the log, with a queue id of its own, so that no entry ever
 * has the identity of another one, whatever is restored or copied. The directory must be held by nobody else.
 */
import assert from 'node:assert/strict';
import type { Appended, DurableLog, LogEvents, LogPlace, LogRecovery } from '../component.ts';
import { PermanentError, RetryableError } from '../errors.ts';
import { DiskSpace } from './disk_space.ts';
import { messageOf } from './durability.ts';
import { codeOf, realFiles, type Files } from './files.ts';
import { checksum, type Checksum } from './frame.ts';
import type { ReadEntries } from './log_reader.ts';
import { OpenLog } from './open_log.ts';
import { recover } from './recovery.ts';
import { SegmentRemover } from './segment.ts';

export interface SpoolSettings {
  /** Made when it is not there. */
  readonly directory: string;
  /** With less than this on the disk nothing is appended; 0 for no watching. */
  readonly minFreeBytes: number;
  readonly segmentBytes?: number;
}

/** What a test may put in the place of the real world. */
export interface SpoolWorld {
  readonly files: Files;
  readonly checksum: Checksum;
  /** Any clock that never goes back. */
  readonly nowMs: () => number;
}

const REAL_WORLD: SpoolWorld = { files: realFiles, checksum, nowMs: () => performance.now() };

const SEGMENT_BYTES = 16 << 20;
const MAX_CORRUPT_BYTES = 64 << 20;
const CLOSED = 'the queue is closed';

export class SpoolLog implements DurableLog {
  readonly #settings: SpoolSettings;
  readonly #world: SpoolWorld;
  readonly #space: DiskSpace;
  #log: OpenLog | undefined;
  #opening: Promise<unknown> = Promise.resolve();
  #closing: Promise<void> | undefined;

  constructor(settings: SpoolSettings, world: SpoolWorld = REAL_WORLD) {
    this.#settings = settings;
    this.#world = world;
    const { directory, minFreeBytes } = settings;
    this.#space = new DiskSpace({ ...world, directory, minFreeBytes });
  }

  /** Rejects with PermanentError when the directory cannot be used. */
  async open(events: LogEvents): Promise<LogRecovery> {
    assert(this.#log === undefined && this.#closing === undefined, 'a log is opened once');
    const opening = this.#open(events);
    this.#opening = opening.catch(() => undefined);
    return opening;
  }

  async #open(events: LogEvents): Promise<LogRecovery> {
    const { directory, segmentBytes = SEGMENT_BYTES } = this.#settings;
    const place = { ...this.#world, directory };
    const remover = new SegmentRemover(place, MAX_CORRUPT_BYTES);
    try {
      await place.files.makeDirectory(directory);
      const recovered = await recover(place, remover, events);
      this.#log = new OpenLog({ ...place, segmentBytes, space: this.#space, remover, events, recovered });
      return recovered.found;
    } catch (error) {
      if (codeOf(error) === '' || error instanceof PermanentError) throw error;
      throw new PermanentError(`the queue in ${directory} cannot be used: ${messageOf(error)}`, { cause: error });
    }
  }

  append(head: Uint8Array, body: Uint8Array): Promise<Appended> {
    if (this.#closing !== undefined) return Promise.reject(new RetryableError(CLOSED));
    return this.#opened().append(head, body);
  }

  read(from: LogPlace, maxBytes: number): Promise<ReadEntries> {
    if (this.#closing !== undefined) return Promise.reject(new RetryableError(CLOSED));
    return this.#opened().read(from, maxBytes);
  }

  release({ seq }: Appended['id']): void {
    this.#opened().release(seq);
  }

  /** Makes durable now what was released so far, as far as the disk takes it. */
  async persist(): Promise<void> {
    await this.#opened().persist();
  }

  unable(): string | undefined {
    if (this.failure !== undefined) return `the queue on disk has failed: ${this.failure.message}`;
    return this.#space.wasLow() ? 'the disk of the queue is nearly full' : undefined;
  }

  get failure(): Error | undefined {
    return this.#log?.failure;
  }

  /** Resolves, to every caller, once nothing touches the directory any more. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    await this.#opening;
    await this.#log?.close();
  }

  #opened(): OpenLog {
    assert(this.#log !== undefined, 'the log is open');
    return this.#log;
  }
}
