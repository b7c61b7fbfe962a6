/**
 * The requests of the load. Each item (span, log record, data point) has an id that no other has, and a checksum of all
 * that the database has to hold of it, so that what is lost, doubled, invented or changed shows.
 */
import { hash } from 'node:crypto';
import { gzipSync } from 'node:zlib';
import type { Signal } from '../../src/model/batch.ts';
import { any, attribute, field, fixed64, request, varint } from '../support/otlp_messages.ts';
import type { Random } from './random.ts';

/** What identifies a sender: the organisation that its token stands for. */
export const TENANTS = ['chaos-a', 'chaos-b', 'chaos-c'] as const;

export interface Item {
  readonly id: string;
  /** MD5 of its content, as `CONTENT` in oracle.ts reads it back. */
  readonly sum: string;
  /** The database is made to refuse it. */
  readonly isPoison: boolean;
}

export interface LoadRequest {
  readonly signal: Signal;
  /** One of `TENANTS`. */
  readonly tenant: string;
  readonly transport: 'http' | 'grpc';
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Buffer;
  readonly items: readonly Item[];
  /** Whether anything in it has a time. Of what has none, a repeat cannot be told from a second event, so nobody repeats it. */
  readonly isTimed: boolean;
}

export interface Profile {
  readonly requestsPerSecond: number;
  /** How many requests may be under way at once: beyond that the load falls behind its rate. */
  readonly underWay: number;
  /** Items of one request, from and to. */
  readonly items: readonly [number, number];
  readonly signals: readonly Signal[];
  /** Share of the items that the database will refuse. */
  readonly poison: number;
  /** Characters of an item's text, from and to. */
  readonly textChars: readonly [number, number];
  /** Share of the requests without any time. */
  readonly timeless: number;
  /** Share of the acknowledged requests that are sent again all the same, as by a client whose answer was lost. */
  readonly repeats: number;
}

export const PROFILE: Profile = {
  requestsPerSecond: 250,
  underWay: 64,
  items: [1, 9],
  signals: ['traces', 'logs', 'metrics'],
  poison: 0,
  textChars: [10, 150],
  timeless: 0.03,
  repeats: 0.02,
};

interface Content {
  readonly id: string;
  readonly number: number;
  readonly text: string;
  /** Nanoseconds since 1970; undefined in requests without times. */
  readonly time: bigint | undefined;
  readonly durationNs: number;
  readonly traceId: Buffer;
  readonly spanId: Buffer;
  readonly isPoison: boolean;
}

/** Characters that every encoding on the way has its own trouble with. */
const ALPHABET = ['a', 'Z', '7', ' ', '"', '\\', "'", '\t', '\n', '|', '{', 'é', '☂', '中', '\u{1f600}', '\u2028'];
const SPAN_NAME = 'chaos.work';
const METRIC_NAME = 'chaos.level';
const SEVERITY_INFO = 9;
const SERVICE = 'chaos-load';
const MAX_NUMBER = 2_147_483_647;
const NANOS_A_MILLI = 1_000_000n;
/** Events lie at most so long before their request. */
const MAX_AGE_MS = 20_000;

const JSON_SHARE = 0.35;
const GZIP_SHARE = 0.3;
const GRPC_SHARE = 0.12;

/** @param number tells the requests of one load apart; ids are made of it */
export function makeRequest(random: Random, number: number, profile: Profile): LoadRequest {
  const isTimed = !random.chance(profile.timeless);
  const signal = isTimed ? random.pick(profile.signals) : 'logs';
  const tenant = random.pick(TENANTS);
  const contents = Array.from({ length: random.between(...profile.items) }, (_, index) =>
    makeContent(random, `${number}.${index}`, isTimed, profile),
  );
  const items = contents.map((content) => ({
    id: content.id,
    sum: hash('md5', contentOf(signal, tenant, content)),
    isPoison: content.isPoison,
  }));
  return { signal, tenant, items, isTimed, ...encode(random, signal, contents) };
}

/** What `CONTENT` in oracle.ts makes of the item's row. */
function contentOf(signal: Signal, tenant: string, { id, number, text, time, durationNs }: Content): string {
  const at = time ?? '-';
  switch (signal) {
    case 'traces':
      return [id, tenant, SERVICE, SPAN_NAME, at, durationNs, number, text].join('|');
    case 'logs':
      return [id, tenant, SERVICE, SEVERITY_INFO, at, number, text].join('|');
    default:
      return [id, tenant, SERVICE, METRIC_NAME, at, number, text].join('|');
  }
}

function makeContent(random: Random, id: string, isTimed: boolean, profile: Profile): Content {
  const ageMs = random.between(0, MAX_AGE_MS);
  const now = BigInt(Date.now() - ageMs) * NANOS_A_MILLI + BigInt(random.between(0, 999_999));
  return {
    id,
    number: random.between(0, MAX_NUMBER),
    text: makeText(random, random.between(...profile.textChars)),
    time: isTimed ? now : undefined,
    durationNs: random.between(0, 1_000_000_000),
    traceId: random.bytes(16),
    spanId: random.bytes(8),
    isPoison: random.chance(profile.poison),
  };
}

