/** A way to a server that tests can close and open again, slow down, and break at a chosen moment. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';
import { Transform } from 'node:stream';

/** Sees what a server sends; where it says `cut`, the client gets nothing of it and its connection is reset. */
type Inspector = (chunk: Buffer) => 'pass' | 'cut';

export interface TcpProxy {
  /** The URL it was made for, with the proxy's address. */
  readonly url: string;
  /** Breaks every connection and refuses new ones. */
  cut(): void;
  /** Lets new connections through again. */
  mend(): void;
  /** Keeps connections and lets nothing through any more, as a network that drops packets. */
  freeze(): void;
  /** New connections go to the server of this URL. */
  retarget(target: string): void;
  /** Holds back what the server sends for so long; 0 for not at all. */
  delayAnswers(ms: number): void;
  /** Asks about each piece that the server sends; undefined for nobody. */
  inspect(inspector: Inspector | undefined): void;
  close(): Promise<void>;
}

/** Stands before the server of a URL that has a host and a port. */
export async function tcpProxy(target: string): Promise<TcpProxy> {
  const sockets = new Set<Socket>();
  let goal = new URL(target);
  let isCut = false;
  let delayMs = 0;
  let inspector: Inspector | undefined;
  const keep = (socket: Socket): Socket => {
    sockets.add(socket);
    return socket.on('error', () => {}).once('close', () => sockets.delete(socket));
  };
  /** The way from the server to one client. */
  const answers = (client: Socket): Transform =>
    new Transform({
      transform(chunk: Buffer, _encoding, done) {
        if (inspector?.(chunk) === 'cut') client.resetAndDestroy();
        else if (delayMs > 0) setTimeout(done, delayMs, null, chunk);
        else done(null, chunk);
      },
    });
  const server = createServer((client) => {
    if (isCut) {
      client.resetAndDestroy();
      return;
    }
    const upstream = connect(Number(goal.port), goal.hostname);
    keep(client).once('close', () => upstream.destroy());
    keep(upstream).once('close', () => client.destroy());
    client.pipe(upstream).pipe(answers(client)).pipe(client);
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  assert(typeof address === 'object' && address !== null);
  const url = new URL(target);
  url.host = `127.0.0.1:${address.port}`;
  const cut = (): void => {
    isCut = true;
    for (const socket of sockets) socket.resetAndDestroy();
  };
  return {
    url: url.href,
    cut,
    mend() {
      isCut = false;
    },
    freeze() {
      for (const socket of sockets) socket.unpipe().pause();
    },
    retarget(next) {
      goal = new URL(next);
    },
    delayAnswers(ms) {
      delayMs = ms;
    },
    inspect(next) {
      inspector = next;
    },
    async close() {
      cut();
      server.close();
      await once(server, 'close');
    },
  };
}
