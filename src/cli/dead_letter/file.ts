/**
 * The dead letters in the file of one storage directory. A letter's id is a hash of what makes it this letter, so it
 * stays the same wherever the letter stands, and after a crash a letter that stands there twice is one.
 */
import { createHash } from 'node:crypto';
import type { DeadLetter } from '../../component.ts';
import { lockDirectory, type DirectoryLock } from '../../directory_lock.ts';
import { PermanentError } from '../../errors.ts';
import {
  deadLetterPath,
  encodeLetterHead,
  readDeadLetters,
  removeDeadLetters,
  type DamagedLetters,
  type StoredLetter,
} from '../../extensions/file_storage/dead_letters.ts';
import { encodeHead } from '../../model/record.ts';
import { DeadLetterFile, removeFromDeadLetterFile } from '../../spool/dead_letter_file.ts';
import { isChosen, isEverything, type Choice } from './choice.ts';
import { contentOf } from './content.ts';
import type { Deliveries } from './deliveries.ts';
import type { Letter, OpenedLetter } from './letter.ts';
import type { Tally } from './tally.ts';

const ID = /^[\da-f]{16}$/;
const ID_CHARS = 16;

interface FiledLetter {
  readonly seq: number;
  /** The bytes of its record are valid until the next one is asked for. */
  readonly dead: DeadLetter;
  readonly letter: Letter;
}

export interface FileList {
  readonly directory: string;
  /** The newest last. */
  readonly letters: readonly Letter[];
  /** Entries that another version wrote. */
  readonly unknown: number;
  readonly damagedBytes: number;
}

/** The newest that match, up to the limit. */
export async function listFile(directory: string, choice: Choice, limit: number): Promise<FileList> {
  const letters = new Map<string, Letter>();
  let [unknown, damagedBytes] = [0, 0];
  for await (const found of readDeadLetters(directory)) {
    const letter = readOne(found, directory)?.letter;
    if ('damagedBytes' in found) damagedBytes += found.damagedBytes;
    else if (letter === undefined) unknown += 1;
    else if (isChosen(choice, letter)) addNewest(letters, letter, limit);
  }
  return { directory, letters: [...letters.values()], unknown, damagedBytes };
}

function addNewest(letters: Map<string, Letter>, letter: Letter, limit: number): void {
  letters.delete(letter.id);
  letters.set(letter.id, letter);
  const [oldest] = letters.keys();
  if (letters.size > limit && oldest !== undefined) letters.delete(oldest);
}

/** Undefined when it has none with this id. */
export async function showInFile(directory: string, id: string): Promise<OpenedLetter | undefined> {
  for await (const { dead, letter } of chosenIn(directory, { ids: new Set([id]), filter: {} })) {
    return { letter, content: await contentOf(dead.record) };
  }
  return undefined;
}

/**
 * Removes letters for good and resolves to how many there were. With all of them goes what cannot be read.
 * @param missing loses the ids that are found
 * @throws PermanentError while a gateway has the directory
 */
export async function dropFromFile(directory: string, choice: Choice, missing: Set<string>): Promise<number> {
  if (!mayHave(choice)) return 0;
  const isAll = choice.ids === undefined && isEverything(choice.filter);
  const seqs = new Set<number>();
  let isRewritten = false;
  for await (const found of readDeadLetters(directory)) {
    const read = readOne(found, directory);
    const isDropped = read === undefined ? isAll : isChosen(choice, read.letter);
    isRewritten ||= isDropped;
    if (isDropped && 'seq' in found) seqs.add(found.seq);
    if (isDropped && read !== undefined) missing.delete(read.letter.id);
  }
  if (!isRewritten) return 0;
  return removeDeadLetters(directory, (seq) => seqs.has(seq)).catch((error: unknown) => {
    // The file could be read, so this is the directory's lock.
    throw error instanceof PermanentError ? inUse(error) : error;
  });
}

export interface Replay {
  readonly choice: Choice;
  readonly deliveries: Deliveries;
  readonly tally: Tally;
  readonly stop: AbortSignal;
}

/**
 * Sends letters to the exporters that gave them up, oldest first, and removes those that were delivered. One that is
 * refused stays, with the reason of today. A crash in the middle leaves all, and they are delivered again next time.
 * @throws PermanentError while a gateway has the directory, and ConfigError for an exporter with faults; nothing is sent
 */
