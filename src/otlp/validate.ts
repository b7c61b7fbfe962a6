/** What the OTLP specification demands of a single record beyond its wire format. */
import { isAllZero, SPAN_ID_BYTES, TRACE_ID_BYTES } from '../model/ids.ts';
import type { DataPoint, Metric } from '../model/metrics.ts';
import type { Span } from '../model/traces.ts';
import { double } from '../model/wire.ts';
import type { Rejections } from './rejections.ts';

/** Why the span cannot be kept; undefined when it can. An all-zero parent id counts as no parent. */
export function invalidSpan(span: Span): string | undefined {
  if (!isId(span.bytes, span.traceIdAt, span.traceIdEnd, TRACE_ID_BYTES)) return ID_FAULT.trace;
  if (!isId(span.bytes, span.spanIdAt, span.spanIdEnd, SPAN_ID_BYTES)) return ID_FAULT.span;
  const parentBytes = span.parentSpanIdEnd - span.parentSpanIdAt;
  return parentBytes === 0 || parentBytes === SPAN_ID_BYTES ? undefined : ID_FAULT.parent;
}

const ID_FAULT = {
  trace: 'trace_id must be 16 bytes (32 hex digits in JSON), not all zero',
  span: 'span_id must be 8 bytes (16 hex digits in JSON), not all zero',
  parent: 'parent_span_id must be empty or 8 bytes (16 hex digits in JSON)',
} as const;

function isId(bytes: Uint8Array, at: number, end: number, size: number): boolean {
  return end - at === size && !isAllZero(bytes, at, end);
}

/** The points of a metric that can be kept; the others are counted. */
export function validPoints(metric: Metric, rejections: Rejections): DataPoint[] {
  if (metric.name === '' && metric.points.length > 0) {
    rejections.add(metric.points.length, 'a metric must have a name');
    return [];
  }
  return metric.points.filter((point) => {
    const fault = invalidPoint(point);
    if (fault !== undefined) rejections.add(1, fault);
    return fault === undefined;
  });
}

/** The point carries no value, on purpose. */
const NO_RECORDED_VALUE = 1;

function invalidPoint(point: DataPoint): string | undefined {
  if ((point.flags & NO_RECORDED_VALUE) !== 0) return undefined;
  if (point.type === 'gauge' || point.type === 'sum') {
    return point.asDoubleAt === 0 && point.asIntAt === 0
      ? 'a number data point must have as_double or as_int'
      : undefined;
  }
  if (point.type !== 'histogram' || (point.bucketCount === 0 && point.boundCount === 0)) return undefined;
  if (point.bucketCount !== point.boundCount + 1) {
    return 'a histogram data point must have one bucket count more than explicit bounds, or none of both';
  }
  return boundsIncrease(point) ? undefined : 'the explicit bounds of a histogram data point must increase';
}

function boundsIncrease(point: DataPoint): boolean {
  let last = Number.NEGATIVE_INFINITY;
  let count = 0;
  let increase = true;
  point.eachFixed64('explicitBounds', (at) => {
    const bound = double(point.bytes, at);
    increase &&= bound > last || (count === 0 && bound === last);
    last = bound;
    count++;
  });
  return increase;
}
