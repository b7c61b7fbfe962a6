import assert from 'node:assert/strict';
import { suite } from 'uvu';
import { z } from 'zod';
import { loadConfig } from '../../src/config/load.ts';
import { parseSection } from '../../src/config/schema.ts';
import { sendingQueue } from '../../src/config/sending_queue.ts';
import type { QueueSettings } from '../../src/component.ts';

const test = suite('sending_queue');

const raw = await loadConfig({ files: [], sets: [], env: {} });
const exporter = z.strictObject({ sending_queue: sendingQueue() });
const parse = (value: unknown) => parseSection(exporter, value, 'exporters.postgres', raw);

test('has defaults, also where it is not given or empty', () => {
  const defaults: QueueSettings = { num_consumers: 2, durability: 'commit', batch: { max_size: 8192 } };
  for (const value of [{}, { sending_queue: null }, { sending_queue: {} }, { sending_queue: { batch: null } }]) {
    assert.deepEqual(parse(value), { value: { sending_queue: defaults }, faults: [] });
  }
});

test('refuses what is out of range or not there yet', () => {
  const queue = { num_consumers: 101, durability: 'disk', batch: { max_size: 0 } };
  assert.deepEqual(parse({ sending_queue: queue }).faults, [
    { path: 'exporters.postgres.sending_queue.num_consumers', message: 'found 101; allowed: at most 100' },
    { path: 'exporters.postgres.sending_queue.durability', message: 'found "disk"; allowed: commit' },
    { path: 'exporters.postgres.sending_queue.batch.max_size', message: 'found 0; allowed: at least 1' },
  ]);
});

test.run();
