/** One exporter with its queue: what the pipelines that name it deliver to. Counts, once each, what becomes of items. */
import { createHash } from 'node:crypto';
import type { Exporter, Logger, QueueSettings, RefusedPart, RetrySettings, Storage } from '../component.ts';
import { PermanentError } from '../errors.ts';
import { itemCount, type AnyBatch, type Signal } from '../model/batch.ts';
import type { QueueRecord } from '../model/record.ts';
import type { Counters, ExporterCounts } from './counters.ts';
import { DiskQueue } from './disk_queue.ts';
import { failureLog } from './failure_log.ts';
import { QueueRoom, type Place } from './queue_room.ts';
import { Senders, type SendersSettings } from './senders.ts';
import { commitQueue, memoryQueue, type SendingQueue } from './sending_queue.ts';

/** What is being encoded and sent at once: a small request can grow much, since each of its rows repeats the resource. */
const MAX_BYTES_IN_FLIGHT = 268_435_456;

/** Where an exporter wants no queue: every request is sent by itself. */
const UNQUEUED: QueueSettings = {
  durability: 'commit',
  num_consumers: 1000,
  queue_size: MAX_BYTES_IN_FLIGHT,
  sizer: 'bytes',
  max_tenant_share: 1,
  unready_after: 0,
};

const RETRY: RetrySettings = {
  enabled: true,
  initial_interval: 1000,
  max_interval: 30_000,
  multiplier: 1.5,
  randomization_factor: 0.5,
  max_elapsed_time: 0,
};

export interface DestinationParts {
  readonly id: string;
  readonly exporter: Exporter;
  /** For queues on disk, and for dead letters of others that have one at hand. */
  readonly storage: Storage | undefined;
  readonly counters: Counters;
  readonly logger: Logger;
}

export interface Destination {
  readonly id: string;
  readonly exporter: Exporter;
  readonly queue: SendingQueue;
  /** Holds room for a batch. Throws RetryableError when there is none; a batch that gets room need not be delivered. */
  reserve(batch: AnyBatch): Reservation;
  /** What counts at its end of a pipeline. */
  counts(signal: Signal): ExporterCounts;
}

export interface Reservation {
  /** Makes the record. When it rejects, the room is free again. */
  encode(pipeline: string): Promise<EncodedReservation>;
  cancel(): void;
}

export interface EncodedReservation {
  /** Resolves when the queue has taken the record, as durable as the queue promises. */
  deliver(): Promise<void>;
  cancel(): void;
}

export function createDestination(parts: DestinationParts): Destination {
  const { id, exporter, logger, counters } = parts;
  const watch = failureLog(logger);
  const encode = watch((batch: AnyBatch) => exporter.encode(batch), 'encoding failed');
  const counts = (signal: Signal) => counters.exporter(id, signal);
  const sendOf = (signal: Signal) => watch((sent: Sent) => sendCounted(parts, counts(signal), sent), 'sending failed');
  const queue = createQueue(parts, { traces: sendOf('traces'), logs: sendOf('logs'), metrics: sendOf('metrics') });
  counters.queue(id, queue);
  return {
    id,
    exporter,
    queue,
    counts,
    reserve: (batch) => {
      const place = queue.reserve(batch.signal, batch.tenant, {
        items: itemCount(batch),
        bytes: exporter.sizeOf?.(batch) ?? 0,
      });
      return { encode: (pipeline) => encodeInto(place, pipeline, batch), cancel: () => place.release() };
    },
  };

  async function encodeInto(place: Place, pipeline: string, batch: AnyBatch): Promise<EncodedReservation> {
    try {
      const encoded = await encode(batch);
      place.resize({ items: encoded.items, bytes: encoded.bytes.byteLength });
      const { signal, tenant, receivedAtMs } = batch;
      const receipt = receiptOf(batch, pipeline, id);
      const record: QueueRecord = { ...encoded, signal, tenant, receivedAtMs, receipt, id: undefined };
      return { deliver: () => queue.take(record, place), cancel: () => place.release() };
    } catch (error) {
      place.release();
      counts(batch.signal).enqueueFailed(itemCount(batch));
      throw error;
    }
  }
}

interface Sent {
  readonly records: readonly QueueRecord[];
  readonly signal: AbortSignal;
}

/** Of what an exporter refused in part those that are kept: its next try hands back the same. */
const keptParts = new WeakSet<RefusedPart>();

