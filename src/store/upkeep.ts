/** Keeps partitions ready and receipts few while a daemon runs, on a connection of its own. */
import assert from 'node:assert/strict';
import type { Pool } from 'pg';
import { createPool } from './connection.ts';
import { ensurePartitions, pruneReceipts } from './partitions.ts';

/** A gateway that starts has more urgent things to do, and replicas often start together. */
const SETTLE_MS = 5_000;
const EVERY_MS = 3_600_000;
/** Partitions are made days ahead, so a failure is in no hurry. */
const AFTER_FAILURE_MS = 300_000;
const STATEMENT_TIMEOUT_MS = 30_000;

export class PartitionUpkeep {
  readonly #url: string;
  readonly #onError: (error: unknown) => void;
  readonly #stop = new AbortController();
  #timer: NodeJS.Timeout | undefined;
  #running: Promise<void> = Promise.resolve();

  /** `onError` hears of every failure; the work is done again later. */
  constructor(url: string, onError: (error: unknown) => void) {
    this.#url = url;
    this.#onError = onError;
  }

  /** Begins soon, and goes on about every hour; replicas that started together drift apart. */
  start(soonMs = SETTLE_MS): void {
    const begin = (): void => {
      this.#running = this.#run();
    };
    this.#timer = setTimeout(begin, soonMs * (0.75 + Math.random() / 2)).unref();
  }

  /** Resolves when nothing is under way any more. */
  async stop(): Promise<void> {
    this.#stop.abort();
    clearTimeout(this.#timer);
    await this.#running;
  }

  async #run(): Promise<void> {
    const pool = createPool({
      url: this.#url,
      max: 1,
      applicationName: 'sluice upkeep',
      statementTimeoutMs: STATEMENT_TIMEOUT_MS,
    });
    const nextMs = await this.#keepUp(pool);
    await pool.end();
    if (!this.#stop.signal.aborted) this.start(nextMs);
  }

  /** Resolves to how long it may take until the next time. */
  async #keepUp(pool: Pool): Promise<number> {
    try {
      const work = { today: await databaseTime(pool), signal: this.#stop.signal };
      await ensurePartitions(pool, work);
      await pruneReceipts(pool, work);
      return EVERY_MS;
    } catch (error) {
      if (!this.#stop.signal.aborted) this.#onError(error);
      return AFTER_FAILURE_MS;
    }
  }
}

/** Of all replicas one and the same: one whose own clock is fast would drop receipts that the others still need. */
async function databaseTime(pool: Pool): Promise<Date> {
  const { rows } = await pool.query<{ now: Date }>('SELECT now() AS now');
  const [row] = rows;
  assert(row !== undefined, 'a SELECT without a table has one row');
  return row.now;
}
