/**
 * Bodies that are made to hurt: small ones that become large, shapes that cost more than their bytes, and the largest
 * ones that are still allowed. Each is a whole request for `/v1/traces`.
 */
import { randomBytes } from 'node:crypto';
import { gzipSync } from 'node:zlib';

const MIB = 1_048_576;
const GIB = 1024 * MIB;
/** `max_request_body_size` and `max_records` as they are by default. */
const MAX_BODY_BYTES = 64 * MIB;
const MAX_RECORDS = 50_000;

/** The first trace id of a body, which `varied` replaces. */
const TRACE_ID = Buffer.from('f0e1d2c3b4a5968778695a4b3c2d1e0f', 'hex');
const SPAN_ID = Buffer.from('a1b2c3d4e5f60718', 'hex');

const TAG = {
  first: 0x0a,
  second: 0x12,
  spanAttributes: 0x4a,
  event: 0x5a,
  name: 0x2a,
  start: 0x39,
  end: 0x41,
} as const;

/** 1 MB that becomes 1 GiB of zeros, in several gzip members, which is how to make one fast. */
export function gzipBomb(): Buffer {
  const members = 64;
  const member = gzipSync(Buffer.alloc(GIB / members));
  return Buffer.alloc(members * member.length, member);
}

/** 4 M spans without anything in them. */
export function emptySpans(): Buffer {
  return request(Buffer.alloc(8 * MIB, Buffer.from([TAG.second, 0])));
}

/** One span of 4 M attributes without anything in them. */
export function emptyAttributes(): Buffer {
  return request(span(Buffer.alloc(8_000_000, Buffer.from([TAG.spanAttributes, 0]))));
}

/** 4 M resources without anything in them. */
export function emptyResources(): Buffer {
  return Buffer.alloc(8 * MIB, Buffer.from([TAG.first, 0]));
}

/** An attribute whose value is a list of a list of a list … */
export function deepJson(): Buffer {
  const depth = 100_000;
  const open = '{"arrayValue":{"values":['.repeat(depth);
  const close = ']}}'.repeat(depth);
  return Buffer.from(jsonRequest(jsonSpan(`{"key":"deep","value":${open}${close}}`)));
}

/** One span of a million attributes, each with a value. */
export function millionAttributes(): Buffer {
  return request(span(tinyAttributes(1_000_000)));
}

/** Spans whose events have nothing in them, and become much larger when they are stored. */
export function eventfulSpans(): Buffer {
  const one = span(Buffer.alloc(2 * 32_000, Buffer.from([TAG.event, 0])));
  return request(Buffer.alloc(60 * one.length, one));
}

/** Spans that are almost as large as one may be, of a text in which every character has to be escaped. */
export function longQuotes(): Buffer {
  const one = span(attribute('text', message(TAG.first, Buffer.alloc(8_000_000, '"'))));
  return request(Buffer.alloc(7 * one.length, one));
}

/** As many messages in many spans as a request may have. */
export function manyNodes(): Buffer {
  const spans = 40_000;
  const one = span(tinyAttributes(24));
  return request(Buffer.alloc(spans * one.length, one));
}

/** As many spans of equal size as fit into the largest body. */
export function largestProtobuf(): Buffer {
  const room = Math.floor((MAX_BODY_BYTES - HEAD_BYTES) / MAX_RECORDS);
  const one = padded(room, (text) => span(attributes(text)));
  return request(Buffer.alloc(MAX_RECORDS * one.length, one));
}

/** The same as JSON. */
export function largestJson(): Buffer {
  const comma = 1;
  const room = Math.floor((MAX_BODY_BYTES - HEAD_BYTES) / MAX_RECORDS) - comma;
  const one = padded(room, (text) => jsonSpan(jsonAttributes(text)));
  return Buffer.from(jsonRequest(Array.from({ length: MAX_RECORDS }, () => one).join(',')));
}

/** Room for what stands around the spans of a request. */
const HEAD_BYTES = 256;
const LEAST_PADDING = 200;

function padded<T extends { length: number }>(length: number, make: (text: string) => T): T {
  const missing = length - make('x'.repeat(LEAST_PADDING)).length;
  return make('x'.repeat(LEAST_PADDING + missing));
}

