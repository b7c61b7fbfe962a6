/**
 * From parsed SDK spans to span views. Each becomes an OTLP `Span` message, but for its ids, which stay text:
 *
 * - `kind` becomes `promoted.spanType`, and OTLP's kind: server for request, client for llm, internal for the others;
 * - `status` ok and error become OTLP's; blocked becomes error with the attribute `sluice.status` = `blocked`;
 * - a start that the span does not say is marked by `sluice.time_inferred` = true;
 * - an end before the start is kept, stored with a duration of 0, and marked by `sluice.time_conflict` = true.
 */
import { setImmediate } from 'node:timers/promises';
import { ANY_VALUE } from '../../model/attributes.ts';
import { Span } from '../../model/traces.ts';
import { Reader, type ShapeLimits } from '../../model/wire.ts';
import { WireWriter } from '../../otlp/wire_writer.ts';
import { Faults } from './faults.ts';
import type { SdkKind, SdkRequest, SdkSpan, WireRange } from './parse.ts';
import { resolveTimes, type SpanTimes } from './times.ts';

/** Tags of OTLP's `Span`, `KeyValue` and `Status`. */
const SPAN = {
  traceId: 0x0a,
  spanId: 0x12,
  parentSpanId: 0x22,
  kind: 0x30,
  startTime: 0x39,
  endTime: 0x41,
  attributes: 0x4a,
  status: 0x7a,
} as const;
const KEY = 0x0a;
const VALUE = 0x12;
const STATUS_CODE = 0x18;

/** OTLP's numbers: 1 internal, 2 server, 3 client. */
const WIRE_KINDS: Readonly<Record<SdkKind, number>> = {
  request: 2,
  llm: 3,
  tool: 1,
  firewall: 1,
  detector: 1,
  other: 1,
};

const STATUS_CODES = { ok: 1, blocked: 2, error: 2 } as const;

/** Says that a status of ERROR means blocked. */
const STATUS_ATTRIBUTE = 'sluice.status';
const INFERRED_ATTRIBUTE = 'sluice.time_inferred';
const CONFLICT_ATTRIBUTE = 'sluice.time_conflict';

/** What a span takes besides its attributes and texts, roughly. */
const SPAN_BYTES = 512;
const SLICE_BYTES = 262_144;

/** @throws InvalidDataError for a span that began before 1970 */
export async function toSpans(request: SdkRequest, receivedAtMs: number): Promise<Span[]> {
  const { spans, wire } = request;
  const times = resolveTimes(spans, receivedAtMs);
  checkStarts(times);
  const out = new WireWriter(wire.length + spans.length * SPAN_BYTES);
  const source = Buffer.from(wire.buffer, wire.byteOffset, wire.length);
  const ends = spans.map((span, index) => {
    const time = times[index];
    if (time !== undefined) writeSpan(out, request.traceId, span, time, source);
    return out.pos;
  });
  return readSpans(out.bytes(), ends, spans);
}

function checkStarts(times: readonly SpanTimes[]): void {
  const faults = new Faults();
  for (const [index, { startNs }] of times.entries()) {
    if (startNs <= 0n) faults.add(`spans[${index}].duration_ms`, 'is longer than the time from 1970 to the end');
  }
  faults.throwIfAny();
}

/** What was just written needs no limits: those of the body were checked while it was read. */
const UNLIMITED: ShapeLimits = {
  max_records: Number.MAX_SAFE_INTEGER,
  max_nodes: Number.MAX_SAFE_INTEGER,
  max_depth: Number.MAX_SAFE_INTEGER,
  max_record_bytes: Number.MAX_SAFE_INTEGER,
  max_record_nodes: Number.MAX_SAFE_INTEGER,
};

async function readSpans(bytes: Uint8Array, ends: readonly number[], given: readonly SdkSpan[]): Promise<Span[]> {
  const reader = new Reader(bytes, UNLIMITED);
  const spans: Span[] = [];
  let sliceEnd = SLICE_BYTES;
  for (const [index, end] of ends.entries()) {
    const span = Span.read(reader, end);
    span.textIds = true;
    span.promoted = { spanType: given[index]?.kind ?? 'other' };
    spans.push(span);
    if (end < sliceEnd) continue;
    sliceEnd = end + SLICE_BYTES;
    await setImmediate();
  }
  return spans;
}

function writeSpan(out: WireWriter, traceId: string, span: SdkSpan, times: SpanTimes, source: Buffer): void {
  writeText(out, SPAN.traceId, traceId);
  writeText(out, SPAN.spanId, span.spanId);
  if (span.parentSpanId !== undefined) writeText(out, SPAN.parentSpanId, span.parentSpanId);
  copyRange(out, source, span.name);
  out.uint32(SPAN.kind);
  out.uint32(WIRE_KINDS[span.kind]);
  writeTimes(out, times);
  copyRange(out, source, span.attributes);
  // Behind the client's own: of equal keys the last counts.
  if (times.isInferred) writeMark(out, INFERRED_ATTRIBUTE);
  if (times.endNs !== undefined && times.endNs < times.startNs) writeMark(out, CONFLICT_ATTRIBUTE);
  if (span.status === 'blocked') writeTextAttribute(out, STATUS_ATTRIBUTE, span.status);
  writeStatus(out, span, source);
}

function writeTimes(out: WireWriter, { startNs, endNs }: SpanTimes): void {
  out.uint32(SPAN.startTime);
  out.fixed64(startNs);
  if (endNs === undefined) return;
  out.uint32(SPAN.endTime);
  out.fixed64(endNs);
}

function writeStatus(out: WireWriter, { status, statusMessage }: SdkSpan, source: Buffer): void {
  out.uint32(SPAN.status);
  const contentAt = out.open();
  copyRange(out, source, statusMessage);
  if (status !== undefined) {
    out.uint32(STATUS_CODE);
    out.uint32(STATUS_CODES[status]);
  }
  out.close(contentAt);
}

function writeMark(out: WireWriter, key: string): void {
  writeAttribute(out, key, () => {
    out.uint32(ANY_VALUE.bool);
    out.uint32(1);
  });
}

function writeTextAttribute(out: WireWriter, key: string, value: string): void {
  writeAttribute(out, key, () => writeText(out, ANY_VALUE.string, value));
}

function writeAttribute(out: WireWriter, key: string, writeValue: () => void): void {
  out.uint32(SPAN.attributes);
  const entryAt = out.open();
  writeText(out, KEY, key);
  out.uint32(VALUE);
  const valueAt = out.open();
  writeValue();
  out.close(valueAt);
  out.close(entryAt);
}

function writeText(out: WireWriter, tag: number, text: string): void {
  const bytes = Buffer.from(text, 'utf8');
  out.uint32(tag);
  out.uint32(bytes.length);
  out.raw(bytes);
}

function copyRange(out: WireWriter, source: Buffer, { from, to }: WireRange): void {
  out.copy(source, from, to);
}
