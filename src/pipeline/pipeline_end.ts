/**
 * The end of a pipeline: its exporters. Room is held in all their queues, then the batch is encoded for each, then all
 * take it, so that a queue that is full or a batch that cannot be encoded leaves nothing behind in the others.
 */
import { ACCEPTED, type Consumer } from '../component.ts';
import { itemCount, type AnyBatch } from '../model/batch.ts';
import type { Destination, EncodedReservation, Reservation } from './destination.ts';
import { mostRetryable } from './fanout.ts';

/** A batch without items is taken without a trip to any destination. */
export function pipelineEnd(pipeline: string, destinations: readonly Destination[]): Consumer<AnyBatch> {
  return {
    consume: async (batch) => {
      if (itemCount(batch) === 0) return ACCEPTED;
      const encoded = await encodeAll(reserveAll(destinations, batch), pipeline);
      const results = await Promise.allSettled(encoded.map((one) => one.deliver()));
      throwFailures(results);
      return ACCEPTED;
    },
  };
}

function reserveAll(destinations: readonly Destination[], batch: AnyBatch): Reservation[] {
  const held: Reservation[] = [];
  for (const destination of destinations) {
    try {
      held.push(destination.reserve(batch));
    } catch (error) {
      for (const reservation of held) reservation.cancel();
      destination.counts(batch.signal).enqueueFailed(itemCount(batch));
      throw error;
    }
  }
  return held;
}

async function encodeAll(held: readonly Reservation[], pipeline: string): Promise<EncodedReservation[]> {
  const results = await Promise.allSettled(held.map((reservation) => reservation.encode(pipeline)));
  const encoded = results.flatMap((result) => (result.status === 'fulfilled' ? result.value : []));
  if (encoded.length < results.length) for (const one of encoded) one.cancel();
  throwFailures(results);
  return encoded;
}

function throwFailures(results: readonly PromiseSettledResult<unknown>[]): void {
  const failures = results.flatMap((result): unknown[] => (result.status === 'rejected' ? [result.reason] : []));
  if (failures.length > 0) throw mostRetryable(failures);
}
