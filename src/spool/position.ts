/**
 * The position file: which entries are released for good. Two slots are written in turn, so that whatever a crash leaves
 * of one, the other is whole. The file has its full size from the beginning, so that a full disk cannot keep it from
 * being written, and with that never keeps space from being freed. A write goes no further than the last range, and the CRC
 * covers no more: what stands behind that in a slot is of older ones.
 *
 *     slot  magic 8 | generation 8 | low-water mark 8 | number of ranges 4 | CRC of all else 4 | ranges of 8 + 8
 */
import path from 'node:path';
import { datasync, shortWrite, syncDirectory } from './durability.ts';
import { codeOf, type Files, type OpenFile } from './files.ts';
import type { Checksum } from './frame.ts';
import type { Place } from './segment.ts';
import { SeqRanges, type Range } from './seq_ranges.ts';

const POSITION_NAME = 'position';

const SLOT_BYTES = 64 * 1024;
const SLOTS = 2;
const MAGIC = Buffer.from('SLUICEP\n', 'latin1');
const SEQ_BYTES = 6;
const CRC_AT = 28;
const RANGES_AT = 32;
const RANGE_BYTES = 16;
/** More are not kept: the entries in them come back after a crash. */
const MAX_RANGES = Math.floor((SLOT_BYTES - RANGES_AT) / RANGE_BYTES);

export interface Position {
  readonly generation: number;
  readonly released: SeqRanges;
  /** False when the other slot is damaged and may have been the newer one. */
  readonly isCertain: boolean;
}

/** Undefined when there is no file, or none of its slots is whole: then nothing is known to be released. */
export async function readPosition({ files, directory, checksum: sum }: Place): Promise<Position | undefined> {
  const bytes = await readSlots(files, path.join(directory, POSITION_NAME));
  const slots = Array.from({ length: SLOTS }, (_, at) => bytes.subarray(at * SLOT_BYTES, (at + 1) * SLOT_BYTES));
  const whole = slots.flatMap((slot) => decodeSlot(slot, sum) ?? []);
  const newest = whole.toSorted((one, other) => other.generation - one.generation)[0];
  return newest && { ...newest, isCertain: whole.length + slots.filter(isEmpty).length >= SLOTS };
}

function isEmpty(slot: Buffer): boolean {
  return slot.equals(Buffer.alloc(slot.length));
}

async function readSlots(files: Files, file: string): Promise<Buffer> {
  const bytes = Buffer.alloc(SLOTS * SLOT_BYTES);
  let opened: OpenFile | undefined;
  try {
    opened = await files.open(file, 'read');
    await opened.read(bytes, 0);
  } catch (error) {
    // A sector that cannot be read is as good as a slot that is damaged.
    if (codeOf(error) !== 'ENOENT' && codeOf(error) !== 'EIO') throw error;
  } finally {
    await opened?.close();
  }
  return bytes;
}

/** So that a slot which could not be read today does not speak for other entries tomorrow. The file keeps its room. */
export async function blankPosition({ files, directory }: Place): Promise<void> {
  const file = await files.open(path.join(directory, POSITION_NAME), 'update');
  try {
    await file.write([Buffer.alloc(Math.min(await file.size(), SLOTS * SLOT_BYTES))], 0);
    await datasync(file);
  } finally {
    await file.close();
  }
}

/** Writes the position of one log. One call at a time; all reject with SyncError when nothing is known any more. */
export class PositionFile {
  readonly #place: Place;
  #generation: number;
  #file: OpenFile | undefined;

  constructor(place: Place, generation: number) {
    this.#place = place;
    this.#generation = generation;
  }

  /** Takes the room on disk that the file will ever need. */
  async prepare(): Promise<OpenFile> {
    this.#file ??= await this.#openFile();
    return this.#file;
  }

  /** Resolves once it is on disk for good, to what was kept: the bounded number of ranges that fits. */
  async write(released: SeqRanges): Promise<SeqRanges> {
    const kept = released.copy(MAX_RANGES);
    const file = await this.prepare();
    const generation = this.#generation + 1;
    const at = (generation % SLOTS) * SLOT_BYTES;
    const slot = encodeSlot(generation, kept, this.#place.checksum);
    const written = await file.write([slot], at);
    if (written < slot.length) throw shortWrite(written, slot.length);
    await datasync(file);
    this.#generation = generation;
    return kept;
  }

  async close(): Promise<void> {
    await this.#file?.close();
    this.#file = undefined;
  }

  async #openFile(): Promise<OpenFile> {
    const { files, directory } = this.#place;
    const name = path.join(directory, POSITION_NAME);
    const file = await files.open(name, 'update').catch((error: unknown) => {
      if (codeOf(error) === 'ENOENT') return files.open(name, 'create');
      throw error;
    });
    try {
      await fillUp(file);
      await syncDirectory(files, directory);
      return file;
    } catch (error) {
      await file.close();
      throw error;
    }
  }
}

async function fillUp(file: OpenFile): Promise<void> {
  const size = await file.size();
  const missing = SLOTS * SLOT_BYTES - size;
  if (missing <= 0) return;
  const written = await file.write([Buffer.alloc(missing)], size);
  if (written === missing) return datasync(file);
  await file.truncate(size);
  throw shortWrite(written, missing);
}

function encodeSlot(generation: number, { low, above }: SeqRanges, sum: Checksum): Buffer {
  const slot = Buffer.alloc(RANGES_AT + above.length * RANGE_BYTES);
  MAGIC.copy(slot);
  slot.writeUIntLE(generation, 8, SEQ_BYTES);
  slot.writeUIntLE(low, 16, SEQ_BYTES);
  slot.writeUInt32LE(above.length, 24);
  for (const [index, { first, last }] of above.entries()) {
    slot.writeUIntLE(first, RANGES_AT + index * RANGE_BYTES, SEQ_BYTES);
    slot.writeUIntLE(last, RANGES_AT + index * RANGE_BYTES + 8, SEQ_BYTES);
  }
  slot.writeUInt32LE(sumOfSlot(slot, sum), CRC_AT);
  return slot;
}

function sumOfSlot(slot: Buffer, sum: Checksum): number {
  return sum(slot.subarray(RANGES_AT), sum(slot.subarray(0, CRC_AT)));
}

function decodeSlot(slot: Buffer, sum: Checksum): Omit<Position, 'isCertain'> | undefined {
  if (!slot.subarray(0, MAGIC.length).equals(MAGIC)) return undefined;
  const count = slot.readUInt32LE(24);
  if (count > MAX_RANGES) return undefined;
  const used = slot.subarray(0, RANGES_AT + count * RANGE_BYTES);
  if (slot.readUInt32LE(CRC_AT) !== sumOfSlot(used, sum)) return undefined;
  const above: Range[] = Array.from({ length: count }, (_, index) => ({
    first: slot.readUIntLE(RANGES_AT + index * RANGE_BYTES, SEQ_BYTES),
    last: slot.readUIntLE(RANGES_AT + index * RANGE_BYTES + 8, SEQ_BYTES),
  }));
  const released = new SeqRanges(slot.readUIntLE(16, SEQ_BYTES), above);
  return { generation: slot.readUIntLE(8, SEQ_BYTES), released };
}
