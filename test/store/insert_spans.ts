/** Puts rows into `otel_spans` the way a test describes them. */
import type pg from 'pg';

/** Columns by name; what is left out has the default below. */
export interface SpanRow {
  readonly trace_id?: string;
  readonly span_id: string;
  readonly parent_span_id?: string | null;
  readonly name?: string;
  readonly kind?: number;
  readonly service_name?: string | null;
  /** As PostgreSQL reads it. */
  readonly started_at?: string;
  readonly started_ns_rest?: number;
  readonly ended_at?: string | null;
  /** A decimal: it may be larger than a number holds exactly. */
  readonly duration_ns?: string | null;
  readonly status_code?: number;
  readonly status_message?: string | null;
  readonly attributes?: object;
  readonly scan_id?: string | null;
  readonly org_id?: string;
  readonly workspace_id?: string;
}

const DEFAULTS = {
  trace_id: 't1',
  name: 'span',
  kind: 0,
  started_at: '2026-05-08 03:00:00Z',
  started_ns_rest: 0,
  status_code: 0,
  attributes: {},
  org_id: 'default',
  workspace_id: 'default',
  received_at: '2026-05-08 03:00:00Z',
} as const;

/** `common` has the columns of rows that do not say otherwise themselves. */
export async function insertSpans(
  pool: pg.Pool,
  rows: readonly SpanRow[],
  common: Partial<SpanRow> = {},
): Promise<void> {
  const complete: object[] = [];
  for (const row of rows) complete.push({ ...DEFAULTS, ...common, ...row });
  await pool.query('INSERT INTO otel_spans SELECT * FROM json_populate_recordset(NULL::otel_spans, $1)', [
    JSON.stringify(complete),
  ]);
}
