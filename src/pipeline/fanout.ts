/** One batch to several consumers: all are awaited, and what became of it in the worst place is what the caller learns. */
import assert from 'node:assert/strict';
import { ACCEPTED, type Consumer, type Outcome } from '../component.ts';
import { InvalidDataError, PermanentError, QuotaError } from '../errors.ts';
import type { AnyBatch } from '../model/batch.ts';

/**
 * A consumer that hands each batch to all of `consumers` (at least one; a single one is returned as it is). Rejects if
 * any of them does, with the failure that is most worth retrying; else reports the outcome with the most rejected items
 * and what each had to say.
 */
export function fanOut<B extends AnyBatch>(consumers: readonly Consumer<B>[]): Consumer<B> {
  const [first, ...others] = consumers;
  assert(first, 'a fan-out needs a consumer');
  if (others.length === 0) return first;
  return {
    consume: async (batch) => mergeResults(await Promise.allSettled(consumers.map((to) => deliver(to, batch)))),
  };
}

/** Async, so that a consumer that throws at once counts like one that rejects. */
async function deliver<B extends AnyBatch>(consumer: Consumer<B>, batch: B): Promise<Outcome> {
  return consumer.consume(batch);
}

function mergeResults(results: readonly PromiseSettledResult<Outcome>[]): Outcome {
  const failures: unknown[] = [];
  const outcomes: Outcome[] = [];
  for (const result of results) {
    if (result.status === 'rejected') failures.push(result.reason);
    else outcomes.push(result.value);
  }
  if (failures.length > 0) throw mostRetryable(failures);
  return mergeOutcomes(outcomes);
}

function mergeOutcomes(outcomes: readonly Outcome[]): Outcome {
  const rejected = Math.max(...outcomes.map((outcome) => outcome.rejected));
  const messages = new Set(outcomes.map((outcome) => outcome.message).filter((message) => message !== ''));
  return rejected === 0 && messages.size === 0 ? ACCEPTED : { rejected, message: [...messages].join('; ') };
}

/**
 * Told to retry, the client sends the whole batch again and loses nothing; told that it is hopeless, it drops what
 * another consumer might still have taken. Of equals the first counts.
 */
export function mostRetryable(failures: readonly unknown[]): unknown {
  return failures.toSorted((a, b) => hopelessness(a) - hopelessness(b))[0];
}

function hopelessness(failure: unknown): number {
  if (failure instanceof PermanentError || failure instanceof InvalidDataError) return 2;
  return failure instanceof QuotaError ? 1 : 0;
}
