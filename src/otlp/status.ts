/** Answers of an OTLP server: `google.rpc.Status` for failures, `Export…ServiceResponse` for the rest, in both encodings. */
import type { Signal } from '../model/batch.ts';
import type { Outcome } from '../component.ts';
import { WireWriter } from './wire_writer.ts';

export type Encoding = 'protobuf' | 'json';

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

/** Full success is the empty message; anything to say makes it a partial success. */
export function exportResponse(signal: Signal, { rejected, message }: Outcome, encoding: Encoding): Buffer {
  if (rejected === 0 && message === '') return encoding === 'json' ? Buffer.from('{}') : Buffer.alloc(0);
  const errorMessage = message.slice(0, MAX_MESSAGE_CHARACTERS);
  if (encoding === 'json') {
    return Buffer.from(JSON.stringify({ partialSuccess: { [REJECTED[signal]]: String(rejected), errorMessage } }));
  }
  const partial = new WireWriter(128);
  if (rejected > 0) {
    partial.uint32(0x08);
    partial.varint64(BigInt(rejected));
  }
  writeString(partial, 2, errorMessage);
  const out = new WireWriter(128);
  writeBytes(out, 1, partial.bytes());
  return Buffer.from(out.bytes());
}

/** `google.rpc.Status` with a code and a message for the developer at the other end. */
export function statusResponse(code: number, message: string, encoding: Encoding): Buffer {
  const short = message.slice(0, MAX_MESSAGE_CHARACTERS);
  if (encoding === 'json') return Buffer.from(JSON.stringify({ code, message: short }));
  const out = new WireWriter(128);
  out.uint32(0x08);
  out.uint32(code);
  writeString(out, 2, short);
  return Buffer.from(out.bytes());
}

function writeString(out: WireWriter, field: number, value: string): void {
  if (value !== '') writeBytes(out, field, Buffer.from(value, 'utf8'));
}

function writeBytes(out: WireWriter, field: number, bytes: Uint8Array): void {
  out.uint32((field << 3) | 2);
  out.uint32(bytes.length);
  out.raw(bytes);
}
