/** Reads the durable entries of an open log in order, while others append to it. */
import type { LogEntry, LogPlace } from '../component.ts';
import { codeOf, type OpenFile } from './files.ts';
import { SEGMENT_HEADER_BYTES } from './frame.ts';
import type { Found, FoundEntry, FrameCursor } from './frame_cursor.ts';
import { segmentCursor, segmentPath, type Place, type Segment } from './segment.ts';
import type { SeqRanges } from './seq_ranges.ts';

export interface LogReaderSettings extends Place {
  /** Ascending; changes while the log is open. */
  readonly segments: readonly Segment[];
  readonly released: SeqRanges;
  /** Entries of the segment from `first` to `last`, if any, are gone for good. */
  readonly lost: (segment: Segment, first: number, last: number) => void;
}

interface Reading {
  readonly segment: Segment;
  readonly file: OpenFile;
  readonly cursor: FrameCursor;
}

export interface ReadEntries {
  readonly entries: readonly LogEntry[];
  /** Behind the last of them. */
  readonly next: LogPlace;
}

/** One call of `read` at a time. Going on where the last one ended costs least. */
export class LogReader {
  readonly #settings: LogReaderSettings;
  #reading: Reading | undefined;
  #underWay: Promise<unknown> = Promise.resolve();

  constructor(settings: LogReaderSettings) {
    this.#settings = settings;
  }

  /** At least one entry if there is one, then more while they come to less than `maxBytes`; released ones are left out. */
  read(from: LogPlace, maxBytes: number): Promise<ReadEntries> {
    const reading = this.#read(from, maxBytes);
    this.#underWay = reading.catch(() => undefined);
    return reading;
  }

  /** Waits for a call that is under way. */
  async close(): Promise<void> {
    await this.#underWay;
    await this.#leave();
  }

  async #read(from: LogPlace, maxBytes: number): Promise<ReadEntries> {
    const entries: LogEntry[] = [];
    let [bytes, next, place] = [0, from, from];
    let segment = this.#segmentAt(place);
    while (segment !== undefined && bytes < maxBytes) {
      const { found, offset } = await this.#step(segment, place);
      place = { segment: segment.first, offset };
      if (found?.kind === 'entry') {
        entries.push(ownEntry(segment.queueId, found));
        bytes += found.end - found.offset;
        next = place;
      }
      segment = this.#segmentAt(place);
    }
    // So that nobody holds the space of a segment that is removed.
    if (segment === undefined) await this.#leave();
    return { entries, next: entries.length === 0 ? place : next };
  }

  /** The first segment with anything at the place or behind it. */
  #segmentAt({ segment, offset }: LogPlace): Segment | undefined {
    return this.#settings.segments.find(({ first, end }) => first > segment || (first === segment && end > offset));
  }

  /** One frame on, or to what is the end of the segment when it begins. */
  async #step(segment: Segment, place: LogPlace): Promise<{ found: Found | undefined; offset: number }> {
    const { lost } = this.#settings;
    const { last, end } = segment;
    const cursor = await this.#cursorAt(segment, place);
    if (cursor === undefined) {
      lost(segment, segment.first, last);
      return { found: undefined, offset: end };
    }
    cursor.extend(end);
    const found = await cursor.next();
    if (found?.kind === 'damage') lost(segment, found.first, found.last);
    if (found?.kind === 'tail') lost(segment, (cursor.last ?? 0) + 1, last);
    return { found, offset: cursor.offset };
  }

  /** Undefined when the file has gone. */
  async #cursorAt(segment: Segment, place: LogPlace): Promise<FrameCursor | undefined> {
    const offset = segment.first === place.segment ? place.offset : SEGMENT_HEADER_BYTES;
    const { files, released } = this.#settings;
    if (this.#reading?.segment === segment && this.#reading.cursor.offset === offset) return this.#reading.cursor;
    await this.#leave();
    const file = await files.open(segmentPath(this.#settings, segment.first), 'read').catch((error: unknown) => {
      if (codeOf(error) === 'ENOENT') return undefined;
      throw error;
    });
    if (file === undefined) return undefined;
    const { queueId, first } = segment;
    let isAhead = true;
    const skip = (seq: number): boolean => isAhead || released.has(seq);
    const cursor = segmentCursor(this.#settings, { file, queueId, end: offset, last: first - 1, skip });
    this.#reading = { segment, file, cursor };
    // Which entries stand before the place tells which are missing behind it.
    while ((await cursor.next()) !== undefined);
    isAhead = false;
    return cursor;
  }

  async #leave(): Promise<void> {
    const file = this.#reading?.file;
    this.#reading = undefined;
    await file?.close();
  }
}

/** In memory of its own, as long as the entry, so that one that is kept keeps no other. */
function ownEntry(queueId: string, { seq, head, body, isOwned }: FoundEntry): LogEntry {
  const id = { queueId, seq };
  if (isOwned) return { id, head, body };
  const memory = Buffer.allocUnsafeSlow(head.length + body.length);
  head.copy(memory);
  body.copy(memory, head.length);
  return { id, head: memory.subarray(0, head.length), body: memory.subarray(head.length) };
}
