/**
 * The records of one signal in a queue on disk. In quiet times they go from memory to the senders and are never read
 * back. When more waits than memory should hold, the rest stays on disk only, and is read from there in the order in which
 * it came. Each signal has a log and a share of memory of its own, so that one that cannot be stored holds up no other.
 */
import { setTimeout as delay } from 'node:timers/promises';
import type { DurableLog, LogEntry, LogPlace, Logger } from '../component.ts';
import { decodeHead, encodeHead, type QueueRecord, type RecordId } from '../model/record.ts';
import type { Tenant } from '../model/tenant.ts';
import type { Place, QueueRoom } from './queue_room.ts';
import type { Senders } from './senders.ts';

/** So much waits in memory for the senders; above it those who send are slowed down. */
const WINDOW_BYTES = 12 * 1024 * 1024;
/** More is never in memory. */
const MAX_WINDOW_BYTES = WINDOW_BYTES * 2;
/** How long an answer waits at the most for a destination that lags. */
const EASE_MS = 100;
/** A destination that has taken nothing for so long does not lag: it is away. */
const AWAY_MS = 1000;
/** Reading goes on when no more than this is left of it. */
const LOW_WINDOW_BYTES = (WINDOW_BYTES * 2) / 3;
const READ_BYTES = 4 * 1024 * 1024;
/** How long to wait until a log that could not be read is read again. */
const READ_PAUSE_MS = 1000;

export interface DiskLaneParts {
  readonly log: DurableLog;
  readonly room: QueueRoom;
  readonly senders: Senders;
  readonly logger: Logger;
  readonly count: {
    /** Items that an earlier process left. */
    recovered(items: number): void;
    delivered(items: number): void;
    /** Items that were not taken; the client was told. */
    enqueueFailed(items: number): void;
    /** Items of records that turned out to be damaged. */
    lost(items: number): void;
    /** Records, whose items may be unknown. */
    corrupt(records: number): void;
  };
  /** Takes back the bytes of a record that memory need not hold any more. */
  recycle(bytes: Uint8Array): void;
}

export class DiskLane {
  /** Of each queue id, below which sequence number nothing will be sent again. */
  readonly settled = new Map<string, number>();
  readonly #parts: DiskLaneParts;
  /** When those records were received that the senders have, oldest first. */
  readonly #handed = new Map<number, number>();
  /** What waits of each tenant, in memory or on disk alone. */
  readonly #waiting = new Map<string, Waiting>();
  /** Where the first record stands that the senders do not have yet. */
  #cursor: LogPlace = { segment: 0, offset: 0 };
  /** Where the next record will stand. Equal to the cursor when nothing waits on disk alone. */
  #tail: LogPlace = this.#cursor;
  #windowBytes = 0;
  #deliveredAtMs = -Infinity;
  /** Ends the waits of answers that are held back. */
  readonly #eased = new Set<() => void>();
  #isReading = false;
  #isCut = false;

  constructor(parts: DiskLaneParts) {
    this.#parts = parts;
  }

  /** Finds what an earlier process left, and begins to send it. */
  async start(): Promise<void> {
    const { log, logger } = this.#parts;
    const { start, end, entries, tornBytes } = await log.open({
      visit: (entry) => this.#recover(entry),
      corrupt: (records, file) => {
        logger.error({ records, file }, 'records of the queue are damaged and cannot be sent');
        this.#parts.count.corrupt(records);
      },
      settled: (queueId, seq) => this.settled.set(queueId, seq),
      failed: (error) => logger.error({ err: error }, 'the queue cannot be written any more; it takes nothing'),
    });
    if (tornBytes > 0) logger.warn({ bytes: tornBytes }, 'cut off a record that was never finished nor acknowledged');
    if (entries > 0) logger.info({ records: entries }, 'sending what an earlier run left');
    this.#cursor = start;
    this.#tail = end;
    void this.#fill();
  }

  /** Resolves once the record is on disk for good. */
  async take(record: QueueRecord, place: Place): Promise<void> {
    try {
      const { id, next } = await this.#parts.log.append(encodeHead(record), record.bytes);
      this.#appended({ ...record, id }, next);
    } catch (error) {
      place.release();
      this.#parts.count.enqueueFailed(record.items);
      throw error;
    }
    await this.#ease();
  }

