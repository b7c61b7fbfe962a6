/**
 * Stands where a receiver would listen while `service.enabled` is false: answers every request at once with 503, before
 * anything of it is looked at but its encoding. A gRPC port stays closed then, which clients know as UNAVAILABLE too.
 */
import { createServer, type IncomingMessage, type Server as HttpServer, type ServerResponse } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { Component, Logger } from '../../component.ts';
import type { Endpoint } from '../../config/endpoint.ts';
import type { TlsServerConfig } from '../../config/tls.ts';
import { close, listen } from '../../listen.ts';
import { CONTENT_TYPES, RPC, statusResponse } from '../../otlp/status.ts';
import { certificatesFor, tlsServerOptions, type Certificates } from '../tls.ts';

export interface DisabledSettings {
  readonly endpoint: Endpoint;
  readonly tls?: TlsServerConfig | undefined;
  /** Of the section with these keys, for whoever has to change them. */
  readonly path: string;
  readonly logger: Logger;
}

const MESSAGE = 'the gateway is disabled (service.enabled is false)';
/** As long as an SDK may be asked to wait within its time-out of 10 s: an operator has to act. */
const RETRY_AFTER_MS = 5_000;

/** What is sent in vain must not hold connections for long. */
const SERVER_OPTIONS = {
  connectionsCheckingInterval: 1000,
  headersTimeout: 10_000,
  requestTimeout: 10_000,
  maxHeaderSize: 8192,
} as const;
const MAX_CONNECTIONS = 2000;

/** Building it opens nothing. */
export function disabledServer({ endpoint, tls, path, logger }: DisabledSettings): Component {
  const { server, certificates } = tls === undefined ? plainServer() : tlsServer(tls, `${path}.tls`, logger);
  // Otherwise Node would ask the client for the body before we refuse it.
  server.on('checkContinue', refuse);
  server.maxConnections = MAX_CONNECTIONS;
  return {
    async start() {
      await certificates?.start();
      const address = await listen(server, endpoint, `${path}.endpoint`);
      logger.warn({ address }, `disabled: every request to ${address} is answered with 503`);
    },
    async shutdown(deadline) {
      certificates?.stop();
      await close(server, deadline);
    },
  };
}

interface Server {
  readonly server: HttpServer;
  readonly certificates?: Certificates;
}

const plainServer = (): Server => ({ server: createServer(SERVER_OPTIONS, refuse) });

function tlsServer(tls: TlsServerConfig, setting: string, logger: Logger): Server {
  const server = createTlsServer({ ...SERVER_OPTIONS, ...tlsServerOptions(tls) }, refuse);
  return { server, certificates: certificatesFor(server, { tls, setting, logger }) };
}

/** Node reads what comes after the answer, within the time-outs, so that the client sees why it was refused. */
function refuse(request: IncomingMessage, response: ServerResponse): void {
  const isProtobuf = /^\s*application\/(?:x-)?protobuf\s*(?:;|$)/i.test(request.headers['content-type'] ?? '');
  const encoding = isProtobuf ? 'protobuf' : 'json';
  const body = statusResponse(RPC.unavailable, MESSAGE, encoding, { kind: 'retry_info', retryAfterMs: RETRY_AFTER_MS });
  response.writeHead(503, {
    'Content-Type': CONTENT_TYPES[encoding],
    'Content-Length': body.length,
    'Retry-After': RETRY_AFTER_MS / 1000,
  });
  response.end(body);
}
