/**
 * Stores spans, log records and data points in the day-partitioned tables of a PostgreSQL database. A batch is encoded
 * once, to rows in binary COPY format; requests that wait together are stored by one COPY and one commit.
 */
import { z } from 'zod';
import type { Pool } from 'pg';
import { exporterFactory, DELIVERED, type Logger, type QueueSettings } from '../component.ts';
import { secret } from '../config/secret.ts';
import { retryOnFailure } from '../config/retry_on_failure.ts';
import { sendingQueue } from '../config/sending_queue.ts';
import { duration } from '../config/duration.ts';
import { PermanentError, RetryableError } from '../errors.ts';
import type { AnyBatch } from '../model/batch.ts';
import type { EncodedBatch } from '../model/record.ts';
import { BufferPool } from '../store/buffer_pool.ts';
import { forgetPositions } from '../store/claims.ts';
import { createPool } from '../store/connection.ts';
import { deliver } from '../store/deliver.ts';
import { encodeLogRows, LOG_ROWS } from '../store/log_rows.ts';
import { encodeMetricRows, METRIC_ROWS } from '../store/metric_rows.ts';
import { requireSchema } from '../store/migrate.ts';
import { predictRowBytes, type EncodedRows } from '../store/rows.ts';
import { encodeSpanRows, SPAN_ROWS } from '../store/span_rows.ts';
import { needsOperator } from '../store/sqlstate.ts';
import { PartitionUpkeep } from '../store/upkeep.ts';

/** Connections where requests are sent by themselves. */
const UNQUEUED_CONNECTIONS = 10;

export const postgres = exporterFactory({
  type: 'postgres',
  signals: ['traces', 'logs', 'metrics'],
  config: z.strictObject({
    database_url: secret().describe('Connection URL of the database, as libpq and psql take it.'),
    statement_timeout: duration()
      .default(30_000)
      .describe('Limit of one COPY; when it is over, the data is sent again.'),
    sending_queue: sendingQueue({ batchItems: 8192 }),
    retry_on_failure: retryOnFailure({ initial: '200ms', max: '15s', maxElapsed: '0s' }),
  }),
  create({ database_url, statement_timeout, sending_queue, retry_on_failure }, { id, logger }) {
    const pool = createPool({
      url: database_url.reveal(),
      max: sending_queue?.num_consumers ?? UNQUEUED_CONNECTIONS,
      applicationName: 'sluice',
      statementTimeoutMs: statement_timeout,
    });
    const buffers = new BufferPool();
    const complain = complaints(logger);
    const upkeep = new PartitionUpkeep(database_url.reveal(), (error) =>
      logger.warn({ err: error }, 'the partitions of the coming days could not be made; it is tried again'),
    );
    return {
      queue: sending_queue,
      retry: retry_on_failure,
      encode: (batch) => encode(batch, buffers),
      sizeOf: predictRowBytes,
      async start() {
        await startWith(pool, logger, sending_queue);
        upkeep.start();
      },
      async send(records, signal) {
        const delivered = await complain(records[0]?.format, deliver(pool, { records, exporter: id, signal }));
        return { ...DELIVERED, ...delivered };
      },
      // Records that were read from a disk share their memory, and are not the pool's.
      recycle: (bytes) => buffers.give(bytes),
      forget: (queueId, seq) => forgetPositions(pool, { queueId, seq }),
      async shutdown() {
        await upkeep.stop();
        await pool.end();
      },
    };
  },
});

/** A database that is away now may come back; one whose tables are not ours never fits. */
async function startWith(pool: Pool, logger: Logger, queue: QueueSettings | undefined): Promise<void> {
  try {
    await requireSchema(pool);
  } catch (error) {
    if (error instanceof PermanentError) throw error;
    const isKept = queue !== undefined && queue.durability !== 'commit';
    logger.warn({ err: error }, `the database is away; data ${isKept ? 'waits' : 'is refused'} until it is back`);
  }
}

async function encode(batch: AnyBatch, buffers: BufferPool): Promise<EncodedBatch> {
  const { format, rows } = await encodeRows(batch, buffers);
  buffers.lend(rows.bytes);
  return { format, items: rows.items, bytes: rows.bytes };
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

/**
 * Logs what only an operator can end, once for the rows of each format until some of them are stored; the rest is for
 * whoever sends again to report.
 */
function complaints(logger: Logger): <T>(format: string | undefined, sending: Promise<T>) => Promise<T> {
  const last = new Map<string | undefined, string>();
  return async (format, sending) => {
    try {
      const sent = await sending;
      last.delete(format);
      return sent;
    } catch (error) {
      if (error instanceof RetryableError && needsOperator(error) && error.message !== last.get(format)) {
        last.set(format, error.message);
        logger.error({ err: error }, error.message);
      }
      throw error;
    }
  };
}
