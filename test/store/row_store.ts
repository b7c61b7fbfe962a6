/** Takes requests in protobuf form to rows and back, through the decoder, the encoders and COPY, without a gateway. */
import assert from 'node:assert/strict';
import type { Pool } from 'pg';
import type { Signal } from '../../src/model/batch.ts';
import type { QueueRecord } from '../../src/model/record.ts';
import { DEFAULT_TENANT } from '../../src/model/tenant.ts';
import { DEFAULT_SHAPE_LIMITS } from '../../src/model/wire.ts';
import { decodeRequest } from '../../src/otlp/decode.ts';
import { deliver } from '../../src/store/deliver.ts';
import { encodeLogRows, LOG_ROWS } from '../../src/store/log_rows.ts';
import { encodeMetricRows, METRIC_ROWS } from '../../src/store/metric_rows.ts';
import type { EncodedRows } from '../../src/store/rows.ts';
import { encodeSpanRows, SPAN_ROWS } from '../../src/store/span_rows.ts';
import { storedRows, type SignalTable, type StoredRow } from '../support/gateway.ts';

/** When the requests arrive: 2026-11-20 12:00:00.5 UTC. */
const RECEIVED_AT_MS = Date.UTC(2026, 10, 20, 12, 0, 0, 500);
export const RECEIVED_AT = '2026-11-20 12:00:00.5+00';

interface Layout {
  readonly format: string;
  readonly table: SignalTable;
  readonly orderBy: string;
}

const LAYOUTS: Readonly<Record<Signal, Layout>> = {
  traces: { format: SPAN_ROWS.format, table: 'otel_spans', orderBy: 'span_id' },
  logs: { format: LOG_ROWS.format, table: 'otel_logs', orderBy: 'dropped_attributes_count' },
  metrics: { format: METRIC_ROWS.format, table: 'otel_metrics', orderBy: 'metric_name, start_at, start_ns_rest' },
};

/** Encodes what the decoder keeps of a request. */
export async function encodeRows(signal: Signal, request: Uint8Array): Promise<EncodedRows> {
  const context = { tenant: DEFAULT_TENANT, receivedAtMs: RECEIVED_AT_MS, limits: DEFAULT_SHAPE_LIMITS };
  switch (signal) {
    case 'traces':
      return encodeSpanRows(decodeRequest(signal, request, context).batch);
    case 'logs':
      return encodeLogRows(decodeRequest(signal, request, context).batch);
    default:
      return encodeMetricRows(decodeRequest('metrics', request, context).batch);
  }
}

/** A record of one request as it comes out of a queue in memory; `parts` may say otherwise. */
export function recordOf(parts: Partial<QueueRecord> & EncodedRows): QueueRecord {
  const signal = parts.signal ?? 'traces';
  return {
    signal,
    format: LAYOUTS[signal].format,
    tenant: DEFAULT_TENANT,
    receivedAtMs: RECEIVED_AT_MS,
    receipt: undefined,
    id: undefined,
    ...parts,
  };
}

/**
 * Empties the table of the signal, stores the request and returns all its rows: spans in the order of their ids, log
 * records of their dropped attributes counts, data points of their names and start times.
 */
export async function storeAlone(pool: Pool, signal: Signal, request: Uint8Array): Promise<StoredRow[]> {
  const { table, format, orderBy } = LAYOUTS[signal];
  await pool.query(`TRUNCATE ${table}`);
  const rows = await encodeRows(signal, request);
  const { deadLettered } = await deliver(pool, {
    records: [recordOf({ ...rows, signal, format })],
    exporter: 'postgres',
  });
  assert.equal(deadLettered, 0);
  return storedRows(pool, table, orderBy);
}

/** What a text column or a string in jsonb holds of these bytes: U+FFFD for NUL and for what is not UTF-8. */
export function storable(bytes: Uint8Array): string {
  return new TextDecoder('utf-8', { ignoreBOM: true }).decode(bytes).replaceAll('\0', '\uFFFD');
}
