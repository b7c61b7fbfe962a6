/** The ceiling of the pipeline benchmark: finished rows, written to PostgreSQL by COPY as fast as it takes them. */
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { from as copyFrom } from 'pg-copy-streams';
import type { Pool, PoolClient } from 'pg';
import { DEFAULT_TENANT } from '../../src/model/tenant.ts';
import type { Span } from '../../src/model/traces.ts';
import { DEFAULT_SHAPE_LIMITS } from '../../src/model/wire.ts';
import { decodeRequest } from '../../src/otlp/decode.ts';
import { attributesField } from '../../src/store/json_values.ts';
import { COPY_HEADER, COPY_TRAILER, CopyWriter } from '../../src/store/copy_writer.ts';
import { encodeSpanRows, SPAN_ROWS } from '../../src/store/span_rows.ts';
import { traceRequest } from './spans.ts';

/** Rows of one COPY and commit. */
const ROWS = 8192;
const SPANS_A_TRACE = 512;
const CONNECTIONS = 2;

/**
 * The ceiling's table. It belongs to the benchmark, so that a slower schema of ours cannot make the ratio better: the
 * columns that users rely on, and three indexes.
 */
export const CEILING_TABLE = 'bench_spans';

const CEILING_COLUMNS = `
  trace_id text NOT NULL, span_id text NOT NULL, parent_span_id text, name text NOT NULL, kind smallint NOT NULL,
  service_name text, started_at timestamptz NOT NULL, started_ns_rest smallint NOT NULL, ended_at timestamptz,
  duration_ns bigint, status_code smallint NOT NULL, status_message text, attributes jsonb NOT NULL, scan_id text,
  org_id text NOT NULL, workspace_id text NOT NULL, target_id text, received_at timestamptz NOT NULL, span_type text,
  adjusted_count double precision`;

const CEILING_FIELDS = 20;

export async function createCeilingTable(pool: Pool): Promise<void> {
  await pool.query(`
    CREATE TABLE ${CEILING_TABLE} (${CEILING_COLUMNS}) PARTITION BY RANGE (started_at);
    CREATE INDEX ON ${CEILING_TABLE} (trace_id);
    CREATE INDEX ON ${CEILING_TABLE} (scan_id, started_at) WHERE scan_id IS NOT NULL;
    CREATE INDEX ON ${CEILING_TABLE} USING brin (started_at);
    CREATE TABLE ${CEILING_TABLE}_day PARTITION OF ${CEILING_TABLE}
      FOR VALUES FROM (now() - interval '1 day') TO (now() + interval '1 day');`);
}

/** Rows for one COPY, with the places of their trace ids, so that each COPY can bring traces of its own. */
export interface Chunk {
  readonly table: string;
  readonly columns: string;
  readonly bytes: Buffer;
  readonly traces: readonly (readonly number[])[];
}

export async function ceilingChunk(): Promise<Chunk> {
  const writer = new CopyWriter();
  for (const { span, scanId } of benchSpans()) writeCeilingRow(writer, span, scanId);
  return chunk(CEILING_TABLE, '', writer.bytes());
}

/** The same spans as rows of our own table. */
export async function ownSchemaChunk(): Promise<Chunk> {
  const parts: Uint8Array[] = [];
  for (let i = 0; i < ROWS / SPANS_A_TRACE; i++) parts.push((await encodeSpanRows(decoded(`scan-${i}`))).bytes);
  return chunk(SPAN_ROWS.table, `(${SPAN_ROWS.columns.join(', ')})`, Buffer.concat(parts));
}

function decoded(scanId: string) {
  const context = { tenant: DEFAULT_TENANT, receivedAtMs: Date.now(), limits: DEFAULT_SHAPE_LIMITS };
  const { batch } = decodeRequest('traces', traceRequest(SPANS_A_TRACE, scanId), context);
  for (const { scopes } of batch.resources) {
    for (const { records } of scopes) for (const span of records) span.promoted = { scanId };
  }
  return batch;
}

function* benchSpans(): Generator<{ span: Span; scanId: string }> {
  for (let i = 0; i < ROWS / SPANS_A_TRACE; i++) {
    const scanId = `scan-${randomBytes(6).toString('hex')}`;
    for (const { scopes } of decoded(scanId).resources) {
      for (const { records } of scopes) for (const span of records) yield { span, scanId };
    }
  }
}

function writeCeilingRow(writer: CopyWriter, span: Span, scanId: string): void {
  const { bytes } = span;
  writer.row(CEILING_FIELDS);
  writer.hex(bytes, span.traceIdAt, span.traceIdEnd);
  writer.hex(bytes, span.spanIdAt, span.spanIdEnd);
  writer.hex(bytes, span.parentSpanIdAt, span.parentSpanIdEnd);
  writer.text(bytes, span.nameAt, span.nameEnd);
  writer.smallint(span.kind - 1);
  writer.string('pencheff-worker');
  writer.timestampWithRest(bytes, span.startTimeAt);
  writer.timestamp(bytes, span.endTimeAt);
  writer.duration(bytes, span.startTimeAt, span.endTimeAt);
  writer.smallint(span.statusCode);
  writer.null();
  attributesField(writer, span.attributes);
  writer.string(scanId);
  writer.string(DEFAULT_TENANT.orgId);
  writer.string(DEFAULT_TENANT.workspaceId);
  writer.null();
  writer.timestampMs(Date.now());
  writer.null();
  writer.null();
}

function chunk(table: string, columns: string, bytes: Buffer): Chunk {
  return { table, columns, bytes, traces: traceIdOffsets(bytes) };
}

const HEX_TRACE_ID = 32;

/** Where the trace id of each row stands (the first field), by trace. */
function traceIdOffsets(bytes: Buffer): number[][] {
  const traces = new Map<string, number[]>();
  for (let at = 0; at < bytes.length;) {
    const fields = bytes.readInt16BE(at);
    const traceIdAt = at + 6;
    const traceId = bytes.toString('latin1', traceIdAt, traceIdAt + HEX_TRACE_ID);
    traces.set(traceId, [...(traces.get(traceId) ?? []), traceIdAt]);
    at += 2;
    for (let i = 0; i < fields; i++) at += 4 + Math.max(bytes.readInt32BE(at), 0);
  }
  return [...traces.values()];
}

/** Writes the chunk again and again on two connections; resolves to rows per second. */
export async function copyFor(pool: Pool, source: Chunk, seconds: number): Promise<number> {
  const started = performance.now();
  const end = started + seconds * 1000;
  const rows = await Promise.all(Array.from({ length: CONNECTIONS }, () => copyUntil(pool, source, end)));
  return rows.reduce((sum, count) => sum + count, 0) / ((performance.now() - started) / 1000);
}

async function copyUntil(pool: Pool, { table, columns, bytes, traces }: Chunk, end: number): Promise<number> {
  const client = await pool.connect();
  const own = Buffer.from(bytes);
  let rows = 0;
  try {
    while (performance.now() < end) {
      for (const offsets of traces) {
        const traceId = randomBytes(HEX_TRACE_ID / 2).toString('hex');
        for (const at of offsets) own.write(traceId, at, 'latin1');
      }
      await copyOnce(client, `COPY ${table} ${columns} FROM STDIN (FORMAT binary)`, own);
      rows += ROWS;
    }
    return rows;
  } finally {
    client.release();
  }
}

async function copyOnce(client: PoolClient, statement: string, bytes: Buffer): Promise<void> {
  const copy = client.query(copyFrom(statement));
  const finished = once(copy, 'finish');
  copy.write(COPY_HEADER);
  copy.write(bytes);
  copy.end(COPY_TRAILER);
  await finished;
}
