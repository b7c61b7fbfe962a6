/** Dead letters as entries of a file: what is known about each is JSON in the head, the record's bytes are the body. */
import path from 'node:path';
import type { DeadLetter } from '../../component.ts';
import { lockDirectory } from '../../directory_lock.ts';
import { decodeHead, encodeHead, type RecordId } from '../../model/record.ts';
import { readDeadLetterFile, removeFromDeadLetterFile } from '../../spool/dead_letter_file.ts';

const FILE_NAME = 'dead_letters';
/** Of what a destination says about a record. */
const MAX_REASON_CHARS = 4096;

export function deadLetterPath(directory: string): string {
  return path.join(directory, FILE_NAME);
}

export function encodeLetterHead({ exporter, reason, at, record }: DeadLetter): Uint8Array {
  const fields = {
    exporter,
    reason: reason.slice(0, MAX_REASON_CHARS),
    at: at.toISOString(),
    id: record.id,
    record: Buffer.from(encodeHead(record)).toString('utf8'),
  };
  return Buffer.from(JSON.stringify(fields), 'utf8');
}

/** Undefined for what `encodeLetterHead` does not write. The body belongs to the caller. */
function decodeLetter(head: Buffer, body: Buffer): DeadLetter | undefined {
  const { exporter, reason, at, id, record } = fieldsOf(head);
  if (typeof exporter !== 'string' || typeof reason !== 'string' || typeof at !== 'string') return undefined;
  const recordHead = typeof record === 'string' ? decodeHead(Buffer.from(record, 'utf8')) : undefined;
  const time = new Date(at);
  if (recordHead === undefined || Number.isNaN(time.getTime())) return undefined;
  return { exporter, reason, at: time, record: { ...recordHead, bytes: body, id: idOf(id) } };
}

function idOf(value: unknown): RecordId | undefined {
  if (typeof value !== 'object' || value === null || !('queueId' in value) || !('seq' in value)) return undefined;
  const { queueId, seq } = value;
  return typeof queueId === 'string' && typeof seq === 'number' ? { queueId, seq } : undefined;
}

function fieldsOf(head: Buffer): Readonly<Record<string, unknown>> {
  try {
    const value: unknown = JSON.parse(head.toString('utf8'));
    return typeof value === 'object' && value !== null ? { ...value } : {};
  } catch {
    return {};
  }
}

export interface StoredLetter {
  /** Names the letter within its file, for good. */
  readonly seq: number;
  /** Undefined where this program cannot read it. The bytes of its record are valid until the next one is asked for. */
  readonly letter: DeadLetter | undefined;
}

/** Bytes of the file in which nothing can be read. */
export interface DamagedLetters {
  readonly damagedBytes: number;
}

/** The dead letters in a storage directory, oldest first, one in memory at a time; also while a gateway adds to them. */
export async function* readDeadLetters(directory: string): AsyncGenerator<StoredLetter | DamagedLetters> {
  for await (const found of readDeadLetterFile(deadLetterPath(directory))) {
    if (found.kind === 'entry') yield { seq: found.seq, letter: decodeLetter(found.head, found.body) };
    else if (found.end > found.offset) yield { damagedBytes: found.end - found.offset };
  }
}

/**
 * Removes letters for good and resolves to how many there were. Throws PermanentError while a gateway has the directory,
 * since it would go on writing to the old file.
 */
export async function removeDeadLetters(directory: string, isRemoved: (seq: number) => boolean): Promise<number> {
  const lock = lockDirectory(directory);
  try {
    return await removeFromDeadLetterFile(deadLetterPath(directory), isRemoved);
  } finally {
    lock.release();
  }
}
