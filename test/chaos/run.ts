/**
 * The fault matrix with its oracle: `npm run chaos -- [--seed N] [--only 3,7] [--quick] [--sabotage receipt|position]`. Every
 * acknowledgement that the load got is an obligation; what is missing, doubled, invented or corrupted after a fault fails
 * its row. A seed repeats what was chosen; when things happen stays up to the machine. With `--sabotage` the database
 * protects from nothing, so the run fails: by that one sees that the oracle bites.
 *
 * Ends with a table and `N passed, N failed`, as the test runner does.
 */
import assert from 'node:assert/strict';
import { randomInt } from 'node:crypto';
import { mkdir, rm } from 'node:fs/promises';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { lockDirectory } from '../../src/directory_lock.ts';
import { startDatabaseServer } from './database_server.ts';
import { MATRIX } from './matrix.ts';
import { play } from './play.ts';
import { Random } from './random.ts';
import type { Row, Verdict } from './row.ts';
import { progress, table } from './table.ts';

const MAX_SEED = 2 ** 32;

const { values } = parseArgs({
  options: {
    seed: { type: 'string' },
    only: { type: 'string' },
    quick: { type: 'boolean', default: false },
    sabotage: { type: 'string' },
  },
});
const seed = Number(values.seed ?? randomInt(MAX_SEED));
assert(Number.isSafeInteger(seed), '--seed takes a whole number');
const rows = chosenRows();
console.log(`seed ${seed}`);

// Nothing is written outside the clone; what a killed run left is swept by the next one.
const home = fileURLToPath(new URL('../../.sluice/chaos', import.meta.url));
await mkdir(home, { recursive: true, mode: 0o700 });
const lock = lockDirectory(home);
const directory = path.join(home, 'run');
await rm(directory, { recursive: true, force: true });
await mkdir(directory, { mode: 0o700 });
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(130));
const server = await startDatabaseServer(directory);
try {
  process.exitCode = summarise(await playAll());
} finally {
  await server.close();
  await rm(directory, { recursive: true, force: true });
  lock.release();
}

function chosenRows(): readonly Row[] {
  if (values.sabotage !== undefined) return sabotagedRows(values.sabotage);
  const wanted = values.only?.split(',');
  if (wanted === undefined) return MATRIX.filter(({ isQuick }) => !values.quick || isQuick === true);
  const unknown = wanted.filter((number) => !MATRIX.some((row) => row.number === number));
  assert.deepEqual(unknown, [], 'there are no such rows');
  return MATRIX.filter(({ number }) => wanted.includes(number));
}

/** The row that is to show it, judged as any other. */
function sabotagedRows(sabotage: string): readonly Row[] {
  const found = MATRIX.filter((row) => row.sabotage === sabotage).map((row) => ({ ...row, expectsDoubled: false }));
  assert(found.length > 0, `there is no sabotage ${sabotage}`);
  return found;
}

/** Each row has choices of its own, the same whichever rows run before it. */
async function playAll(): Promise<Verdict[]> {
  const verdicts: Verdict[] = [];
  for (const row of rows) {
    const random = new Random(seed + MATRIX.findIndex(({ number }) => number === row.number));
    const verdict = await play(row, { directory, random, isQuick: values.quick, server });
    console.log(progress(verdict));
    verdicts.push(verdict);
  }
  return verdicts;
}

function summarise(verdicts: readonly Verdict[]): number {
  console.log(`\n${table(verdicts)}\n`);
  const count = (outcome: Verdict['outcome']): number =>
    verdicts.filter((verdict) => verdict.outcome === outcome).length;
  const absorbed = verdicts.reduce((sum, { figures }) => sum + (figures?.findings.absorbed ?? 0), 0);
  const isUntested = rows.length > 1 && absorbed === 0;
  const failed = count('FAIL') + (isUntested ? 1 : 0);
  if (isUntested) console.log('FAIL no repeat of a request was absorbed in the whole run');
  const skipped = count('SKIP');
  console.log(`seed ${seed}`);
  console.log(`${count('ok')} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ''}`);
  return failed > 0 ? 1 : 0;
}
