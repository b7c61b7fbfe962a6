/** A log that is open: joins its writer, its reader and its position file, and takes away what nobody needs any more. */
import { randomUUID } from 'node:crypto';
import type { Appended, LogEvents, LogPlace } from '../component.ts';
import type { DiskSpace } from './disk_space.ts';
import { SyncError } from './durability.ts';
import { LogReader, type ReadEntries } from './log_reader.ts';
import { LogWriter } from './log_writer.ts';
import { PositionFile } from './position.ts';
import type { Recovered } from './recovery.ts';
import { segmentPath, type Place, type Segment, type SegmentRemover } from './segment.ts';
import type { SeqRanges } from './seq_ranges.ts';

/** What is released in this time goes to disk together; a crash brings back what was not there yet. */
const RELEASE_DELAY_MS = 200;

export interface OpenLogSettings extends Place {
  readonly segmentBytes: number;
  readonly space: DiskSpace;
  readonly remover: SegmentRemover;
  readonly events: LogEvents;
  readonly recovered: Recovered;
}

/** What one opening of the log appended, as far as it is there. */
interface Life {
  /** No entry of it that may be there has a lower `seq`. */
  readonly first: number;
  newest: Segment;
  /** The mark that was reported last. */
  settled: number;
  /** No entry before this one was lost to damage. */
  lostFrom: number;
}

export class OpenLog {
  readonly #settings: OpenLogSettings;
  /** Ascending. */
  readonly #segments: Segment[];
  /** By queue id. */
  readonly #lives = new Map<string, Life>();
  readonly #queueId = randomUUID();
  readonly #writer: LogWriter;
  readonly #reader: LogReader;
  readonly #position: PositionFile;
  readonly #released: SeqRanges;
  /** What the position file on disk says. */
  #durable: SeqRanges;
  #isDirty = false;
  #isClosed = false;
  #isPositionLost = false;
  #timer: NodeJS.Timeout | undefined;
  #persisting: Promise<void> = Promise.resolve();

  constructor(settings: OpenLogSettings) {
    const { recovered, events } = settings;
    this.#settings = settings;
    this.#segments = recovered.segments;
    this.#released = recovered.released;
    this.#durable = recovered.position.released;
    this.#position = new PositionFile(settings, recovered.position.generation);
    for (const segment of this.#segments) this.#noteLife(segment, 0);
    for (const [queueId, seq] of recovered.lostFrom) this.#noteLost(queueId, seq);
    this.#writer = new LogWriter({
      ...settings,
      queueId: this.#queueId,
      nextSeq: recovered.nextSeq,
      previous: this.#segments.at(-1)?.last ?? 0,
      preparePosition: () => this.#position.prepare(),
      begun: (segment) => this.#begin(segment),
      skipped: (first, last) => this.#released.add(first, last),
      failed: (error) => events.failed(error),
    });
    const lost = (segment: Segment, first: number, last: number): void => this.#lose(segment, first, last);
    this.#reader = new LogReader({ ...settings, segments: this.#segments, released: this.#released, lost });
    // What is known to be lost need not be found out again, and what was settled may not have been told.
    if (this.#segments.length > 0) this.#touch();
  }

  get failure(): Error | undefined {
    return this.#writer.failure;
  }

  append(head: Uint8Array, body: Uint8Array): Promise<Appended> {
    return this.#writer.append(head, body);
  }

  read(from: LogPlace, maxBytes: number): Promise<ReadEntries> {
    return this.#reader.read(from, maxBytes);
  }

  release(seq: number): void {
    this.#released.add(seq, seq);
    this.#touch();
  }

  /** Never rejects; what could not be written is tried again. Does nothing once the log is being closed. */
  async persist(): Promise<void> {
    if (!this.#isClosed) await this.#persistInTurn();
  }

  /** Finishes what is under way. From then on, whatever is called, nothing touches the directory: others may have it. */
  async close(): Promise<void> {
    this.#isClosed = true;
    await this.#writer.close();
    await this.#reader.close();
    await this.#persistInTurn();
    await this.#position.close();
  }

  #touch(): void {
    this.#isDirty = true;
    if (this.#isClosed || this.#timer !== undefined) return;
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      void this.persist();
    }, RELEASE_DELAY_MS).unref();
  }

  #persistInTurn(): Promise<void> {
    this.#persisting = this.#persisting.then(() => this.#persistNow());
    return this.#persisting;
  }

  async #persistNow(): Promise<void> {
    const { remover } = this.#settings;
    if (this.#isDirty && !this.#isPositionLost) await this.#writePosition();
    this.#settle();
    await this.#retireCurrent();
    await remover.removeReleased(this.#segments, this.#durable, (segment) => this.#isInUse(segment));
    this.#dropLives();
  }

  /** On a disk that is nearly full the segment that grows goes as well, once nothing in it is needed. */
  async #retireCurrent(): Promise<void> {
    const { current } = this.#writer;
    if (current === undefined || this.#durable.missing(current.first, current.last) > 0) return;
    if (this.#settings.space.wasLow() && !(await this.#writer.retire())) this.#touch();
  }

  async #writePosition(): Promise<void> {
    this.#isDirty = false;
    try {
      this.#durable = await this.#position.write(this.#released);
    } catch (error) {
      this.#isPositionLost = error instanceof SyncError;
      if (error instanceof SyncError) this.#writer.fail(error);
      else this.#touch();
    }
  }

  /** Tells how far each life is released. A mark stops at what was lost: a good copy of that may still be restored. */
  #settle(): void {
    for (const [queueId, life] of this.#lives) {
      const mark = Math.min(this.#durable.firstMissing(life.first), life.newest.last + 1, life.lostFrom);
      if (mark <= life.settled) continue;
      life.settled = mark;
      this.#settings.events.settled(queueId, mark);
    }
  }

  /** The newest segment of a life stays until its end was reported, because it alone says that there was such a life. */
  #isInUse(segment: Segment): boolean {
    if (segment === this.#writer.current) return true;
    const life = this.#lives.get(segment.queueId);
    return life?.newest === segment && this.#durable.firstMissing(life.first) <= segment.last;
  }

  /** Of a life that is over nothing is left to report once its newest segment has gone. */
  #dropLives(): void {
    for (const [queueId, { newest }] of this.#lives) {
      if (queueId !== this.#queueId && !this.#segments.includes(newest)) this.#lives.delete(queueId);
    }
  }

  #begin(segment: Segment): void {
    this.#segments.push(segment);
    this.#noteLife(segment, segment.first);
  }

  /** `settled` is for a life that is not known yet. */
  #noteLife(segment: Segment, settled: number): void {
    const life = this.#lives.get(segment.queueId);
    if (life !== undefined) life.newest = segment;
    else this.#lives.set(segment.queueId, { first: segment.first, newest: segment, settled, lostFrom: Infinity });
  }

  #noteLost(queueId: string, seq: number): void {
    const life = this.#lives.get(queueId);
    if (life !== undefined) life.lostFrom = Math.min(life.lostFrom, seq);
  }

  #lose(segment: Segment, first: number, last: number): void {
    const entries = this.#released.missing(first, last);
    if (entries === 0) return;
    segment.isDamaged = true;
    this.#noteLost(segment.queueId, this.#released.firstMissing(first));
    this.#released.add(first, last);
    this.#settings.events.corrupt(entries, segmentPath(this.#settings, segment.first));
    this.#touch();
  }
}
