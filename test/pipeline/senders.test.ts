import assert from 'node:assert/strict';
import * as fc from 'fast-check';
import { suite } from 'uvu';
import { PermanentError, RetryableError } from '../../src/errors.ts';
import type { QueueRecord } from '../../src/model/record.ts';
import { Gate, recordOf, sendersTo, turn, watch, type RecordParts } from './gated_senders.ts';

const test = suite('senders');

test('sends a record at once when a sender is free, and answers when the send has ended', async () => {
  const gate = new Gate();
  const record = recordOf();
  const delivery = watch(sendersTo(gate).deliver(record));
  assert.deepEqual(gate.sends, [[record]]);
  await turn();
  assert.equal(delivery.state, 'waiting');
  await gate.end();
  assert.equal(delivery.state, 'sent');
});

test('records that wait together share one send', async () => {
  const gate = new Gate();
  const queue = sendersTo(gate);
  const records = [recordOf(), recordOf(), recordOf()];
  const deliveries = records.map((record) => watch(queue.deliver(record)));
  await gate.end();
  assert.deepEqual(gate.sends, [records.slice(0, 1), records.slice(1)]);
  assert.deepEqual(
    deliveries.map((delivery) => delivery.state),
    ['sent', 'waiting', 'waiting'],
  );
  await gate.end();
  assert.deepEqual(
    deliveries.map((delivery) => delivery.state),
    ['sent', 'sent', 'sent'],
  );
});

test('a send takes no more items than max_size, but always one record', async () => {
  const gate = new Gate();
  const queue = sendersTo(gate, { maxItems: 10 });
  for (const items of [1, 6, 4, 1, 50, 3]) void queue.deliver(recordOf({ items }));
  while (gate.openSends > 0) await gate.end();
  assert.deepEqual(
    gate.sends.map((records) => records.map((record) => record.items)),
    [[1], [6, 4], [1], [50], [3]],
  );
});

test('records of another signal or format go into a send of their own, oldest first', async () => {
  const gate = new Gate();
  const queue = sendersTo(gate);
  void queue.deliver(recordOf());
  const kinds: RecordParts[] = [
    { signal: 'logs' },
    { format: 'v2' },
    { signal: 'logs' },
    { signal: 'traces' },
    { format: 'v2' },
  ];
  for (const kind of kinds) void queue.deliver(recordOf(kind));
  while (gate.openSends > 0) await gate.end();
  assert.deepEqual(
    gate.sends.map((records) => records.map(({ signal, format }) => `${signal} ${format}`)),
    [['traces v1'], ['logs v1', 'logs v1'], ['traces v2', 'traces v2'], ['traces v1']],
  );
});

test('keeps num_consumers sends under way and no more', async () => {
  const gate = new Gate();
  const queue = sendersTo(gate, { senders: 2, maxItems: 1 });
  for (let count = 0; count < 5; count++) void queue.deliver(recordOf());
  assert.equal(gate.openSends, 2);
  await gate.end();
  assert.equal(gate.openSends, 2);
  assert.equal(gate.sends.length, 3);
  while (gate.openSends > 0) await gate.end();
  assert.equal(gate.sends.length, 5);
});

test('a send that may be retried fails all its records, and is not repeated here', async () => {
  const gate = new Gate();
  const queue = sendersTo(gate);
  void queue.deliver(recordOf());
  const shared = [watch(queue.deliver(recordOf())), watch(queue.deliver(recordOf()))];
  await gate.end();
  const error = new RetryableError('connection lost');
  await gate.end(error);
  assert.deepEqual(
    shared.map((delivery) => delivery.state === error),
    [true, true],
  );
  assert.equal(gate.sends.length, 2);
});

test('a record that fails for good does not cost its neighbours', async () => {
  const gate = new Gate();
  const queue = sendersTo(gate);
  void queue.deliver(recordOf());
  const records = [recordOf(), recordOf(), recordOf()];
  const deliveries = records.map((record) => watch(queue.deliver(record)));
  const guilty = new PermanentError('row 1 is refused');
  await gate.end();
  await gate.end(new PermanentError('some row is refused'));
  await gate.end();
  await gate.end(guilty);
  await gate.end();
  assert.deepEqual(
    deliveries.map((delivery) => delivery.state),
    ['sent', guilty, 'sent'],
  );
  assert.deepEqual(
    gate.sends.slice(2),
    records.map((record) => [record]),
  );
});

test('a record that fails for good alone is sent once', async () => {
  const gate = new Gate();
  const delivery = watch(sendersTo(gate).deliver(recordOf()));
  const error = new PermanentError('no');
  await gate.end(error);
  assert.equal(delivery.state, error);
  assert.equal(gate.sends.length, 1);
});

