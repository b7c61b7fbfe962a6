/** Runs the static checks one after the other, a line each with its time: `npm run check`. Exits 1 when one fails. */
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';

const ROOT = new URL('..', import.meta.url);
const { FORCE_COLOR: _, ...inherited } = process.env;
const env = { ...inherited, NO_COLOR: '1' };
const OUTPUT_MAX_BYTES = 16 << 20;

const CHECKS: Readonly<Record<string, readonly string[]>> = {
  tsc: ['-p', '.'],
  oxlint: ['--type-aware'],
  prettier: ['--check', '--log-level', 'warn', '.'],
  knip: [],
};

const results = Object.entries(CHECKS).map(([tool, args]) => passes(tool, args));
process.exitCode = results.every(Boolean) ? 0 : 1;

function passes(tool: string, args: readonly string[]): boolean {
  const startedAtMs = performance.now();
  const bin = fileURLToPath(new URL(`node_modules/.bin/${tool}`, ROOT));
  const { status, stdout, stderr, error } = spawnSync(bin, args, {
    cwd: ROOT,
    env,
    encoding: 'utf8',
    maxBuffer: OUTPUT_MAX_BYTES,
  });
  const seconds = ((performance.now() - startedAtMs) / 1000).toFixed(1);
  console.log(`${status === 0 ? 'ok  ' : 'FAIL'} ${tool}  ${seconds} s`);
  if (status !== 0) console.log([stdout, stderr, error?.message].filter(Boolean).join('\n').trimEnd());
  return status === 0;
}
