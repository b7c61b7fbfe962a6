import assert from 'node:assert/strict';
import { suite } from 'uvu';
import { PermanentError, RetryableError } from '../../src/errors.ts';
import type { QueueRecord } from '../../src/model/record.ts';
import { Gate, recordOf, sendersTo, turn, watch } from './gated_senders.ts';

const test = suite('senders that try again');

/** Resolves when the gate has had so many sends: a pause is over. */
async function sendsOf(gate: Gate, count: number): Promise<void> {
  while (gate.sends.length < count) await new Promise((resolve) => setTimeout(resolve, 1));
}

test('with retries a send that fails for now is made again, oldest first, and one at a time', async () => {
  const gate = new Gate();
  const queue = sendersTo(gate, { senders: 2, maxItems: 1, retry: { initial_interval: 100, max_interval: 100 } });
  const records = [recordOf(), recordOf(), recordOf()];
  const deliveries = records.map((record) => watch(queue.deliver(record)));
  await gate.end(new RetryableError('away'));
  await gate.end(new Error('of no kind'));
  assert.equal(gate.openSends, 0);
  await sendsOf(gate, 3);
  assert.equal(gate.openSends, 1, 'one send finds out how things are');
  await gate.end();
  assert.equal(gate.openSends, 2);
  await gate.end();
  await gate.end();
  assert.deepEqual(new Set(gate.sends.slice(2).flat()), new Set(records));
  assert.deepEqual(
    deliveries.map(({ state }) => state),
    ['sent', 'sent', 'sent'],
  );
});

test('while the records of one signal wait for a pause to end, those of another are sent', async () => {
  const gate = new Gate();
  const queue = sendersTo(gate, { retry: { initial_interval: 60_000, max_interval: 60_000 } });
  const logs = watch(queue.deliver(recordOf({ signal: 'logs' })));
  const traces = watch(queue.deliver(recordOf()));
  await gate.end(new RetryableError('no table for logs'));
  await gate.end();
  assert.deepEqual([logs.state, traces.state], ['waiting', 'sent']);
  await queue.shutdown(AbortSignal.abort());
  assert.ok(logs.state instanceof RetryableError);
});

test('what the destination never takes is given up alone, and counts as delivered', async () => {
  const gate = new Gate();
  const given: QueueRecord[] = [];
  const giveUp = async (record: QueueRecord) => void given.push(record);
  const queue = sendersTo(gate, { retry: {}, giveUp });
  const poison = recordOf();
  const first = watch(queue.deliver(recordOf()));
  const others = [watch(queue.deliver(poison)), watch(queue.deliver(recordOf()))];
  await gate.end();
  await gate.end(new PermanentError('one of them'));
  await gate.end(new PermanentError('this one'));
  await gate.end();
  assert.deepEqual(given, [poison]);
  assert.ok([first, ...others].every(({ state }) => state === 'sent'));
});

test('records that fail together are tried in smaller groups, so that the one to blame keeps only itself', async () => {
  const bad = recordOf();
  const sent: QueueRecord[] = [];
  const queue = sendersTo(
    {
      send: async (records) => {
        if (records.includes(bad)) throw new RetryableError('one of them waits for a lock');
        sent.push(...records);
      },
    },
    { retry: {} },
  );
  const good = Array.from({ length: 9 }, () => recordOf());
  const [first, ...rest] = good;
  assert.ok(first);
  const deliveries = [first, bad, ...rest].map((record) => watch(queue.deliver(record)));
  while (sent.length < good.length) await turn();
  assert.deepEqual(new Set(sent), new Set(good));
  assert.deepEqual(deliveries.filter(({ state }) => state !== 'sent').length, 1);
  await queue.shutdown(AbortSignal.abort());
});

test('what fails because the senders are shut down is not given up', async () => {
  const given: QueueRecord[] = [];
  const queue = sendersTo(
    {
      send: (_records, signal) =>
        new Promise((_resolve, reject) => signal.addEventListener('abort', () => reject(new Error('cut')))),
    },
    { retry: { enabled: false }, giveUp: async (record) => void given.push(record) },
  );
  const delivery = watch(queue.deliver(recordOf()));
  await queue.shutdown(AbortSignal.abort());
  assert.ok(delivery.state instanceof RetryableError, 'its end was waited for');
  assert.deepEqual(given, []);
});

test('a record is given up after max_elapsed_time, and at once where retries are off', async () => {
  for (const retry of [{ max_elapsed_time: 1 }, { enabled: false }]) {
    const gate = new Gate();
    const given: unknown[] = [];
    const queue = sendersTo(gate, { retry, giveUp: async (_record, error) => void given.push(error) });
    const delivery = watch(queue.deliver(recordOf()));
    const error = new RetryableError('away');
    while (delivery.state === 'waiting') {
      if (gate.openSends > 0) await gate.end(error);
      else await new Promise((resolve) => setTimeout(resolve, 1));
    }
    assert.deepEqual([delivery.state, given], ['sent', [error]]);
    assert.equal(gate.sends.length > 1, retry.enabled !== false);
  }
});

test('a record that cannot be given up now is kept and tried again', async () => {
  const gate = new Gate();
  let refusals = 0;
  const giveUp = async () => {
    if (refusals++ === 0) throw new RetryableError('the file is full');
  };
  const queue = sendersTo(gate, { retry: {}, giveUp });
  const delivery = watch(queue.deliver(recordOf()));
  await gate.end(new PermanentError('never'));
  assert.equal(delivery.state, 'waiting');
  await sendsOf(gate, 2);
  await gate.end(new PermanentError('never'));
  assert.deepEqual([delivery.state, refusals], ['sent', 2]);
});

test('a destination that says when to come back is not asked before', async () => {
  const gate = new Gate();
  const queue = sendersTo(gate, { retry: {} });
  const delivery = watch(queue.deliver(recordOf()));
  const startedAtMs = performance.now();
  await gate.end(new RetryableError('busy', { retryAfterMs: 50 }));
  await sendsOf(gate, 2);
  assert.ok(performance.now() - startedAtMs >= 49);
  await gate.end();
  assert.equal(delivery.state, 'sent');
});

test('the send is told when nobody waits any more', async () => {
  const signals: AbortSignal[] = [];
  const queue = sendersTo({
    send: (_records, signal) => {
      signals.push(signal);
      return new Promise((_resolve, reject) => signal.addEventListener('abort', () => reject(new Error('cut'))));
    },
  });
  const delivery = watch(queue.deliver(recordOf()));
  await queue.shutdown(AbortSignal.abort());
  await turn();
  assert.ok(delivery.state instanceof Error);
  assert.equal(signals[0]?.aborted, true);
});

test.run();
