/**
 * The table's rows. A row is one requirement, by its number; its check runs once for every wire and signal to which the
 * requirement applies, each time on empty tables. A row is met when all of its runs pass.
 */
import { setTimeout } from 'node:timers/promises';
import { SIGNALS, type Signal } from '../../src/model/batch.ts';
import { storedRows, type SignalTable, type StoredRow } from '../support/gateway.ts';
import type { ConformanceGateway } from './conformance_gateway.ts';
import { encoded, send, WIRES, type Reply, type SendOptions, type Wire } from './wires.ts';

export interface Row {
  /** As in the reference, such as `C1` or `T-12`. */
  readonly id: string;
  readonly says: string;
  /** All of them unless given. */
  readonly wires?: readonly Wire[];
  readonly signals?: readonly Signal[];
  check(run: Run): Promise<void>;
}

/** Rows that apply to these wires, but for those that name their own. */
export const rowsFor = (wires: readonly Wire[], rows: readonly Row[]): Row[] => rows.map((row) => ({ wires, ...row }));

/** One requirement on one wire for one signal. */
export interface Run {
  readonly wire: Wire;
  readonly signal: Signal;
  readonly gateway: ConformanceGateway;
  /** Sends a request in protobuf form, or the JSON that means the same, with a valid token. */
  send(request: Uint8Array, options?: SendOptions): Promise<Reply>;
  /** Sends a body as it is, with a valid token. */
  sendBytes(body: string | Uint8Array, options?: SendOptions): Promise<Reply>;
  /** What is stored of the signal, in the order of time and text ids. */
  rows(): Promise<StoredRow[]>;
  /** Empties the tables, and forgets which requests there were. */
  clear(): Promise<void>;
}

const TABLES: Readonly<Record<Signal, readonly [table: SignalTable, order: string]>> = {
  traces: ['otel_spans', 'started_at, started_ns_rest, span_id, name'],
  logs: ['otel_logs', 'ts, ts_ns_rest, body'],
  metrics: ['otel_metrics', 'ts, ts_ns_rest, metric_name, metric_type'],
};

/** What went wrong, a text for each wire and signal; none when the row is met. */
export async function failuresOf(row: Row, gateway: ConformanceGateway): Promise<string[]> {
  const failures: string[] = [];
  for (const wire of row.wires ?? WIRES) {
    for (const signal of row.signals ?? SIGNALS) {
      try {
        await withinTime(check(row, wire, signal, gateway));
      } catch (error) {
        failures.push(`over ${wire}, ${signal}: ${describe(error)}`);
      }
    }
  }
  return failures;
}

/** What is wrong, and where in the row. */
function describe(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const [place = ''] = /[a-z]+_rows\.ts:\d+/.exec(error.stack ?? '') ?? [];
  return `${error.message} (${place})`;
}

async function check(row: Row, wire: Wire, signal: Signal, gateway: ConformanceGateway): Promise<void> {
  const [table, order] = TABLES[signal];
  const sendBytes = (body: string | Uint8Array, { headers = {}, ...options }: SendOptions = {}): Promise<Reply> =>
    send(gateway, wire, signal, Buffer.from(body), {
      ...options,
      headers: { authorization: `Bearer ${gateway.token}`, ...headers },
    });
  const clear = async (): Promise<void> => {
    for (const [name] of Object.values(TABLES)) await gateway.pool.query(`DELETE FROM ${name}`);
    await gateway.pool.query('DELETE FROM receipts');
  };
  await clear();
  await row.check({
    wire,
    signal,
    gateway,
    send: (request, options) => sendBytes(encoded(wire, signal, request), options),
    sendBytes,
    rows: () => storedRows(gateway.pool, table, order),
    clear,
  });
}

const TIME_LIMIT_MS = 30_000;

async function withinTime(work: Promise<void>): Promise<void> {
  const timer = new AbortController();
  const late = async (): Promise<never> => {
    await setTimeout(TIME_LIMIT_MS, undefined, { signal: timer.signal });
    throw new Error(`did not end within ${TIME_LIMIT_MS} ms`);
  };
  const limit = late();
  try {
    await Promise.race([work, limit]);
  } finally {
    limit.catch(() => undefined);
    timer.abort();
  }
}
