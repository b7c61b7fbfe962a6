/**
 * `durability: disk`: a record is taken once it is in a log on disk for good, and released there once the destination has
 * it. In quiet times records go from memory to the senders and are never read back. When more waits than memory should
 * hold, the rest stays on disk only, and is read from there in the order in which it came.
 */
import { setTimeout as delay } from 'node:timers/promises';
import type { DurableLog, LogEntry, LogPlace, Logger } from '../component.ts';
import { RetryableError } from '../errors.ts';
import type { Signal } from '../model/batch.ts';
import { decodeHead, encodeHead, type QueueRecord, type RecordId } from '../model/record.ts';
import type { Tenant } from '../model/tenant.ts';
import { DrainLog } from './drain_log.ts';
import type { Load, Place, QueueRoom } from './queue_room.ts';
import type { Senders } from './senders.ts';
import type { SendingQueue } from './sending_queue.ts';

/** So much waits in memory for the senders. */
const WINDOW_BYTES = 16 * 1024 * 1024;
/** Reading goes on when no more than this is left of it. */
const LOW_WINDOW_BYTES = WINDOW_BYTES / 2;
const READ_BYTES = 4 * 1024 * 1024;
/** How long to wait until a log that could not be read is read again. */
const READ_PAUSE_MS = 1000;
/** How often the destination is told which records will not come again. */
const FORGET_INTERVAL_MS = 30_000;
const RETRY_AFTER_MS = 1000;
const DRAIN_CHECK_MS = 20;

export interface DiskQueueParts {
  readonly log: DurableLog;
  readonly room: QueueRoom;
  readonly senders: Senders;
  readonly logger: Logger;
  /** The queue is not ready for more once its oldest record has waited so long; 0 for never. */
  readonly unreadyAfterMs: number;
  /** Counts items that an earlier process left. */
  recovered(signal: Signal, items: number): void;
  /** Counts damaged records. */
  corrupt(records: number): void;
  forget: ((queueId: string, seq: number) => Promise<void>) | undefined;
  /** Takes back the bytes of a record that memory need not hold any more. */
  recycle(bytes: Uint8Array): void;
}

export class DiskQueue implements SendingQueue {
  readonly #parts: DiskQueueParts;
  readonly #progress: DrainLog;
  /** When those records were received that the senders have, oldest first. */
  readonly #handed = new Map<number, number>();
  /** Of each queue id, below which sequence number nothing will be sent again. */
  readonly #settled = new Map<string, number>();
  #forgetTimer: NodeJS.Timeout | undefined;
  /** Where the first record stands that the senders do not have yet. */
  #cursor: LogPlace = { segment: 0, offset: 0 };
  /** Where the next record will stand. Equal to the cursor when nothing waits on disk alone. */
  #tail: LogPlace = this.#cursor;
  #windowBytes = 0;
  #isReading = false;
  #isCut = false;

  constructor(parts: DiskQueueParts) {
    this.#parts = parts;
    this.#progress = new DrainLog(parts.room, parts.logger);
  }

  get room(): QueueRoom {
    return this.#parts.room;
  }

  async start(): Promise<void> {
    const { log, logger } = this.#parts;
    const { start, end, entries, tornBytes } = await log.open({
      visit: (entry) => this.#recover(entry),
      corrupt: (records, file) => {
        logger.error({ records, file }, 'records of the queue are damaged and cannot be sent');
        this.#parts.corrupt(records);
      },
      settled: (queueId, seq) => this.#settled.set(queueId, seq),
      failed: (error) => logger.error({ err: error }, 'the queue cannot be written any more; it takes nothing'),
    });
    if (tornBytes > 0) logger.warn({ bytes: tornBytes }, 'cut off a record that was never finished nor acknowledged');
    if (entries > 0) logger.info({ records: entries, items: this.room.items }, 'sending what an earlier run left');
    this.#cursor = start;
    this.#tail = end;
    this.#progress.start();
    this.#forgetTimer = setInterval(() => void this.#forget(), FORGET_INTERVAL_MS).unref();
    void this.#fill();
  }

  reserve(tenant: Tenant, load: Load): Place {
    const why = this.#parts.log.unable();
    if (why === undefined) return this.room.reserve(tenant, load);
    throw new RetryableError(`the sending queue takes nothing: ${why}`, { retryAfterMs: RETRY_AFTER_MS });
  }

  async take(record: QueueRecord, place: Place): Promise<void> {
    try {
      const { id, next } = await this.#parts.log.append(encodeHead(record), record.bytes);
      this.#appended({ ...record, id }, next);
    } catch (error) {
      place.release();
      throw error;
    }
  }

