/**
 * A file system in memory that loses at a crash what a real one may lose: of every write that was not followed by a sync
 * any sectors, and of every change of a directory that was not followed by a sync of the directory the change itself. It
 * also runs full, writes short, fails to sync, and ends its process in the middle of whatever is under way.
 */
import path from 'node:path';
import type { Files, OpenFile } from '../../src/spool/files.ts';

const SECTOR_BYTES = 512;

/** What goes wrong next; each happens once. */
export interface Faults {
  /** Bytes that can still be written before the disk is full; undefined for no bound. */
  roomBytes: number | undefined;
  /** The next write to a segment writes only a part, without an error. */
  shortWrite: boolean;
  /** The next truncate fails. */
  noTruncate: boolean;
  /** The next fdatasync fails, and so do all later ones of that file. */
  syncError: boolean;
  /** After so many operations the process is gone: nothing it does has any effect or end. */
  operationsLeft: number;
}

/** Switches off what the code under test relies on. */
export interface Sabotage {
  readonly noDatasync?: boolean;
  readonly noDirectorySync?: boolean;
  readonly noPosition?: boolean;
}

type Change = { readonly at: number; readonly bytes: Buffer } | { readonly size: number };

class Inode {
  /** What reads see. */
  content: Buffer = Buffer.alloc(0);
  /** What is on disk for good, and what came since. */
  durable: Buffer = Buffer.alloc(0);
  pending: Change[] = [];
  isBroken = false;

  apply(change: Change): void {
    this.content = applied(this.content, change);
    this.pending.push(change);
  }

  sync(): void {
    this.durable = this.content;
    this.pending = [];
  }
}

interface NameChange {
  readonly file: string;
  /** Undefined for a name that is taken away. */
  readonly inode: Inode | undefined;
}

export type Random = () => number;

export class CrashingFiles {
  readonly faults: Faults = {
    roomBytes: undefined,
    shortWrite: false,
    noTruncate: false,
    syncError: false,
    operationsLeft: Infinity,
  };
  readonly #sabotage: Sabotage;
  readonly #random: Random;
  #names = new Map<string, Inode>();
  #durableNames = new Map<string, Inode>();
  #pendingNames: NameChange[] = [];
  #life = 0;

  constructor(random: Random, sabotage: Sabotage = {}) {
    this.#random = random;
    this.#sabotage = sabotage;
  }

  /** Whether the process of the last `process()` was ended by `operationsLeft`. */
  get isDead(): boolean {
    return this.faults.operationsLeft < 0;
  }

  /** The file system as the next process sees it; what earlier ones still do has no effect any more. */
  process(): Files {
    this.#life += 1;
    Object.assign(this.faults, { shortWrite: false, noTruncate: false, syncError: false, operationsLeft: Infinity });
    return this.#filesOf(this.#life);
  }

