/** Which items the daemon's queue on disk holds, as `sluice queue dump` tells: what a row destroys there, it excuses. */
import assert from 'node:assert/strict';
import { sluice } from '../cli/sluice.ts';

const ID_IN_ROW = /"chaos\.id": ?"([0-9.]+)"/g;

/** The ids of the items of every record that can still be read, by queue id and sequence number. */
export async function dumpQueue(queueDirectory: string): Promise<Map<string, readonly string[]>> {
  const { code, stdout, stderr } = await sluice(['queue', 'dump', '--directory', queueDirectory, '--body']);
  assert.equal(code, 0, `sluice queue dump: ${stderr}`);
  const records = stdout.split('\n').filter((line) => line !== '');
  return new Map(records.map((line) => recordOf(JSON.parse(line))));
}

/** Ids of the records that are gone from one dump to the next. */
export function lostItems(
  before: ReadonlyMap<string, readonly string[]>,
  after: ReadonlyMap<string, unknown>,
): string[] {
  return [...before].flatMap(([key, ids]) => (after.has(key) ? [] : ids));
}

function recordOf(line: unknown): [string, string[]] {
  assert(typeof line === 'object' && line !== null && 'queueId' in line && 'seq' in line && 'body' in line);
  const rows = Buffer.from(String(line.body), 'base64').toString('latin1');
  return [`${String(line.queueId)} ${String(line.seq)}`, [...rows.matchAll(ID_IN_ROW)].map(([, id = '']) => id)];
}
