/**
 * Reads the spans of one scan: all that carry its id, and all others of the traces those belong to, of one tenant. Equal
 * trace ids of two tenants are two traces.
 */
import { performance } from 'node:perf_hooks';
import { DatabaseError, type Pool, type PoolClient, type QueryArrayConfig } from 'pg';
import { RetryableError } from '../errors.ts';
import type { Tenant } from '../model/tenant.ts';
import { transaction } from './connection.ts';

export interface ReadLimits {
  /** The most spans one answer holds; of a larger scan, those that started first. */
  readonly spans: number;
  /** The most characters of text one answer holds, so that a few huge attributes cannot fill the memory. */
  readonly textChars: number;
  /** The most time that the server may take for one read. */
  readonly timeoutMs: number;
}

export const READ_LIMITS: ReadLimits = { spans: 100_000, textChars: 128 * 1024 * 1024, timeoutMs: 5_000 };

/** Rows fetched at a time: the process does other things between two fetches. */
const FETCH_ROWS = 1_000;

export interface StoredSpan {
  readonly traceId: string;
  readonly spanId: string;
  readonly parentSpanId: string | null;
  readonly name: string;
  /** API numbering: 0 internal, 1 server, 2 client, 3 producer, 4 consumer. A decimal, as the two below. */
  readonly kind: string;
  readonly serviceName: string | null;
  /** RFC 3339 in UTC with 3 fraction digits, or 6 or 9 where the time has that much precision. */
  readonly startedAt: string;
  readonly endedAt: string | null;
  /** A decimal because it may exceed what a number holds exactly. */
  readonly durationNs: string | null;
  readonly statusCode: string;
  readonly statusMessage: string | null;
  /** JSON text as PostgreSQL prints it. */
  readonly attributes: string;
}

export interface ScanSpans {
  /** By start time, then span id, then trace id, both ids by code points. */
  readonly spans: readonly StoredSpan[];
  /** Whether the scan has more spans than the limits let through. */
  readonly truncated: boolean;
}

export interface SpanReader {
  /**
   * An unknown scan has no spans. Rejects with RetryableError when the database is away or too slow; its message is safe
   * to show to a client.
   */
  scanSpans(tenant: Tenant, scanId: string): Promise<ScanSpans>;
}

// The array makes the planner look trace ids up in each partition's index, whatever its statistics say; of a join it may
// think that reading every partition is cheaper. to_char and not a cast, because a cast depends on the session.
const DECLARE_SCAN_SPANS = `
  DECLARE scan_spans NO SCROLL CURSOR FOR
  SELECT trace_id, span_id, parent_span_id, name, kind, service_name,
         to_char(started_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US'), started_ns_rest,
         to_char(ended_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US'), duration_ns,
         status_code, status_message, attributes::text
  FROM otel_spans
  WHERE org_id = $1 AND workspace_id = $2
    AND trace_id = ANY (ARRAY(
      SELECT DISTINCT trace_id FROM otel_spans WHERE org_id = $1 AND workspace_id = $2 AND scan_id = $3))
  ORDER BY started_at, started_ns_rest, span_id COLLATE "C", trace_id COLLATE "C"
  LIMIT $4`;

/** A row of the cursor. */
type Row = readonly [
  traceId: string,
  spanId: string,
  parentSpanId: string | null,
  name: string,
  kind: string,
  serviceName: string | null,
  startedAt: string,
  startedNsRest: string,
  endedAt: string | null,
  durationNs: string | null,
  statusCode: string,
  statusMessage: string | null,
  attributes: string,
];

/** Leaves every column the text that PostgreSQL sent. */
const FETCH = {
  text: `FETCH ${FETCH_ROWS} FROM scan_spans`,
  rowMode: 'array',
  types: { getTypeParser: () => (value: string | Buffer) => value },
} as const satisfies QueryArrayConfig;

/** The pool stays the caller's. */
export function spanReader(pool: Pool, limits: ReadLimits = READ_LIMITS): SpanReader {
  return {
    async scanSpans({ orgId, workspaceId }, scanId) {
      try {
        return await transaction(pool, (client) => readSpans(client, [orgId, workspaceId, scanId], limits), {
          statementTimeoutMs: limits.timeoutMs,
          readOnly: true,
        });
      } catch (error) {
        throw retryableIfAway(error, limits);
      }
    },
  };
}

