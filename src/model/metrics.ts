/** Metrics and their data points: views over OTLP messages. Source: opentelemetry-proto, metrics/v1/metrics.proto. */
import { Attributes, isTrue } from './attributes.ts';
import { DATA_POINT_FIELDS, EXEMPLAR, type DataPointField, type MetricType } from './data_point_fields.ts';
import { hex } from './ids.ts';
import type { Promoted } from './promoted.ts';
import { readText } from './resource.ts';
import { double, eachField, fixed64, MalformedError, readUint32, type Cursor, type Reader } from './wire.ts';

/** Tags of `Metric`. The five data fields form a oneof: the last one counts. */
const METRIC = { name: 0x0a, description: 0x12, unit: 0x1a, metadata: 0x62 } as const;

const METRIC_TYPES: Readonly<Record<number, MetricType>> = {
  0x2a: 'gauge',
  0x3a: 'sum',
  0x4a: 'histogram',
  0x52: 'exponential_histogram',
  0x5a: 'summary',
};

const POINTS = 0x0a;
const TEMPORALITY = 0x10;
const IS_MONOTONIC = 0x18;

/** One metric with its data points, which are the items that counters and partial success count. */
export class Metric {
  readonly bytes: Uint8Array;
  readonly metadata: Attributes;
  name = '';
  description = '';
  unit = '';
  /** Undefined when the metric carries no data. */
  type: MetricType | undefined = undefined;
  /** 0 unspecified, 1 delta, 2 cumulative; meaningless for gauges and summaries. */
  temporality = 0;
  isMonotonic = false;
  points: DataPoint[] = [];

  constructor(bytes: Uint8Array) {
    this.bytes = bytes;
    this.metadata = new Attributes(bytes, METRIC.metadata);
  }

  /** Checks the message that ends at `end`, with everything in it, and makes a view of it. */
  static read(reader: Reader, end: number): Metric {
    const metric = new Metric(reader.bytes);
    reader.group();
    while (reader.pos < end) {
      const tagAt = reader.pos;
      const tag = reader.tag(end);
      const type = METRIC_TYPES[tag];
      if (type !== undefined) readData(metric, type, reader, reader.fieldEnd(end));
      else if (tag === METRIC.name) metric.name = readText(reader, end);
      else if (tag === METRIC.description) metric.description = readText(reader, end);
      else if (tag === METRIC.unit) metric.unit = readText(reader, end);
      else if (tag === METRIC.metadata) metric.metadata.add(reader, tagAt, end);
      else reader.skipValue(tag, end);
    }
    return metric;
  }
}

/** The data of another type replaces what came before; data of the same type merges. */
function readData(metric: Metric, type: MetricType, reader: Reader, end: number): void {
  reader.node();
  if (metric.type !== type) {
    metric.type = type;
    metric.points = [];
    metric.temporality = 0;
    metric.isMonotonic = false;
  }
  while (reader.pos < end) {
    const tag = reader.tag(end);
    if (tag === POINTS) metric.points.push(DataPoint.read(type, reader, reader.fieldEnd(end)));
    else if (tag === TEMPORALITY) metric.temporality = reader.uint32(end);
    else if (tag === IS_MONOTONIC) {
      metric.isMonotonic = isTrue(reader.bytes, { at: reader.pos });
      reader.skipValue(tag, end);
    } else reader.skipValue(tag, end);
  }
}

/** One data point. `…At` is the offset of eight bytes, 0 when the field is absent. */
export class DataPoint {
  readonly bytes: Uint8Array;
  readonly start: number;
  readonly end: number;
  readonly type: MetricType;
  readonly attributes: Attributes;
  timeAt = 0;
  startTimeAt = 0;
  /** A number point has one of the two, or none when it is invalid. */
  asDoubleAt = 0;
  asIntAt = 0;
  countAt = 0;
  sumAt = 0;
  minAt = 0;
  maxAt = 0;
  scale = 0;
  zeroCountAt = 0;
  zeroThresholdAt = 0;
  /** Bounds of the `Buckets` messages of an exponential histogram. */
  positiveAt = 0;
  positiveEnd = 0;
  negativeAt = 0;
  negativeEnd = 0;
  bucketCount = 0;
  boundCount = 0;
  exemplarCount = 0;
  /** 1: the point says that no value was recorded. */
  flags = 0;
  promoted: Promoted | undefined = undefined;

