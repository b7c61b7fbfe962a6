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

/** The entries that one opening of the log appended begin with `first`. */
interface Life {
  readonly queueId: string;
  readonly first: number;
}

export class OpenLog {
  readonly #settings: OpenLogSettings;
  /** Ascending. */
  readonly #segments: Segment[];
  readonly #lives: Life[] = [];
  readonly #writer: LogWriter;
  readonly #reader: LogReader;
  readonly #position: PositionFile;
  readonly #released: SeqRanges;
  /** What the position file on disk says. */
  #durable: SeqRanges;
  #isDirty: boolean;
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
    for (const segment of this.#segments) this.#noteLife(segment);
    this.#writer = new LogWriter({
      ...settings,
      queueId: randomUUID(),
      nextSeq: recovered.nextSeq,
      previous: this.#segments.at(-1)?.last ?? 0,
      preparePosition: () => this.#position.prepare(),
      begun: (segment) => this.#begin(segment),
      skipped: (first, last) => this.#released.add(first, last),
      failed: (error) => events.failed(error),
    });
    const lost = (segment: Segment, first: number, last: number): void => this.#lose(segment, first, last);
    this.#reader = new LogReader({ ...settings, segments: this.#segments, released: this.#released, lost });
    this.#isDirty = false;
    // What is known to be lost need not be found out again.
    if (this.#segments.some(({ isDamaged }) => isDamaged)) this.#touch();
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

  /** Never rejects; what could not be written is tried again. */
  async persist(): Promise<void> {
    this.#persisting = this.#persisting.then(() => this.#persistNow());
    await this.#persisting;
  }

  async close(): Promise<void> {
    await this.#writer.close();
    await this.#reader.close();
    clearTimeout(this.#timer);
    await this.persist();
    clearTimeout(this.#timer);
    await this.#position.close();
  }

  #touch(): void {
    this.#isDirty = true;
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      void this.persist();
    }, RELEASE_DELAY_MS).unref();
  }

  async #persistNow(): Promise<void> {
    const { remover } = this.#settings;
    const low = this.#durable.low;
    if (this.#isDirty && !this.#isPositionLost) await this.#writePosition();
    await remover.removeReleased(this.#segments, this.#durable, (segment) => segment === this.#writer.current);
    if (this.#durable.low > low) this.#settle();
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

  #settle(): void {
    const { low } = this.#durable;
    for (const { queueId, first } of this.#lives) {
      if (first < low) this.#settings.events.settled(queueId, low);
    }
    while ((this.#lives[1]?.first ?? Infinity) <= low) this.#lives.shift();
  }

  #begin(segment: Segment): void {
    this.#segments.push(segment);
    this.#noteLife(segment);
  }

  #noteLife({ queueId, first }: Segment): void {
    if (this.#lives.at(-1)?.queueId !== queueId) this.#lives.push({ queueId, first });
  }

  #lose(segment: Segment, first: number, last: number): void {
    const entries = this.#released.missing(first, last);
    if (entries === 0) return;
    segment.isDamaged = true;
    this.#released.add(first, last);
    this.#settings.events.corrupt(entries, segmentPath(this.#settings, segment.first));
    this.#touch();
  }
}
