/** The files of the daemon's queues, as rows damage and watch them. */
import { readdir } from 'node:fs/promises';
import path from 'node:path';

export interface QueueFiles {
  /** Paths, oldest first. */
  readonly segments: readonly string[];
  readonly positions: readonly string[];
}

export async function queueFiles(queueDirectory: string): Promise<QueueFiles> {
  const entries = await readdir(queueDirectory, { recursive: true, withFileTypes: true });
  const files = entries.filter((entry) => entry.isFile()).map(({ parentPath, name }) => path.join(parentPath, name));
  return {
    segments: files.filter((file) => file.endsWith('.seg') && !file.includes('/corrupt/')).toSorted(),
    positions: files.filter((file) => path.basename(file) === 'position'),
  };
}
