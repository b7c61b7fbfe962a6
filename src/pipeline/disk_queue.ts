/**
 * `durability: disk`: a record is taken once it is in a log on disk for good, and released there once the destination has
 * it. The signals of an exporter share its room and its senders; each has a log of its own.
 */
import { setTimeout as delay } from 'node:timers/promises';
import type { Logger } from '../component.ts';
import { RetryableError } from '../errors.ts';
import { SIGNALS, type Signal } from '../model/batch.ts';
import type { QueueRecord } from '../model/record.ts';
import type { Tenant } from '../model/tenant.ts';
import { DiskLane, type DiskLaneParts } from './disk_lane.ts';
import { DrainLog } from './drain_log.ts';
import type { Load, Place, QueueRoom } from './queue_room.ts';
import type { Senders } from './senders.ts';
import type { SendingQueue } from './sending_queue.ts';

/** How often the destination is told which records will not come again. */
const FORGET_INTERVAL_MS = 30_000;
const RETRY_AFTER_MS = 1000;
const DRAIN_CHECK_MS = 20;

export interface DiskQueueParts {
  readonly room: QueueRoom;
  readonly senders: Senders;
  readonly logger: Logger;
  /** The queue is not ready for more once its oldest record has waited so long; 0 for never. */
  readonly unreadyAfterMs: number;
  /** What is a signal's own. */
  lane(
    signal: Signal,
  ): Pick<DiskLaneParts, 'log' | 'recycle'> & { readonly count: Omit<DiskLaneParts['count'], 'delivered'> };
  forget: ((queueId: string, seq: number) => Promise<void>) | undefined;
}

export class DiskQueue implements SendingQueue {
  readonly #parts: DiskQueueParts;
  readonly #progress: DrainLog;
  readonly #lanes: Readonly<Record<Signal, DiskLane>>;
  #forgetTimer: NodeJS.Timeout | undefined;
  #forgetting: Promise<void> = Promise.resolve();

  constructor(parts: DiskQueueParts) {
    this.#parts = parts;
    this.#progress = new DrainLog(parts.room, parts.logger);
    this.#lanes = { traces: this.#lane('traces'), logs: this.#lane('logs'), metrics: this.#lane('metrics') };
  }

  get room(): QueueRoom {
    return this.#parts.room;
  }

  async start(): Promise<void> {
    for (const signal of SIGNALS) await this.#lanes[signal].start();
    this.#progress.start();
    this.#forgetTimer = setInterval(() => void this.#forget(), FORGET_INTERVAL_MS).unref();
  }

  reserve(signal: Signal, tenant: Tenant, load: Load): Place {
    const why = this.#lanes[signal].unable();
    if (why === undefined) return this.room.reserve(tenant, load);
    throw new RetryableError(`the sending queue takes nothing: ${why}`, { retryAfterMs: RETRY_AFTER_MS });
  }

  take(record: QueueRecord, place: Place): Promise<void> {
    return this.#lanes[record.signal].take(record, place);
  }

  /** Delivers what it can until the deadline; the rest is for the next start. */
  async shutdown(deadline: AbortSignal): Promise<void> {
    this.#progress.stop();
    clearInterval(this.#forgetTimer);
    await this.#drained(deadline);
    for (const lane of this.#all) lane.cut();
    await this.#parts.senders.shutdown(deadline);
    for (const lane of this.#all) await lane.close();
    if (!deadline.aborted) await this.#forget();
  }

  leftover(): string | undefined {
    const { records, items, bytes } = this.room;
    if (records === 0) return undefined;
    return `${records} records (${items} items, ${bytes} bytes) stay on disk for the next start`;
  }

  unready(): string | undefined {
    const { unreadyAfterMs } = this.#parts;
    if (this.room.isFull) return 'the queue is full';
    const waitedMs = this.oldestAgeMs();
    if (unreadyAfterMs > 0 && waitedMs > unreadyAfterMs) return `data waits for ${Math.round(waitedMs / 1000)} s`;
    return this.#all.map((lane) => lane.unable()).find((why) => why !== undefined);
  }

  stuck(): string | undefined {
    const failure = this.#all.map((lane) => lane.failure).find((error) => error !== undefined);
    return failure && `the queue cannot be written any more: ${failure.message}`;
  }

  /** How long ago the oldest record that waits was received; 0 when none does. */
  oldestAgeMs(): number {
    return Math.max(...this.#all.map((lane) => lane.oldestAgeMs()));
  }

  get #all(): DiskLane[] {
    return SIGNALS.map((signal) => this.#lanes[signal]);
  }

  #lane(signal: Signal): DiskLane {
    const { room, senders, logger } = this.#parts;
    const own = this.#parts.lane(signal);
    const delivered = (items: number): void => this.#progress.delivered(items);
    return new DiskLane({ ...own, room, senders, logger, count: { ...own.count, delivered } });
  }

  async #drained(deadline: AbortSignal): Promise<void> {
    while (this.room.records > 0 && !deadline.aborted) {
      await delay(DRAIN_CHECK_MS, undefined, { signal: deadline }).catch(() => undefined);
    }
  }

  /** One at a time. What was not told now will be the next time: it only takes up room there. */
  #forget(): Promise<void> {
    this.#forgetting = this.#forgetting.then(() => this.#forgetAll());
    return this.#forgetting;
  }

  async #forgetAll(): Promise<void> {
    const { forget } = this.#parts;
    if (forget === undefined) return;
    for (const { settled } of this.#all) {
      for (const [queueId, seq] of settled) {
        try {
          await forget(queueId, seq);
          if (settled.get(queueId) === seq) settled.delete(queueId);
        } catch {
          return;
        }
      }
    }
  }
}
