import assert from 'node:assert/strict';
import { suite } from 'uvu';
import { ACCEPTED, type Consumer, type Outcome } from '../../src/component.ts';
import { InvalidDataError, PermanentError, QuotaError, RetryableError } from '../../src/errors.ts';
import type { Traces } from '../../src/model/batch.ts';
import { fanOut } from '../../src/pipeline/fanout.ts';
import { tracesOf } from './batches.ts';

const test = suite('fan-out');

const answers = (outcome: Outcome): Consumer<Traces> => ({ consume: () => Promise.resolve(outcome) });
const fails = (failure: Error): Consumer<Traces> => ({
  consume: async () => {
    throw failure;
  },
});

test('gives the same batch to every consumer', async () => {
  const seen: Traces[] = [];
  const sink: Consumer<Traces> = {
    consume: (batch) => {
      seen.push(batch);
      return Promise.resolve(ACCEPTED);
    },
  };
  const batch = tracesOf(2);
  assert.equal(await fanOut([sink, sink, sink]).consume(batch), ACCEPTED);
  assert.deepEqual(seen, [batch, batch, batch]);
  assert.ok(seen.every((one) => one === batch));
});

test('is the consumer itself where there is only one', () => {
  const only = answers(ACCEPTED);
  assert.equal(fanOut([only]), only);
});

test('waits for all consumers, also after one has failed', async () => {
  const slow = Promise.withResolvers<Outcome>();
  let isSettled = false;
  const answer = fanOut([fails(new PermanentError('no')), { consume: () => slow.promise }])
    .consume(tracesOf(1))
    .finally(() => (isSettled = true));
  await new Promise(setImmediate);
  assert.equal(isSettled, false);
  slow.resolve(ACCEPTED);
  await assert.rejects(answer, PermanentError);
});

test('reports the most rejected items and what each consumer said, once', async () => {
  const outcome = await fanOut([
    answers({ rejected: 2, message: 'too old' }),
    answers({ rejected: 5, message: 'too large' }),
    answers({ rejected: 1, message: 'too old' }),
    answers(ACCEPTED),
  ]).consume(tracesOf(9));
  assert.deepEqual(outcome, { rejected: 5, message: 'too old; too large' });
});

test('keeps a message that comes without a rejection', async () => {
  const outcome = await fanOut([answers(ACCEPTED), answers({ rejected: 0, message: 'deprecated' })]).consume(
    tracesOf(1),
  );
  assert.deepEqual(outcome, { rejected: 0, message: 'deprecated' });
});

const permanent = new PermanentError('never');
const invalid = new InvalidDataError('malformed');
const retryable = new RetryableError('later');
const quota = new QuotaError('over the limit', 1000);
const unclassified = new Error('unexpected');

const cases: readonly { name: string; failures: readonly Error[]; reported: Error }[] = [
  { name: 'retryable before permanent', failures: [permanent, retryable], reported: retryable },
  { name: 'unclassified before permanent', failures: [permanent, unclassified], reported: unclassified },
  { name: 'retryable before quota', failures: [quota, retryable], reported: retryable },
  { name: 'quota before permanent', failures: [permanent, quota], reported: quota },
  { name: 'quota before invalid', failures: [invalid, quota], reported: quota },
  { name: 'the first of two permanent ones', failures: [invalid, permanent], reported: invalid },
  { name: 'the first of two retryable ones', failures: [unclassified, retryable], reported: unclassified },
];
for (const { name, failures, reported } of cases) {
  test(`reports one failure of several: ${name}`, async () => {
    const consumers = [answers(ACCEPTED), ...failures.map(fails)];
    await assert.rejects(fanOut(consumers).consume(tracesOf(1)), (error) => error === reported);
  });
}

test('treats a consumer that throws at once like one that rejects', async () => {
  let isReached = false;
  const throwing: Consumer<Traces> = {
    consume: () => {
      throw retryable;
    },
  };
  const last: Consumer<Traces> = {
    consume: () => {
      isReached = true;
      return Promise.resolve(ACCEPTED);
    },
  };
  await assert.rejects(fanOut([throwing, last]).consume(tracesOf(1)), (error) => error === retryable);
  assert.equal(isReached, true);
});

test.run();
