/** An HTTP client that sends what it is told to, byte by byte: `fetch` forbids some headers and mends some paths. */
import { once } from 'node:events';
import http from 'node:http';
import zlib from 'node:zlib';

export type Compression = 'identity' | 'gzip' | 'deflate' | 'zstd';

export interface HttpReply {
  readonly status: number;
  readonly httpVersion: string;
  readonly headers: http.IncomingHttpHeaders;
  readonly body: Buffer;
  /** Whether it came over a connection that was used before. */
  readonly reusedSocket: boolean;
}

export interface HttpOptions {
  readonly method?: string;
  readonly body?: Uint8Array;
  readonly headers?: http.OutgoingHttpHeaders;
  readonly agent?: http.Agent;
  /** Sent as it is, whatever a URL would make of it. */
  readonly path?: string;
  /** Without a Content-Length, in pieces of so many bytes. */
  readonly chunkBytes?: number;
}

/** A connection for each request, unless an agent is given. */
export async function httpRequest(url: string, options: HttpOptions = {}): Promise<HttpReply> {
  const { hostname, port, pathname, search } = new URL(url);
  const {
    method = 'POST',
    body = new Uint8Array(),
    headers = {},
    agent,
    path = pathname + search,
    chunkBytes,
  } = options;
  const length = chunkBytes === undefined ? { 'content-length': body.length } : {};
  const request = http.request({
    hostname,
    port,
    method,
    path,
    headers: { ...length, ...headers },
    agent: agent ?? false,
  });
  const answered = answerOf(request);
  if (chunkBytes === undefined) request.end(body);
  else {
    for (let at = 0; at < body.length; at += chunkBytes) request.write(body.subarray(at, at + chunkBytes));
    request.end();
  }
  return answered;
}

export async function answerOf(request: http.ClientRequest): Promise<HttpReply> {
  const [response]: http.IncomingMessage[] = await once(request, 'response');
  if (response === undefined) throw new Error('there is no response');
  const chunks: Buffer[] = await response.toArray();
  return {
    status: response.statusCode ?? 0,
    httpVersion: response.httpVersion,
    headers: response.headers,
    body: Buffer.concat(chunks),
    reusedSocket: request.reusedSocket,
  };
}

export function compress(body: Uint8Array, compression: Compression): Buffer {
  switch (compression) {
    case 'gzip':
      return zlib.gzipSync(body);
    case 'deflate':
      return zlib.deflateSync(body);
    case 'zstd':
      return zlib.zstdCompressSync(body);
    default:
      return Buffer.from(body);
  }
}
