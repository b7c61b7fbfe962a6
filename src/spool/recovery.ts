/**
 * What a log finds when it opens: reads all that earlier processes left, one frame at a time, repairs what a crash does to
 * a log, and counts what it does not. Nothing that is found in the files stops it.
 */
import type { LogEvents, LogPlace, LogRecovery } from '../component.ts';
import { datasync } from './durability.ts';
import { FRAME_HEADER_BYTES, SEGMENT_HEADER_BYTES } from './frame.ts';
import type { FoundDamage, FoundEntry, FoundTail } from './frame_cursor.ts';
import { blankPosition, readPosition, type Position } from './position.ts';
import {
  listSegments,
  openSegment,
  segmentCursor,
  segmentPath,
  type OpenSegment,
  type Place,
  type Segment,
  type SegmentRemover,
} from './segment.ts';
import { SeqRanges } from './seq_ranges.ts';

export interface Recovered {
  readonly found: LogRecovery;
  /** Ascending; among them those of which the position says that nobody needs them any more. */
  readonly segments: Segment[];
  /** By queue id, for queues that lost entries to damage: the first of those, at the latest. */
  readonly lostFrom: ReadonlyMap<string, number>;
  /** All below `nextSeq` but the entries that were visited. */
  readonly released: SeqRanges;
  /** What the position file says. */
  readonly position: Omit<Position, 'isCertain'>;
  readonly nextSeq: number;
}

export async function recover(place: Place, remover: SegmentRemover, events: LogEvents): Promise<Recovered> {
  const position = await readPosition(place);
  if (position === undefined) await blankPosition(place).catch(() => undefined);
  const recovery = new Recovery(place, remover, events, position);
  for (const first of await listSegments(place)) await recovery.scan(first);
  return recovery.finish();
}

class Recovery {
  readonly #place: Place;
  readonly #remover: SegmentRemover;
  readonly #events: LogEvents;
  readonly #position: Position | undefined;
  readonly #released: SeqRanges;
  readonly #segments: Segment[] = [];
  readonly #lostFrom = new Map<string, number>();
  /** Segments that end in bytes with nothing valid in or behind them, so far: what a crash leaves of an unfinished write. */
  #torn: Torn[] = [];
  #last: number | undefined;
  #start: LogPlace | undefined;
  #entries = 0;
  /** How many entries there may be at most in what the disk failed to read; their numbers stay free. */
  #unreadable = 0;

  constructor(place: Place, remover: SegmentRemover, events: LogEvents, position: Position | undefined) {
    this.#place = place;
    this.#remover = remover;
    this.#events = events;
    this.#position = position;
    this.#released = position?.released.copy() ?? new SeqRanges();
  }

