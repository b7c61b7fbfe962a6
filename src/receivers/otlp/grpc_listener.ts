/**
 * The sockets of a gRPC server. They are ours, not grpc-js's, which neither limits connections, nor says what is wrong
 * when it cannot listen, nor waits for calls when it shuts down on Node 24: there its `tryShutdown` calls back at once.
 */
import { once } from 'node:events';
import type { IncomingHttpHeaders, ServerHttp2Stream } from 'node:http2';
import { createServer as createTcpServer, type Server as TcpServer, type Socket } from 'node:net';
import { createServer as createTlsServer, type Server as TlsServer } from 'node:tls';
import { ServerCredentials, type Server } from '@grpc/grpc-js';
import type { Component, Logger } from '../../component.ts';
import type { Endpoint } from '../../config/endpoint.ts';
import type { TlsServerConfig } from '../../config/tls.ts';
import { listen } from '../../listen.ts';
import { authorizations } from '../../model/bearer.ts';
import { certificatesFor, tlsServerOptions } from '../tls.ts';

const HANDSHAKE_TIMEOUT_MS = 10_000;

export interface ListenerSettings {
  readonly endpoint: Endpoint;
  readonly tls?: TlsServerConfig | undefined;
  readonly max_connections: number;
  /** Path of the section that these settings come from. */
  readonly setting: string;
  readonly logger: Logger;
}

/** Binds a server that has its services already. Building it opens nothing. */
export function grpcListener(
  server: Server,
  settings: ListenerSettings,
): Required<Pick<Component, 'start' | 'shutdown'>> {
  const { endpoint, tls, setting, logger } = settings;
  const injector = server.createConnectionInjector(ServerCredentials.createInsecure());
  keepAllAuthorizations(server);
  let isClosing = false;
  const accept = (socket: Socket): void => {
    // The session of a broken socket ends by itself.
    socket.on('error', () => undefined);
    // A TLS handshake may end after the server has told its connections that it goes.
    if (isClosing) socket.destroy();
    else injector.injectConnection(socket);
  };
  const secure = tls === undefined ? undefined : tlsListener(tls, accept, logger);
  const listener: TcpServer = secure ?? createTcpServer({ noDelay: true }, accept);
  listener.maxConnections = settings.max_connections;
  const sockets = trackSockets(listener);
  const cutOff = (): void => {
    for (const socket of sockets) socket.destroy();
  };
  const certificates =
    secure === undefined || tls === undefined
      ? undefined
      : certificatesFor(secure, { tls, setting: `${setting}.tls`, logger });

  return {
    async start() {
      await certificates?.start();
      const address = await listen(listener, endpoint, `${setting}.endpoint`);
      logger.info({ address }, `OTLP/gRPC on ${tls === undefined ? 'http' : 'https'}://${address}`);
    },
    async shutdown(deadline) {
      certificates?.stop();
      if (!listener.listening) return;
      isClosing = true;
      const closed = once(listener, 'close');
      listener.close();
      // Tells clients to take their next calls elsewhere, and closes each connection once its calls are answered.
      server.tryShutdown(() => undefined);
      if (deadline.aborted) cutOff();
      else deadline.addEventListener('abort', cutOff, { once: true });
      await closed;
      deadline.removeEventListener('abort', cutOff);
    },
  };
}

function tlsListener(tls: TlsServerConfig, accept: (socket: Socket) => void, logger: Logger): TlsServer {
  const options = {
    ...tlsServerOptions(tls),
    ALPNProtocols: ['h2'],
    handshakeTimeout: HANDSHAKE_TIMEOUT_MS,
    noDelay: true,
  };
  const listener = createTlsServer(options, accept);
  listener.on('tlsClientError', (error, { remoteAddress }) => {
    logger.debug({ err: error, address: remoteAddress }, 'a TLS handshake failed');
  });
  return listener;
}

/** Every open connection, from before its TLS handshake on. */
function trackSockets(listener: TcpServer): ReadonlySet<Socket> {
  const sockets = new Set<Socket>();
  listener.on('connection', (socket: Socket) => {
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
  });
  return sockets;
}

/**
 * Of several `authorization` headers Node keeps the first and drops the others in silence, though a proxy before us may
 * have looked at another one. Only the raw headers tell, and those grpc-js does not ask for: its HTTP/2 server is private.
 */
function keepAllAuthorizations(server: Server): void {
  for (const http2Server of server['http2Servers'].keys()) http2Server.prependListener('stream', restoreAuthorizations);
}

/** @param rawHeaders names and values in turn */
function restoreAuthorizations(
  _stream: ServerHttp2Stream,
  headers: IncomingHttpHeaders,
  _flags: number,
  rawHeaders: readonly string[],
): void {
  const values = authorizations(rawHeaders);
  if (values.length > 1) Object.assign(headers, { authorization: values });
}
