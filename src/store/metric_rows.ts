/** Rows of `otel_metrics`: one a data point. */
import type { Metrics } from '../model/batch.ts';
import { readBuckets, type DataPoint, type Exemplar, type Metric } from '../model/metrics.ts';
import { double, fixed64, isZero64, readUint64 } from '../model/wire.ts';
import { BufferPool } from './buffer_pool.ts';
import type { CopyWriter } from './copy_writer.ts';
import { attributesField, jsonAttributes } from './json_values.ts';
import { encodeBatch, PROMOTED_COLUMNS, promotedFields, SHARED_COLUMNS, sizeHint } from './rows.ts';
import type { EncodedRows, RowFormat } from './rows.ts';
import { writeList } from './span_rows.ts';

export const METRIC_ROWS: RowFormat = {
  format: 'metrics/1',
  table: 'otel_metrics',
  columns: [
    'metric_name',
    'metric_type',
    'description',
    'unit',
    'temporality',
    'is_monotonic',
    'metadata',
    'ts',
    'ts_ns_rest',
    'start_at',
    'start_ns_rest',
    'value_int',
    'value_double',
    'count',
    'sum',
    'min',
    'max',
    'buckets',
    'exemplars',
    'flags',
    'attributes',
    ...PROMOTED_COLUMNS,
    ...SHARED_COLUMNS,
  ],
};

export function encodeMetricRows(metrics: Metrics, buffers = new BufferPool()): Promise<EncodedRows> {
  let wireBytes = 0;
  let rows = 0;
  for (const { scopes } of metrics.resources) {
    for (const { records } of scopes) {
      for (const { points } of records) {
        rows += points.length;
        for (const point of points) wireBytes += point.end - point.start;
      }
    }
  }
  const { receivedAtMs } = metrics;
  return encodeBatch(
    metrics,
    buffers.take(sizeHint(wireBytes, rows)),
    (writer, metric, shared, row) => {
      const point = metric.points[row];
      if (point !== undefined) writePoint(writer, metric, point, shared, receivedAtMs);
    },
    (metric) => metric.points.length,
  );
}

function writePoint(
  writer: CopyWriter,
  metric: Metric,
  point: DataPoint,
  shared: Uint8Array,
  receivedAtMs: number,
): void {
  writer.row(METRIC_ROWS.columns.length);
  writeMetric(writer, metric, point);
  writeTimes(writer, point, receivedAtMs);
  writeNumbers(writer, point);
  if (hasBuckets(point)) writer.jsonField((json) => writeBuckets(json, point));
  else writer.null();
  if (point.exemplarCount === 0) writer.null();
  else writer.jsonField((json) => writeList(json, point.exemplars(), writeExemplar));
  writer.countOrNull(point.flags);
  attributesField(writer, point.attributes);
  promotedFields(writer, point.promoted);
  writer.raw(shared);
}

function writeMetric(writer: CopyWriter, metric: Metric, point: DataPoint): void {
  const aggregated = point.type !== 'gauge' && point.type !== 'summary';
  writer.string(metric.name);
  writer.string(point.type);
  writer.stringOrNull(metric.description);
  writer.stringOrNull(metric.unit);
  if (aggregated) writer.smallint(Math.min(metric.temporality, 32_767));
  else writer.null();
  if (point.type === 'sum') writer.boolean(metric.isMonotonic);
  else writer.null();
  if (metric.metadata.count === 0) writer.null();
  else writer.jsonField((json) => jsonAttributes(json, metric.metadata));
}

function writeTimes(writer: CopyWriter, point: DataPoint, receivedAtMs: number): void {
  const { bytes, timeAt, startTimeAt } = point;
  if (timeAt > 0 && !isZero64(bytes, timeAt)) writer.timestampWithRest(bytes, timeAt);
  else {
    writer.timestampMs(receivedAtMs);
    writer.smallint(0);
  }
  if (startTimeAt > 0 && !isZero64(bytes, startTimeAt)) writer.timestampWithRest(bytes, startTimeAt);
  else {
    writer.null();
    writer.null();
  }
}