export async function replayFile(directory: string, replay: Replay): Promise<void> {
  if (!mayHave(replay.choice)) return;
  let isEmpty = true;
  for await (const { letter } of chosenIn(directory, replay.choice)) {
    replay.deliveries.prepare(letter.exporter);
    isEmpty = false;
  }
  if (isEmpty) return;
  const lock = lockLetters(directory);
  try {
    await replayLocked(directory, replay);
  } finally {
    lock.release();
  }
}

async function replayLocked(directory: string, replay: Replay): Promise<void> {
  const file = deadLetterPath(directory);
  // It may grow to twice its size until the old entries are removed.
  const again = new DeadLetterFile({ file, maxBytes: Infinity, putAside: () => undefined });
  const gone = new Set<number>();
  const done = new Set<string>();
  try {
    for await (const filed of chosenIn(directory, replay.choice)) {
      if (replay.stop.aborted) break;
      if (done.has(filed.letter.id) || (await isOver(filed, replay, again))) gone.add(filed.seq);
      done.add(filed.letter.id);
    }
  } finally {
    await again.close();
    if (gone.size > 0) await removeSent(file, gone);
  }
}

/** Whether this entry of the file is needed no more. */
async function isOver({ dead, letter }: FiledLetter, replay: Replay, again: DeadLetterFile): Promise<boolean> {
  const { deliveries, tally, stop } = replay;
  const delivery = await deliveries.deliver(dead, stop);
  switch (delivery.kind) {
    case 'delivered':
      for (const { items, bytes, reason } of delivery.outcome.refusedParts ?? []) {
        await again.add(encodeLetterHead({ ...dead, reason, record: { ...dead.record, items, bytes } }), bytes);
        tally.refused(letter.id, reason);
      }
      tally.replayed(letter.id, delivery.outcome);
      return true;
    case 'refused': {
      const { reason } = delivery;
      tally.refused(letter.id, reason);
      if (reason === dead.reason) return false;
      await again.add(encodeLetterHead({ ...dead, reason }), dead.record.bytes);
      return true;
    }
    default:
      tally.untried(letter.id);
      if (delivery.reason !== undefined) tally.away(letter.exporter, delivery.reason);
      return false;
  }
}

async function removeSent(file: string, gone: ReadonlySet<number>): Promise<void> {
  try {
    await removeFromDeadLetterFile(file, (seq) => gone.has(seq));
  } catch (cause) {
    throw new Error(`what was replayed cannot be removed from ${file}, and would be delivered once more`, { cause });
  }
}

async function* chosenIn(directory: string, choice: Choice): AsyncGenerator<FiledLetter> {
  if (!mayHave(choice)) return;
  for await (const found of readDeadLetters(directory)) {
    const read = readOne(found, directory);
    if (read !== undefined && isChosen(choice, read.letter)) yield read;
  }
}

/** No file is read for the sake of ids that a database gave. */
function mayHave({ ids }: Choice): boolean {
  return ids === undefined || [...ids].some((id) => ID.test(id));
}

/** Undefined for what is no letter, or one of another version. */
function readOne(found: StoredLetter | DamagedLetters, directory: string): FiledLetter | undefined {
  if ('damagedBytes' in found || found.letter === undefined) return undefined;
  return { seq: found.seq, dead: found.letter, letter: letterOf(found.letter, directory) };
}

function letterOf(dead: DeadLetter, directory: string): Letter {
  const { exporter, reason, at, record } = dead;
  return {
    id: idOf(dead),
    // As precise as the database has it, so that the two can be compared as text.
    dead_at: at.toISOString().replace('Z', '000Z'),
    exporter,
    signal: record.signal,
    org_id: record.tenant.orgId,
    workspace_id: record.tenant.workspaceId,
    target_id: record.tenant.targetId ?? null,
    received_at: new Date(record.receivedAtMs),
    sqlstate: null,
    reason,
    format: record.format,
    items: record.items,
    size_bytes: record.bytes.byteLength,
    where: directory,
  };
}

/** A record that was given up, and once more after a crash, is the same letter; without a place in a queue its time tells. */
function idOf({ exporter, at, record }: DeadLetter): string {
  const { queueId = at, seq = 0 } = record.id ?? {};
  const origin = JSON.stringify([exporter, queueId, seq]);
  const hash = createHash('sha256').update(origin).update(encodeHead(record)).update(record.bytes);
  return hash.digest('hex').slice(0, ID_CHARS);
}

function lockLetters(directory: string): DirectoryLock {
  try {
    return lockDirectory(directory);
  } catch (error) {
    throw error instanceof PermanentError ? inUse(error) : error;
  }
}

function inUse({ message }: PermanentError): PermanentError {
  return new PermanentError(`${message}: stop it, since the dead letters in its file can be changed only then`);
}
