import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { suite } from 'uvu';
import { BenchReport } from './bench_report.ts';

const bench = suite('pipeline benchmark');

/** As short as it can be: figures are there or not, and say nothing about speed. */
const SHORT = ['--seconds', '1', '--pairs', '1', '--warm-up', '0.2', '--auth', '--json'];

bench('prints one line of JSON in which every acknowledged span is stored', async () => {
  const file = fileURLToPath(new URL('pipeline.ts', import.meta.url));
  const child = spawn(process.execPath, [file, ...SHORT], { stdio: ['ignore', 'pipe', 'inherit'] });
  const exited = once(child, 'exit');
  const printed = await text(child.stdout);
  assert.deepEqual(await exited, [0, null]);
  assert.equal(printed.indexOf('\n'), printed.length - 1);
  const { rounds, authenticated, authenticationCost } = BenchReport.parse(JSON.parse(printed));
  assert.equal(rounds.length, 1);
  assert.ok(authenticated !== undefined && authenticationCost !== undefined);
  for (const round of rounds) {
    assert.equal(round.stored, round.acknowledged);
    assert.ok(round.authenticated !== undefined);
    assert.equal(round.authenticated.stored, round.authenticated.acknowledged);
  }
});

bench.run();
