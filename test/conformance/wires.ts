/**
 * The ways in which an OTLP request can come, and one shape for the answers of all of them. Over gRPC a client of
 * `@grpc/grpc-js` sends, over HTTP Node's own.
 */
import assert from 'node:assert/strict';
import { compressionAlgorithms, credentials } from '@grpc/grpc-js';
import protobuf from 'protobufjs';
import type { Signal } from '../../src/model/batch.ts';
import { protobufToJson } from '../../src/otlp/json_encode.ts';
import {
  grpcClient,
  LOGS,
  METRICS,
  TRACES,
  type GrpcClient,
  type Reply as GrpcReply,
} from '../receivers/otlp_grpc_server.ts';
import { readStatus } from '../receivers/rpc_status.ts';
import { compress, httpRequest, type Compression, type HttpReply } from './http_client.ts';

export const WIRES = ['http/protobuf', 'http/json', 'grpc'] as const;
export type Wire = (typeof WIRES)[number];
export const HTTP: readonly Wire[] = ['http/protobuf', 'http/json'];
export const PROTOBUF: readonly Wire[] = ['http/protobuf', 'grpc'];
export const JSON_ONLY: readonly Wire[] = ['http/json'];
export const GRPC: readonly Wire[] = ['grpc'];

export const CONTENT_TYPE = {
  'http/protobuf': 'application/x-protobuf',
  'http/json': 'application/json',
} as const;

export const METHODS: Readonly<Record<Signal, string>> = { traces: TRACES, logs: LOGS, metrics: METRICS };

/** What a client of any transport learns. */
export interface Reply {
  /** google.rpc.Code; 0 for success. */
  readonly code: number;
  /** Of HTTP. */
  readonly status: number | undefined;
  /** Of the `google.rpc.Status`; empty for success. */
  readonly message: string;
  /** Names of the details' types, such as `BadRequest`. */
  readonly details: readonly string[];
  readonly partial: PartialSuccess;
  /** The message of a success, or the body of an HTTP failure, as it came. */
  readonly body: Buffer;
}

interface PartialSuccess {
  /** Whether the field is there at all. */
  readonly isSet: boolean;
  readonly rejected: number;
  readonly message: string;
}

export interface SendOptions {
  readonly compression?: Compression;
  /** Headers, or metadata of gRPC; undefined takes one away that would be sent. */
  readonly headers?: Readonly<Record<string, string | undefined>>;
}

export interface Endpoints {
  readonly url: string;
  readonly grpcAddress: string;
}

/** Sends bytes as they are. */
export async function send(
  { url, grpcAddress }: Endpoints,
  wire: Wire,
  signal: Signal,
  body: Uint8Array,
  { compression = 'identity', headers: given = {} }: SendOptions = {},
): Promise<Reply> {
  const headers = Object.fromEntries(
    Object.entries(given).filter((entry): entry is [string, string] => entry[1] !== undefined),
  );
  if (wire === 'grpc') {
    const client = connect(grpcAddress, compression);
    try {
      return fromGrpc(signal, await client.call(METHODS[signal], body, headers));
    } finally {
      client.close();
    }
  }
  const encoding = compression === 'identity' ? {} : { 'content-encoding': compression };
  const all = { 'content-type': CONTENT_TYPE[wire], ...encoding, ...headers };
  return fromHttp(
    signal,
    await httpRequest(`${url}/v1/${signal}`, { body: compress(body, compression), headers: all }),
  );
}

/** A request in the encoding of a wire. */
export function encoded(wire: Wire, signal: Signal, request: Uint8Array): Buffer {
  return wire === 'http/json' ? Buffer.from(protobufToJson(signal, request)) : Buffer.from(request);
}

function connect(address: string, compression: Compression): GrpcClient {
  assert(compression !== 'zstd', 'grpc-js cannot send zstd');
  return grpcClient(address, credentials.createInsecure(), {
    'grpc.default_compression_algorithm': compressionAlgorithms[compression],
  });
}

const NO_PARTIAL: PartialSuccess = { isSet: false, rejected: 0, message: '' };

function fromGrpc(signal: Signal, { code, message, status, body = Buffer.alloc(0) }: GrpcReply): Reply {
  if (code === 0) return success(undefined, body, readPartial('protobuf', signal, body));
  if (status !== undefined)
    assert.deepEqual([status.code, status.message], [code, message], 'the status says the same');
  const details = (status?.details ?? []).map((detail) => ('type' in detail ? String(detail.type) : ''));
  return { code, status: undefined, message, details, partial: NO_PARTIAL, body };
}

/** Fails where an answer is not as OTLP/HTTP demands: 200 with a response, else a Status, in a type that is exact. */
export function fromHttp(signal: Signal, { status, headers, body }: HttpReply): Reply {
  const type = headers['content-type'] ?? '';
  if (status === 200) {
    assert(type === 'application/x-protobuf' || type === 'application/json', `a content type byte by byte: ${type}`);
    return success(status, body, readPartial(type === 'application/json' ? 'json' : 'protobuf', signal, body));
  }
  const { code, message, details } = readStatus(body, type);
  const names = details.map((detail) => detail['@type'].replace('type.googleapis.com/google.rpc.', ''));
  return { code, status, message, details: names, partial: NO_PARTIAL, body };
}

const success = (status: number | undefined, body: Buffer, partial: PartialSuccess): Reply => ({
  code: 0,
  status,
  message: '',
  details: [],
  partial,
  body,
});

const RESPONSE = protobuf.Root.fromJSON({
  nested: {
    Response: { fields: { partialSuccess: { type: 'Partial', id: 1 } } },
    Partial: { fields: { rejected: { type: 'int32', id: 1 }, message: { type: 'string', id: 2 } } },
  },
}).lookupType('Response');

const REJECTED: Readonly<Record<Signal, string>> = {
  traces: 'rejectedSpans',
  logs: 'rejectedLogRecords',
  metrics: 'rejectedDataPoints',
};

function readPartial(encoding: 'protobuf' | 'json', signal: Signal, body: Buffer): PartialSuccess {
  const response: unknown =
    encoding === 'json' ? JSON.parse(body.toString()) : RESPONSE.toObject(RESPONSE.decode(body), { defaults: false });
  assert(typeof response === 'object' && response !== null);
  if (!('partialSuccess' in response)) {
    assert.deepEqual(response, {}, 'a response holds nothing but a partial success');
    return NO_PARTIAL;
  }
  const { partialSuccess } = response;
  assert(typeof partialSuccess === 'object' && partialSuccess !== null);
  return encoding === 'json'
    ? readJsonPartial(signal, { ...partialSuccess })
    : { isSet: true, rejected: 0, message: '', ...partialSuccess };
}

/** An int64 is a string in proto's JSON mapping. */
function readJsonPartial(signal: Signal, partial: Readonly<Record<string, unknown>>): PartialSuccess {
  const { [REJECTED[signal]]: rejected, errorMessage, ...rest } = partial;
  assert.deepEqual(rest, {});
  assert(typeof rejected === 'string' && typeof errorMessage === 'string');
  return { isSet: true, rejected: Number(rejected), message: errorMessage };
}
