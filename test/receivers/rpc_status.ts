/** Reads `google.rpc.Status`, the body of every failure of OTLP. */
import assert from 'node:assert/strict';
import { z } from 'zod';
import { field, varint } from '../support/otlp_messages.ts';
import { PROTOBUF } from './otlp_requests.ts';

export interface RpcStatus {
  /** google.rpc.Code. */
  readonly code: number;
  readonly message: string;
}

const statusJson = z.strictObject({ code: z.int(), message: z.string() });

/** Fails unless the body is a Status in the encoding that its content type names exactly. */
export function readStatus(body: Buffer, contentType: string | null): RpcStatus {
  if (contentType === 'application/json') return statusJson.parse(JSON.parse(body.toString()));
  assert.equal(contentType, PROTOBUF);
  const code = body[1] ?? -1;
  const lengthBytes = (body[3] ?? 0) < 0x80 ? 1 : 2;
  const message = body.subarray(3 + lengthBytes).toString();
  assert.deepEqual(body, Buffer.concat([varint(1, code), field(2, message)]));
  return { code, message };
}
