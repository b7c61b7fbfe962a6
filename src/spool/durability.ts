/** Errors of the file system, and the one among them after which nothing may be trusted. */
import { codeOf, type Files, type OpenFile } from './files.ts';

/** The disk, the share of its user, or the largest file that the process may write is used up. */
const NO_SPACE = new Set(['ENOSPC', 'EDQUOT', 'EFBIG']);

/**
 * What was written may or may not be on disk, and nobody can find out: the kernel forgets which pages it failed to write,
 * and reports the next attempt as a success. So there is no next attempt.
 */
export class SyncError extends Error {
  override readonly name = 'SyncError';
}

export async function datasync(file: OpenFile): Promise<void> {
  await file.datasync().catch(throwSyncError);
}

export async function syncDirectory(files: Files, directory: string): Promise<void> {
  await files.syncDirectory(directory).catch(throwSyncError);
}

function throwSyncError(error: unknown): never {
  throw new SyncError(messageOf(error), { cause: error });
}

/** Node writes what fits and says so by the number only; the disk's own error would come with the next write. */
export function shortWrite(written: number, bytes: number): Error {
  return Object.assign(new Error(`only ${written} of ${bytes} bytes could be written`), { code: 'ENOSPC' });
}

export function isDiskFull(error: unknown): boolean {
  return NO_SPACE.has(codeOf(error));
}

export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
