/**
 * What the spool asks of a file system, and no more: the seam at which tests put one that forgets, fills up and fails.
 * Errors are Node's, known by their `code`.
 */
import { access, constants, mkdir, open, readdir, rename, statfs, unlink } from 'node:fs/promises';
import path from 'node:path';

export interface Files {
  /** Makes a directory only its owner can enter, durably and with those above it; fine when it is there and writable. */
  makeDirectory(directory: string): Promise<void>;
  /** The names in it, unordered; none when there is no such directory. */
  list(directory: string): Promise<readonly string[]>;
  /** `create` fails with EEXIST when the file is there, the other two with ENOENT when it is not. */
  open(file: string, mode: OpenMode): Promise<OpenFile>;
  remove(file: string): Promise<void>;
  /** Replaces what is at `to`. */
  rename(from: string, to: string): Promise<void>;
  /** Makes durable which names the directory holds. */
  syncDirectory(directory: string): Promise<void>;
  /** What may still be written in the file system of this directory. */
  freeBytes(directory: string): Promise<number>;
}

/** `read` only; `update` reads and writes; `create` writes a file that is new, for its owner only. */
type OpenMode = 'read' | 'update' | 'create';

export interface OpenFile {
  size(): Promise<number>;
  /** Resolves to the number of bytes, less than asked for at the end of the file. */
  read(into: Uint8Array, position: number): Promise<number>;
  /**
   * Writes the parts one behind the other. Resolves to the number of bytes that were written, which on a full disk is
   * less than all without any error. At most 1,024 parts.
   */
  write(parts: readonly Uint8Array[], position: number): Promise<number>;
  /** Makes durable what was written and cut. After an error nothing is known, and asking again would tell lies. */
  datasync(): Promise<void>;
  truncate(bytes: number): Promise<void>;
  close(): Promise<void>;
}

const FLAGS = { read: 'r', update: 'r+', create: 'wx+' } as const satisfies Record<OpenMode, string>;

export const realFiles: Files = {
  async makeDirectory(directory) {
    const topmost = await mkdir(directory, { recursive: true, mode: 0o700 });
    await access(directory, constants.R_OK | constants.W_OK | constants.X_OK);
    if (topmost === undefined) return;
    const above = path.dirname(topmost);
    let parent = path.dirname(path.resolve(directory));
    await realFiles.syncDirectory(parent);
    while (parent !== above) {
      parent = path.dirname(parent);
      await realFiles.syncDirectory(parent);
    }
  },
  async list(directory) {
    try {
      return await readdir(directory);
    } catch (error) {
      if (codeOf(error) === 'ENOENT') return [];
      throw error;
    }
  },
  open: openReal,
  remove: unlink,
  rename,
  async syncDirectory(directory) {
    const handle = await open(directory, 'r');
    try {
      await handle.sync();
    } finally {
      await handle.close();
    }
  },
  async freeBytes(directory) {
    const { bavail, bsize } = await statfs(directory);
    return bavail * bsize;
  },
};

async function openReal(file: string, mode: OpenMode): Promise<OpenFile> {
  const handle = await open(file, FLAGS[mode], 0o600);
  return {
    size: async () => (await handle.stat()).size,
    read: async (into, position) => (await handle.read(into, 0, into.length, position)).bytesRead,
    write: async (parts, position) => (await handle.writev(parts, position)).bytesWritten,
    datasync: () => handle.datasync(),
    truncate: (bytes) => handle.truncate(bytes),
    close: () => handle.close(),
  };
}

/** Such as `ENOENT`; empty for what is no error of the file system. */
export function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : '';
}