  /** Delivers what it can until the deadline; the rest is for the next start. */
  async shutdown(deadline: AbortSignal): Promise<void> {
    this.#progress.stop();
    clearInterval(this.#forgetTimer);
    await this.#drained(deadline);
    this.#isCut = true;
    await this.#parts.senders.shutdown(deadline);
    await this.#parts.log.close();
    if (this.room.records === 0) await this.#forget();
  }

  leftover(): string | undefined {
    const { records, items, bytes } = this.room;
    if (records === 0) return undefined;
    return `${records} records (${items} items, ${bytes} bytes) stay on disk for the next start`;
  }

  unready(): string | undefined {
    const { log, unreadyAfterMs } = this.#parts;
    if (this.room.isFull) return 'the queue is full';
    const waitedMs = this.oldestAgeMs();
    if (unreadyAfterMs > 0 && waitedMs > unreadyAfterMs) return `data waits for ${Math.round(waitedMs / 1000)} s`;
    return log.unable();
  }

  stuck(): string | undefined {
    const { failure } = this.#parts.log;
    return failure && `the queue cannot be written any more: ${failure.message}`;
  }

  /** How long ago the oldest record that waits was received; 0 when none does. */
  oldestAgeMs(): number {
    const [receivedAtMs] = this.#handed.values();
    return receivedAtMs === undefined ? 0 : Math.max(0, Date.now() - receivedAtMs);
  }

  #recover({ head, body }: LogEntry): void {
    const found = decodeHead(head);
    if (found === undefined) return;
    this.room.add(found.tenant, { items: found.items, bytes: body.byteLength });
    this.#parts.recovered(found.signal, found.items);
  }

  /** Appends end in the order of the log. What comes right behind the cursor need not be read from disk. */
  #appended(record: Stored, next: LogPlace): void {
    const isNext = samePlace(this.#cursor, this.#tail);
    this.#tail = next;
    if (!isNext || this.#isReading || this.#windowBytes > WINDOW_BYTES) {
      this.#parts.recycle(record.bytes);
      return;
    }
    this.#cursor = next;
    this.#hand(record);
  }

  #hand(record: Stored): void {
    const { senders } = this.#parts;
    this.#windowBytes += record.bytes.byteLength;
    this.#handed.set(record.id.seq, record.receivedAtMs);
    senders.deliver(record).then(
      () => this.#delivered(record),
      // Only a queue that shuts down gives records back; they stay on disk.
      () => undefined,
    );
  }

  #delivered({ id, tenant, items, bytes }: Stored): void {
    this.#parts.log.release(id);
    this.#handed.delete(id.seq);
    this.#windowBytes -= bytes.byteLength;
    this.room.remove(tenant, { items, bytes: bytes.byteLength });
    this.#parts.recycle(bytes);
    this.#progress.delivered(items);
    if (this.#windowBytes <= LOW_WINDOW_BYTES) void this.#fill();
  }

  /** Never rejects. Reads what waits on disk alone until memory holds enough or all is there. */
  async #fill(): Promise<void> {
    if (this.#isReading) return;
    this.#isReading = true;
    while (!this.#isCut && this.#windowBytes <= LOW_WINDOW_BYTES && !samePlace(this.#cursor, this.#tail)) {
      await this.#readOn();
    }
    this.#isReading = false;
  }

  async #readOn(): Promise<void> {
    const { log, logger } = this.#parts;
    try {
      const tail = this.#tail;
      const { entries, next } = await log.read(this.#cursor, READ_BYTES);
      // All that was left up to there is damaged.
      this.#cursor = entries.length === 0 ? tail : next;
      for (const entry of entries) this.#handRead(entry);
    } catch (error) {
      logger.error({ err: error }, 'the queue cannot be read; trying again');
      await delay(READ_PAUSE_MS);
    }
  }

  #handRead({ id, head, body }: LogEntry): void {
    const found = decodeHead(head);
    if (found !== undefined) this.#hand({ ...found, bytes: body, id });
    else this.#parts.logger.error({ ...id }, 'a record of the queue was written by a newer program; it is left there');
  }

  async #drained(deadline: AbortSignal): Promise<void> {
    while (this.room.records > 0 && !deadline.aborted) {
      await delay(DRAIN_CHECK_MS, undefined, { signal: deadline }).catch(() => undefined);
    }
  }

  /** What was not told now will be the next time: it only takes up room there. */
  async #forget(): Promise<void> {
    const { forget } = this.#parts;
    if (forget === undefined) return;
    for (const [queueId, seq] of this.#settled) {
      try {
        await forget(queueId, seq);
        if (this.#settled.get(queueId) === seq) this.#settled.delete(queueId);
      } catch {
        return;
      }
    }
  }
}

type Stored = QueueRecord & { readonly id: RecordId };

function samePlace(one: LogPlace, other: LogPlace): boolean {
  return one.segment === other.segment && one.offset === other.offset;
}
