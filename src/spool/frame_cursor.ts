/**
 * Reads the frames of one file in order, with a bounded window on it, and finds its way behind damage. Everything that
 * reads a log reads it through here: recovery, the senders, the dead letters and the commands.
 */
import { codeOf, type OpenFile } from './files.ts';
import {
  decodeFrameHeader,
  FRAME_HEADER_BYTES,
  frameBytes,
  frameStart,
  type Checksum,
  type FrameHeader,
} from './frame.ts';

/** So much of the file is in memory; a larger frame is read to memory of its own. */
const WINDOW_BYTES = 256 * 1024;
/** What a disk loses at once. */
const SECTOR_BYTES = 4096;

export interface CursorSettings {
  readonly file: OpenFile;
  readonly queueId: string;
  readonly checksum: Checksum;
  /** Where to begin, and where the frames end. */
  readonly from: number;
  readonly end: number;
  /** The `seq` of the last entry in front of `from`; undefined when it does not matter what is missing there. */
  readonly last: number | undefined;
  /** Frames of these are passed over unread. */
  readonly skip?: (seq: number) => boolean;
}

export type Found = FoundEntry | FoundDamage | FoundTail;

interface Region {
  readonly offset: number;
  /** Where the next begins. */
  readonly end: number;
}

export interface FoundEntry extends Region {
  readonly kind: 'entry';
  readonly seq: number;
  /** Both are valid until the next call; longer where they are `isOwned`, in memory that is used for nothing else. */
  readonly head: Buffer;
  readonly body: Buffer;
  readonly isOwned: boolean;
}

/** Nothing valid stands in this region, which may be empty; a valid frame stands behind it. */
export interface FoundDamage extends Region {
  readonly kind: 'damage';
  /** Entries from `first` to `last`, if any, are missing; among those are numbers that no entry ever had. */
  readonly first: number;
  readonly last: number;
}

/** Nothing valid stands from here to the end. */
export interface FoundTail extends Region {
  readonly kind: 'tail';
}

export class FrameCursor {
  readonly #settings: CursorSettings;
  readonly #frameStart: Buffer;
  #window = Buffer.alloc(0);
  /** Where in the file the window begins, and how many bytes of it are filled. */
  #base: number;
  #filled = 0;
  #offset: number;
  #end: number;
  #last: number | undefined;
  #hasUnreadable = false;

  constructor(settings: CursorSettings) {
    this.#settings = settings;
    this.#frameStart = frameStart(settings.queueId);
    this.#base = settings.from;
    this.#offset = settings.from;
    this.#end = settings.end;
    this.#last = settings.last;
  }

  /** Where the next frame begins. */
  get offset(): number {
    return this.#offset;
  }

  /** The `seq` of the last valid frame, passed over or not. */
  get last(): number | undefined {
    return this.#last;
  }

  /** Whether the disk failed to read some of it, which may be well another time. */
  get hasUnreadable(): boolean {
    return this.#hasUnreadable;
  }

  /** Frames have been added up to there. */
  extend(end: number): void {
    this.#end = end;
  }

