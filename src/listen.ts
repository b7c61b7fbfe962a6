/** Sockets that serve: binding them with errors an operator understands, and closing them without cutting answers off. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import type { Server as HttpServer } from 'node:http';
import type { Server } from 'node:net';

/** Why listening fails, in words, by Node's error code. */
const FAULTS: Readonly<Record<string, string>> = {
  EADDRINUSE: 'address in use',
  EACCES: 'permission denied',
  EADDRNOTAVAIL: 'this machine does not have that address',
  ENOTFOUND: 'unknown host',
};

/**
 * Binds a server and resolves to its address, `host:port`, with the real port where 0 was asked for. An empty host
 * means all interfaces.
 * @param setting names what the operator would change, such as `query.endpoint`; rejects with one clear line
 */
export async function listen(
  server: Server,
  { host, port }: { readonly host: string; readonly port: number },
  setting: string,
): Promise<string> {
  try {
    server.listen(port, host === '' ? undefined : host);
    await once(server, 'listening');
  } catch (cause) {
    throw new Error(`cannot listen on ${printed(host, port)}: ${reasonOf(cause)} (${setting})`, { cause });
  }
  const bound = server.address();
  assert(typeof bound === 'object' && bound !== null, 'a bound TCP server has an address');
  return printed(bound.address, bound.port);
}

/** Stops listening, lets answers under way finish until the deadline aborts, then cuts the rest off. */
export async function close(server: HttpServer, deadline: AbortSignal): Promise<void> {
  if (!server.listening) return;
  const closed = once(server, 'close');
  const cutOff = (): void => server.closeAllConnections();
  // Connections that become idle from now on go at once, or a client that keeps them would hold us up; 0 means for ever.
  server.keepAliveTimeout = 1;
  server.keepAliveTimeoutBuffer = 0;
  server.close();
  server.closeIdleConnections();
  if (deadline.aborted) cutOff();
  else deadline.addEventListener('abort', cutOff, { once: true });
  await closed;
  deadline.removeEventListener('abort', cutOff);
}

function reasonOf(cause: unknown): string {
  const { code = '', message }: NodeJS.ErrnoException = cause instanceof Error ? cause : new Error(String(cause));
  return FAULTS[code] ?? message;
}

const printed = (host: string, port: number): string => `${host.includes(':') ? `[${host}]` : host}:${port}`;
