import assert from 'node:assert/strict';
import { suite } from 'uvu';
import { z } from 'zod';
import type { QueueSettings } from '../../src/component.ts';
import { loadConfig } from '../../src/config/load.ts';
import { retryOnFailure } from '../../src/config/retry_on_failure.ts';
import { parseSection } from '../../src/config/schema.ts';
import { sendingQueue } from '../../src/config/sending_queue.ts';

const test = suite('sending_queue');

const raw = await loadConfig({ files: [], sets: [], env: {} });
const exporter = z.strictObject({ sending_queue: sendingQueue({ batchItems: 8192 }), retry: retryOnFailure() });
const parse = (value: unknown) => parseSection(exporter, value, 'exporters.postgres', raw);
const queueOf = (queue: unknown): QueueSettings | undefined => parse({ sending_queue: queue }).value?.sending_queue;
const faultsOf = (section: object) => parse(section).faults.map(({ path, message }) => `${path}: ${message}`);

const DEFAULTS: QueueSettings = {
  durability: 'disk',
  num_consumers: 2,
  queue_size: 1_073_741_824,
  sizer: 'bytes',
  max_tenant_share: 0.8,
  unready_after: 86_400_000,
  batch: { max_size: 8192 },
};

test('has defaults, also where it is not given or empty', () => {
  for (const value of [undefined, null, {}, { batch: null }]) assert.deepEqual(queueOf(value), DEFAULTS);
});

test('what waits in memory is bounded more tightly than what waits on disk', () => {
  for (const durability of ['commit', 'memory'] as const) {
    assert.deepEqual(queueOf({ durability }), { ...DEFAULTS, durability, queue_size: 268_435_456 });
  }
});

const sized = (queue: object) => [queueOf(queue)?.queue_size, queueOf(queue)?.sizer];

test('a plain number counts requests as in the Collector, a size counts bytes', () => {
  assert.deepEqual(sized({ queue_size: 5000 }), [5000, 'requests']);
  assert.deepEqual(sized({ queue_size: '5000' }), [5000, 'requests']);
  assert.deepEqual(sized({ queue_size: '64MiB' }), [67_108_864, 'bytes']);
  assert.deepEqual(sized({ queue_size: 5000, sizer: 'bytes' }), [5000, 'bytes']);
  assert.deepEqual(sized({ queue_size: 5000, sizer: 'items' }), [5000, 'items']);
  assert.deepEqual(sized({ sizer: 'requests' }), [1000, 'requests']);
});

test('without a queue there are no settings for one', () => {
  assert.equal(queueOf({ enabled: false }), undefined);
});

test('an exporter that says nothing of batches sends each record alone unless the file does', () => {
  const alone = z.strictObject({ sending_queue: sendingQueue() });
  const batchOf = (value: unknown) => parseSection(alone, value, '', raw).value?.sending_queue?.batch;
  assert.equal(batchOf({}), undefined);
  assert.deepEqual(batchOf({ sending_queue: { batch: {} } }), { max_size: 8192 });
});

test('takes what a Collector file may say besides', () => {
  const batch = { max_size: 100, min_size: 10, flush_timeout: '200ms' };
  assert.deepEqual(queueOf({ block_on_overflow: false, batch }), { ...DEFAULTS, batch: { max_size: 100 } });
  assert.match(
    faultsOf({ sending_queue: { block_on_overflow: true } }).join(),
    /block_on_overflow: found true; allowed/,
  );
});

test('refuses what is out of range', () => {
  const sending_queue = { num_consumers: 101, durability: 'tape', batch: { max_size: 0 }, max_tenant_share: 0 };
  assert.deepEqual(faultsOf({ sending_queue }), [
    'exporters.postgres.sending_queue.durability: found "tape"; allowed: disk, commit, memory',
    'exporters.postgres.sending_queue.num_consumers: found 101; allowed: at most 100',
    'exporters.postgres.sending_queue.max_tenant_share: found 0; allowed: more than 0',
    'exporters.postgres.sending_queue.batch.max_size: found 0; allowed: at least 1',
  ]);
  const sizes = [0, -1, 1.5, 'much', '1GiB of data'];
  for (const queue_size of sizes) {
    assert.match(faultsOf({ sending_queue: { queue_size } }).join(), /allowed: a size such as 1GiB, or a whole number/);
  }
  assert.match(faultsOf({ sending_queue: { queue_size: '1GiB', sizer: 'items' } }).join(), /a whole number of items/);
});

test('retries are those of the Collector unless an exporter has others', () => {
  assert.deepEqual(parse({}).value?.retry, {
    enabled: true,
    initial_interval: 5000,
    randomization_factor: 0.5,
    multiplier: 1.5,
    max_interval: 30_000,
    max_elapsed_time: 300_000,
  });
});

test.run();
