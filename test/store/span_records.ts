/** Records of spans that are told apart by their names, and sends of them that have to wait. */
import type { Pool } from 'pg';
import type { QueueRecord } from '../../src/model/record.ts';
import { field, request, spanIds } from '../support/otlp_messages.ts';
import { encodeRows, recordOf } from './row_store.ts';

export async function spanRecord(
  names: readonly string[],
  parts: Partial<Pick<QueueRecord, 'receipt' | 'id' | 'receivedAtMs' | 'tenant'>> = {},
): Promise<QueueRecord> {
  const spans = names.map((name, i) => Buffer.concat([spanIds(i), field(5, name)]));
  return recordOf({ ...(await encodeRows('traces', request(spans))), ...parts });
}

/** In alphabetical order. */
export async function storedNames(pool: Pool): Promise<string[]> {
  const { rows } = await pool.query<{ name: string }>('SELECT name FROM otel_spans ORDER BY name');
  return rows.map(({ name }) => name);
}

/** Keeps every COPY into the table waiting until the returned function is called. */
export async function lockSpans(pool: Pool): Promise<() => Promise<void>> {
  const client = await pool.connect();
  await client.query('BEGIN; LOCK TABLE otel_spans IN ACCESS EXCLUSIVE MODE');
  return async () => {
    await client.query('COMMIT');
    client.release();
  };
}

/** Resolves to the processes that run a send, once so many of them wait for a lock. */
export async function waitingSends(pool: Pool, count: number): Promise<number[]> {
  for (let attempt = 0; attempt < 10_000; attempt++) {
    const { rows } = await pool.query<{ pid: number }>(
      `SELECT pid FROM pg_stat_activity
       WHERE datname = current_database() AND query LIKE '%COPY%' AND wait_event_type = 'Lock'`,
    );
    if (rows.length >= count) return rows.map(({ pid }) => pid);
  }
  throw new Error(`there are no ${count} sends that wait for a lock`);
}
