/**
 * What an OTLP server said, read without trusting it: an answer may be cut off, of another type than it says, or no answer
 * of OTLP at all. Source: opentelemetry-proto, docs/specification.md, "OTLP/HTTP Response".
 */
import { gunzipSync, zstdDecompressSync } from 'node:zlib';
import type { Signal } from '../../model/batch.ts';
import { Reader, readUint64, text } from '../../model/wire.ts';
import type { HttpAnswer } from './client.ts';

/** After decompression. */
const MAX_BODY_BYTES = 4_194_304;
const MAX_MESSAGE_CHARS = 256;
const MAX_RETRY_AFTER_MS = 300_000;

export interface PartialSuccess {
  readonly rejected: number;
  readonly message: string;
}

/** Takes out of a text what nobody may read. */
export type Redact = (text: string) => string;

/** What a success says besides; undefined when that is nothing, or nothing that can be read. */
export function partialSuccessOf(answer: HttpAnswer, signal: Signal, redact: Redact): PartialSuccess | undefined {
  const said = attempt(() => PARTIAL[typeOf(answer)](bodyOf(answer), signal));
  if (said === undefined || (said.number === 0 && said.text === '')) return undefined;
  return { rejected: Math.max(said.number, 0), message: printable(redact(said.text)) };
}

/** The server's own words about a failure, short and in one line; empty when there are none. */
export function messageOf(answer: HttpAnswer, redact: Redact): string {
  return printable(redact(attempt(() => STATUS[typeOf(answer)](bodyOf(answer)))?.text ?? ''));
}

/** Milliseconds from `Retry-After` (RFC 9110, section 10.2.3); undefined when it asks for no wait, or is not valid. */
export function retryAfterMs({ headers }: Pick<HttpAnswer, 'headers'>, nowMs: number): number | undefined {
  const value = headers['retry-after']?.trim() ?? '';
  const ms = /^\d{1,10}$/.test(value) ? Number(value) * 1000 : IMF_FIXDATE.test(value) ? Date.parse(value) - nowMs : 0;
  return ms > 0 ? Math.min(ms, MAX_RETRY_AFTER_MS) : undefined;
}

/** `Date.parse` alone takes almost anything for a date. */
const IMF_FIXDATE = /^(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d{2} [A-Z][a-z]{2} \d{4} \d{2}:\d{2}:\d{2} GMT$/;

/** Both messages of OTLP say a number and a text. */
interface Said {
  readonly number: number;
  readonly text: string;
}

const NOTHING: Said = { number: 0, text: '' };

type BodyType = 'protobuf' | 'json' | 'text' | 'other';

const BODY_TYPES: ReadonlyMap<string, BodyType> = new Map([
  ['application/x-protobuf', 'protobuf'],
  ['application/json', 'json'],
  ['text/plain', 'text'],
]);

function typeOf({ headers }: HttpAnswer): BodyType {
  const [type = ''] = (headers['content-type'] ?? '').split(';');
  return BODY_TYPES.get(type.trim().toLowerCase()) ?? 'other';
}

const DECOMPRESS = { gzip: gunzipSync, 'x-gzip': gunzipSync, zstd: zstdDecompressSync } as const;

/** We ask for no compression; some servers compress all the same. */
function bodyOf({ headers, body = new Uint8Array() }: HttpAnswer): Uint8Array {
  const encoding = (headers['content-encoding'] ?? '').trim().toLowerCase();
  if (encoding === '' || encoding === 'identity') return body;
  if (encoding !== 'gzip' && encoding !== 'x-gzip' && encoding !== 'zstd') return new Uint8Array();
  return DECOMPRESS[encoding](body, { maxOutputLength: MAX_BODY_BYTES });
}

const PARTIAL: Readonly<Record<BodyType, (body: Uint8Array, signal: Signal) => Said>> = {
  protobuf: protobufPartial,
  json: jsonPartial,
  text: () => NOTHING,
  other: () => NOTHING,
};

const STATUS: Readonly<Record<BodyType, (body: Uint8Array) => Said>> = {
  protobuf: (body) => numberAndText(new Reader(body), body.length),
  json: (body) => ({ number: 0, text: textOf(membersOf(parse(body))['message']) }),
  text: (body) => ({ number: 0, text: text(body, 0, body.length) }),
  other: () => NOTHING,
};

const PARTIAL_SUCCESS = 0x0a;

function protobufPartial(body: Uint8Array): Said {
  const reader = new Reader(body);
  let said = NOTHING;
  while (reader.pos < body.length) {
    const tag = reader.tag(body.length);
    if (tag === PARTIAL_SUCCESS) said = numberAndText(reader, reader.fieldEnd(body.length));
    else reader.skipValue(tag, body.length);
  }
  return said;
}

const NUMBER = 0x08;
const TEXT = 0x12;

/** `google.rpc.Status` and `Export…PartialSuccess` have the same first two fields. */
function numberAndText(reader: Reader, end: number): Said {
  let number = 0;
  let words = '';
  while (reader.pos < end) {
    const tag = reader.tag(end);
    if (tag === NUMBER) {
      const at = reader.pos;
      reader.skipValue(tag, end);
      number = Number(BigInt.asIntN(64, readUint64(reader.bytes, { at })));
    } else if (tag === TEXT) {
      const textEnd = reader.fieldEnd(end);
      words = text(reader.bytes, reader.pos, textEnd);
      reader.pos = textEnd;
    } else reader.skipValue(tag, end);
  }
  return { number, text: words };
}

const REJECTED: Readonly<Record<Signal, string>> = {
  traces: 'rejectedSpans',
  logs: 'rejectedLogRecords',
  metrics: 'rejectedDataPoints',
};

function jsonPartial(body: Uint8Array, signal: Signal): Said {
  const partial = membersOf(membersOf(parse(body))['partialSuccess']);
  const rejected = Number(partial[REJECTED[signal]] ?? 0);
  return { number: Number.isSafeInteger(rejected) ? rejected : 0, text: textOf(partial['errorMessage']) };
}

const parse = (body: Uint8Array): unknown => JSON.parse(text(body, 0, body.length));

const membersOf = (value: unknown): Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null ? { ...value } : {};

const textOf = (value: unknown): string => (typeof value === 'string' ? value : '');

/** What cannot be read says nothing. */
function attempt<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch {
    return undefined;
  }
}

/** One line without control and formatting characters, which could forge lines of a log. */
function printable(said: string): string {
  const line = said
    .slice(0, 4 * MAX_MESSAGE_CHARS)
    .replaceAll(/[\p{C}\p{Z}]+/gu, ' ')
    .trim();
  return line.length <= MAX_MESSAGE_CHARS ? line : `${line.slice(0, MAX_MESSAGE_CHARS - 1).toWellFormed()}…`;
}