async function sendCounted(parts: DestinationParts, count: ExporterCounts, { records, signal }: Sent): Promise<void> {
  const { duplicates, deadLettered, refused, refusedParts = [] } = await parts.exporter.send(records, signal);
  for (const part of refusedParts) {
    if (keptParts.has(part)) continue;
    const record = { ...part.record, items: part.items, bytes: part.bytes, receipt: undefined };
    await giveUp(parts, { record, error: new PermanentError(part.reason) });
    keptParts.add(part);
  }
  const items = itemsOf(records) - itemsOf(refusedParts);
  // A counter throws at a negative step, and these records have been taken.
  count.sent(Math.max(0, items - duplicates - deadLettered - refused));
  count.duplicate(duplicates);
  count.deadLettered(deadLettered);
  count.refused(refused);
}

function itemsOf(all: readonly { readonly items: number }[]): number {
  return all.reduce((sum, { items }) => sum + items, 0);
}

/** Each signal's, so that the log of one that fails is not mixed with that of one that works. */
type SendOf = Readonly<Record<Signal, (sent: Sent) => Promise<void>>>;

function createQueue(parts: DestinationParts, sendOf: SendOf): SendingQueue {
  const { id, exporter, storage, counters, logger } = parts;
  const settings = exporter.queue ?? UNQUEUED;
  const room = new QueueRoom(settings);
  const keep = failureLog(logger)(
    (given: GivenUp) => giveUp(parts, given),
    'a dead letter cannot be kept; its record stays in the queue',
  );
  const ways: SendersSettings = {
    num_consumers: settings.num_consumers,
    maxItems: exporter.queue?.batch?.max_size,
    retry: exporter.retry ?? RETRY,
    send: async (records, signal) => sendOf[records[0]?.signal ?? 'traces']({ records, signal }),
    giveUp: (record, error) => keep({ record, error }),
  };
  const countsOf = ({ signal }: QueueRecord) => counters.exporter(id, signal);
  if (settings.durability === 'commit')
    return commitQueue(room, ways, {
      taken: ({ bytes }) => exporter.recycle?.(bytes),
      failed: (record) => countsOf(record).failed(record.items),
    });
  if (settings.durability === 'memory')
    return memoryQueue(
      room,
      ways,
      {
        taken: ({ bytes }) => exporter.recycle?.(bytes),
        failed: (record) => countsOf(record).lost(record.items),
      },
      logger,
    );
  if (storage === undefined) throw new TypeError(`the queue of exporter ${id} needs a storage`);
  return new DiskQueue({
    room,
    senders: new Senders(ways),
    logger,
    unreadyAfterMs: settings.unready_after,
    lane: (signal) => ({
      log: storage.log(`${id}/${signal}`),
      count: { ...counters.exporter(id, signal), corrupt: counters.corrupt(id) },
      recycle: (bytes) => exporter.recycle?.(bytes),
    }),
    forget: exporter.forget && ((queueId, seq) => exporter.forget?.(queueId, seq) ?? Promise.resolve()),
  });
}

interface GivenUp {
  readonly record: QueueRecord;
  readonly error: unknown;
}

/** Keeps a record that the destination will not take. Without a storage all that can be kept of it is its count. */
async function giveUp({ id, storage, counters, logger }: DestinationParts, { record, error }: GivenUp): Promise<void> {
  const count = counters.exporter(id, record.signal);
  const reason = error instanceof Error ? error.message : String(error);
  if (storage === undefined) {
    logger.error(
      { err: error, items: record.items },
      'items were given up and are lost: there is no storage to keep them',
    );
    count.lost(record.items);
  } else {
    await storage.deadLetters.add({ exporter: id, reason, at: new Date(), record });
    logger.error({ reason, items: record.items }, 'items were given up; they are kept as a dead letter');
    count.deadLettered(record.items);
  }
  count.failed(record.items);
}

/** What an identical request of the same tenant has too, on the same way to the same exporter. */
function receiptOf({ digest, tenant }: AnyBatch, pipeline: string, exporter: string): Uint8Array | undefined {
  if (digest === undefined) return undefined;
  const { orgId, workspaceId, targetId } = tenant;
  const way = JSON.stringify([pipeline, exporter, orgId, workspaceId, targetId]);
  return createHash('sha256').update(way).update(digest).digest();
}