/** The end of the transaction closes the cursor. */
async function readSpans(client: PoolClient, scan: readonly string[], limits: ReadLimits): Promise<ScanSpans> {
  const deadline = performance.now() + limits.timeoutMs;
  // All rows are wanted; by default a cursor is planned for a tenth of them.
  await client.query('SET LOCAL cursor_tuple_fraction = 1');
  await client.query(DECLARE_SCAN_SPANS, [...scan, limits.spans + 1]);
  const spans: StoredSpan[] = [];
  let chars = 0;
  for (;;) {
    const { rows } = await client.query<Row>(FETCH);
    for (const row of rows) {
      chars += textChars(row);
      if (isFull(spans.length, chars, limits)) return { spans, truncated: true };
      spans.push(toSpan(row));
    }
    if (rows.length < FETCH_ROWS) return { spans, truncated: false };
    if (performance.now() > deadline) throw tooSlow(limits);
  }
}

/** Whether the next span has no place; the first always has one, or its scan would look unknown. */
function isFull(count: number, charsWithNext: number, limits: ReadLimits): boolean {
  return count > 0 && (count >= limits.spans || charsWithNext > limits.textChars);
}

function textChars(row: Row): number {
  let chars = 0;
  for (const value of row) chars += value === null ? 0 : value.length;
  return chars;
}

function toSpan(row: Row): StoredSpan {
  const [traceId, spanId, parentSpanId, name, kind, serviceName] = row;
  const [, , , , , , startedAt, startedNsRest, endedAt, durationNs, statusCode, statusMessage, attributes] = row;
  const startRest = Number(startedNsRest);
  const endRest = endedAt === null ? 0 : endNsRest(startedAt, startRest, endedAt, durationNs);
  return {
    traceId,
    spanId,
    parentSpanId,
    name,
    kind,
    serviceName,
    startedAt: rfc3339(startedAt, startRest),
    endedAt: endedAt === null ? null : rfc3339(endedAt, endRest),
    durationNs,
    statusCode,
    statusMessage,
    attributes,
  };
}

/**
 * The nanoseconds of an end below its microsecond: those of start and duration together. 0 where the duration does not
 * lead to that microsecond, as for a span that ended before it began, whose duration is stored as 0.
 */
function endNsRest(startedAt: string, startRest: number, endedAt: string, durationNs: string | null): number {
  const elapsedUs =
    (milliseconds(endedAt) - milliseconds(startedAt)) * 1_000 + lastThree(endedAt) - lastThree(startedAt);
  if (durationNs === null || !Number.isSafeInteger(elapsedUs)) return 0;
  const rest = startRest + Number(BigInt(durationNs) - BigInt(elapsedUs) * 1_000n);
  return rest >= 0 && rest < 1_000 ? rest : 0;
}

const milliseconds = (micros: string): number => Date.parse(`${micros.slice(0, -3)}Z`);
const lastThree = (micros: string): number => Number(micros.slice(-3));

/** `micros` has 6 fraction digits and no zone; `nsRest` is 0 to 999. */
function rfc3339(micros: string, nsRest: number): string {
  if (nsRest !== 0) return `${micros}${String(nsRest).padStart(3, '0')}Z`;
  return micros.endsWith('000') ? `${micros.slice(0, -3)}Z` : `${micros}Z`;
}

/** Classes of SQLSTATE (PostgreSQL manual, appendix A) that say something about the server and not about the query. */
const SERVER_TROUBLE = new Set(['08', '28', '3D', '53', '57', '58']);
const QUERY_CANCELED = '57014';

/** What is not from the server (no SQLSTATE) came from the way to it. */
function retryableIfAway(error: unknown, limits: ReadLimits): unknown {
  if (error instanceof RetryableError) return error;
  if (!(error instanceof DatabaseError)) return away(error);
  if (error.code === QUERY_CANCELED) return tooSlow(limits, error);
  return SERVER_TROUBLE.has(error.code?.slice(0, 2) ?? '') ? away(error) : error;
}

const away = (cause: unknown): RetryableError => new RetryableError('The database cannot be reached now.', { cause });

const tooSlow = ({ timeoutMs }: ReadLimits, cause?: unknown): RetryableError =>
  new RetryableError(`The database did not answer within ${timeoutMs / 1_000} s.`, { cause });