  constructor(bytes: Uint8Array, start: number, end: number, type: MetricType) {
    this.bytes = bytes;
    this.start = start;
    this.end = end;
    this.type = type;
    this.attributes = new Attributes(bytes, DATA_POINT_FIELDS[type].attributes);
  }

  static read(type: MetricType, reader: Reader, end: number): DataPoint {
    const point = new DataPoint(reader.bytes, reader.pos, end, type);
    const { fields } = DATA_POINT_FIELDS[type];
    reader.record();
    while (reader.pos < end) {
      const tagAt = reader.pos;
      const tag = reader.tag(end);
      const field = fields[tag];
      if (field === undefined) reader.skipValue(tag, end);
      else readPointField(point, field, reader, tagAt, end);
    }
    return point;
  }

  get timeUnixNano(): bigint {
    return this.timeAt === 0 ? 0n : fixed64(this.bytes, this.timeAt);
  }

  /** Calls `visit` with the offset of each eight-byte element of a repeated field, packed or not. */
  eachFixed64(field: 'bucketCounts' | 'explicitBounds', visit: (at: number) => void): void {
    const { fields } = DATA_POINT_FIELDS[this.type];
    this.walk((tag, at) => {
      if (fields[tag] !== field) return;
      const cursor: Cursor = { at };
      const end = (tag & 7) === 2 ? readUint32(this.bytes, cursor) + cursor.at : at + 8;
      for (let element = cursor.at; element < end; element += 8) visit(element);
    });
  }

  /** Quantiles and values of a summary. */
  quantiles(): { quantile: number; value: number }[] {
    const { bytes } = this;
    return this.submessages('quantile', (start, end) => {
      const pair = { quantile: 0, value: 0 };
      eachField(bytes, start, end, (tag, at) => {
        if (tag === 0x09) pair.quantile = double(bytes, at);
        else if (tag === 0x11) pair.value = double(bytes, at);
      });
      return pair;
    });
  }

  exemplars(): Exemplar[] {
    return this.submessages('exemplar', (start, end) => new Exemplar(this.bytes, start, end));
  }

  private submessages<T>(field: DataPointField, view: (start: number, end: number) => T): T[] {
    const { fields } = DATA_POINT_FIELDS[this.type];
    const views: T[] = [];
    this.walk((tag, at) => {
      if (fields[tag] !== field) return;
      const cursor: Cursor = { at };
      const end = readUint32(this.bytes, cursor) + cursor.at;
      views.push(view(cursor.at, end));
    });
    return views;
  }

  private walk(visit: (tag: number, at: number) => void): void {
    eachField(this.bytes, this.start, this.end, visit);
  }
}

function readPointField(point: DataPoint, field: DataPointField, reader: Reader, tagAt: number, end: number): void {
  switch (field) {
    case 'asDouble':
      point.asDoubleAt = reader.fixed(8, end);
      point.asIntAt = 0;
      return;
    case 'asInt':
      point.asIntAt = reader.fixed(8, end);
      point.asDoubleAt = 0;
      return;
    case 'attributes':
      point.attributes.add(reader, tagAt, end);
      return;
    case 'exemplar':
      point.exemplarCount++;
      checkExemplar(reader, reader.fieldEnd(end));
      return;
    case 'flags':
      point.flags = reader.uint32(end);
      return;
    case 'scale':
      point.scale = zigzag(reader.uint32(end));
      return;
    case 'bucketCounts':
      point.bucketCount += checkFixed64s(reader, tagAt, end);
      return;
    case 'explicitBounds':
      point.boundCount += checkFixed64s(reader, tagAt, end);
      return;
    case 'positive':
      point.positiveEnd = reader.fieldEnd(end);
      point.positiveAt = reader.pos;
      checkBuckets(reader, point.positiveEnd);
      return;
    case 'negative':
      point.negativeEnd = reader.fieldEnd(end);
      point.negativeAt = reader.pos;
      checkBuckets(reader, point.negativeEnd);
      return;
    case 'quantile':
      reader.node();
      checkFields(reader, reader.fieldEnd(end));
      return;
    default:
      point[field] = reader.fixed(8, end);
  }
}

