/** Runs the tests of storing and delivery once more, on another server than the one that all tests run on. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { text } from 'node:stream/consumers';

const ROOT = new URL('../..', import.meta.url);

export const DELIVERY_TESTS: readonly string[] = [
  'test/store/deliver.test.ts',
  'test/store/deliver_once.test.ts',
  'test/store/copy_sparing.test.ts',
  'test/store/dead_letters.test.ts',
  'test/store/row_values.test.ts',
  'test/store/span_rows.test.ts',
  'test/store/log_rows.test.ts',
  'test/store/metric_rows.test.ts',
  'test/exporters/postgres.test.ts',
];

/** Rejects unless all of the test files pass; each is a process of its own, one after the other. */
export async function passOn(serverUrl: string, files: readonly string[]): Promise<void> {
  for (const file of files) {
    const child = spawn(process.execPath, [file], {
      cwd: ROOT,
      env: { ...process.env, SLUICE_TEST_SERVER_URL: serverUrl },
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    const [output] = await Promise.all([text(child.stdout), once(child, 'close')]);
    assert.equal(child.exitCode, 0, `${file}\n${output}`);
    assert.match(output, /Passed: +[1-9]/, file);
  }
}
