/** The socket of the query API: listens, bounds what a connection may do, and closes without cutting answers off. */
import { createServer } from 'node:http';
import { getRequestListener } from '@hono/node-server';
import { close, listen as bind } from '../listen.ts';
import { problem } from './problem.ts';

export interface Listening {
  /** `host:port` as bound, which tells the port where 0 was asked for. */
  readonly address: string;
  /** Resolves when the last answer is out or `GRACE_MS` are over. */
  close(): Promise<void>;
}

/** What a Hono app is to a socket. */
interface App {
  fetch(request: Request, bindings: object): Response | Promise<Response>;
}

const MAX_CONNECTIONS = 256;
const REQUEST_TIMEOUT_MS = 30_000;
/** A reader that takes nothing for this long loses its connection, and the answer that waits for it is freed. */
const IDLE_TIMEOUT_MS = 30_000;
const GRACE_MS = 5_000;

/** Rejects with one clear sentence when the endpoint cannot be bound. */
export async function listen(app: App, host: string, port: number): Promise<Listening> {
  const listener = getRequestListener((request, bindings) => app.fetch(request, bindings), {
    overrideGlobalObjects: false,
    // Hono answers for the routes; what fails before them is a request that HTTP allows and a URL does not.
    errorHandler: () => problem(400, 'The request line or the Host header is not valid.'),
  });
  const server = createServer({ requestTimeout: REQUEST_TIMEOUT_MS }, (request, response) => {
    // A connection that is kept alive would hold a closing server up until its client lets go of it.
    response.once('close', () => setImmediate(() => server.listening || server.closeIdleConnections()));
    void listener(request, response);
  });
  server.maxConnections = MAX_CONNECTIONS;
  server.setTimeout(IDLE_TIMEOUT_MS);
  const address = await bind(server, { host, port }, 'query.endpoint');
  return { address, close: () => close(server, AbortSignal.timeout(GRACE_MS)) };
}
