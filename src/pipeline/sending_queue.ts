/**
 * Stands before an exporter's `send` with `durability: commit`: a request is answered when the destination has its
 * data. Records wait in memory, in order of arrival, while every sender is busy; the next free sender takes as many as
 * fit into one send, so small requests that wait together share one transaction. Each record is sent once, and once
 * more alone when a send that it shared fails for good.
 */
import type { Component, QueueRecord, QueueSettings } from '../component.ts';
import { PermanentError, RetryableError } from '../errors.ts';

/** Bound on the bytes that wait in one queue; what is being sent counts no more. */
const MAX_WAITING_BYTES = 256 * 1024 * 1024;

/** Records that share a send have so many bytes together at the most: a large one must not keep small ones waiting. */
const MAX_SHARED_BYTES = 8 * 1024 * 1024;

/** When the sender of a refused record should come back. */
const RETRY_AFTER_MS = 1000;

type Send = (records: readonly QueueRecord[]) => Promise<void>;

interface Waiting {
  readonly record: QueueRecord;
  /** Order of arrival over all lanes. */
  readonly seq: number;
  next: Waiting | undefined;
  resolve(): void;
  reject(error: unknown): void;
}

/** Records of one signal and format, oldest first: those that may share a send. Never empty. */
interface Lane {
  head: Waiting;
  tail: Waiting;
}

export class SendingQueue implements Component {
  readonly #settings: QueueSettings;
  readonly #send: Send;
  readonly #maxWaitingBytes: number;
  /** By signal and format; a lane goes when its last record does, so there are never more of them than records. */
  readonly #lanes = new Map<string, Lane>();
  readonly #idle = Promise.withResolvers<void>();
  #waitingBytes = 0;
  #seq = 0;
  #busySenders = 0;
  #isClosed = false;
  /** The deadline of the shutdown has passed: nothing more is sent. */
  #isCut = false;

  constructor(settings: QueueSettings, send: Send, maxWaitingBytes = MAX_WAITING_BYTES) {
    this.#settings = settings;
    this.#send = send;
    this.#maxWaitingBytes = maxWaitingBytes;
  }

  /**
   * Resolves when the destination has the record. Rejects with RetryableError when the queue is full or closed (the
   * record was not taken), else with the error of its send.
   */
  deliver(record: QueueRecord): Promise<void> {
    if (this.#isClosed) return Promise.reject(shutDownError());
    if (this.#isFullFor(record)) {
      const message = `the sending queue is full: ${this.#waitingBytes} bytes wait`;
      return Promise.reject(new RetryableError(message, { retryAfterMs: RETRY_AFTER_MS }));
    }
    return new Promise((resolve, reject) => {
      this.#append({ record, seq: this.#seq++, next: undefined, resolve, reject });
      this.#startSenders();
    });
  }

  /** Refuses new records and waits for those it has; once the deadline aborts, what still waits is rejected. */
  async shutdown(deadline: AbortSignal): Promise<void> {
    this.#isClosed = true;
    if (this.#busySenders === 0) return;
    const aborted = Promise.withResolvers<void>();
    const onAbort = () => aborted.resolve();
    if (deadline.aborted) onAbort();
    deadline.addEventListener('abort', onAbort, { once: true });
    await Promise.race([this.#idle.promise, aborted.promise]);
    deadline.removeEventListener('abort', onAbort);
    if (this.#busySenders > 0) this.#cut();
  }

  /** A record larger than the bound is taken when it comes alone: refused, its client would retry for ever. */
  #isFullFor(record: QueueRecord): boolean {
    return this.#waitingBytes > 0 && this.#waitingBytes + record.bytes.byteLength > this.#maxWaitingBytes;
  }

  #append(waiting: Waiting): void {
    const { signal, format, bytes } = waiting.record;
    const key = `${signal} ${format}`;
    const lane = this.#lanes.get(key);
    if (lane) {
      lane.tail.next = waiting;
      lane.tail = waiting;
    } else this.#lanes.set(key, { head: waiting, tail: waiting });
    this.#waitingBytes += bytes.byteLength;
  }

  #startSenders(): void {
    while (this.#busySenders < this.#settings.num_consumers) {
      const key = this.#oldestLane();
      if (key === undefined) break;
      this.#busySenders++;
      void this.#runSender(this.#takeFrom(key));
    }
    if (this.#isClosed && this.#busySenders === 0) this.#idle.resolve();
  }

  /** Never rejects: every failure goes to the records it belongs to. */
  async #runSender(group: readonly Waiting[]): Promise<void> {
    await this.#sendGroup(group);
    this.#busySenders--;
    this.#startSenders();
  }

  #oldestLane(): string | undefined {
    let oldest: string | undefined;
    let oldestSeq = Infinity;
    for (const [key, { head }] of this.#lanes) {
      if (head.seq >= oldestSeq) continue;
      oldest = key;
      oldestSeq = head.seq;
    }
    return oldest;
  }

  /** Takes the oldest record of the lane, and those behind it as long as they fit into `batch.max_size` items. */
  #takeFrom(key: string, maxItems = this.#settings.batch.max_size, maxBytes = MAX_SHARED_BYTES): Waiting[] {
    const group: Waiting[] = [];
    const lane = this.#lanes.get(key);
    let next = lane?.head;
    let items = 0;
    let bytes = 0;
    const fits = ({ record }: Waiting): boolean =>
      items + record.items <= maxItems && bytes + record.bytes.byteLength <= maxBytes;
    while (next && (group.length === 0 || fits(next))) {
      const taken: Waiting = next;
      group.push(taken);
      items += taken.record.items;
      bytes += taken.record.bytes.byteLength;
      this.#waitingBytes -= taken.record.bytes.byteLength;
      next = taken.next;
      taken.next = undefined;
    }
    if (lane && next) lane.head = next;
    else this.#lanes.delete(key);
    return group;
  }

  async #sendGroup(group: readonly Waiting[]): Promise<void> {
    try {
      await this.#send(group.map((waiting) => waiting.record));
      for (const waiting of group) waiting.resolve();
    } catch (error) {
      if (error instanceof PermanentError && group.length > 1) await this.#sendEachAlone(group);
      else for (const waiting of group) waiting.reject(error);
    }
  }

  /** One record that the destination will never take must not cost its neighbours. */
  async #sendEachAlone(group: readonly Waiting[]): Promise<void> {
    for (const waiting of group) {
      if (this.#isCut) waiting.reject(shutDownError());
      else await this.#sendGroup([waiting]);
    }
  }

  #cut(): void {
    this.#isCut = true;
    for (const key of this.#lanes.keys()) {
      for (const waiting of this.#takeFrom(key, Infinity, Infinity)) waiting.reject(shutDownError());
    }
  }
}

function shutDownError(): RetryableError {
  return new RetryableError('the gateway is shutting down', { retryAfterMs: RETRY_AFTER_MS });
}
