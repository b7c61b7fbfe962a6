/** Ways to decode a request in tests, and to write one by hand. */
import type { Batches, Signal } from '../../src/model/batch.ts';
import { DEFAULT_TENANT } from '../../src/model/tenant.ts';
import { DEFAULT_SHAPE_LIMITS, type ShapeLimits } from '../../src/model/wire.ts';
import { decodeRequest, type Decoded } from '../../src/otlp/decode.ts';
import { jsonToProtobuf } from '../../src/otlp/json_decode.ts';
import { Rejections } from '../../src/otlp/rejections.ts';
import { SPAN_ID, TRACE_ID } from './golden_vectors.ts';

export function decode<S extends Signal>(signal: S, bytes: Uint8Array, limits = DEFAULT_SHAPE_LIMITS): Decoded<S> {
  return decodeRequest(signal, bytes, { tenant: DEFAULT_TENANT, receivedAtMs: 0, limits });
}

export interface DecodedJson<S extends Signal> {
  readonly batch: Batches[S];
  readonly rejected: number;
  readonly message: string;
}

/** Decodes JSON as the receiver does, both kinds of rejections taken together. */
export async function decodeJson<S extends Signal>(
  signal: S,
  json: string | Uint8Array,
  limits: ShapeLimits = DEFAULT_SHAPE_LIMITS,
): Promise<DecodedJson<S>> {
  const left = new Rejections();
  const bytes = await jsonToProtobuf(signal, typeof json === 'string' ? Buffer.from(json) : json, limits, left);
  const { batch, rejections } = decode(signal, bytes, limits);
  const message = [left.message, rejections.message].filter((part) => part !== '').join('; ');
  return { batch, rejected: left.count + rejections.count, message };
}

/** Bytes of a message: numbers are bytes, strings are hex. */
export function wire(...parts: readonly (number | string | Uint8Array)[]): Buffer {
  return Buffer.concat(
    parts.map((part) =>
      typeof part === 'number' ? Buffer.of(part) : typeof part === 'string' ? Buffer.from(part, 'hex') : part,
    ),
  );
}

/** A length-prefixed field, its content built as by `wire`. */
export function field(number: number, ...parts: readonly (number | string | Uint8Array)[]): Buffer {
  const body = wire(...parts);
  return wire(varint(number * 8 + 2), varint(body.length), body);
}

export function varint(value: number | bigint): Buffer {
  const bytes: number[] = [];
  let rest = BigInt.asUintN(64, BigInt(value));
  for (; rest > 0x7fn; rest >>= 7n) bytes.push(Number(rest & 0x7fn) | 0x80);
  return Buffer.from([...bytes, Number(rest)]);
}

/** The ids that every span needs, as fields of `Span`. */
export const SPAN_IDS = wire(field(1, TRACE_ID), field(2, SPAN_ID));

/** A request around records of any signal, which all lie in fields of the same numbers. */
export function request(...records: readonly Uint8Array[]): Buffer {
  return field(1, field(2, ...records.map((record) => field(2, record))));
}
