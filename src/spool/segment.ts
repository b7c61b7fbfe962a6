/** The segments of one log: what is known of each, opening them for reading, and taking them away. */
import path from 'node:path';
import { PermanentError } from '../errors.ts';
import { syncDirectory } from './durability.ts';
import { codeOf, type Files, type OpenFile } from './files.ts';
import { FrameCursor, readAt, type CursorSettings } from './frame_cursor.ts';
import {
  decodeFrameHeader,
  decodeSegmentHeader,
  firstOfName,
  FRAME_HEADER_BYTES,
  SEGMENT_HEADER_BYTES,
  segmentName,
  type Checksum,
} from './frame.ts';
import type { SeqRanges } from './seq_ranges.ts';

/** Copies of damaged segments, for whoever wants to know what happened. */
const CORRUPT_FOLDER = 'corrupt';

export interface Segment {
  /** No entry of it has a lower `seq`; also its name. */
  readonly first: number;
  readonly queueId: string;
  /** The last entry that is durable in it; below `first` when there is none. */
  last: number;
  /** Behind the last entry that is durable. */
  end: number;
  isDamaged: boolean;
}

/** Where a log is, and how it is read. */
export interface Place {
  readonly files: Files;
  readonly directory: string;
  readonly checksum: Checksum;
}

export function segmentPath({ directory }: Place, first: number): string {
  return path.join(directory, segmentName(first));
}

/** The `first` of each segment file, ascending. */
export async function listSegments({ files, directory }: Place): Promise<number[]> {
  const names = await files.list(directory);
  return names.flatMap((name) => firstOfName(name) ?? []).toSorted((one, other) => one - other);
}

export interface OpenSegment {
  readonly file: OpenFile;
  readonly size: number;
  /** Undefined when nobody can tell any more whose entries these are. */
  readonly queueId: string | undefined;
  /** What the header says; 1 where it is damaged. */
  readonly first: number;
}

/** Undefined when the file has gone. Throws PermanentError for a file that a newer program has written. */
export async function openSegment(
  { files, checksum }: Omit<Place, 'directory'>,
  name: string,
  mode: 'read' | 'update' = 'read',
): Promise<OpenSegment | undefined> {
  const file = await files.open(name, mode).catch((error: unknown) => {
    if (codeOf(error) === 'ENOENT') return undefined;
    throw error;
  });
  if (file === undefined) return undefined;
  try {
    return { file, size: await file.size(), ...(await readIdentity(file, name, checksum)) };
  } catch (error) {
    await file.close();
    throw error;
  }
}

/** From the header of the segment or, when that is damaged, of its first frame, which stands where no client wrote. */
async function readIdentity(
  file: OpenFile,
  name: string,
  sum: Checksum,
): Promise<Pick<OpenSegment, 'queueId' | 'first'>> {
  const bytes = Buffer.alloc(SEGMENT_HEADER_BYTES + FRAME_HEADER_BYTES);
  const length = await readAt(file, bytes, 0).catch((error: unknown) => {
    if (codeOf(error) === 'EIO') return 0;
    throw error;
  });
  const header = decodeSegmentHeader(bytes.subarray(0, Math.min(length, SEGMENT_HEADER_BYTES)), sum);
  if (header === 'newer') throw new PermanentError(`${name} was written by a newer sluice; start that one`);
  if (header !== undefined) return header;
  return { queueId: decodeFrameHeader(bytes.subarray(SEGMENT_HEADER_BYTES, length), sum)?.queueId, first: 1 };
}

/** A cursor on the frames of a segment, from its beginning unless told otherwise. */
export function segmentCursor(
  { checksum }: Pick<Place, 'checksum'>,
  settings: Omit<CursorSettings, 'checksum' | 'from'> & { readonly from?: number },
): FrameCursor {
  return new FrameCursor({ from: SEGMENT_HEADER_BYTES, ...settings, checksum });
}

/** Takes segments away whose entries are all released; of damaged ones it keeps a copy while there is room for it. */
export class SegmentRemover {
  readonly #place: Place;
  readonly #maxCorruptBytes: number;

  constructor(place: Place, maxCorruptBytes: number) {
    this.#place = place;
    this.#maxCorruptBytes = maxCorruptBytes;
  }

  /** Removes from the list, which is ascending, what can be removed. Never rejects: what is left waits for the next time. */
  async removeReleased(segments: Segment[], durable: SeqRanges, isInUse: (segment: Segment) => boolean): Promise<void> {
    const released = segments.filter(
      (segment) => !isInUse(segment) && durable.missing(segment.first, segment.last) === 0,
    );
    let isChanged = false;
    for (const segment of released) {
      if (!(await this.remove(segment.first, segment.isDamaged))) continue;
      segments.splice(segments.indexOf(segment), 1);
      isChanged = true;
    }
    const { files, directory } = this.#place;
    // A name that comes back after a crash stands for released entries only.
    if (isChanged) await syncDirectory(files, directory).catch(() => undefined);
  }

  /** False when it is still there. */
  async remove(first: number, isDamaged: boolean): Promise<boolean> {
    const file = segmentPath(this.#place, first);
    try {
      // Room on disk is worth more than the copy.
      const isKept = isDamaged && (await this.#keep(first).catch(() => false));
      if (!isKept) await this.#place.files.remove(file);
      return true;
    } catch (error) {
      return codeOf(error) === 'ENOENT';
    }
  }

  /** False when there is no room for a copy. */
  async #keep(first: number): Promise<boolean> {
    const { files, directory } = this.#place;
    const folder = path.join(directory, CORRUPT_FOLDER);
    const file = segmentPath(this.#place, first);
    let bytes = await this.#sizeOf(file);
    for (const name of await files.list(folder)) bytes += await this.#sizeOf(path.join(folder, name));
    if (bytes > this.#maxCorruptBytes) return false;
    await files.makeDirectory(folder);
    await files.rename(file, path.join(folder, segmentName(first)));
    return true;
  }

  async #sizeOf(file: string): Promise<number> {
    const opened = await this.#place.files.open(file, 'read');
    try {
      return await opened.size();
    } finally {
      await opened.close();
    }
  }
}
