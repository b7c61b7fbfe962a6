/**
 * One process at a time may own a data directory. The lock is the operating system's own, taken through SQLite because
 * Node has no call for it: it ends with its process however that ends, and it holds between containers that share a
 * volume, where process ids mean nothing.
 */
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { PermanentError } from './errors.ts';

/** Result code of SQLite: another connection holds the lock. */
const SQLITE_BUSY = 5;

/** A database that nobody refers to any more is closed by the garbage collector, and its lock ends with it. */
const held = new Set<DatabaseSync>();

export interface DirectoryLock {
  /** May be called again. */
  release(): void;
}

/**
 * Throws PermanentError when another process, or this one, already holds the directory. Works on a full disk: the file
 * with the process id only tells people who holds it.
 */
export function lockDirectory(directory: string): DirectoryLock {
  const pidFile = path.join(directory, 'sluice.pid');
  const database = new DatabaseSync(path.join(directory, 'sluice.lock'), { timeout: 0 });
  try {
    database.exec('PRAGMA journal_mode = MEMORY; BEGIN EXCLUSIVE');
  } catch (error) {
    database.close();
    if (!isBusy(error)) throw error;
    throw new PermanentError(`${directory} is in use by another sluice (pid ${holder(pidFile)})`);
  }
  changePidFile(() => writeFileSync(pidFile, `${process.pid}\n`));
  held.add(database);
  return {
    release() {
      if (!held.delete(database)) return;
      changePidFile(() => rmSync(pidFile, { force: true }));
      database.close();
    },
  };
}

/** Only tells people something, so that whatever keeps it from that is no reason to stop. */
function changePidFile(change: () => void): void {
  try {
    change();
  } catch {
    // On a full disk it is empty, and the holder is unknown.
  }
}

function isBusy(error: unknown): boolean {
  return error instanceof Error && 'errcode' in error && error.errcode === SQLITE_BUSY;
}

function holder(pidFile: string): string {
  try {
    return readFileSync(pidFile, 'utf8').trim() || 'unknown';
  } catch {
    return 'unknown';
  }
}