test('a send that throws at once fails its record only', async () => {
  const error = new Error('a bug');
  const send = () => {
    throw error;
  };
  const queue = sendersTo({ send });
  await assert.rejects(queue.deliver(recordOf()), (found) => found === error);
  await assert.rejects(queue.deliver(recordOf()), (found) => found === error);
});

test('shutdown refuses new records and waits for those it has', async () => {
  const gate = new Gate();
  const queue = sendersTo(gate);
  const deliveries = [watch(queue.deliver(recordOf())), watch(queue.deliver(recordOf()))];
  const stopped = watch(queue.shutdown(new AbortController().signal));
  await assert.rejects(queue.deliver(recordOf()), RetryableError);
  await gate.end();
  assert.equal(stopped.state, 'waiting');
  await gate.end();
  assert.equal(stopped.state, 'sent');
  assert.deepEqual(
    deliveries.map((delivery) => delivery.state),
    ['sent', 'sent'],
  );
});

test('at the deadline what waits is rejected, and what is being sent keeps its own answer', async () => {
  const gate = new Gate();
  const queue = sendersTo(gate);
  const sending = watch(queue.deliver(recordOf()));
  const waiting = watch(queue.deliver(recordOf()));
  const deadline = new AbortController();
  const stopped = queue.shutdown(deadline.signal);
  deadline.abort();
  await stopped;
  assert.ok(waiting.state instanceof RetryableError);
  assert.equal(sending.state, 'waiting');
  await gate.end();
  assert.equal(sending.state, 'sent');
  assert.equal(gate.sends.length, 1);
});

test('after the deadline no record of a failed send is tried again', async () => {
  const gate = new Gate();
  const queue = sendersTo(gate);
  void queue.deliver(recordOf());
  const shared = [watch(queue.deliver(recordOf())), watch(queue.deliver(recordOf()))];
  await gate.end();
  await queue.shutdown(AbortSignal.abort());
  await gate.end(new PermanentError('some row is refused'));
  assert.ok(shared.every((delivery) => delivery.state instanceof RetryableError));
  assert.equal(gate.sends.length, 2);
});

test('shuts down without ever having had a record', async () => {
  await sendersTo(new Gate()).shutdown(new AbortController().signal);
});

type Step = 'end a send' | { items: number; format: string; isPoison: boolean };

const steps: fc.Arbitrary<Step[]> = fc.array(
  fc.oneof(
    fc.constant('end a send' as const),
    fc.record({
      items: fc.integer({ min: 1, max: 12 }),
      format: fc.constantFrom('v1', 'v2'),
      isPoison: fc.boolean(),
    }),
  ),
  { maxLength: 60 },
);

test('whatever the order and the sizes, every record is delivered once, and only poison is refused', async () => {
  const property = fc.asyncProperty(steps, fc.integer({ min: 1, max: 3 }), async (script, senders) => {
    const maxItems = 10;
    const gate = new Gate();
    const queue = sendersTo(gate, { senders, maxItems });
    const poison = new Set<QueueRecord>();
    const deliveries = new Map<QueueRecord, { state: unknown }>();
    const delivered: QueueRecord[] = [];
    let ended = 0;
    const endOldest = async () => {
      const records = gate.sends[ended++] ?? [];
      const isRefused = records.some((record) => poison.has(record));
      if (!isRefused) delivered.push(...records);
      await gate.end(isRefused ? new PermanentError('poison') : undefined);
    };
    for (const step of script) {
      assert.ok(gate.openSends <= senders);
      if (step === 'end a send') {
        if (gate.openSends > 0) await endOldest();
        continue;
      }
      const record = recordOf(step);
      if (step.isPoison) poison.add(record);
      deliveries.set(record, watch(queue.deliver(record)));
    }
    while (gate.openSends > 0) await endOldest();

    const wanted = [...deliveries.keys()].filter((record) => !poison.has(record));
    assert.equal(delivered.length, wanted.length);
    assert.deepEqual(new Set(delivered), new Set(wanted));
    for (const [record, { state }] of deliveries) {
      if (poison.has(record)) assert.ok(state instanceof PermanentError);
      else assert.equal(state, 'sent');
    }
    for (const records of gate.sends) {
      const items = records.reduce((sum, record) => sum + record.items, 0);
      assert.ok(records.length === 1 || items <= maxItems);
      assert.equal(new Set(records.map((record) => record.format)).size, 1);
    }
  });
  await fc.assert(property, { numRuns: 200 });
});

test('a long list of waiting records drains in time proportional to its length', async () => {
  const RECORDS = 100_000;
  const gate = new Gate();
  const queue = sendersTo(gate, { maxItems: 1000 });
  const deliveries = Array.from({ length: RECORDS }, () => queue.deliver(recordOf()));
  while (gate.openSends > 0) await gate.end();
  await Promise.all(deliveries);
  assert.equal(gate.sends.length, 1 + Math.ceil((RECORDS - 1) / 1000));
});

test.run();
