/** Answers of an OTLP server: `google.rpc.Status` for failures, `Export…ServiceResponse` for the rest, in both encodings. */
import type { Signal } from '../model/batch.ts';
import { WireWriter } from './wire_writer.ts';

export type Encoding = 'protobuf' | 'json';

/** Byte by byte what answers carry: SDKs compare it so. */
export const CONTENT_TYPES: Readonly<Record<Encoding, string>> = {
  protobuf: 'application/x-protobuf',
  json: 'application/json',
};

/** Codes of google.rpc.Code that we answer. */
export const RPC = {
  invalidArgument: 3,
  notFound: 5,
  permissionDenied: 7,
  resourceExhausted: 8,
  unimplemented: 12,
  internal: 13,
  unavailable: 14,
  unauthenticated: 16,
} as const;

/** Name of the rejected items' count in each signal's partial success. */
const REJECTED: Readonly<Record<Signal, string>> = {
  traces: 'rejectedSpans',
  logs: 'rejectedLogRecords',
  metrics: 'rejectedDataPoints',
};

/** Longer messages are cut: a response must stay small whatever was sent. */
const MAX_MESSAGE_CHARACTERS = 1024;

function shorten(message: string): string {
  return message.slice(0, MAX_MESSAGE_CHARACTERS).toWellFormed();
}

/** What the sender is told of a request that was taken. */
interface Answer {
  readonly rejected: number;
  readonly message: string;
}

/** Full success is the empty message; anything to say makes it a partial success. */
export function exportResponse(signal: Signal, { rejected, message }: Answer, encoding: Encoding): Buffer {
  if (rejected === 0 && message === '') return encoding === 'json' ? Buffer.from('{}') : Buffer.alloc(0);
  const errorMessage = shorten(message);
  if (encoding === 'json') {
    return Buffer.from(JSON.stringify({ partialSuccess: { [REJECTED[signal]]: String(rejected), errorMessage } }));
  }
  const out = new WireWriter(128);
  writeMessage(out, 1, (partial) => {
    writeNumber(partial, 1, rejected);
    writeString(partial, 2, errorMessage);
  });
  return Buffer.from(out.bytes());
}

/** What a client's program, not its developer, can make use of. */
export type Detail =
  /** An empty `field` names none. */
  | { readonly kind: 'bad_request'; readonly field: string; readonly description: string }
  | { readonly kind: 'retry_info'; readonly retryAfterMs: number };

/** `google.rpc.Status` with a code and a message for the developer at the other end. */
export function statusResponse(code: number, message: string, encoding: Encoding, detail?: Detail): Buffer {
  const short = shorten(message);
  if (encoding === 'json') {
    const details =
      detail === undefined ? {} : { details: [{ '@type': TYPE_URLS[detail.kind], ...detailJson(detail) }] };
    return Buffer.from(JSON.stringify({ code, message: short, ...details }));
  }
  const out = new WireWriter(128);
  writeNumber(out, 1, code);
  writeString(out, 2, short);
  if (detail !== undefined) {
    writeMessage(out, 3, (any) => {
      writeString(any, 1, TYPE_URLS[detail.kind]);
      writeMessage(any, 2, (value) => writeDetail(value, detail));
    });
  }
  return Buffer.from(out.bytes());
}

const TYPE_URLS: Readonly<Record<Detail['kind'], string>> = {
  bad_request: 'type.googleapis.com/google.rpc.BadRequest',
  retry_info: 'type.googleapis.com/google.rpc.RetryInfo',
};

function detailJson(detail: Detail): object {
  if (detail.kind === 'retry_info') return { retryDelay: `${detail.retryAfterMs / 1000}s` };
  const { field, description } = detail;
  return field === '' ? {} : { fieldViolations: [{ field, description: shorten(description) }] };
}

function writeDetail(out: WireWriter, detail: Detail): void {
  if (detail.kind === 'bad_request' && detail.field === '') return;
  writeMessage(out, 1, (inner) => {
    if (detail.kind === 'bad_request') {
      writeString(inner, 1, detail.field);
      writeString(inner, 2, shorten(detail.description));
    } else {
      writeNumber(inner, 1, Math.floor(detail.retryAfterMs / 1000));
      writeNumber(inner, 2, Math.round((detail.retryAfterMs % 1000) * 1_000_000));
    }
  });
}

/** Proto3 does not write what has the default value. */
function writeNumber(out: WireWriter, field: number, value: number): void {
  if (value === 0) return;
  out.uint32(field << 3);
  out.safeInteger(value);
}

function writeString(out: WireWriter, field: number, value: string): void {
  if (value !== '') writeBytes(out, field, Buffer.from(value, 'utf8'));
}

function writeMessage(out: WireWriter, field: number, write: (inner: WireWriter) => void): void {
  const inner = new WireWriter(128);
  write(inner);
  writeBytes(out, field, inner.bytes());
}

function writeBytes(out: WireWriter, field: number, bytes: Uint8Array): void {
  out.uint32((field << 3) | 2);
  out.uint32(bytes.length);
  out.raw(bytes);
}