const zigzag = (value: number): number => (value >>> 1) ^ -(value & 1);

/** So many numbers of a repeated field count as one message towards `max_nodes`. */
const NUMBERS_PER_NODE = 8;

/** Checks a packed or single eight-byte element, whose tag began at `tagAt`; returns how many elements it holds. */
function checkFixed64s(reader: Reader, tagAt: number, end: number): number {
  if ((reader.bytes[tagAt] & 7) === 1) {
    reader.fixed(8, end);
    return 1;
  }
  const fieldEnd = reader.fieldEnd(end);
  const size = fieldEnd - reader.pos;
  if (size % 8 !== 0) throw new MalformedError(`packed field at byte ${tagAt} is not a multiple of 8 bytes`);
  reader.pos = fieldEnd;
  for (let counted = 0; counted < size; counted += 8 * NUMBERS_PER_NODE) reader.node();
  return size / 8;
}

const BUCKETS = { offset: 0x08, counts: 0x10, packedCounts: 0x12 } as const;

function checkBuckets(reader: Reader, end: number): void {
  reader.node();
  while (reader.pos < end) {
    const tag = reader.tag(end);
    if (tag !== BUCKETS.packedCounts) {
      reader.skipValue(tag, end);
      continue;
    }
    const fieldEnd = reader.fieldEnd(end);
    for (let count = 0; reader.pos < fieldEnd; count++) {
      if (count % NUMBERS_PER_NODE === 0) reader.node();
      reader.uint32(fieldEnd);
    }
  }
}

/** Buckets of an exponential histogram, in checked bytes; calls `visit` with a cursor at each count's varint. */
export function readBuckets(bytes: Uint8Array, start: number, end: number, visit: (cursor: Cursor) => void): number {
  let offset = 0;
  eachField(bytes, start, end, (tag, at) => {
    const cursor: Cursor = { at };
    if (tag === BUCKETS.offset) offset = zigzag(readUint32(bytes, cursor));
    else if (tag === BUCKETS.counts) visit(cursor);
    else if (tag === BUCKETS.packedCounts) {
      const fieldEnd = readUint32(bytes, cursor) + cursor.at;
      while (cursor.at < fieldEnd) visit(cursor);
    }
  });
  return offset;
}

function checkExemplar(reader: Reader, end: number): void {
  reader.node();
  const attributes = new Attributes(reader.bytes, EXEMPLAR.attributes);
  while (reader.pos < end) {
    const tagAt = reader.pos;
    const tag = reader.tag(end);
    if (tag === EXEMPLAR.attributes) attributes.add(reader, tagAt, end);
    else reader.skipValue(tag, end);
  }
}

function checkFields(reader: Reader, end: number): void {
  while (reader.pos < end) reader.skipValue(reader.tag(end), end);
}

/** An exemplar, in checked bytes. */
export class Exemplar {
  readonly attributes: Attributes;
  timeUnixNano = 0n;
  /** Undefined when the exemplar has no value. */
  value: number | bigint | undefined = undefined;
  traceId = '';
  spanId = '';

  constructor(bytes: Uint8Array, start: number, end: number) {
    this.attributes = new Attributes(bytes, EXEMPLAR.attributes);
    this.attributes.from = start;
    this.attributes.to = end;
    eachField(bytes, start, end, (tag, at) => {
      if (tag === EXEMPLAR.time) this.timeUnixNano = fixed64(bytes, at);
      else if (tag === EXEMPLAR.asDouble) this.value = double(bytes, at);
      else if (tag === EXEMPLAR.asInt) this.value = BigInt.asIntN(64, fixed64(bytes, at));
      else if (tag === EXEMPLAR.spanId) this.spanId = peekHex(bytes, at);
      else if (tag === EXEMPLAR.traceId) this.traceId = peekHex(bytes, at);
      else if (tag === EXEMPLAR.attributes) this.attributes.count++;
    });
  }
}

function peekHex(bytes: Uint8Array, at: number): string {
  const cursor = { at };
  const end = readUint32(bytes, cursor) + cursor.at;
  return hex(bytes, cursor.at, end);
}