  async scan(first: number): Promise<void> {
    const opened = await openSegment(this.#place, segmentPath(this.#place, first));
    if (opened === undefined) return;
    try {
      if (opened.size <= SEGMENT_HEADER_BYTES) await this.#remover.remove(first, false);
      else if (opened.queueId === undefined) await this.#isolate(first, opened.size);
      else await this.#scanFrames(first, opened, opened.queueId);
    } finally {
      await opened.file.close();
    }
  }

  async finish(): Promise<Recovered> {
    const tornBytes = await this.#cutTorn();
    const last = this.#last ?? 0;
    const nextSeq = Math.max(last + 1, this.#released.end) + this.#unreadable;
    this.#released.add(last + 1, nextSeq - 1);
    const durable = this.#position?.released ?? new SeqRanges();
    const end = { segment: nextSeq, offset: SEGMENT_HEADER_BYTES };
    return {
      found: { start: this.#start ?? end, end, entries: this.#entries, tornBytes },
      segments: this.#segments,
      lostFrom: this.#lostFrom,
      released: this.#released,
      position: { generation: this.#position?.generation ?? 0, released: durable },
      nextSeq,
    };
  }

  /** Nobody knows whose entries these are, so none of them can be told from a forged one. */
  async #isolate(first: number, bytes: number): Promise<void> {
    await this.#remover.remove(first, true);
    this.#torn.push({ segment: { first, queueId: '', last: first - 1, end: 0, isDamaged: true }, bytes });
  }

  async #scanFrames(first: number, { file, size }: OpenSegment, queueId: string): Promise<void> {
    this.#last ??= (this.#position?.isCertain === true ? Math.min(this.#released.low, first) : first) - 1;
    const segment: Segment = { first, queueId, last: first - 1, end: size, isDamaged: false };
    this.#segments.push(segment);
    const skip = (seq: number): boolean => this.#released.has(seq);
    const cursor = segmentCursor(this.#place, { file, queueId, end: size, last: this.#last, skip });
    for (let found = await cursor.next(); found !== undefined; found = await cursor.next()) {
      if (found.kind === 'entry') this.#visit(segment, found);
      else if (found.kind === 'damage') this.#lose(segment, found);
      else this.#takeTail(segment, found, cursor.hasUnreadable);
    }
    this.#takeLast(segment, cursor.last ?? 0);
    if (cursor.hasUnreadable) this.#unreadable += Math.ceil(size / FRAME_HEADER_BYTES);
  }

  #visit(segment: Segment, { seq, offset, head, body }: FoundEntry): void {
    this.#released.add((this.#last ?? 0) + 1, seq - 1);
    this.#last = seq;
    this.#start ??= { segment: segment.first, offset };
    this.#entries += 1;
    this.#events.visit({ id: { queueId: segment.queueId, seq }, head, body });
  }

  /** What is missing in front of a valid frame stood at the end of the segment before it, if that ends in rubbish. */
  #lose(segment: Segment, { first, last }: FoundDamage): void {
    const entries = this.#released.missing(first, last);
    if (entries === 0) return;
    const culprit = this.#torn.at(-1)?.segment ?? segment;
    culprit.isDamaged = true;
    // They may also be of the queue before, which ends before them in any case.
    if (!this.#lostFrom.has(segment.queueId)) this.#lostFrom.set(segment.queueId, this.#released.firstMissing(first));
    this.#released.add(first, last);
    this.#events.corrupt(entries, segmentPath(this.#place, culprit.first));
  }

  #takeTail(segment: Segment, { offset, end }: FoundTail, hasUnreadable: boolean): void {
    segment.end = offset;
    if (!hasUnreadable) {
      this.#torn.push({ segment, bytes: end - offset });
      return;
    }
    segment.isDamaged = true;
    this.#events.corrupt(1, segmentPath(this.#place, segment.first));
  }

  /** At the end of a segment. Behind a valid frame nothing before it is the unfinished end of the log. */
  #takeLast(segment: Segment, last: number): void {
    if (last < segment.first) return;
    this.#released.add((this.#last ?? 0) + 1, last);
    this.#last = last;
    segment.last = last;
    this.#torn = this.#torn.filter((torn) => torn.segment === segment);
  }

  /**
   * Resolves to the number of bytes that were cut off. What was found at the end is made durable with it, since it counts
   * from now on. An error is no reason to stop: what stays is passed over the next time too.
   */
  async #cutTorn(): Promise<number> {
    for (const { segment } of this.#torn) {
      if (segment.last >= segment.first) continue;
      await this.#remover.remove(segment.first, false);
      const at = this.#segments.indexOf(segment);
      if (at >= 0) this.#segments.splice(at, 1);
    }
    const segment = this.#segments.at(-1);
    if (segment !== undefined) await this.#finishSegment(segment).catch(() => undefined);
    return this.#torn.reduce((sum, { bytes }) => sum + bytes, 0);
  }

  async #finishSegment(segment: Segment): Promise<void> {
    const file = await this.#place.files.open(segmentPath(this.#place, segment.first), 'update');
    try {
      if (this.#torn.some((torn) => torn.segment === segment)) await file.truncate(segment.end);
      await datasync(file);
    } finally {
      await file.close();
    }
  }
}

interface Torn {
  readonly segment: Segment;
  readonly bytes: number;
}