  /**
   * Holds an answer back for a moment while the destination lags, so that who sends goes at its pace: what is read back
   * from disk costs all of them time.
   */
  #ease(): Promise<void> | undefined {
    const isLagging = this.#windowBytes > WINDOW_BYTES && performance.now() - this.#deliveredAtMs < AWAY_MS;
    if (!isLagging || this.#isCut) return undefined;
    return new Promise((resolve) => {
      const go = (): void => {
        clearTimeout(timer);
        this.#eased.delete(go);
        resolve();
      };
      const timer = setTimeout(go, EASE_MS);
      this.#eased.add(go);
    });
  }

  /** Hands nothing more to the senders. */
  cut(): void {
    this.#isCut = true;
  }

  close(): Promise<void> {
    return this.#parts.log.close();
  }

  /** Why nothing can be taken now. */
  unable(): string | undefined {
    return this.#parts.log.unable();
  }

  get failure(): Error | undefined {
    return this.#parts.log.failure;
  }

  /** How long ago the oldest record that waits was received; 0 when none does. */
  oldestAgeMs(): number {
    const [receivedAtMs] = this.#handed.values();
    return receivedAtMs === undefined ? 0 : Math.max(0, Date.now() - receivedAtMs);
  }

  #recover({ head, body }: LogEntry): void {
    const found = decodeHead(head);
    if (found === undefined) return;
    this.#parts.room.add(found.tenant, { items: found.items, bytes: body.byteLength });
    this.#noteWaiting({ ...found, bytes: body }, 1);
    this.#parts.count.recovered(found.items);
  }

  /** Appends end in the order of the log. What comes right behind the cursor need not be read from disk. */
  #appended(record: Stored, next: LogPlace): void {
    const isNext = samePlace(this.#cursor, this.#tail);
    this.#tail = next;
    this.#noteWaiting(record, 1);
    if (!isNext || this.#isReading || this.#windowBytes > MAX_WINDOW_BYTES) {
      this.#parts.recycle(record.bytes);
      return;
    }
    this.#cursor = next;
    this.#hand(record);
  }

  #hand(record: Stored): void {
    this.#windowBytes += record.bytes.byteLength;
    this.#handed.set(record.id.seq, record.receivedAtMs);
    this.#parts.senders.deliver(record).then(
      () => this.#delivered(record),
      // Only a queue that shuts down gives records back; they stay on disk.
      () => undefined,
    );
  }

  #delivered(record: Stored): void {
    const { id, tenant, items, bytes } = record;
    const { log, room, count } = this.#parts;
    log.release(id);
    this.#handed.delete(id.seq);
    this.#windowBytes -= bytes.byteLength;
    this.#deliveredAtMs = performance.now();
    if (this.#windowBytes <= WINDOW_BYTES) for (const go of this.#eased) go();
    room.remove(tenant, { items, bytes: bytes.byteLength });
    this.#noteWaiting(record, -1);
    this.#parts.recycle(bytes);
    count.delivered(items);
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
    if (this.#handed.size === 0 && samePlace(this.#cursor, this.#tail)) this.#giveUpWaiting();
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

  #noteWaiting({ tenant, items, bytes }: Omit<QueueRecord, 'id'>, sign: 1 | -1): void {
    const key = JSON.stringify(tenant);
    const found = this.#waiting.get(key) ?? { tenant, items: 0, bytes: 0, records: 0 };
    found.items += sign * items;
    found.bytes += sign * bytes.byteLength;
    found.records += sign;
    if (found.records > 0) this.#waiting.set(key, found);
    else this.#waiting.delete(key);
  }

  /** All that could be read was sent, so what is still said to wait is damaged: the log has counted it. */
  #giveUpWaiting(): void {
    const { room, count } = this.#parts;
    for (const { tenant, items, bytes, records } of this.#waiting.values()) {
      room.remove(tenant, { items, bytes }, records);
      count.lost(items);
    }
    this.#waiting.clear();
  }
}

interface Waiting {
  readonly tenant: Tenant;
  items: number;
  bytes: number;
  records: number;
}

type Stored = QueueRecord & { readonly id: RecordId };

function samePlace(one: LogPlace, other: LogPlace): boolean {
  return one.segment === other.segment && one.offset === other.offset;
}