function makeText(random: Random, chars: number): string {
  let text = '';
  for (let char = 0; char < chars; char += 10) text += random.pick(ALPHABET) + random.next().toString(36).slice(2, 11);
  return text;
}

function encode(
  random: Random,
  signal: Signal,
  contents: readonly Content[],
): Pick<LoadRequest, 'transport' | 'headers' | 'body'> {
  if (random.chance(GRPC_SHARE)) return { transport: 'grpc', headers: {}, body: protobuf(signal, contents) };
  const isJson = random.chance(JSON_SHARE);
  const plain = isJson ? Buffer.from(json(signal, contents)) : protobuf(signal, contents);
  const type = { 'content-type': isJson ? 'application/json' : 'application/x-protobuf' };
  if (!random.chance(GZIP_SHARE)) return { transport: 'http', headers: type, body: plain };
  return { transport: 'http', headers: { ...type, 'content-encoding': 'gzip' }, body: gzipSync(plain, { level: 1 }) };
}

const RESOURCE = attribute(1, 'service.name', any.string(SERVICE));

function protobuf(signal: Signal, contents: readonly Content[]): Buffer {
  return request(
    contents.map((content) => protobufRecord(signal, content)),
    { resource: RESOURCE },
  );
}

/** Field numbers: opentelemetry-proto 1.11, `Span`, `LogRecord`, `Metric` with a `Gauge` of one point. */
function protobufRecord(signal: Signal, content: Content): Buffer {
  const { traceId, spanId, time = 0n, durationNs, number, text } = content;
  switch (signal) {
    case 'traces':
      return Buffer.concat([
        field(1, traceId),
        field(2, spanId),
        field(5, SPAN_NAME),
        fixed64(7, time),
        fixed64(8, time + BigInt(durationNs)),
        ...attributes(9, content),
      ]);
    case 'logs':
      return Buffer.concat([
        ...(content.time === undefined ? [] : [fixed64(1, time)]),
        varint(2, SEVERITY_INFO),
        field(5, any.string(text)),
        ...attributes(6, content),
      ]);
    default:
      return Buffer.concat([
        field(1, METRIC_NAME),
        field(5, field(1, fixed64(3, time), fixed64(6, BigInt(number)), ...attributes(7, content))),
      ]);
  }
}

function attributes(fieldNumber: number, content: Content): Buffer[] {
  return attributesOf(content).map(([key, value]) =>
    attribute(fieldNumber, key, typeof value === 'number' ? any.int(value) : any.string(value)),
  );
}

/** The oracle finds an item by the first; the text is a log record's body, and there an attribute too. */
function attributesOf({ id, number, text, time, isPoison }: Content): [string, string | number][] {
  return [
    ['chaos.id', id],
    ['chaos.number', number],
    ['chaos.text', text],
    ...(time === undefined ? ([['chaos.timeless', 1]] satisfies [string, number][]) : []),
    ...(isPoison ? ([['chaos.poison', 1]] satisfies [string, number][]) : []),
  ];
}

/** What resource, scope and records are called in each signal's JSON. */
const JSON_NAMES = {
  traces: ['resourceSpans', 'scopeSpans', 'spans'],
  logs: ['resourceLogs', 'scopeLogs', 'logRecords'],
  metrics: ['resourceMetrics', 'scopeMetrics', 'metrics'],
} as const;

function json(signal: Signal, contents: readonly Content[]): string {
  const [resources, scopes, records] = JSON_NAMES[signal];
  const resource = { attributes: [{ key: 'service.name', value: { stringValue: SERVICE } }] };
  const list = contents.map((content) => jsonRecord(signal, content));
  return JSON.stringify({ [resources]: [{ resource, [scopes]: [{ scope: {}, [records]: list }] }] });
}

function jsonRecord(signal: Signal, content: Content): object {
  const { traceId, spanId, time = 0n, durationNs, number, text } = content;
  const pairs = attributesOf(content).map(([key, value]) => ({
    key,
    value: typeof value === 'number' ? { intValue: String(value) } : { stringValue: value },
  }));
  switch (signal) {
    case 'traces':
      return {
        traceId: traceId.toString('hex'),
        spanId: spanId.toString('hex'),
        name: SPAN_NAME,
        startTimeUnixNano: String(time),
        endTimeUnixNano: String(time + BigInt(durationNs)),
        attributes: pairs,
      };
    case 'logs':
      return {
        ...(content.time === undefined ? {} : { timeUnixNano: String(time) }),
        severityNumber: SEVERITY_INFO,
        body: { stringValue: text },
        attributes: pairs,
      };
    default:
      return {
        name: METRIC_NAME,
        gauge: { dataPoints: [{ timeUnixNano: String(time), asInt: String(number), attributes: pairs }] },
      };
  }
}
