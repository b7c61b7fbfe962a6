/**
 * Appends whole lines to files, all of them or none, and makes them durable. A write may be cut short without an error
 * when the disk is full, and by a crash at any byte; what is left of it is taken back.
 */
import { constants } from 'node:fs';
import { mkdir, open, type FileHandle } from 'node:fs/promises';
import path from 'node:path';

export interface Lines {
  /** Of the file, in the directory. */
  readonly name: string;
  /** Each ends with a line break. */
  readonly pieces: readonly Uint8Array[];
}

const NEWLINE = 0x0a;
const CHUNK_BYTES = 65_536;

const { O_APPEND, O_CREAT, O_DIRECTORY, O_EXCL, O_NOFOLLOW, O_RDONLY, O_RDWR } = constants;
const FILE_MODE = 0o600;
const DIRECTORY_MODE = 0o700;

/** Resolves when all of it is on disk for good. When it rejects, what was written is taken back as far as that works. */
export async function appendLines(directory: string, all: readonly Lines[]): Promise<void> {
  const files: OpenFile[] = [];
  try {
    for (const { name, pieces } of all) {
      const file = await openForAppend(directory, name);
      files.push(file);
      await write(file, pieces);
    }
    for (const { handle } of files) await handle.datasync();
    // Nothing of an empty file was ever made durable, nor that there is one.
    if (files.some(({ end }) => end === 0)) await syncDirectory(directory);
  } catch (error) {
    for (const { handle, end } of files) await handle.truncate(end).catch(() => undefined);
    throw error;
  } finally {
    for (const { handle } of files) await handle.close();
  }
}

/** Ends the file behind its last line break. Resolves to how many bytes that took away, normally 0. */
export async function repairTail(directory: string, name: string): Promise<number> {
  const handle = await open(path.join(directory, name), O_RDWR | O_NOFOLLOW);
  try {
    const { size } = await handle.stat();
    const end = await endOfLastLine(handle, size);
    if (end < size) {
      await handle.truncate(end);
      await handle.sync();
    }
    return size - end;
  } finally {
    await handle.close();
  }
}

/** Makes the directory, and those above it that are missing, for its owner alone. */
export async function makeDirectory(directory: string): Promise<void> {
  const first = await mkdir(directory, { recursive: true, mode: DIRECTORY_MODE });
  if (first === undefined) return;
  for (let made = directory; made.length >= first.length; made = path.dirname(made)) {
    await syncDirectory(path.dirname(made));
  }
}

/** Makes durable which files there are. */
export async function syncDirectory(directory: string): Promise<void> {
  const handle = await open(directory, O_RDONLY | O_DIRECTORY);
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

interface OpenFile {
  readonly handle: FileHandle;
  /** Where its last whole line ended. */
  readonly end: number;
}

async function openForAppend(directory: string, name: string): Promise<OpenFile> {
  const file = path.join(directory, name);
  const flags = O_RDWR | O_APPEND | O_NOFOLLOW;
  const existing = await open(file, flags).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'ENOENT') throw error;
  });
  if (existing === undefined) {
    return { handle: await open(file, flags | O_CREAT | O_EXCL, FILE_MODE), end: 0 };
  }
  try {
    const stat = await existing.stat();
    if (!stat.isFile()) throw new Error(`${name} is no regular file`);
    const end = await endOfLastLine(existing, stat.size);
    if (end < stat.size) await existing.truncate(end);
    return { handle: existing, end };
  } catch (error) {
    await existing.close();
    throw error;
  }
}

async function write({ handle }: OpenFile, pieces: readonly Uint8Array[]): Promise<void> {
  const bytes = pieces.reduce((sum, piece) => sum + piece.length, 0);
  const { bytesWritten } = await handle.writev([...pieces]);
  if (bytesWritten < bytes) throw new Error(`${bytesWritten} of ${bytes} bytes could be written`);
}

async function endOfLastLine(handle: FileHandle, size: number): Promise<number> {
  const chunk = Buffer.allocUnsafe(CHUNK_BYTES);
  // Almost always the last byte tells.
  let from = Math.max(size - 1, 0);
  for (let end = size; end > 0; from = Math.max(end - CHUNK_BYTES, 0)) {
    const { bytesRead } = await handle.read(chunk, 0, end - from, from);
    const at = chunk.subarray(0, bytesRead).lastIndexOf(NEWLINE);
    if (at >= 0) return from + at + 1;
    end = from;
  }
  return 0;
}
