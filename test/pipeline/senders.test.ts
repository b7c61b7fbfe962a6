import assert from 'node:assert/strict';
import * as fc from 'fast-check';
import { suite } from 'uvu';
import type { RetrySettings } from '../../src/component.ts';
import { PermanentError, RetryableError } from '../../src/errors.ts';
import type { Signal } from '../../src/model/batch.ts';
import type { QueueRecord } from '../../src/model/record.ts';
import { DEFAULT_TENANT } from '../../src/model/tenant.ts';
import { Senders, type SendersSettings } from '../../src/pipeline/senders.ts';

const test = suite('senders');

interface RecordParts {
  items?: number;
  bytes?: number;
  signal?: Signal;
  format?: string;
}

function recordOf({ items = 1, bytes = 1, signal = 'traces', format = 'v1' }: RecordParts = {}): QueueRecord {
  const rest = { tenant: DEFAULT_TENANT, receivedAtMs: 0, receipt: undefined, id: undefined };
  return { signal, format, items, bytes: new Uint8Array(bytes), ...rest };
}

/** A destination whose sends end when the test says so. */
class Gate {
  readonly sends: (readonly QueueRecord[])[] = [];
  readonly #open: PromiseWithResolvers<void>[] = [];

  readonly send = (records: readonly QueueRecord[], _signal?: AbortSignal): Promise<void> => {
    const end = Promise.withResolvers<void>();
    this.sends.push(records);
    this.#open.push(end);
    return end.promise;
  };

  get openSends(): number {
    return this.#open.length;
  }

  /** Ends the send that has been open longest, and lets the queue go on. */
  async end(error?: Error): Promise<void> {
    const end = this.#open.shift();
    assert.ok(end, 'a send is open');
    if (error) end.reject(error);
    else end.resolve();
    await turn();
  }
}

/** One turn of the event loop: every promise that can settle has settled. */
function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

interface Ways {
  readonly senders?: number;
  readonly maxItems?: number | undefined;
  readonly retry?: Partial<RetrySettings>;
  readonly giveUp?: (record: QueueRecord, error: unknown) => Promise<void>;
}

const RETRY: RetrySettings = {
  enabled: true,
  initial_interval: 1,
  max_interval: 1,
  multiplier: 1,
  randomization_factor: 0,
  max_elapsed_time: 0,
};

function sendersTo(
  { send }: Pick<SendersSettings, 'send'>,
  { senders = 1, maxItems = 100, retry, giveUp }: Ways = {},
): Senders {
  const settings = { num_consumers: senders, maxItems, send, giveUp };
  return new Senders({ ...settings, retry: retry && { ...RETRY, ...retry } });
}

/** What became of a delivery: `waiting`, `sent`, or the error. */
function watch(delivery: Promise<void>): { state: unknown } {
  const watched: { state: unknown } = { state: 'waiting' };
  delivery.then(
    () => (watched.state = 'sent'),
    (error: unknown) => (watched.state = error),
  );
  return watched;
}

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

/** Resolves when the gate has had so many sends: a pause is over. */
async function sendsOf(gate: Gate, count: number): Promise<void> {
  while (gate.sends.length < count) await new Promise((resolve) => setTimeout(resolve, 1));
}

test('with retries a send that fails for now is made again, oldest first, and one at a time', async () => {
  const gate = new Gate();
  const queue = sendersTo(gate, { senders: 2, maxItems: 1, retry: {} });
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
  const stopped = watch(queue.shutdown(deadline.signal));
  deadline.abort();
  await turn();
  assert.equal(stopped.state, 'sent');
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
