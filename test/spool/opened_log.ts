/** Logs on real files, in directories that go with the test. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { LogEntry, LogEvents, LogRecovery } from '../../src/component.ts';
import { realFiles, type Files } from '../../src/spool/files.ts';
import { checksum } from '../../src/spool/frame.ts';
import { SpoolLog, type SpoolSettings } from '../../src/spool/log.ts';

export interface OpenedLog {
  readonly log: SpoolLog;
  readonly found: LogRecovery;
  /** The heads of the entries that were visited. */
  readonly visited: string[];
  /** `file name: entries` of each report of damage. */
  readonly corrupt: string[];
  /** The marks, in the order in which they were reported, and each with its queue. */
  readonly settled: number[];
  readonly marks: Map<string, number>;
  readonly failures: Error[];
}

export interface OpenSettings extends Partial<SpoolSettings> {
  readonly files?: Files;
  readonly nowMs?: () => number;
}

export async function openLog(directory: string, settings: OpenSettings = {}): Promise<OpenedLog> {
  const { files = realFiles, nowMs = () => performance.now(), ...rest } = settings;
  const log = new SpoolLog({ directory, minFreeBytes: 0, ...rest }, { files, checksum, nowMs });
  const [visited, corrupt, settled, failures]: [string[], string[], number[], Error[]] = [[], [], [], []];
  const marks = new Map<string, number>();
  const events: LogEvents = {
    visit: ({ head }) => visited.push(Buffer.from(head).toString()),
    corrupt: (entries, file) => corrupt.push(`${path.basename(file)}: ${entries}`),
    settled: (queueId, seq) => {
      settled.push(seq);
      marks.set(queueId, seq);
    },
    failed: (error) => failures.push(error),
  };
  return { log, found: await log.open(events), visited, corrupt, settled, marks, failures };
}

/** Appends entries with these heads, all at once, and bodies of so many bytes. */
export function appendAll(log: SpoolLog, heads: readonly string[], bodyBytes = 100) {
  return Promise.all(heads.map((head) => log.append(Buffer.from(head), Buffer.alloc(bodyBytes, head))));
}

export async function readAll(
  { log, found }: Pick<OpenedLog, 'log' | 'found'>,
  maxBytes = 1 << 20,
): Promise<LogEntry[]> {
  const all: LogEntry[] = [];
  for (let place = found.start; ;) {
    const { entries, next } = await log.read(place, maxBytes);
    if (entries.length === 0) return all;
    all.push(...entries);
    place = next;
  }
}

export const headsOf = (entries: readonly LogEntry[]): string[] =>
  entries.map(({ head }) => Buffer.from(head).toString());

export async function withDirectory<T>(work: (directory: string) => Promise<T>): Promise<T> {
  const directory = await mkdtemp(path.join(tmpdir(), 'spool-'));
  try {
    return await work(directory);
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}
