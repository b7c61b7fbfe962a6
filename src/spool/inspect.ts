/**
 * Looks at a log without touching it, also while a gateway appends to it: reads what recovery would read, through the same
 * cursor, and repairs nothing.
 */
import { realFiles } from './files.ts';
import { checksum, SEGMENT_HEADER_BYTES } from './frame.ts';
import type { FoundDamage, FoundEntry } from './frame_cursor.ts';
import { readPosition, type Position } from './position.ts';
import { listSegments, openSegment, segmentCursor, segmentPath, type OpenSegment, type Place } from './segment.ts';
import { SeqRanges } from './seq_ranges.ts';

export type Inspected = InspectedEntry | InspectedDamage | InspectedTail;

interface Where {
  readonly file: string;
  readonly offset: number;
  readonly bytes: number;
}

export interface InspectedEntry extends Where {
  readonly kind: 'entry';
  readonly queueId: string;
  readonly seq: number;
  /** Nobody waits for it any more. */
  readonly isReleased: boolean;
  /** Both are valid until the next one is asked for. */
  readonly head: Buffer;
  readonly body: Buffer;
}

interface InspectedDamage extends Where {
  readonly kind: 'damage';
  /** How many entries are lost in it, as far as that is known; 0 also for what was needed by nobody. */
  readonly entries: number;
}

/** The end of the log, where an entry is being written, or was when the process ended. */
interface InspectedTail extends Where {
  readonly kind: 'tail';
}

/** Everything in the segments, oldest first, one entry in memory at a time. Nothing where there is no log. */
export async function* inspectLog(directory: string): AsyncGenerator<Inspected> {
  const place = { files: realFiles, directory, checksum };
  const inspection = new Inspection(place, await readPosition(place));
  const segments = await listSegments(place);
  for (const [index, first] of segments.entries()) {
    yield* inspection.segment(first, index === segments.length - 1);
  }
}

class Inspection {
  readonly #place: Place;
  readonly #isCertain: boolean;
  #released: SeqRanges;
  #last: number | undefined;

  constructor(place: Place, position: Position | undefined) {
    this.#place = place;
    this.#isCertain = position?.isCertain === true;
    this.#released = position?.released ?? new SeqRanges();
  }

  async *segment(first: number, isLast: boolean): AsyncGenerator<Inspected> {
    const file = segmentPath(this.#place, first);
    const opened = await openSegment(this.#place, file);
    if (opened === undefined) return;
    try {
      const { size, queueId } = opened;
      if (size <= SEGMENT_HEADER_BYTES) return;
      if (queueId === undefined) yield { kind: isLast ? 'tail' : 'damage', file, offset: 0, bytes: size, entries: 0 };
      else yield* this.#frames(file, first, opened, queueId, isLast);
    } finally {
      await opened.file.close();
    }
  }

  async *#frames(
    file: string,
    first: number,
    opened: OpenSegment,
    queueId: string,
    isLast: boolean,
  ): AsyncGenerator<Inspected> {
    this.#last ??= (this.#isCertain ? Math.min(this.#released.low, first) : first) - 1;
    const cursor = segmentCursor(this.#place, { file: opened.file, queueId, end: opened.size, last: this.#last });
    for (let found = await cursor.next(); found !== undefined; found = await cursor.next()) {
      const where = { file, offset: found.offset, bytes: found.end - found.offset };
      if (found.kind === 'entry') yield this.#entry(found, where, queueId);
      else if (found.kind === 'tail') yield { ...where, kind: isLast ? 'tail' : 'damage', entries: 0 };
      else yield* this.#damage(found, where);
    }
    this.#last = cursor.last;
  }

  #entry({ seq, head, body }: FoundEntry, where: Where, queueId: string): InspectedEntry {
    return { ...where, kind: 'entry', queueId, seq, isReleased: this.#released.has(seq), head, body };
  }

  async *#damage({ first, last }: FoundDamage, where: Where): AsyncGenerator<InspectedDamage> {
    // A gateway that runs may have removed meanwhile what seems to be missing.
    if (this.#released.missing(first, last) > 0) {
      this.#released = (await readPosition(this.#place))?.released ?? this.#released;
    }
    const entries = this.#released.missing(first, last);
    if (entries > 0 || where.bytes > 0) yield { ...where, kind: 'damage', entries };
  }
}
