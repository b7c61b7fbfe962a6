/**
 * Posts over HTTP, bounded in time, in connections, and in what is kept of an answer. Follows no redirect. Errors name the
 * place and the fault, and hold nothing of what was sent or received.
 */
import { Agent as HttpAgent, request as httpRequest, type ClientRequest, type IncomingHttpHeaders } from 'node:http';
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https';
import type { TlsClientConfig } from '../../config/tls.ts';
import { RetryableError } from '../../errors.ts';
import { loadTls } from './tls.ts';

/** Of a longer answer nothing is kept: those of OTLP are short. The specification's limit is 4 MiB. */
const MAX_ANSWER_BYTES = 65_536;

/** Less than servers and load balancers usually wait, so that an idle connection is closed by us. */
const IDLE_MS = 30_000;

export interface ClientSettings {
  readonly tls: TlsClientConfig | undefined;
  readonly maxConnections: number;
  /** From the first byte to the last one of the answer, waiting for a connection included. */
  readonly timeoutMs: number;
}

export interface HttpPost {
  readonly url: URL;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Uint8Array;
}

export interface HttpAnswer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  /** As sent, still compressed if it was; undefined when it is too long, or did not come whole or in time. */
  readonly body: Uint8Array | undefined;
}

export class HttpClient {
  readonly #settings: ClientSettings;
  readonly #plain: HttpAgent;
  #secure: HttpsAgent | undefined;

  constructor(settings: ClientSettings) {
    this.#settings = settings;
    this.#plain = new HttpAgent(this.#limits());
  }

  /** Reads the TLS files if a URL needs them. Rejects with one line that names the key at fault. */
  async open(urls: Iterable<URL>): Promise<void> {
    for (const url of urls) await this.#agentFor(url);
  }

  /**
   * Resolves once there is an answer, whatever it says.
   * @param stop aborts the request
   * @throws RetryableError when there is none
   */
  async post(post: HttpPost, stop: AbortSignal): Promise<HttpAnswer> {
    const deadlineMs = performance.now() + this.#settings.timeoutMs;
    for (;;) {
      const agent = await this.#agentFor(post.url);
      const result = await exchange(post, { agent, timeoutMs: deadlineMs - performance.now(), stop });
      if ('status' in result) return result;
      // The server closed an idle connection just when it was used again. At the latest a new one ends this.
      if (result.isStale) continue;
      // For the next try: a certificate may have been renewed in its file.
      if (agent === this.#secure) this.#secure = undefined;
      throw new RetryableError(`${placeOf(post.url)}: ${result.fault}`);
    }
  }

  /** Closes idle connections. */
  close(): void {
    this.#plain.destroy();
    this.#secure?.destroy();
  }

  async #agentFor({ protocol }: URL): Promise<HttpAgent> {
    if (protocol === 'http:') return this.#plain;
    this.#secure ??= new HttpsAgent({ ...this.#limits(), ...(await loadTls(this.#settings.tls)) });
    return this.#secure;
  }

  #limits() {
    const { maxConnections } = this.#settings;
    return { keepAlive: true, maxSockets: maxConnections, maxFreeSockets: maxConnections, timeout: IDLE_MS };
  }
}

/** The URL as it may be printed: a query can hold a credential. */
export const placeOf = ({ origin, pathname }: URL): string => `${origin}${pathname}`;

/** Why there is no answer. */
interface Failure {
  readonly fault: string;
  /** The connection had been used before, and was closed by then: nothing says that the server is in trouble. */
  readonly isStale: boolean;
}

interface Conditions {
  readonly agent: HttpAgent;
  readonly timeoutMs: number;
  readonly stop: AbortSignal;
}

/** Never rejects. From the status line on there is an answer, even if the rest of it never comes. */
function exchange({ url, headers, body }: HttpPost, { agent, timeoutMs, stop }: Conditions) {
  return new Promise<HttpAnswer | Failure>((resolve) => {
    const send = url.protocol === 'https:' ? httpsRequest : httpRequest;
    const request = send(url, { method: 'POST', agent, headers });
    const onStop = () => request.destroy(new Error('the gateway stops'));
    const onTimeout = () => request.destroy(new Error('no answer in time'));
    const timer = setTimeout(onTimeout, Math.max(timeoutMs, 0));
    const settle = (result: HttpAnswer | Failure): void => {
      clearTimeout(timer);
      stop.removeEventListener('abort', onStop);
      // Answered before it had everything: the rest would keep the connection busy.
      if (!request.writableFinished) request.destroy();
      resolve(result);
    };
    let isAnswered = false;
    request.on('response', (response) => {
      isAnswered = true;
      const { statusCode: status = 0, headers: received } = response;
      void readShort(response).then((answered) => settle({ status, headers: received, body: answered }));
    });
    request.on('error', (error) => {
      if (!isAnswered) settle(failureOf(error, request));
    });
    request.on('close', () => {
      if (!isAnswered) settle({ fault: 'closed without an answer', isStale: false });
    });
    stop.addEventListener('abort', onStop, { once: true });
    if (stop.aborted) onStop();
    request.end(body);
  });
}

/** Codes of a connection that the other side has closed. */
const CLOSED: ReadonlySet<string> = new Set(['ECONNRESET', 'EPIPE']);

/** Errors of the parser carry what was received, so nothing but the code is taken from those that have one. */
function failureOf(error: NodeJS.ErrnoException, { reusedSocket }: ClientRequest): Failure {
  const { code = '', message } = error;
  return { fault: code === '' ? message : code, isStale: reusedSocket && CLOSED.has(code) };
}

/** Leaving the loop early closes the connection. Never rejects. */
async function readShort(response: AsyncIterable<Buffer>): Promise<Uint8Array | undefined> {
  const chunks: Buffer[] = [];
  let length = 0;
  try {
    for await (const chunk of response) {
      length += chunk.length;
      if (length > MAX_ANSWER_BYTES) return undefined;
      chunks.push(chunk);
    }
  } catch {
    return undefined;
  }
  return Buffer.concat(chunks);
}
