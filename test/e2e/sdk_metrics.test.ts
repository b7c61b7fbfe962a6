import assert from 'node:assert/strict';
import { ValueType, type Meter } from '@opentelemetry/api';
import { OTLPMetricExporter as JsonMetricExporter } from '@opentelemetry/exporter-metrics-otlp-http';
import { OTLPMetricExporter } from '@opentelemetry/exporter-metrics-otlp-proto';
import {
  AggregationType,
  MeterProvider,
  PeriodicExportingMetricReader,
  type ResourceMetrics,
} from '@opentelemetry/sdk-metrics';
import { storedRows, timestamptz, withoutArrival, type StoredRow } from '../support/gateway.ts';
import { ATTRIBUTES, exporterOptions, gatewaySuite, ORIGIN, RESOURCE, SCOPE, WIRES, type Wire } from './sdk_wire.ts';

const { test, gateway } = gatewaySuite("the JavaScript SDK's metrics");

/** Sends a metric of each type and resolves to what the SDK exported, whose clock and scale are its own. */
async function send(wire: Wire): Promise<ResourceMetrics> {
  const options = exporterOptions(wire, gateway().url, 'metrics');
  const exporter = wire.encoding === 'json' ? new JsonMetricExporter(options) : new OTLPMetricExporter(options);
  const batches: ResourceMetrics[] = [];
  const exportBatch = exporter.export.bind(exporter);
  exporter.export = (batch, report) => {
    batches.push(batch);
    exportBatch(batch, report);
  };
  const provider = new MeterProvider({
    resource: RESOURCE,
    readers: [new PeriodicExportingMetricReader({ exporter })],
    views: [{ instrumentName: 'exponential', aggregation: { type: AggregationType.EXPONENTIAL_HISTOGRAM } }],
  });
  record(provider.getMeter(...SCOPE));
  await provider.shutdown();

  const [batch, ...more] = batches;
  assert.ok(batch);
  assert.equal(more.length, 0);
  return batch;
}

function record(meter: Meter): void {
  const integer = { valueType: ValueType.INT };
  meter
    .createCounter('counter', { ...integer, description: 'counts', unit: '{thing}' })
    .add(3, { ...ATTRIBUTES, 'pencheff.scan_id': 's' });
  meter.createCounter('counter.fraction').add(1.5);
  meter.createUpDownCounter('up.down', integer).add(-2);
  meter.createGauge('gauge').record(-0.25, { room: 1 });
  meter.createGauge('gauge.integer', integer).record(Number.MAX_SAFE_INTEGER);
  const explicit = meter.createHistogram('histogram', { unit: 's', advice: { explicitBucketBoundaries: [0, 1, 10] } });
  for (const value of [0, 0.5, 0.5, 5, 100]) explicit.record(value);
  const exponential = meter.createHistogram('exponential');
  for (const value of [0, 1, 2, 4]) exponential.record(value);
}

const CUMULATIVE = 2;

function expectedMetrics(batch: ResourceMetrics): StoredRow[] {
  const row = (metric_name: string, columns: StoredRow): StoredRow => ({
    metric_name,
    description: null,
    unit: null,
    temporality: CUMULATIVE,
    is_monotonic: null,
    metadata: null,
    value_int: null,
    value_double: null,
    count: null,
    sum: null,
    min: null,
    max: null,
    buckets: null,
    exemplars: null,
    flags: null,
    attributes: {},
    trace_id: null,
    span_type: null,
    adjusted_count: null,
    scan_id: null,
    ...ORIGIN,
    ...timesOf(batch, metric_name),
    ...columns,
  });
  return [
    row('counter', {
      metric_type: 'sum',
      description: 'counts',
      unit: '{thing}',
      is_monotonic: true,
      value_int: 3n,
      attributes: { ...ATTRIBUTES, 'pencheff.scan_id': 's' },
      scan_id: 's',
    }),
    row('counter.fraction', { metric_type: 'sum', is_monotonic: true, value_double: 1.5 }),
    row('exponential', {
      metric_type: 'exponential_histogram',
      count: 4n,
      sum: 7,
      min: 0,
      max: 4,
      buckets: exponentialBuckets(batch),
    }),
    row('gauge', { metric_type: 'gauge', temporality: null, value_double: -0.25, attributes: { room: 1 } }),
    row('gauge.integer', { metric_type: 'gauge', temporality: null, value_int: BigInt(Number.MAX_SAFE_INTEGER) }),
    row('histogram', {
      metric_type: 'histogram',
      unit: 's',
      count: 5n,
      sum: 106,
      min: 0,
      max: 100,
      buckets: { bucket_counts: [1, 2, 1, 1], explicit_bounds: [0, 1, 10] },
    }),
    row('up.down', { metric_type: 'sum', is_monotonic: false, value_int: -2n }),
  ];
}

/** The only point of the metric of that name. */
function pointOf(batch: ResourceMetrics, name: string) {
  const metric = batch.scopeMetrics
    .flatMap(({ metrics }) => metrics)
    .find(({ descriptor }) => descriptor.name === name);
  const [point] = metric?.dataPoints ?? [];
  assert.ok(point, name);
  return point;
}

function timesOf(batch: ResourceMetrics, name: string) {
  const { startTime, endTime } = pointOf(batch, name);
  const [start, end] = [startTime, endTime].map(([seconds, nanos]) => BigInt(seconds) * 1_000_000_000n + BigInt(nanos));
  assert.ok(start !== undefined && end !== undefined);
  return {
    ts: timestamptz(end),
    ts_ns_rest: Number(end % 1000n),
    start_at: timestamptz(start),
    start_ns_rest: Number(start % 1000n),
  };
}

/** Where 1, 2 and 4 fall depends on the scale that the SDK chose. */
function exponentialBuckets(batch: ResourceMetrics) {
  const { value } = pointOf(batch, 'exponential');
  assert.ok(typeof value === 'object' && 'scale' in value);
  const { scale, positive } = value;
  assert.equal(
    positive.bucketCounts.reduce((sum, count) => sum + count, 0),
    3,
  );
  return {
    scale,
    zero_count: 1,
    zero_threshold: 0,
    positive: { offset: positive.offset, bucket_counts: positive.bucketCounts },
    negative: { offset: 0, bucket_counts: value.negative.bucketCounts },
  };
}

for (const wire of WIRES) {
  test(`arrive whole: ${wire.encoding}, compression ${wire.compression}`, async () => {
    const batch = await send(wire);
    const rows = await storedRows(gateway().pool, 'otel_metrics', 'metric_name');
    assert.deepEqual(rows.map(withoutArrival), expectedMetrics(batch));
  });
}

test.run();
