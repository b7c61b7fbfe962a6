/**
 * Stores spans, log records and data points in the day-partitioned tables of a PostgreSQL database. A batch is encoded
 * once, to rows in binary COPY format; requests that wait together are stored by one COPY and one commit.
 */
import { z } from 'zod';
import type { Pool } from 'pg';
import { exporterFactory, type Logger, type QueueRecord } from '../component.ts';
import { secret } from '../config/secret.ts';
import { sendingQueue } from '../config/sending_queue.ts';
import { duration } from '../config/duration.ts';
import { PermanentError } from '../errors.ts';
import type { AnyBatch } from '../model/batch.ts';
import { BufferPool } from '../store/buffer_pool.ts';
import { createPool } from '../store/connection.ts';
import { copyRows } from '../store/copy.ts';
import { encodeLogRows, LOG_ROWS } from '../store/log_rows.ts';
import { encodeMetricRows, METRIC_ROWS } from '../store/metric_rows.ts';
import { requireSchema } from '../store/migrate.ts';
import { predictRowBytes, type EncodedRows } from '../store/rows.ts';
import { encodeSpanRows, SPAN_ROWS } from '../store/span_rows.ts';

export const postgres = exporterFactory({
  type: 'postgres',
  signals: ['traces', 'logs', 'metrics'],
  config: z.strictObject({
    database_url: secret().describe('Connection URL of the database, as libpq and psql take it.'),
    statement_timeout: duration()
      .default(30_000)
      .describe('Limit of one COPY; when it is over, the data is sent again.'),
    sending_queue: sendingQueue(),
  }),
  create({ database_url, statement_timeout, sending_queue }, { logger }) {
    const pool = createPool({
      url: database_url.reveal(),
      max: sending_queue.num_consumers,
      applicationName: 'sluice',
      statementTimeoutMs: statement_timeout,
    });
    const buffers = new BufferPool();
    return {
      queue: sending_queue,
      encode: (batch) => encode(batch, buffers),
      sizeOf: predictRowBytes,
      start: () => startWith(pool, logger),
      async send(records) {
        const chunks = records.map(({ bytes }) => bytes);
        await copyRows(pool, formatOf(records), chunks);
        // What is stored is not sent again: a record's bytes are this exporter's alone.
        for (const chunk of chunks) buffers.give(chunk);
      },
      shutdown: () => pool.end(),
    };
  },
});

/** A database that is away now may come back; one whose tables are not ours never fits. */
async function startWith(pool: Pool, logger: Logger): Promise<void> {
  try {
    await requireSchema(pool);
  } catch (error) {
    if (error instanceof PermanentError) throw error;
    logger.warn({ err: error }, 'the database is away; data is refused until it is back');
  }
}

async function encode(batch: AnyBatch, buffers: BufferPool): Promise<QueueRecord> {
  const { signal, tenant } = batch;
  const { format, rows } = await encodeRows(batch, buffers);
  return { signal, tenant, format, items: rows.items, bytes: rows.bytes };
}

async function encodeRows(batch: AnyBatch, buffers: BufferPool): Promise<{ format: string; rows: EncodedRows }> {
  switch (batch.signal) {
    case 'traces':
      return { format: SPAN_ROWS.format, rows: await encodeSpanRows(batch, buffers) };
    case 'logs':
      return { format: LOG_ROWS.format, rows: await encodeLogRows(batch, buffers) };
    default:
      return { format: METRIC_ROWS.format, rows: await encodeMetricRows(batch, buffers) };
  }
}

function formatOf(records: readonly QueueRecord[]): string {
  return records[0]?.format ?? '';
}
