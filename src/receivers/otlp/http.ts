/**
 * OTLP over HTTP/1.1. Source: opentelemetry-proto, docs/specification.md, "OTLP/HTTP". Every answer carries the content
 * type of its request, exactly, since SDKs compare it so; every failure is a google.rpc.Status in that encoding.
 */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { Component, Consumers, Logger } from '../../component.ts';
import type { Endpoint } from '../../config/endpoint.ts';
import { close, listen } from '../../listen.ts';
import type { Signal } from '../../model/batch.ts';
import { DEFAULT_TENANT } from '../../model/tenant.ts';
import type { ShapeLimits } from '../../model/wire.ts';
import { exportResponse, statusResponse, type Encoding } from '../../otlp/status.ts';
import { readBody } from '../http/body.ts';
import { answerTo, HttpError } from '../http/http_error.ts';
import { takeRequest } from './take.ts';

export interface HttpSettings {
  readonly endpoint: Endpoint;
  readonly max_request_body_size: number;
  readonly limits: ShapeLimits;
  /** What the operator would change when the endpoint is taken. */
  readonly setting: string;
  readonly logger: Logger;
  readonly next: Consumers;
}

const PATHS: ReadonlyMap<string, Signal> = new Map([
  ['/v1/traces', 'traces'],
  ['/v1/logs', 'logs'],
  ['/v1/metrics', 'metrics'],
]);

const CONTENT_TYPES: Readonly<Record<Encoding, string>> = {
  protobuf: 'application/x-protobuf',
  json: 'application/json',
};

const ENCODINGS: ReadonlyMap<string, Encoding> = new Map([
  ['application/x-protobuf', 'protobuf'],
  ['application/protobuf', 'protobuf'],
  ['application/json', 'json'],
]);

/** Slow or idle clients are cut off; keep-alive outlasts the usual 60 s of load balancers, or reuse would race. */
const SERVER_OPTIONS = {
  connectionsCheckingInterval: 1000,
  headersTimeout: 10_000,
  requestTimeout: 30_000,
  keepAliveTimeout: 75_000,
  maxHeaderSize: 8192,
  noDelay: true,
} as const;

const MAX_CONNECTIONS = 2000;

/** How long a client may go on sending a body that was refused. */
const DISCARD_MS = 2000;

/** A receiver of one endpoint. Building it opens nothing. */
export function httpServer(settings: HttpSettings): Component {
  const server = createServer(SERVER_OPTIONS, (request, response) => {
    void answer(settings, request, response);
  });
  server.maxConnections = MAX_CONNECTIONS;
  return {
    async start() {
      const address = await listen(server, settings.endpoint, settings.setting);
      settings.logger.info({ address }, `OTLP/HTTP on http://${address}`);
    },
    shutdown: (deadline) => close(server, deadline),
  };
}

async function answer(settings: HttpSettings, request: IncomingMessage, response: ServerResponse): Promise<void> {
  // Where no encoding is known, the answer is JSON, which people can read.
  let encoding: Encoding = requestEncoding(request) ?? 'json';
  try {
    const signal = route(request);
    encoding = acceptedEncoding(request);
    if (settings.next[signal] === undefined) {
      throw new HttpError('not_found', `no pipeline takes ${signal} from this receiver`);
    }
    const body = await readBody(request, settings.max_request_body_size);
    const received = { signal, encoding, body, tenant: DEFAULT_TENANT, receivedAtMs: Date.now() };
    const outcome = await takeRequest(received, settings.limits, settings.next);
    reply(response, 200, encoding, exportResponse(signal, outcome, encoding));
  } catch (error) {
    refuse(settings.logger, request, response, encoding, error);
  }
}

/** The signal that a request is for. */
function route(request: IncomingMessage): Signal {
  const path = (request.url ?? '').split('?', 1)[0] ?? '';
  const signal = PATHS.get(path.endsWith('/') ? path.slice(0, -1) : path);
  if (signal === undefined) {
    const hint = 'set OTEL_EXPORTER_OTLP_ENDPOINT to the base URL, without a path';
    throw new HttpError('not_found', `no such path; OTLP is received at ${[...PATHS.keys()].join(', ')} (${hint})`);
  }
  if (request.method !== 'POST') throw new HttpError('method_not_allowed', 'OTLP is sent with POST');
  return signal;
}

function requestEncoding(request: IncomingMessage): Encoding | undefined {
  const type = (request.headers['content-type'] ?? '').split(';', 1)[0] ?? '';
  return ENCODINGS.get(type.trim().toLowerCase());
}

function acceptedEncoding(request: IncomingMessage): Encoding {
  const encoding = requestEncoding(request);
  if (encoding !== undefined) return encoding;
  const given = request.headers['content-type'];
  const found = given === undefined ? 'there is none' : `found "${given}"`;
  throw new HttpError('unsupported_type', `Content-Type must be application/x-protobuf or application/json; ${found}`);
}

function refuse(
  logger: Logger,
  request: IncomingMessage,
  response: ServerResponse,
  encoding: Encoding,
  error: unknown,
): void {
  if (request.destroyed && !request.complete) return;
  const { status, code, message, retryAfterSeconds, unexpected = false } = answerTo(error);
  if (unexpected) logger.error({ err: error, path: request.url }, message);
  if (status === 405) response.setHeader('Allow', 'POST');
  if (retryAfterSeconds !== undefined) response.setHeader('Retry-After', retryAfterSeconds);
  reply(response, status, encoding, statusResponse(code, message, encoding));
  if (!request.complete) discard(request);
}

/**
 * Reads on past the answer, for a while: closing a connection on which data still arrives resets it, and the client may
 * never see why it was refused.
 */
function discard(request: IncomingMessage): void {
  const timer = setTimeout(() => request.socket.destroy(), DISCARD_MS);
  request.once('close', () => clearTimeout(timer));
  request.resume();
}

function reply(response: ServerResponse, status: number, encoding: Encoding, body: Buffer): void {
  response.writeHead(status, { 'Content-Type': CONTENT_TYPES[encoding], 'Content-Length': body.length });
  response.end(body);
}
