/** Senders whose sends end when a test says so, records for them, and what becomes of those. */
import assert from 'node:assert/strict';
import type { RetrySettings } from '../../src/component.ts';
import type { Signal } from '../../src/model/batch.ts';
import type { QueueRecord } from '../../src/model/record.ts';
import { DEFAULT_TENANT } from '../../src/model/tenant.ts';
import { Senders, type SendersSettings } from '../../src/pipeline/senders.ts';

export interface RecordParts {
  items?: number;
  bytes?: number;
  signal?: Signal;
  format?: string;
}

export function recordOf({ items = 1, bytes = 1, signal = 'traces', format = 'v1' }: RecordParts = {}): QueueRecord {
  const rest = { tenant: DEFAULT_TENANT, receivedAtMs: 0, receipt: undefined, id: undefined };
  return { signal, format, items, bytes: new Uint8Array(bytes), ...rest };
}

/** A destination whose sends end when the test says so. */
export class Gate {
  readonly sends: (readonly QueueRecord[])[] = [];
  readonly #open: PromiseWithResolvers<void>[] = [];

  readonly send = (records: readonly QueueRecord[], _signal?: AbortSignal): Promise<void> => {
    const end = Promise.withResolvers<void>();
    this.sends.push(records);
    this.#open.push(end);
    return end.promise;
  };

  get openSends(): number {
    return this.#open.length;
  }

  /** Ends the send that has been open longest, and lets the queue go on. */
  async end(error?: Error): Promise<void> {
    const end = this.#open.shift();
    assert.ok(end, 'a send is open');
    if (error) end.reject(error);
    else end.resolve();
    await turn();
  }
}

/** One turn of the event loop: every promise that can settle has settled. */
export function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

interface Ways {
  readonly senders?: number;
  readonly maxItems?: number | undefined;
  readonly retry?: Partial<RetrySettings>;
  readonly giveUp?: (record: QueueRecord, error: unknown) => Promise<void>;
}

const RETRY: RetrySettings = {
  enabled: true,
  initial_interval: 1,
  max_interval: 1,
  multiplier: 1,
  randomization_factor: 0,
  max_elapsed_time: 0,
};

export function sendersTo(
  { send }: Pick<SendersSettings, 'send'>,
  { senders = 1, maxItems = 100, retry, giveUp }: Ways = {},
): Senders {
  const settings = { num_consumers: senders, maxItems, send, giveUp };
  return new Senders({ ...settings, retry: retry && { ...RETRY, ...retry } });
}

/** What became of a delivery: `waiting`, `sent`, or the error. */
export function watch(delivery: Promise<void>): { state: unknown } {
  const watched: { state: unknown } = { state: 'waiting' };
  delivery.then(
    () => (watched.state = 'sent'),
    (error: unknown) => (watched.state = error),
  );
  return watched;
}
