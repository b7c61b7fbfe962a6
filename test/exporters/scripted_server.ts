/** An HTTP server that answers as a test says, and keeps what it was sent. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { createServer as createSecureServer, type ServerOptions } from 'node:https';
import { buffer } from 'node:stream/consumers';
import { gunzipSync, zstdDecompressSync } from 'node:zlib';

interface Received {
  readonly method: string;
  readonly path: string;
  readonly headers: IncomingMessage['headers'];
  /** As it came. */
  readonly raw: Buffer;
  /** Decompressed. */
  readonly body: Buffer;
}

/** Answers a request that was read to its end. */
export type Script = (response: ServerResponse, request: Received) => unknown;

export interface ScriptedServer {
  /** Without a trailing slash. */
  readonly url: string;
  readonly received: Received[];
  /** For the requests from now on. */
  script: Script;
  /** Connections made so far. */
  connections(): number;
  close(): Promise<void>;
}

export const accept: Script = (response) => response.writeHead(200).end();

/** Gives each request the next answer, the last one again and again. */
export const inTurn = (...scripts: readonly Script[]): Script => {
  let next = 0;
  return (response, request) => {
    const script = scripts[Math.min(next++, scripts.length - 1)];
    return (script ?? accept)(response, request);
  };
};

export const answering =
  (status: number, headers: Readonly<Record<string, string>> = {}, body: string | Uint8Array = ''): Script =>
  (response) =>
    response.writeHead(status, headers).end(body);

export async function scriptedServer(script: Script = accept, tls?: ServerOptions): Promise<ScriptedServer> {
  const received: Received[] = [];
  let connections = 0;
  const listener = (request: IncomingMessage, response: ServerResponse): void => {
    const serve = (raw: Buffer): void => {
      const { method = '', url: path = '', headers } = request;
      const arrived = { method, path, headers, raw, body: decompressed(raw, headers['content-encoding']) };
      received.push(arrived);
      void served.script(response, arrived);
    };
    buffer(request).then(serve, () => undefined);
  };
  const server = tls === undefined ? createServer(listener) : createSecureServer(tls, listener);
  server.on(tls === undefined ? 'connection' : 'secureConnection', () => (connections += 1));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  assert(typeof address === 'object' && address !== null);
  const served: ScriptedServer = {
    url: `${tls === undefined ? 'http' : 'https'}://127.0.0.1:${address.port}`,
    received,
    script,
    connections: () => connections,
    async close() {
      server.close();
      server.closeAllConnections();
      await once(server, 'close');
    },
  };
  return served;
}

function decompressed(raw: Buffer, encoding: string | undefined): Buffer {
  if (encoding === 'gzip') return gunzipSync(raw);
  return encoding === 'zstd' ? zstdDecompressSync(raw) : raw;
}
