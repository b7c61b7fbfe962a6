/** The end of a pipeline: encodes a batch and sends it, through the exporter's queue if it wants one; counts and logs. */
import { ACCEPTED, type Consumer, type Exporter, type Logger, type QueueRecord } from '../component.ts';
import { PermanentError, QuotaError, RetryableError } from '../errors.ts';
import { itemCount, type AnyBatch } from '../model/batch.ts';
import type { Counters } from './counters.ts';
import { SendingQueue } from './sending_queue.ts';

const MAX_BYTES_IN_FLIGHT = 268_435_456;

/** One exporter with its queue; serves every pipeline that names it. */
export interface Destination {
  readonly exporter: Exporter;
  readonly queue: SendingQueue | undefined;
  /** Resolves when the destination has the batch. */
  deliver(batch: AnyBatch): Promise<void>;
}

export function createDestination(exporter: Exporter, logger: Logger): Destination {
  const watch = failureLog(logger);
  const encode = watch((batch: AnyBatch) => exporter.encode(batch), 'encoding failed');
  const send = watch((records: readonly QueueRecord[]) => exporter.send(records), 'sending failed');
  const queue = exporter.queue && new SendingQueue(exporter.queue, send);
  const reserve = byteBudget(MAX_BYTES_IN_FLIGHT);
  return {
    exporter,
    queue,
    deliver: async (batch) => {
      const release = reserve(exporter.sizeOf?.(batch) ?? 0);
      try {
        const record = await encode(batch);
        await (queue ? queue.deliver(record) : send([record]));
      } finally {
        release();
      }
    },
  };
}

/**
 * A small request can grow much: each of its rows repeats the resource. What is being encoded and sent at once is bounded,
 * and more is refused for now. A batch that is larger than the bound is taken when it comes alone.
 */
function byteBudget(most: number): (bytes: number) => () => void {
  let reserved = 0;
  return (bytes) => {
    if (reserved > 0 && reserved + bytes > most) {
      throw new RetryableError(`too much is on its way to the exporter: ${reserved} bytes`, { retryAfterMs: 1000 });
    }
    reserved += bytes;
    return () => {
      reserved -= bytes;
    };
  };
}

/** A batch without items is taken without a trip to the destination. */
export function deliverTo(destination: Destination, edge: ReturnType<Counters['exporter']>): Consumer<AnyBatch> {
  return {
    consume: async (batch) => {
      const items = itemCount(batch);
      if (items === 0) return ACCEPTED;
      try {
        await destination.deliver(batch);
      } catch (error) {
        edge.failed(items);
        throw error;
      }
      edge.sent(items);
      return ACCEPTED;
    },
  };
}

type Action<In, Out> = (input: In) => Promise<Out>;

/**
 * Wraps what an exporter does so that its failures reach the log, where an outage must not write a line for every
 * request: a failure that repeats the last one is left out, and the first success after it is told.
 */
function failureLog(logger: Logger): <In, Out>(action: Action<In, Out>, message: string) => Action<In, Out> {
  return (action, message) => {
    let lastFailure: string | undefined;
    return async (input) => {
      try {
        const output = await action(input);
        if (lastFailure !== undefined) logger.info({}, 'works again');
        lastFailure = undefined;
        return output;
      } catch (error) {
        const failure = String(error);
        if (failure !== lastFailure) logFailure(logger, error, message);
        lastFailure = failure;
        throw error;
      }
    };
  };
}

/** An error of no kind is a bug of ours until shown otherwise, so its stack is logged and an operator called. */
function logFailure(logger: Logger, error: unknown, message: string): void {
  const isClassified =
    error instanceof PermanentError || error instanceof RetryableError || error instanceof QuotaError;
  if (isClassified) logger.warn({ err: error }, message);
  else logger.error({ err: error }, message);
}