  /** Undefined at the end. */
  async next(): Promise<Found | undefined> {
    let start = this.#offset;
    while (this.#offset < this.#end) {
      const header = await this.#headerAt(this.#offset);
      if (header === undefined) {
        this.#offset = await this.#candidateBehind(this.#offset);
        continue;
      }
      const end = this.#offset + frameBytes(header);
      if (end > this.#end) break;
      const isSkipped = this.#settings.skip?.(header.seq) === true;
      const payload = isSkipped ? undefined : await this.#payloadOf(header);
      if (isSkipped || payload !== undefined) {
        const damage = this.#damageBefore(header, start);
        if (damage !== undefined) return damage;
        this.#last = header.seq;
        start = end;
      }
      const offset = this.#offset;
      this.#offset = end;
      if (payload !== undefined) return { kind: 'entry', offset, end, seq: header.seq, ...payload };
    }
    this.#offset = this.#end;
    return start < this.#end ? { kind: 'tail', offset: start, end: this.#end } : undefined;
  }

  /** The valid header is that of the frame at the offset; `start` is where the last valid frame ended. */
  #damageBefore({ previous }: FrameHeader, start: number): FoundDamage | undefined {
    const last = this.#last ?? previous;
    this.#last = Math.max(last, previous);
    if (start === this.#offset && previous <= last) return undefined;
    return { kind: 'damage', offset: start, end: this.#offset, first: last + 1, last: previous };
  }

  async #headerAt(offset: number): Promise<FrameHeader | undefined> {
    const header = decodeFrameHeader(await this.#view(offset, FRAME_HEADER_BYTES), this.#settings.checksum);
    if (header === undefined || header.queueId !== this.#settings.queueId) return undefined;
    return header.seq > (this.#last ?? 0) && header.previous < header.seq ? header : undefined;
  }

  /** The next place behind `offset` where a frame of this queue seems to begin. */
  async #candidateBehind(offset: number): Promise<number> {
    let from = offset + 1;
    while (from < this.#end) {
      const view = await this.#view(from, WINDOW_BYTES);
      if (view.length < this.#frameStart.length) break;
      const at = view.indexOf(this.#frameStart);
      if (at >= 0) return from + at;
      from += view.length - this.#frameStart.length + 1;
    }
    return this.#end;
  }

  /** Undefined when it is damaged. */
  async #payloadOf({ headBytes, bodyBytes, sum }: FrameHeader): Promise<Payload | undefined> {
    const offset = this.#offset + FRAME_HEADER_BYTES;
    const length = headBytes + bodyBytes;
    const isLarge = length > WINDOW_BYTES;
    const bytes = isLarge ? Buffer.allocUnsafeSlow(length) : await this.#view(offset, length);
    if (isLarge && !(await this.#readFully(bytes, offset))) return undefined;
    if (bytes.length < length || this.#settings.checksum(bytes) !== sum) return undefined;
    return { head: bytes.subarray(0, headBytes), body: bytes.subarray(headBytes), isOwned: isLarge };
  }

  async #readFully(into: Buffer, position: number): Promise<boolean> {
    try {
      return (await readAt(this.#settings.file, into, position)) === into.length;
    } catch (error) {
      if (codeOf(error) !== 'EIO') throw error;
      this.#hasUnreadable = true;
      return false;
    }
  }

  /** These bytes of the file, fewer at the end. Valid until the next call. */
  async #view(offset: number, length: number): Promise<Buffer> {
    const wanted = Math.min(offset + length, this.#end);
    if (offset < this.#base || wanted > this.#base + this.#filled) await this.#moveWindow(offset);
    const at = offset - this.#base;
    return this.#window.subarray(at, Math.min(at + length, this.#filled));
  }

  /** Keeps what is behind the offset, and fills up. */
  async #moveWindow(offset: number): Promise<void> {
    const at = offset - this.#base;
    const kept = at < 0 ? this.#window.subarray(0, 0) : this.#window.subarray(Math.min(at, this.#filled), this.#filled);
    const size = Math.min(WINDOW_BYTES, this.#end - offset);
    const window = this.#window.length < size ? Buffer.allocUnsafeSlow(size) : this.#window;
    kept.copy(window);
    this.#window = window;
    this.#base = offset;
    this.#filled = kept.length;
    this.#filled += await this.#fill(window.subarray(kept.length, size), offset + kept.length);
  }

  async #fill(part: Buffer, position: number): Promise<number> {
    try {
      return await readAt(this.#settings.file, part, position);
    } catch (error) {
      if (codeOf(error) !== 'EIO') throw error;
      this.#hasUnreadable = true;
      return this.#fillBySectors(part, position);
    }
  }

  /** What cannot be read is zeros, which the checksums find. */
  async #fillBySectors(part: Buffer, position: number): Promise<number> {
    part.fill(0);
    for (let at = 0; at < part.length;) {
      const end = Math.min(part.length, at + SECTOR_BYTES - ((position + at) % SECTOR_BYTES));
      await this.#readFully(part.subarray(at, end), position + at);
      at = end;
    }
    return part.length;
  }
}

interface Payload {
  readonly head: Buffer;
  readonly body: Buffer;
  readonly isOwned: boolean;
}

/** Resolves to the number of bytes, less than asked for at the end of the file. */
export async function readAt(file: OpenFile, into: Buffer, position: number): Promise<number> {
  let done = 0;
  while (done < into.length) {
    const count = await file.read(into.subarray(done), position + done);
    if (count === 0) break;
    done += count;
  }
  return done;
}
