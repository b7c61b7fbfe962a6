-- The three signal tables, partitioned by UTC day. Writers use binary COPY with explicit column lists, so a later
-- migration may add columns while an older program still writes.
--
-- Times are timestamptz (microseconds); *_ns_rest holds the 0 to 999 nanoseconds that a timestamptz cannot.
-- kind has the numbers of the OpenTelemetry API (0 internal, 1 server, 2 client, 3 producer, 4 consumer).
-- status_code: 0 unset, 1 ok, 2 error. Ids are lowercase hex for OTLP, any short text for the SDK span JSON.
-- attributes is jsonb, for containment and indexes; what is only read back is json, which is cheaper to store and keeps
-- order and duplicates.
-- org_id, workspace_id and target_id come from the credential. No unique index, foreign key or serial column:
-- the tables may be distributed by trace_id under Citus.

CREATE TABLE otel_spans (
  trace_id text NOT NULL,
  span_id text NOT NULL,
  parent_span_id text,
  name text NOT NULL,
  kind smallint NOT NULL,
  span_type text,
  started_at timestamptz NOT NULL,
  started_ns_rest smallint NOT NULL,
  ended_at timestamptz,
  duration_ns bigint,
  status_code smallint NOT NULL,
  status_message text,
  trace_state text,
  flags bigint,
  attributes jsonb NOT NULL,
  events json,
  links json,
  dropped_attributes_count bigint,
  dropped_events_count bigint,
  dropped_links_count bigint,
  adjusted_count double precision,
  scan_id text,
  org_id text NOT NULL DEFAULT 'default',
  workspace_id text NOT NULL DEFAULT 'default',
  target_id text,
  received_at timestamptz NOT NULL,
  service_name text,
  resource json,
  resource_dropped_attributes_count bigint,
  resource_schema_url text,
  scope_name text,
  scope_version text,
  scope_attributes json,
  scope_dropped_attributes_count bigint,
  scope_schema_url text
) PARTITION BY RANGE (started_at);

CREATE INDEX otel_spans_trace_id ON otel_spans (trace_id);
CREATE INDEX otel_spans_scan_id ON otel_spans (scan_id, started_at) WHERE scan_id IS NOT NULL;
CREATE INDEX otel_spans_started_at ON otel_spans USING brin (started_at);

CREATE TABLE otel_logs (
  ts timestamptz NOT NULL,
  ts_ns_rest smallint NOT NULL,
  observed_at timestamptz,
  observed_ns_rest smallint,
  trace_id text,
  span_id text,
  severity_number smallint,
  severity_text text,
  -- The body as text: a string as it is, any other value as JSON, which body_json holds as well.
  body text,
  body_json json,
  event_name text,
  flags bigint,
  attributes jsonb NOT NULL,
  dropped_attributes_count bigint,
  span_type text,
  adjusted_count double precision,
  scan_id text,
  org_id text NOT NULL DEFAULT 'default',
  workspace_id text NOT NULL DEFAULT 'default',
  target_id text,
  received_at timestamptz NOT NULL,
  service_name text,
  resource json,
  resource_dropped_attributes_count bigint,
  resource_schema_url text,
  scope_name text,
  scope_version text,
  scope_attributes json,
  scope_dropped_attributes_count bigint,
  scope_schema_url text
) PARTITION BY RANGE (ts);

CREATE INDEX otel_logs_trace_id ON otel_logs (trace_id) WHERE trace_id IS NOT NULL;
CREATE INDEX otel_logs_scan_id ON otel_logs (scan_id, ts) WHERE scan_id IS NOT NULL;
CREATE INDEX otel_logs_ts ON otel_logs USING brin (ts);

-- One row a data point. Counts are numeric because OTLP's are unsigned 64-bit integers.
CREATE TABLE otel_metrics (
  ts timestamptz NOT NULL,
  ts_ns_rest smallint NOT NULL,
  start_at timestamptz,
  start_ns_rest smallint,
  metric_name text NOT NULL,
  -- gauge, sum, histogram, exponential_histogram or summary.
  metric_type text NOT NULL,
  description text,
  unit text,
  -- 0 unspecified, 1 delta, 2 cumulative; NULL where the type has none.
  temporality smallint,
  is_monotonic boolean,
  value_int bigint,
  value_double double precision,
  count numeric,
  sum double precision,
  min double precision,
  max double precision,
  -- {"bucket_counts","explicit_bounds"}, {"scale","zero_count","zero_threshold","positive","negative"} or {"quantiles"}.
  buckets json,
  exemplars json,
  flags bigint,
  attributes jsonb NOT NULL,
  metadata json,
  trace_id text,
  span_type text,
  adjusted_count double precision,
  scan_id text,
  org_id text NOT NULL DEFAULT 'default',
  workspace_id text NOT NULL DEFAULT 'default',
  target_id text,
  received_at timestamptz NOT NULL,
  service_name text,
  resource json,
  resource_dropped_attributes_count bigint,
  resource_schema_url text,
  scope_name text,
  scope_version text,
  scope_attributes json,
  scope_dropped_attributes_count bigint,
  scope_schema_url text
) PARTITION BY RANGE (ts);

CREATE INDEX otel_metrics_scan_id ON otel_metrics (scan_id, ts) WHERE scan_id IS NOT NULL;
CREATE INDEX otel_metrics_ts ON otel_metrics USING brin (ts);

-- Rows of days that have no partition: clocks that are wrong, data that is late.
CREATE TABLE otel_spans_default PARTITION OF otel_spans DEFAULT;
CREATE TABLE otel_logs_default PARTITION OF otel_logs DEFAULT;
CREATE TABLE otel_metrics_default PARTITION OF otel_metrics DEFAULT;