function writeNumbers(writer: CopyWriter, point: DataPoint): void {
  const { bytes } = point;
  if (point.asIntAt === 0) writer.null();
  else writer.bigint(BigInt.asIntN(64, fixed64(bytes, point.asIntAt)));
  doubleOrNull(writer, bytes, point.asDoubleAt);
  if (point.type === 'gauge' || point.type === 'sum') writer.null();
  else writer.numeric(point.countAt === 0 ? 0n : fixed64(bytes, point.countAt));
  doubleOrNull(writer, bytes, point.sumAt);
  doubleOrNull(writer, bytes, point.minAt);
  doubleOrNull(writer, bytes, point.maxAt);
}

function doubleOrNull(writer: CopyWriter, bytes: Uint8Array, at: number): void {
  if (at === 0) writer.null();
  else writer.float8(double(bytes, at));
}

function hasBuckets(point: DataPoint): boolean {
  return point.type === 'exponential_histogram' || point.type === 'summary' || point.bucketCount > 0;
}

function writeBuckets(json: CopyWriter, point: DataPoint): void {
  if (point.type === 'summary') writeQuantiles(json, point);
  else if (point.type === 'histogram') writeExplicitBuckets(json, point);
  else writeExponentialBuckets(json, point);
}

function writeQuantiles(json: CopyWriter, point: DataPoint): void {
  json.json('{"quantiles":');
  writeList(json, point.quantiles(), (list, { quantile, value }) => {
    list.json('{"quantile":');
    list.jsonDouble(quantile);
    list.json(',"value":');
    list.jsonDouble(value);
    list.json('}');
  });
  json.json('}');
}

function writeExplicitBuckets(json: CopyWriter, point: DataPoint): void {
  const { bytes } = point;
  let separator = '{"bucket_counts":[';
  point.eachFixed64('bucketCounts', (at) => {
    json.json(`${separator}${fixed64(bytes, at)}`);
    separator = ',';
  });
  separator = '],"explicit_bounds":[';
  point.eachFixed64('explicitBounds', (at) => {
    json.json(separator);
    json.jsonDouble(double(bytes, at));
    separator = ',';
  });
  json.json(separator === ',' ? ']}' : '],"explicit_bounds":[]}');
}

function writeExponentialBuckets(json: CopyWriter, point: DataPoint): void {
  const { bytes } = point;
  const zeroCount = point.zeroCountAt === 0 ? 0n : fixed64(bytes, point.zeroCountAt);
  json.json(`{"scale":${point.scale},"zero_count":${zeroCount},"zero_threshold":`);
  json.jsonDouble(point.zeroThresholdAt === 0 ? 0 : double(bytes, point.zeroThresholdAt));
  json.json(',"positive":');
  writeBucketRange(json, bytes, point.positiveAt, point.positiveEnd);
  json.json(',"negative":');
  writeBucketRange(json, bytes, point.negativeAt, point.negativeEnd);
  json.json('}');
}

function writeBucketRange(json: CopyWriter, bytes: Uint8Array, start: number, end: number): void {
  let separator = '{"bucket_counts":[';
  const offset = readBuckets(bytes, start, end, (cursor) => {
    json.json(`${separator}${readUint64(bytes, cursor)}`);
    separator = ',';
  });
  json.json(`${separator === ',' ? '' : separator}],"offset":${offset}}`);
}

function writeExemplar(json: CopyWriter, exemplar: Exemplar): void {
  json.json(`{"time_unix_nano":${exemplar.timeUnixNano},"value":`);
  if (typeof exemplar.value === 'number') json.jsonDouble(exemplar.value);
  else json.json(String(exemplar.value ?? null));
  if (exemplar.traceId !== '') json.json(`,"trace_id":"${exemplar.traceId}"`);
  if (exemplar.spanId !== '') json.json(`,"span_id":"${exemplar.spanId}"`);
  json.json(',"attributes":');
  jsonAttributes(json, exemplar.attributes);
  json.json('}');
}
