/** What a batch must say, worked out from the plain objects that protobufjs encodes: a second opinion on every view. */
import type { Signal } from '../../src/model/batch.ts';
import type { Plain } from './oracle.ts';

export function expectedContent(signal: Signal, request: Plain): object[] {
  const name = { traces: 'Spans', logs: 'Logs', metrics: 'Metrics' }[signal];
  return list(request, `resource${name}`).map((group) => ({
    attributes: attributes(message(group, 'resource')),
    dropped: dropped(message(group, 'resource')),
    schemaUrl: text(group, 'schemaUrl'),
    scopes: list(group, `scope${name}`).map((scopeGroup) => ({
      attributes: attributes(message(scopeGroup, 'scope')),
      dropped: dropped(message(scopeGroup, 'scope')),
      name: text(message(scopeGroup, 'scope'), 'name'),
      version: text(message(scopeGroup, 'scope'), 'version'),
      schemaUrl: text(scopeGroup, 'schemaUrl'),
      records: RECORDS[signal](scopeGroup),
    })),
  }));
}

const RECORDS: Readonly<Record<Signal, (scopeGroup: Plain) => object[]>> = {
  traces: (group) => list(group, 'spans').map(span),
  logs: (group) => list(group, 'logRecords').map(log),
  metrics: (group) => list(group, 'metrics').map(metric),
};

function isPlain(value: unknown): value is Plain {
  return typeof value === 'object' && value !== null && !Buffer.isBuffer(value);
}

function message(from: Plain, name: string): Plain {
  const value = from[name];
  return isPlain(value) ? value : {};
}

function values(from: Plain, name: string): unknown[] {
  const value = from[name];
  return Array.isArray(value) ? value : [];
}

const list = (from: Plain, name: string): Plain[] => values(from, name).filter(isPlain);
const scalar = (value: unknown): string =>
  typeof value === 'string' || typeof value === 'number' ? String(value) : '';
const text = (from: Plain, name: string): string => scalar(from[name]);
const number = (from: Plain, name: string): number => Number(from[name] ?? 0);
const long = (from: Plain, name: string): bigint => BigInt(scalar(from[name]));
const longs = (from: Plain, name: string): bigint[] => values(from, name).map((value) => BigInt(scalar(value)));

function hex(from: Plain, name: string): string {
  const value = from[name];
  return Buffer.isBuffer(value) ? value.toString('hex') : '';
}

const longIfPresent = (from: Plain, name: string): bigint | undefined => (name in from ? long(from, name) : undefined);
const numberIfPresent = (from: Plain, name: string): number | undefined =>
  name in from ? number(from, name) : undefined;

const dropped = (from: Plain): number => number(from, 'droppedAttributesCount');

function attributes(from: Plain, name = 'attributes'): [string, unknown][] {
  return list(from, name).map((entry) => [text(entry, 'key'), anyValue(entry['value'])]);
}

function anyValue(value: unknown): unknown {
  if (!isPlain(value)) return null;
  if (isPlain(value['arrayValue'])) return list(value['arrayValue'], 'values').map(anyValue);
  if (isPlain(value['kvlistValue'])) return new Map(attributes(value['kvlistValue'], 'values'));
  if ('intValue' in value) return integer(long(value, 'intValue'));
  return value['stringValue'] ?? value['boolValue'] ?? value['doubleValue'] ?? value['bytesValue'] ?? null;
}

const integer = (value: bigint): number | bigint => (Number.isSafeInteger(Number(value)) ? Number(value) : value);

function span(from: Plain): object {
  const status = message(from, 'status');
  return {
    traceId: hex(from, 'traceId'),
    spanId: hex(from, 'spanId'),
    parentSpanId: hex(from, 'parentSpanId'),
    traceState: text(from, 'traceState'),
    name: text(from, 'name'),
    kind: number(from, 'kind'),
    start: long(from, 'startTimeUnixNano'),
    end: long(from, 'endTimeUnixNano'),
    attributes: attributes(from),
    dropped: ['droppedAttributesCount', 'droppedEventsCount', 'droppedLinksCount'].map((name) => number(from, name)),
    counts: [list(from, 'events').length, list(from, 'links').length],
    events: list(from, 'events').map((event) => ({
      attributes: attributes(event),
      dropped: dropped(event),
      time: long(event, 'timeUnixNano'),
      name: text(event, 'name'),
    })),
    links: list(from, 'links').map((link) => ({
      attributes: attributes(link),
      dropped: dropped(link),
      traceId: hex(link, 'traceId'),
      spanId: hex(link, 'spanId'),
      traceState: text(link, 'traceState'),
      flags: number(link, 'flags'),
    })),
    status: [number(status, 'code'), text(status, 'message')],
    flags: number(from, 'flags'),
  };
}

function log(from: Plain): object {
  return {
    attributes: attributes(from),
    dropped: dropped(from),
    time: long(from, 'timeUnixNano'),
    observed: long(from, 'observedTimeUnixNano'),
    severity: [number(from, 'severityNumber'), text(from, 'severityText')],
    body: anyValue(from['body']),
    flags: number(from, 'flags'),
    traceId: hex(from, 'traceId'),
    spanId: hex(from, 'spanId'),
    eventName: text(from, 'eventName'),
  };
}

const METRIC_TYPES = {
  gauge: 'gauge',
  sum: 'sum',
  histogram: 'histogram',
  exponentialHistogram: 'exponential_histogram',
  summary: 'summary',
} as const;

function metric(from: Plain): object {
  const [kind, type] = Object.entries(METRIC_TYPES).find(([name]) => name in from) ?? ['', undefined];
  const data = message(from, kind);
  return {
    name: text(from, 'name'),
    description: text(from, 'description'),
    unit: text(from, 'unit'),
    type,
    temporality: number(data, 'aggregationTemporality'),
    isMonotonic: data['isMonotonic'] === true,
    metadata: attributes(from, 'metadata'),
    points: list(data, 'dataPoints').map(point),
  };
}

function point(from: Plain): object {
  return {
    attributes: attributes(from),
    time: long(from, 'timeUnixNano'),
    start: longIfPresent(from, 'startTimeUnixNano'),
    asDouble: numberIfPresent(from, 'asDouble'),
    asInt: longIfPresent(from, 'asInt'),
    count: longIfPresent(from, 'count'),
    sum: numberIfPresent(from, 'sum'),
    min: numberIfPresent(from, 'min'),
    max: numberIfPresent(from, 'max'),
    scale: number(from, 'scale'),
    zeroCount: longIfPresent(from, 'zeroCount'),
    zeroThreshold: numberIfPresent(from, 'zeroThreshold'),
    positive: buckets(message(from, 'positive')),
    negative: buckets(message(from, 'negative')),
    counts: longs(from, 'bucketCounts'),
    bounds: values(from, 'explicitBounds'),
    quantiles: list(from, 'quantileValues').map((pair) => ({
      quantile: number(pair, 'quantile'),
      value: number(pair, 'value'),
    })),
    exemplars: list(from, 'exemplars').map((exemplar) => ({
      attributes: attributes(exemplar, 'filteredAttributes'),
      time: long(exemplar, 'timeUnixNano'),
      value: numberIfPresent(exemplar, 'asDouble') ?? longIfPresent(exemplar, 'asInt'),
      traceId: hex(exemplar, 'traceId'),
      spanId: hex(exemplar, 'spanId'),
    })),
    flags: number(from, 'flags'),
  };
}

const buckets = (from: Plain): object => ({ offset: number(from, 'offset'), counts: longs(from, 'bucketCounts') });