/** Some spans, as an application sends them. */
export function harmless(): Buffer {
  const one = span(attributes('x'.repeat(LEAST_PADDING)));
  return request(Buffer.alloc(5 * one.length, one));
}

/**
 * Gives the first span of the body another trace at each call, since identical requests may be stored once only.
 * Changes the body.
 */
export function varying(body: Buffer): () => void {
  const at = body.indexOf(TRACE_ID);
  const hexAt = body.indexOf(TRACE_ID.toString('hex'));
  return () => {
    const traceId = randomBytes(TRACE_ID.length);
    if (at >= 0) traceId.copy(body, at);
    else if (hexAt >= 0) body.write(traceId.toString('hex'), hexAt, 'latin1');
  };
}

function request(spans: Buffer): Buffer {
  return message(TAG.first, message(TAG.second, spans));
}

function span(content: Buffer): Buffer {
  return message(
    TAG.second,
    message(TAG.first, TRACE_ID),
    message(TAG.second, SPAN_ID),
    message(TAG.name, Buffer.from('hostile')),
    fixed64(TAG.start, nowNanos()),
    fixed64(TAG.end, nowNanos() + 1_500_000n),
    content,
  );
}

/** What spans of a scan carry, and a text besides. */
const ATTRIBUTES: readonly (readonly [string, string])[] = [
  ['pencheff.scan_id', 'scan-hostile'],
  ['http.request.method', 'GET'],
  ['url.full', 'https://staging.example.com/api/v1/items?page=2&sort=key'],
  ['server.address', 'staging.example.com'],
  ['network.protocol.version', '1.1'],
  ['pencheff.module', 'modules.recon.http_fanout'],
  ['user_agent.original', 'pencheff/2.4 (+scanner)'],
];

function attributes(text: string): Buffer {
  const all = [...ATTRIBUTES, ['text', text] as const];
  return Buffer.concat(all.map(([key, value]) => attribute(key, message(TAG.first, Buffer.from(value)))));
}

function attribute(key: string, value: Buffer): Buffer {
  return message(TAG.spanAttributes, message(TAG.first, Buffer.from(key)), message(TAG.second, value));
}

/** Each has a key of its own and the value true. */
function tinyAttributes(count: number): Buffer {
  const isTrue = Buffer.from([0x10, 1]);
  const digits = 4;
  return Buffer.concat(
    Array.from({ length: count }, (_, i) => attribute(i.toString(36).padStart(digits, '0'), isTrue)),
  );
}

function jsonRequest(spans: string): string {
  return `{"resourceSpans":[{"scopeSpans":[{"spans":[${spans}]}]}]}`;
}

function jsonSpan(content: string): string {
  const [traceId, spanId] = [TRACE_ID.toString('hex'), SPAN_ID.toString('hex')];
  const times = `"startTimeUnixNano":"${nowNanos()}","endTimeUnixNano":"${nowNanos()}"`;
  return `{"traceId":"${traceId}","spanId":"${spanId}","name":"hostile","kind":3,${times},"attributes":[${content}]}`;
}

function jsonAttributes(text: string): string {
  const all = [...ATTRIBUTES, ['text', text] as const];
  return all.map(([key, value]) => `{"key":"${key}","value":{"stringValue":"${value}"}}`).join(',');
}

function nowNanos(): bigint {
  return BigInt(Date.now()) * 1_000_000n;
}

function fixed64(tag: number, value: bigint): Buffer {
  const bytes = Buffer.alloc(9, tag);
  bytes.writeBigUInt64LE(value, 1);
  return bytes;
}

function message(tag: number, ...parts: readonly Buffer[]): Buffer {
  const length = parts.reduce((sum, { length: bytes }) => sum + bytes, 0);
  return Buffer.concat([Buffer.from([tag]), varint(length), ...parts]);
}

function varint(value: number): Buffer {
  const bytes: number[] = [];
  let rest = value;
  for (; rest >= 0x80; rest >>>= 7) bytes.push((rest & 0x7f) | 0x80);
  return Buffer.from([...bytes, rest]);
}
