/** What a batch says, read through every view: two batches of equal content are the same to all that come after. */
import { readAnyValue, type Attributes } from '../../src/model/attributes.ts';
import type { AnyBatch, Metrics } from '../../src/model/batch.ts';
import type { LogRecord } from '../../src/model/logs.ts';
import { readBuckets, type DataPoint, type Metric } from '../../src/model/metrics.ts';
import type { Span } from '../../src/model/traces.ts';
import { double, fixed64, readUint64, text } from '../../src/model/wire.ts';

/** Plain objects, to be compared or looked into. */
export interface ResourceContent {
  readonly attributes: object;
  readonly dropped: number;
  readonly schemaUrl: string;
  readonly scopes: readonly ScopeContent[];
}

interface ScopeContent {
  readonly name: string;
  readonly version: string;
  readonly attributes: object;
  readonly dropped: number;
  readonly schemaUrl: string;
  readonly records: readonly Record<string, unknown>[];
}

export function content(batch: AnyBatch): ResourceContent[] {
  return batch.resources.map(({ resource, schemaUrl, scopes }) => ({
    attributes: list(resource.attributes),
    dropped: resource.droppedAttributesCount,
    schemaUrl,
    scopes: scopes.map(({ scope, schemaUrl: scopeSchemaUrl, records }) => ({
      name: scope.name,
      version: scope.version,
      attributes: list(scope.attributes),
      dropped: scope.droppedAttributesCount,
      schemaUrl: scopeSchemaUrl,
      records: records.map(recordContent),
    })),
  }));
}

/** The records of a batch, one behind the other. */
export function recordsOf(batch: AnyBatch): Record<string, unknown>[] {
  return content(batch).flatMap(({ scopes }) => scopes.flatMap(({ records }) => records));
}

/** The data points of a batch, one behind the other. */
export function pointsOf({ resources }: Metrics): Record<string, unknown>[] {
  const metrics = resources.flatMap(({ scopes }) => scopes.flatMap(({ records }) => records));
  return metrics.flatMap(({ points }) => points.map(pointContent));
}

function recordContent(record: Span | LogRecord | Metric): Record<string, unknown> {
  if ('points' in record) return metricContent(record);
  return 'severityNumber' in record ? logContent(record) : spanContent(record);
}

/** Each attribute, duplicates too, so that order and number are compared as well. */
function list(attributes: Attributes): [string, unknown][] {
  const found: [string, unknown][] = [];
  const walk = attributes.walk();
  while (walk.next()) found.push([walk.key(), walk.value()]);
  if (found.length !== attributes.count) throw new Error(`counted ${attributes.count}, found ${found.length}`);
  return found;
}

function spanContent(span: Span): Record<string, unknown> {
  return {
    traceId: span.traceId,
    spanId: span.spanId,
    parentSpanId: span.parentSpanId,
    traceState: text(span.bytes, span.traceStateAt, span.traceStateEnd),
    name: span.name,
    kind: span.kind,
    start: span.startTimeUnixNano,
    end: span.endTimeUnixNano,
    attributes: list(span.attributes),
    dropped: [span.droppedAttributesCount, span.droppedEventsCount, span.droppedLinksCount],
    counts: [span.eventCount, span.linkCount],
    events: [...span.events()].map(({ timeUnixNano, name, attributes, droppedAttributesCount }) => ({
      time: timeUnixNano,
      name,
      attributes: list(attributes),
      dropped: droppedAttributesCount,
    })),
    links: [...span.links()].map(({ attributes, traceId, spanId, traceState, droppedAttributesCount, flags }) => ({
      traceId,
      spanId,
      traceState,
      attributes: list(attributes),
      dropped: droppedAttributesCount,
      flags,
    })),
    status: [span.statusCode, text(span.bytes, span.statusMessageAt, span.statusMessageEnd)],
    flags: span.flags,
  };
}

function logContent(log: LogRecord): Record<string, unknown> {
  return {
    time: log.timeUnixNano,
    observed: log.observedTimeUnixNano,
    severity: [log.severityNumber, text(log.bytes, log.severityTextAt, log.severityTextEnd)],
    body: readAnyValue(log.bytes, log.bodyAt, log.bodyEnd),
    attributes: list(log.attributes),
    dropped: log.droppedAttributesCount,
    flags: log.flags,
    traceId: log.traceId,
    spanId: log.spanId,
    eventName: text(log.bytes, log.eventNameAt, log.eventNameEnd),
  };
}

function metricContent(metric: Metric): Record<string, unknown> {
  return {
    name: metric.name,
    description: metric.description,
    unit: metric.unit,
    type: metric.type,
    temporality: metric.temporality,
    isMonotonic: metric.isMonotonic,
    metadata: list(metric.metadata),
    points: metric.points.map(pointContent),
  };
}

function pointContent(point: DataPoint): Record<string, unknown> {
  const { bytes } = point;
  const doubleAt = (at: number): number | undefined => (at === 0 ? undefined : double(bytes, at));
  const fixedAt = (at: number): bigint | undefined => (at === 0 ? undefined : fixed64(bytes, at));
  const asInt = fixedAt(point.asIntAt);
  return {
    attributes: list(point.attributes),
    time: point.timeUnixNano,
    start: fixedAt(point.startTimeAt),
    asDouble: doubleAt(point.asDoubleAt),
    asInt: asInt === undefined ? undefined : BigInt.asIntN(64, asInt),
    count: fixedAt(point.countAt),
    sum: doubleAt(point.sumAt),
    min: doubleAt(point.minAt),
    max: doubleAt(point.maxAt),
    scale: point.scale,
    zeroCount: fixedAt(point.zeroCountAt),
    zeroThreshold: doubleAt(point.zeroThresholdAt),
    positive: buckets(bytes, point.positiveAt, point.positiveEnd),
    negative: buckets(bytes, point.negativeAt, point.negativeEnd),
    ...explicitBuckets(point),
    quantiles: point.type === 'summary' ? point.quantiles() : [],
    exemplars: exemplars(point),
    flags: point.flags,
  };
}

function explicitBuckets(point: DataPoint): { counts: bigint[]; bounds: number[] } {
  const counts: bigint[] = [];
  const bounds: number[] = [];
  point.eachFixed64('bucketCounts', (at) => counts.push(fixed64(point.bytes, at)));
  point.eachFixed64('explicitBounds', (at) => bounds.push(double(point.bytes, at)));
  if (counts.length !== point.bucketCount || bounds.length !== point.boundCount) throw new Error('miscounted buckets');
  return { counts, bounds };
}

function buckets(bytes: Uint8Array, start: number, end: number): object {
  const counts: bigint[] = [];
  const offset = readBuckets(bytes, start, end, (cursor) => counts.push(readUint64(bytes, cursor)));
  return { offset, counts };
}

function exemplars(point: DataPoint): object[] {
  const found = point.exemplars();
  if (found.length !== point.exemplarCount) throw new Error('miscounted exemplars');
  return found.map(({ attributes, timeUnixNano, value, traceId, spanId }) => ({
    attributes: list(attributes),
    time: timeUnixNano,
    value,
    traceId,
    spanId,
  }));
}
