/**
 * Sends records to one exporter's destination. Records wait in memory, in order of arrival, while every sender is busy;
 * the next free sender takes as many of one signal and format as fit into one send. A send that fails for now is tried
 * again after a pause, during which records of other signals go on; one that fails for good is tried record by record,
 * so that a record that the destination will never take does not cost its neighbours.
 */
import { setTimeout as delay } from 'node:timers/promises';
import type { RetrySettings } from '../component.ts';
import { PermanentError, RetryableError } from '../errors.ts';
import type { QueueRecord } from '../model/record.ts';
import { backOffMs } from './back_off.ts';

/** Records that share a send have so many bytes together at the most: a large one must not keep small ones waiting. */
const MAX_SHARED_BYTES = 8 * 1024 * 1024;

/** After each failure a send takes half as many records, down to one, so that one that cannot be sent is found. */
const MAX_HALVINGS = 17;

/** How long sends that were told to stop are waited for. */
const ABORT_GRACE_MS = 500;

/** When somebody whose record was refused should come back. */
const RETRY_AFTER_MS = 1000;

export interface SendersSettings {
  /** How many sends may be under way at once. */
  readonly num_consumers: number;
  /** The most items that one send takes from several records; without it each record is sent alone. */
  readonly maxItems: number | undefined;
  /** Without it a send that fails for now is not tried again: its records are rejected. */
  readonly retry: RetrySettings | undefined;
  send(records: readonly QueueRecord[], signal: AbortSignal): Promise<unknown>;
  /**
   * Takes a record that will not be sent any more. When it rejects, the record is tried again later. Without it such a
   * record is rejected.
   */
  readonly giveUp: ((record: QueueRecord, error: unknown) => Promise<void>) | undefined;
}

interface Waiting {
  readonly record: QueueRecord;
  /** Order of arrival over all lanes. */
  readonly seq: number;
  firstFailureAtMs: number | undefined;
  next: Waiting | undefined;
  resolve(): void;
  reject(error: unknown): void;
}

/** Records of one signal and format, oldest first: those that may share a send. Kept when empty: there are few formats. */
interface Lane {
  head: Waiting | undefined;
  tail: Waiting | undefined;
  busySenders: number;
  /** Sends that failed since the last that did not. While there are some, one send at a time finds out how things are. */
  failures: number;
  isPaused: boolean;
}

export class Senders {
  readonly #settings: SendersSettings;
  readonly #lanes = new Map<string, Lane>();
  readonly #pauses = new Set<NodeJS.Timeout>();
  readonly #idle = Promise.withResolvers<void>();
  readonly #cut = new AbortController();
  #waiting = 0;
  #seq = 0;
  #busySenders = 0;
  #isClosed = false;

  constructor(settings: SendersSettings) {
    this.#settings = settings;
  }

