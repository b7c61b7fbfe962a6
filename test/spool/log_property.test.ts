/** The promise of the log under any sequence of work, crashes and damage, and the proof that this test would notice. */
import assert from 'node:assert/strict';
import * as fc from 'fast-check';
import { suite } from 'uvu';
import { command } from './log_commands.ts';
import { LogModel, type ModelSettings } from './log_model.ts';

const RUNS = 2500;
const MAX_COMMANDS = 25;

type Sabotaged = Omit<ModelSettings, 'seed'>;

const property = (sabotaged: Sabotaged = {}) =>
  fc.asyncProperty(fc.integer(), fc.array(command, { maxLength: MAX_COMMANDS }), (seed, commands) =>
    new LogModel({ ...sabotaged, seed }).run(commands),
  );

const promise = suite('spool: what was acknowledged');

promise('is read once and in order after whatever happens, until it is released', async () => {
  await fc.assert(property(), { numRuns: RUNS });
});

promise.run();

const teeth = suite('spool: the property fails');

const SABOTAGE: readonly (readonly [what: string, sabotaged: Sabotaged])[] = [
  ['without fdatasync', { sabotage: { noDatasync: true } }],
  ['without the checks of the checksums', { checksum: () => 0 }],
  ['without fsync of the directory', { sabotage: { noDirectorySync: true } }],
  ['without the position on disk before segments are removed', { sabotage: { noPosition: true } }],
];

for (const [what, sabotaged] of SABOTAGE) {
  teeth(what, async () => {
    const { failed, numRuns } = await fc.check(property(sabotaged), { numRuns: RUNS, endOnFailure: true });
    assert(failed, `nothing was noticed in ${numRuns} runs`);
  });
}

teeth.run();
