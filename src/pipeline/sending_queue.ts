/**
 * What stands between a pipeline and an exporter's `send`. When a batch counts as taken is the queue's promise: on disk
 * for good, at the destination, or in memory. Whatever the promise, what a queue has taken it delivers or gives up as a
 * dead letter, and it counts each item once.
 */
import type { Component, Logger } from '../component.ts';
import type { Signal } from '../model/batch.ts';
import type { QueueRecord } from '../model/record.ts';
import type { Tenant } from '../model/tenant.ts';
import type { Load, Place, QueueRoom } from './queue_room.ts';
import { Senders, type SendersSettings } from './senders.ts';

export interface SendingQueue extends Component {
  readonly room: QueueRoom;
  /** Throws RetryableError when the queue can take nothing, or nothing of this signal, tenant and size. */
  reserve(signal: Signal, tenant: Tenant, load: Load): Place;
  /**
   * Takes the record into a place that was reserved, which it releases when the record is gone. Rejects when the record
   * was not taken: with RetryableError, or with what its send was refused with.
   */
  take(record: QueueRecord, place: Place): Promise<void>;
  /** What stays in the queue when it has shut down, for people; undefined when nothing does. */
  leftover(): string | undefined;
}

/** What is done with a record that leaves the queue: because it was sent or given up, or because it cannot be. */
interface Endings {
  taken(record: QueueRecord): void;
  failed(record: QueueRecord): void;
}

/** `durability: commit`: taken means that the destination has it. Its client tries again what was not. */
export function commitQueue(room: QueueRoom, settings: SendersSettings, ends: Endings): SendingQueue {
  const senders = new Senders({ ...settings, retry: undefined, giveUp: undefined });
  return {
    room,
    reserve: (_signal, tenant, load) => room.reserve(tenant, load),
    async take(record, place) {
      try {
        await senders.deliver(record);
        ends.taken(record);
      } catch (error) {
        ends.failed(record);
        throw error;
      } finally {
        place.release();
      }
    },
    shutdown: (deadline) => senders.shutdown(deadline),
    leftover: () => undefined,
  };
}

/** `durability: memory`: taken means that it will be sent unless the process ends first. */
export function memoryQueue(room: QueueRoom, settings: SendersSettings, ends: Endings, logger: Logger): SendingQueue {
  const senders = new Senders(settings);
  let leftItems = 0;
  const deliver = async (record: QueueRecord, place: Place): Promise<void> => {
    try {
      await senders.deliver(record);
      ends.taken(record);
    } catch {
      leftItems += record.items;
      ends.failed(record);
    } finally {
      place.release();
    }
  };
  return {
    room,
    async start() {
      const message = 'durability: memory: what waits in the queue is lost when the process dies, though acknowledged';
      logger.warn({ queue_size: room.capacity }, message);
    },
    reserve: (_signal, tenant, load) => room.reserve(tenant, load),
    async take(record, place) {
      void deliver(record, place);
    },
    shutdown: (deadline) => senders.shutdown(deadline),
    leftover: () => (leftItems === 0 ? undefined : `${leftItems} items were in memory only and are lost`),
    unready: () => (room.isFull ? 'the queue is full' : undefined),
  };
}
