/** Records of spans that are told apart by their names. */
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