  /**
   * Resolves when the destination has the record, or it was given up. Rejects with RetryableError once the senders are
   * shut down, and with the error of its send where that is not tried again.
   */
  deliver(record: QueueRecord): Promise<void> {
    if (this.#isClosed) return Promise.reject(shutDownError());
    return new Promise((resolve, reject) => {
      const waiting = { record, seq: this.#seq++, firstFailureAtMs: undefined, next: undefined, resolve, reject };
      append(this.#laneOf(record), waiting);
      this.#waiting++;
      this.#startSenders();
    });
  }

  /** Refuses new records and waits for those it has; once the deadline aborts, what still waits is rejected. */
  async shutdown(deadline: AbortSignal): Promise<void> {
    this.#isClosed = true;
    if (this.#isIdle()) return;
    const aborted = Promise.withResolvers<void>();
    const onAbort = () => aborted.resolve();
    if (deadline.aborted) onAbort();
    deadline.addEventListener('abort', onAbort, { once: true });
    await Promise.race([this.#idle.promise, aborted.promise]);
    deadline.removeEventListener('abort', onAbort);
    if (this.#isIdle()) return;
    this.#cutOff();
    const grace = new AbortController();
    await Promise.race([this.#idle.promise, delay(ABORT_GRACE_MS, undefined, grace).catch(() => undefined)]);
    grace.abort();
  }

  #laneOf({ signal, format }: QueueRecord): Lane {
    const key = `${signal} ${format}`;
    let lane = this.#lanes.get(key);
    if (lane === undefined) {
      lane = { head: undefined, tail: undefined, busySenders: 0, failures: 0, isPaused: false };
      this.#lanes.set(key, lane);
    }
    return lane;
  }

  #startSenders(): void {
    while (this.#busySenders < this.#settings.num_consumers) {
      const lane = this.#oldestLane();
      if (lane === undefined) break;
      void this.#runSender(lane, this.#take(lane));
    }
    if (this.#isClosed && this.#isIdle()) this.#idle.resolve();
  }

  #isIdle(): boolean {
    return this.#busySenders === 0 && this.#waiting === 0;
  }

  /** Never rejects: every failure goes to the records it belongs to. */
  async #runSender(lane: Lane, group: readonly Waiting[]): Promise<void> {
    this.#busySenders++;
    lane.busySenders++;
    await this.#sendGroup(lane, group);
    lane.busySenders--;
    this.#busySenders--;
    this.#startSenders();
  }

  #oldestLane(): Lane | undefined {
    let oldest: Lane | undefined;
    for (const lane of this.#lanes.values()) {
      if (lane.head === undefined || lane.isPaused || (lane.failures > 0 && lane.busySenders > 0)) continue;
      if (oldest?.head === undefined || lane.head.seq < oldest.head.seq) oldest = lane;
    }
    return oldest;
  }

  /** Takes the oldest record of the lane, and those behind it as long as they fit into one send. */
  #take(lane: Lane): Waiting[] {
    const maxItems = (this.#settings.maxItems ?? 0) >> Math.min(lane.failures, MAX_HALVINGS);
    const group: Waiting[] = [];
    let items = 0;
    let bytes = 0;
    for (let next = lane.head; next !== undefined; next = lane.head) {
      items += next.record.items;
      bytes += next.record.bytes.byteLength;
      if (group.length > 0 && (items > maxItems || bytes > MAX_SHARED_BYTES)) break;
      lane.head = next.next;
      next.next = undefined;
      group.push(next);
    }
    if (lane.head === undefined) lane.tail = undefined;
    this.#waiting -= group.length;
    return group;
  }

  async #sendGroup(lane: Lane, group: readonly Waiting[]): Promise<void> {
    try {
      const records = group.map(({ record }) => record);
      await this.#settings.send(records, this.#cut.signal);
      lane.failures = 0;
      for (const waiting of group) waiting.resolve();
    } catch (error) {
      await this.#afterFailure(lane, group, error);
    }
  }

  async #afterFailure(lane: Lane, group: readonly Waiting[], error: unknown): Promise<void> {
    if (this.#cut.signal.aborted) return rejectAll(group);
    const [only, ...others] = group;
    if (error instanceof PermanentError && others.length > 0) return this.#sendEachAlone(lane, group);
    if (error instanceof PermanentError && only !== undefined) return this.#giveUp(lane, only, error);
    if (this.#settings.retry === undefined) {
      for (const waiting of group) waiting.reject(error);
      return undefined;
    }
    return this.#tryAgainLater(lane, group, error);
  }

  async #sendEachAlone(lane: Lane, group: readonly Waiting[]): Promise<void> {
    for (const waiting of group) {
      if (this.#cut.signal.aborted) waiting.reject(shutDownError());
      else await this.#sendGroup(lane, [waiting]);
    }
  }

  async #giveUp(lane: Lane, waiting: Waiting, error: unknown): Promise<void> {
    if (this.#settings.giveUp === undefined) {
      waiting.reject(error);
      return;
    }
    try {
      await this.#settings.giveUp(waiting.record, error);
      waiting.resolve();
    } catch {
      this.#putBack(lane, [waiting]);
    }
  }

  async #tryAgainLater(lane: Lane, group: readonly Waiting[], error: unknown): Promise<void> {
    const nowMs = performance.now();
    const kept: Waiting[] = [];
    for (const waiting of group) {
      waiting.firstFailureAtMs ??= nowMs;
      if (this.#isOverdue(waiting, nowMs)) await this.#giveUp(lane, waiting, error);
      else kept.push(waiting);
    }
    if (kept.length > 0) this.#putBack(lane, kept, error instanceof RetryableError ? error.retryAfterMs : undefined);
  }

  #isOverdue({ firstFailureAtMs }: Waiting, nowMs: number): boolean {
    const { retry } = this.#settings;
    if (retry === undefined || !retry.enabled) return true;
    const { max_elapsed_time } = retry;
    return max_elapsed_time > 0 && firstFailureAtMs !== undefined && nowMs - firstFailureAtMs >= max_elapsed_time;
  }

  /**
   * For after a pause: back to where they were taken from, but one that failed alone behind all others, so that a record
   * that cannot be sent or given up now holds up none of them.
   */
  #putBack(lane: Lane, group: readonly Waiting[], retryAfterMs = 0): void {
    if (this.#cut.signal.aborted) {
      rejectAll(group);
      return;
    }
    const [first, ...others] = group;
    if (first !== undefined && others.length === 0) append(lane, first);
    else for (const waiting of group.toReversed()) prepend(lane, waiting);
    this.#waiting += group.length;
    lane.failures++;
    this.#pause(lane, retryAfterMs);
  }

  #pause(lane: Lane, retryAfterMs: number): void {
    if (lane.isPaused) return;
    const { retry } = this.#settings;
    const ownMs = retry === undefined ? RETRY_AFTER_MS : backOffMs(retry, lane.failures);
    lane.isPaused = true;
    const timer = setTimeout(
      () => {
        this.#pauses.delete(timer);
        lane.isPaused = false;
        this.#startSenders();
      },
      Math.max(ownMs, retryAfterMs),
    );
    this.#pauses.add(timer);
  }

  #cutOff(): void {
    this.#cut.abort();
    for (const timer of this.#pauses) clearTimeout(timer);
    for (const lane of this.#lanes.values()) {
      for (let next = lane.head; next !== undefined; next = next.next) next.reject(shutDownError());
      lane.head = undefined;
      lane.tail = undefined;
    }
    this.#waiting = 0;
  }
}

function append(lane: Lane, waiting: Waiting): void {
  if (lane.tail === undefined) lane.head = waiting;
  else lane.tail.next = waiting;
  lane.tail = waiting;
}

function prepend(lane: Lane, waiting: Waiting): void {
  waiting.next = lane.head;
  lane.head = waiting;
  lane.tail ??= waiting;
}

function rejectAll(group: readonly Waiting[]): void {
  for (const waiting of group) waiting.reject(shutDownError());
}

function shutDownError(): RetryableError {
  return new RetryableError('the gateway is shutting down', { retryAfterMs: RETRY_AFTER_MS });
}
