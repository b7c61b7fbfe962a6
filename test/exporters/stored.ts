/** What two gateways stored, in a form that can be compared. */
import type { Signal } from '../../src/model/batch.ts';
import { storedRows, withoutArrival, type SignalTable, type TestGateway } from '../support/gateway.ts';

export const TABLES: Readonly<Record<Signal, SignalTable>> = {
  traces: 'otel_spans',
  logs: 'otel_logs',
  metrics: 'otel_metrics',
};

/** All rows of a table in an order of their own. A record that says nothing of its time has that of its arrival. */
export async function rowsOf({ pool }: TestGateway, table: SignalTable): Promise<string[]> {
  const rows = await storedRows(pool, table, 'received_at');
  return rows
    .map((row) => withoutArrival(row['ts'] === row['received_at'] ? { ...row, ts: 'arrival' } : row))
    .map((row) => JSON.stringify(row, (_key, value: unknown) => (typeof value === 'bigint' ? `${value}n` : value)))
    .toSorted();
}
