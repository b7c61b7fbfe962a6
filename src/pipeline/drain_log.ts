/** Tells an operator how a backlog goes down, or that it does not. */
import type { Logger } from '../component.ts';
import type { QueueRoom } from './queue_room.ts';

const INTERVAL_MS = 10_000;
/** A rate is measured over so long at least, and anew after such a pause. */
const MIN_RATE_MS = 1000;
/** What passes through in quiet times is no backlog. */
const MIN_BACKLOG_ITEMS = 10_000;

export class DrainLog {
  readonly #room: QueueRoom;
  readonly #logger: Logger;
  #timer: NodeJS.Timeout | undefined;
  /** Since a line was written or nothing was delivered for a while, and when that began. */
  #delivered = 0;
  #sinceMs = 0;
  #lastMs = 0;
  /** The most that waited since the queue was last short. */
  #peakItems = 0;

  constructor(room: QueueRoom, logger: Logger) {
    this.#room = room;
    this.#logger = logger;
  }

  start(): void {
    this.#timer = setInterval(() => this.#tell(), INTERVAL_MS).unref();
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  delivered(items: number): void {
    const nowMs = performance.now();
    if (this.#delivered === 0 || nowMs - this.#lastMs > MIN_RATE_MS) {
      this.#delivered = 0;
      this.#sinceMs = nowMs;
    }
    this.#lastMs = nowMs;
    this.#delivered += items;
    if (this.#peakItems > 0 && this.#room.records === 0) this.#end();
  }

  #tell(): void {
    const { items, bytes } = this.#room;
    const nowMs = performance.now();
    const seconds = Math.max(nowMs - this.#sinceMs, MIN_RATE_MS) / 1000;
    const perSecond = nowMs - this.#lastMs > MIN_RATE_MS ? 0 : Math.round(this.#delivered / seconds);
    this.#delivered = 0;
    if (items < MIN_BACKLOG_ITEMS) return;
    this.#peakItems = Math.max(this.#peakItems, items);
    if (perSecond === 0) {
      this.#logger.warn({ items, bytes }, 'nothing is delivered; data waits in the queue');
      return;
    }
    const fields = { items, bytes, of: this.#peakItems, per_second: perSecond };
    this.#logger.info(fields, `draining: about ${Math.ceil(items / perSecond)} s to go if nothing more comes`);
  }

  #end(): void {
    this.#logger.info({ items: this.#peakItems }, 'the queue is drained');
    this.#peakItems = 0;
  }
}