  /** The machine stops. Of what was not synchronised a part is there afterwards. */
  powerLoss(): void {
    for (const change of this.#pendingNames) if (this.#random() < 0.5) setName(this.#durableNames, change);
    for (const inode of new Set([...this.#names.values(), ...this.#durableNames.values()])) {
      inode.content = this.#afterPowerLoss(inode);
      inode.isBroken = false;
      inode.sync();
    }
    this.#names = new Map(this.#durableNames);
    this.#pendingNames = [];
  }

  /** Paths of files whose name matches, sorted. */
  paths(pattern: RegExp): string[] {
    return [...this.#names.keys()].filter((file) => pattern.test(file)).toSorted();
  }

  contentOf(file: string): Buffer {
    return this.#names.get(file)?.content ?? Buffer.alloc(0);
  }

  /** Changes a file at rest, for good. */
  edit(file: string, change: (content: Buffer) => Buffer): void {
    const inode = this.#names.get(file);
    if (inode === undefined) return;
    inode.content = change(Buffer.from(inode.content));
    inode.sync();
  }

  /** A file that was always there. */
  put(file: string, content: Buffer): void {
    const inode = new Inode();
    inode.content = content;
    inode.sync();
    this.#names.set(file, inode);
    this.#durableNames.set(file, inode);
  }

  removeForGood(file: string): void {
    this.#names.delete(file);
    this.#durableNames.delete(file);
    this.#pendingNames = this.#pendingNames.filter((change) => change.file !== file);
  }

  #afterPowerLoss({ durable, pending }: Inode): Buffer {
    let content = durable;
    for (const change of pending) {
      if (this.#random() < 0.3) continue;
      content = 'size' in change || this.#random() < 0.5 ? applied(content, change) : this.#torn(content, change);
    }
    return content;
  }

  /** Only some sectors of a write got through; the others hold what was there, or zeros. */
  #torn(content: Buffer, { at, bytes }: { at: number; bytes: Buffer }): Buffer {
    let result = content;
    for (let from = at; from < at + bytes.length;) {
      const to = Math.min(at + bytes.length, from + SECTOR_BYTES - (from % SECTOR_BYTES));
      if (this.#random() < 0.5) result = applied(result, { at: from, bytes: bytes.subarray(from - at, to - at) });
      from = to;
    }
    return result;
  }

  #setName(file: string, inode: Inode | undefined): void {
    const change = { file, inode };
    setName(this.#names, change);
    this.#pendingNames.push(change);
  }

  /** Every operation is a point at which the process may end. */
  async #step(life: number): Promise<void> {
    await Promise.resolve();
    if (life === this.#life) this.faults.operationsLeft -= 1;
    if (life !== this.#life || this.isDead) await new Promise<never>(() => {});
  }

  #filesOf(life: number): Files {
    const step = (): Promise<void> => this.#step(life);
    return {
      makeDirectory: step,
      list: async (directory) => {
        await step();
        const within = [...this.#names.keys()].filter((file) => path.dirname(file) === directory);
        return within.map((file) => path.basename(file));
      },
      open: async (file, mode) => {
        await step();
        const found = this.#names.get(file);
        if (mode === 'create' && found !== undefined) throw failure('EEXIST');
        if (mode !== 'create' && found === undefined) throw failure('ENOENT');
        const inode = found ?? new Inode();
        if (found === undefined) this.#setName(file, inode);
        return this.#openFile(step, file, inode);
      },
      remove: async (file) => {
        await step();
        if (!this.#names.has(file)) throw failure('ENOENT');
        this.#setName(file, undefined);
      },
      rename: async (from, to) => {
        await step();
        const inode = this.#names.get(from);
        if (inode === undefined) throw failure('ENOENT');
        this.#setName(to, inode);
        this.#setName(from, undefined);
      },
      syncDirectory: async () => {
        await step();
        if (this.#sabotage.noDirectorySync === true) return;
        this.#durableNames = new Map(this.#names);
        this.#pendingNames = [];
      },
      freeBytes: async () => {
        await step();
        return this.faults.roomBytes ?? Infinity;
      },
    };
  }

  #openFile(step: () => Promise<void>, file: string, inode: Inode): OpenFile {
    const isPosition = file.endsWith('/position');
    return {
      size: async () => {
        await step();
        return inode.content.length;
      },
      read: async (into, position) => {
        await step();
        return inode.content.copy(into, 0, position);
      },
      write: async (parts, position) => {
        await step();
        const bytes = Buffer.concat(parts);
        if (isPosition && this.#sabotage.noPosition === true) return bytes.length;
        const written = this.#roomFor(inode, position, bytes.length);
        inode.apply({ at: position, bytes: bytes.subarray(0, written) });
        return written;
      },
      datasync: async () => {
        await step();
        if (this.faults.syncError) inode.isBroken = true;
        this.faults.syncError = false;
        if (inode.isBroken) throw failure('EIO');
        if (this.#sabotage.noDatasync !== true) inode.sync();
      },
      truncate: async (size) => {
        await step();
        if (this.faults.noTruncate) {
          this.faults.noTruncate = false;
          throw failure('EIO');
        }
        inode.apply({ size });
      },
      close: step,
    };
  }

  /** How many of the bytes can be written; throws when that is none. */
  #roomFor(inode: Inode, position: number, bytes: number): number {
    const { faults } = this;
    const growth = Math.max(0, position + bytes - inode.content.length);
    if (faults.shortWrite && growth > 0) {
      faults.shortWrite = false;
      return Math.floor(this.#random() * bytes);
    }
    if (faults.roomBytes === undefined || growth === 0) return bytes;
    if (faults.roomBytes === 0) throw failure('ENOSPC');
    const written = Math.min(bytes, bytes - growth + faults.roomBytes);
    faults.roomBytes = Math.max(0, faults.roomBytes - growth);
    return written;
  }
}

function setName(names: Map<string, Inode>, { file, inode }: NameChange): void {
  if (inode === undefined) names.delete(file);
  else names.set(file, inode);
}

function applied(content: Buffer, change: Change): Buffer {
  if ('size' in change) {
    return Buffer.concat([content.subarray(0, change.size), Buffer.alloc(Math.max(0, change.size - content.length))]);
  }
  const { at, bytes } = change;
  const result = Buffer.alloc(Math.max(content.length, at + bytes.length));
  content.copy(result);
  bytes.copy(result, at);
  return result;
}

function failure(code: string): Error {
  return Object.assign(new Error(code), { code });
}
