/** Reads `google.rpc.Status`, the body of every failure of OTLP. */
import assert from 'node:assert/strict';
import { z } from 'zod';
import { PROTOBUF } from './otlp_requests.ts';

export interface RpcStatus {
  /** google.rpc.Code. */
  readonly code: number;
  readonly message: string;
  readonly details: readonly RpcDetail[];
}

/** As protobuf's JSON mapping writes them. */
type RpcDetail = z.output<typeof detail>;

const PREFIX = 'type.googleapis.com/google.rpc.';

const detail = z.union([
  z.strictObject({
    '@type': z.literal(`${PREFIX}BadRequest`),
    fieldViolations: z.array(z.strictObject({ field: z.string(), description: z.string() })).optional(),
  }),
  z.strictObject({ '@type': z.literal(`${PREFIX}RetryInfo`), retryDelay: z.string() }),
]);

const statusJson = z.strictObject({ code: z.int(), message: z.string(), details: z.array(detail).default([]) });

/** Fails unless the body is a Status in the encoding that its content type names exactly. */
export function readStatus(body: Uint8Array, contentType: string | null): RpcStatus {
  if (contentType === 'application/json') return statusJson.parse(JSON.parse(Buffer.from(body).toString()));
  assert.equal(contentType, PROTOBUF);
  const fields = readFields(body);
  const details = fields.filter(({ field }) => field === 3).map(({ bytes }) => readDetail(bytes));
  return { code: numberOf(fields, 1), message: textOf(fields, 2), details };
}

function readDetail(any: Uint8Array): RpcDetail {
  const fields = readFields(any);
  const value = fields.find(({ field }) => field === 2)?.bytes ?? new Uint8Array();
  const type = textOf(fields, 1);
  const inner = readFields(value);
  if (type === `${PREFIX}RetryInfo`) {
    const delay = readFields(inner[0]?.bytes ?? new Uint8Array());
    return { '@type': type, retryDelay: `${numberOf(delay, 1) + numberOf(delay, 2) / 1e9}s` };
  }
  assert.equal(type, `${PREFIX}BadRequest`);
  const fieldViolations = inner.map(({ bytes }) => {
    const violation = readFields(bytes);
    return { field: textOf(violation, 1), description: textOf(violation, 2) };
  });
  return { '@type': type, ...(fieldViolations.length > 0 && { fieldViolations }) };
}

interface WireField {
  readonly field: number;
  /** Of varints. */
  readonly value: number;
  /** Of what has a length. */
  readonly bytes: Uint8Array;
}

function readFields(bytes: Uint8Array): WireField[] {
  const fields: WireField[] = [];
  let at = 0;
  const varint = (): number => {
    let value = 0;
    for (let scale = 1; ; scale *= 128) {
      const byte = bytes[at++] ?? assert.fail('a truncated varint');
      value += (byte & 0x7f) * scale;
      if (byte < 0x80) return value;
    }
  };
  while (at < bytes.length) {
    const tag = varint();
    const value = varint();
    assert.ok((tag & 7) === 0 || (tag & 7) === 2, 'a status has varints and what has a length');
    const end = (tag & 7) === 2 ? at + value : at;
    assert.ok(end <= bytes.length, 'a truncated field');
    fields.push({ field: tag >>> 3, value, bytes: bytes.subarray(at, end) });
    at = end;
  }
  return fields;
}

const numberOf = (fields: readonly WireField[], number: number): number =>
  fields.find(({ field }) => field === number)?.value ?? 0;

const textOf = (fields: readonly WireField[], number: number): string =>
  Buffer.from(fields.find(({ field }) => field === number)?.bytes ?? []).toString();
