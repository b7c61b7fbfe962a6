/**
 * Writes a batch as an OTLP export request in protobuf form. Records are copied as they came; only what holds them is
 * written anew, so unknown fields around records do not survive and records that processors left out are gone.
 * Requests concatenate: two of them, one behind the other, are one request with both.
 */
import type { AnyBatch } from '../model/batch.ts';
import type { MetricType } from '../model/data_point_fields.ts';
import type { LogRecord } from '../model/logs.ts';
import type { Metric } from '../model/metrics.ts';
import type { Span } from '../model/traces.ts';
import { withByteIds } from './text_ids.ts';

const LENGTH_PREFIXED = 2;

export function encodeRequest(batch: AnyBatch): Uint8Array {
  const parts = new Parts();
  for (const { resource, schemaUrl, scopes } of batch.resources) {
    const group = new Parts();
    group.message(1, resource.bytes.subarray(resource.start, resource.end));
    for (const { scope, schemaUrl: scopeSchemaUrl, records } of scopes) {
      const member = new Parts();
      member.message(1, scope.bytes.subarray(scope.start, scope.end));
      for (const record of records) addRecord(member, record);
      member.string(3, scopeSchemaUrl);
      group.parts(2, member);
    }
    group.string(3, schemaUrl);
    parts.parts(1, group);
  }
  return parts.concat();
}

function addRecord(member: Parts, record: Span | LogRecord | Metric): void {
  if ('points' in record) member.parts(2, encodeMetric(record));
  else if ('textIds' in record && record.textIds) member.message(2, withByteIds(record));
  else member.message(2, record.bytes.subarray(record.start, record.end));
}

const DATA_FIELD: Readonly<Record<MetricType, number>> = {
  gauge: 5,
  sum: 7,
  histogram: 9,
  exponential_histogram: 10,
  summary: 11,
};

/** A metric is written from its parts, since some of its points may have been left out. */
function encodeMetric(metric: Metric): Parts {
  const parts = new Parts();
  parts.string(1, metric.name);
  parts.string(2, metric.description);
  parts.string(3, metric.unit);
  if (metric.type !== undefined) {
    const data = new Parts();
    for (const point of metric.points) data.message(1, point.bytes.subarray(point.start, point.end));
    data.uint32(2, metric.temporality);
    data.uint32(3, metric.isMonotonic ? 1 : 0);
    parts.parts(DATA_FIELD[metric.type], data);
  }
  for (const entry of metric.metadata.messages()) parts.message(12, entry);
  return parts;
}

/** Buffers of one message, and their length. */
class Parts {
  private readonly buffers: Uint8Array[] = [];
  private length = 0;

  message(field: number, bytes: Uint8Array): void {
    this.add(prefix((field << 3) | LENGTH_PREFIXED, bytes.length));
    this.add(bytes);
  }

  parts(field: number, { buffers, length }: Parts): void {
    this.add(prefix((field << 3) | LENGTH_PREFIXED, length));
    for (const buffer of buffers) this.add(buffer);
  }

  /** Proto3 does not write what has the default value. */
  string(field: number, value: string): void {
    if (value !== '') this.message(field, Buffer.from(value, 'utf8'));
  }

  uint32(field: number, value: number): void {
    if (value !== 0) this.add(prefix(field << 3, value));
  }

  concat(): Uint8Array {
    return Buffer.concat(this.buffers, this.length);
  }

  private add(buffer: Uint8Array): void {
    this.buffers.push(buffer);
    this.length += buffer.length;
  }
}

/** A tag and the varint behind it. */
function prefix(tag: number, value: number): Uint8Array {
  const bytes: number[] = [];
  for (const number of [tag, value]) {
    let rest = number;
    for (; rest > 0x7f; rest = Math.floor(rest / 128)) bytes.push((rest % 128) | 0x80);
    bytes.push(rest);
  }
  return Uint8Array.from(bytes);
}
