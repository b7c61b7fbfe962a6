/**
 * The bytes of the log. A segment is a header and frames; a frame is a header and the entry's head and body. All numbers
 * are little-endian; sequence numbers take 8 bytes, of which 6 are used.
 *
 *     segment  magic 8 | version 4 | queue id 16 | first seq 8 | created at, ms 8 | zero 16 | CRC 4
 *     frame    magic 4 | queue id 16 | seq 8 | seq before it 8 | head length 4 | body length 4 | CRC of the entry 4 | CRC 4
 *
 * Each frame carries the queue id, so that it can be found again behind damage by what no client can know and put into
 * a body, and so that it survives the loss of its segment's header. It also names the entry before it, so that a reader
 * knows what is missing from what never was: numbers of entries that could not be written are not used again.
 */
import { crc32 } from 'node:zlib';

/** The CRC of the bytes, going on from that of the bytes before them. */
export type Checksum = (bytes: Uint8Array, before?: number) => number;

export const checksum: Checksum = crc32;

export const SEGMENT_HEADER_BYTES = 64;
export const FRAME_HEADER_BYTES = 52;
export const MAX_HEAD_BYTES = 1 << 20;
export const MAX_BODY_BYTES = 256 << 20;

const SEGMENT_MAGIC = Buffer.from('SLUICEQ\n', 'latin1');
const VERSION = 1;
const SEGMENT_CRC_AT = SEGMENT_HEADER_BYTES - 4;

const FRAME_MAGIC = Buffer.from('SLf\n', 'latin1');
const FRAME_CRC_AT = FRAME_HEADER_BYTES - 4;
const SEQ_BYTES = 6;

export interface SegmentHeader {
  readonly queueId: string;
  readonly first: number;
}

export function encodeSegmentHeader({ queueId, first }: SegmentHeader, createdAtMs: number, sum: Checksum): Buffer {
  const bytes = Buffer.alloc(SEGMENT_HEADER_BYTES);
  SEGMENT_MAGIC.copy(bytes);
  bytes.writeUInt32LE(VERSION, 8);
  idBytes(queueId).copy(bytes, 12);
  bytes.writeUIntLE(first, 28, SEQ_BYTES);
  bytes.writeUIntLE(createdAtMs, 36, SEQ_BYTES);
  bytes.writeUInt32LE(sum(bytes.subarray(0, SEGMENT_CRC_AT)), SEGMENT_CRC_AT);
  return bytes;
}

/** Undefined when it is damaged; `newer` when a program to come has written it. */
export function decodeSegmentHeader(bytes: Buffer, sum: Checksum): SegmentHeader | 'newer' | undefined {
  if (bytes.length < SEGMENT_HEADER_BYTES || !bytes.subarray(0, SEGMENT_MAGIC.length).equals(SEGMENT_MAGIC)) {
    return undefined;
  }
  if (bytes.readUInt32LE(SEGMENT_CRC_AT) !== sum(bytes.subarray(0, SEGMENT_CRC_AT))) return undefined;
  if (bytes.readUInt32LE(8) > VERSION) return 'newer';
  return { queueId: idText(bytes.subarray(12, 28)), first: bytes.readUIntLE(28, SEQ_BYTES) };
}

export interface FrameHeader {
  readonly queueId: string;
  readonly seq: number;
  /** The `seq` of the entry that stands before this one in the log; 0 before the first of all. */
  readonly previous: number;
  readonly headBytes: number;
  readonly bodyBytes: number;
  /** Of head and body. */
  readonly sum: number;
}

/** What stands in front of the body: the frame's header and the entry's head. `start` is the `frameStart` of the queue. */
export function encodeFrameFront(start: Buffer, { seq, previous, head, body }: FrameContent, sum: Checksum): Buffer {
  const front = Buffer.allocUnsafe(FRAME_HEADER_BYTES + head.byteLength);
  start.copy(front);
  front.fill(0, 20, 36);
  front.writeUIntLE(seq, 20, SEQ_BYTES);
  front.writeUIntLE(previous, 28, SEQ_BYTES);
  front.writeUInt32LE(head.byteLength, 36);
  front.writeUInt32LE(body.byteLength, 40);
  front.writeUInt32LE(sum(body, sum(head)), 44);
  front.writeUInt32LE(sum(front.subarray(0, FRAME_CRC_AT)), FRAME_CRC_AT);
  front.set(head, FRAME_HEADER_BYTES);
  return front;
}

export interface FrameContent extends Pick<FrameHeader, 'seq' | 'previous'> {
  readonly head: Uint8Array;
  readonly body: Uint8Array;
}

/** Undefined when the bytes do not begin with a frame header, of whatever queue. */
export function decodeFrameHeader(bytes: Buffer, sum: Checksum): FrameHeader | undefined {
  if (bytes.length < FRAME_HEADER_BYTES || !bytes.subarray(0, FRAME_MAGIC.length).equals(FRAME_MAGIC)) return undefined;
  if (bytes.readUInt32LE(FRAME_CRC_AT) !== sum(bytes.subarray(0, FRAME_CRC_AT))) return undefined;
  const headBytes = bytes.readUInt32LE(36);
  const bodyBytes = bytes.readUInt32LE(40);
  if (headBytes > MAX_HEAD_BYTES || bodyBytes > MAX_BODY_BYTES) return undefined;
  return {
    queueId: idText(bytes.subarray(4, 20)),
    seq: bytes.readUIntLE(20, SEQ_BYTES),
    previous: bytes.readUIntLE(28, SEQ_BYTES),
    headBytes,
    bodyBytes,
    sum: bytes.readUInt32LE(44),
  };
}

export function frameBytes({ headBytes, bodyBytes }: Pick<FrameHeader, 'headBytes' | 'bodyBytes'>): number {
  return FRAME_HEADER_BYTES + headBytes + bodyBytes;
}

/** The bytes with which every frame of a queue begins. */
export function frameStart(queueId: string): Buffer {
  return Buffer.concat([FRAME_MAGIC, idBytes(queueId)]);
}

function idBytes(queueId: string): Buffer {
  return Buffer.from(queueId.replaceAll('-', ''), 'hex');
}

function idText(bytes: Buffer): string {
  const hex = bytes.toString('hex');
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join('-');
}

const SEGMENT_NAME = /^(?<first>[0-9a-f]{16})\.seg$/;

export function segmentName(first: number): string {
  return `${first.toString(16).padStart(16, '0')}.seg`;
}

/** The `seq` that a file's name tells; undefined for files that are no segments. */
export function firstOfName(name: string): number | undefined {
  const digits = SEGMENT_NAME.exec(name)?.groups?.['first'];
  const first = digits === undefined ? NaN : parseInt(digits, 16);
  return first > 0 && first < 2 ** (8 * SEQ_BYTES) ? first : undefined;
}
