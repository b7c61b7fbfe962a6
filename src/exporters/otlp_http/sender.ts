/**
 * Delivers queue records: one request, or as many smaller ones as the destination wants. Which answers are final and which
 * are not: opentelemetry-proto, docs/specification.md, "Failures" of OTLP/HTTP.
 */
import { promisify } from 'node:util';
import { gzip, zstdCompress } from 'node:zlib';
import type { Logger, SendOutcome } from '../../component.ts';
import type { RequestHeaders } from '../../config/request_headers.ts';
import { PermanentError, RetryableError } from '../../errors.ts';
import type { Signal } from '../../model/batch.ts';
import type { QueueRecord } from '../../model/record.ts';
import { messageOf, partialSuccessOf, retryAfterMs } from './answer.ts';
import { placeOf, type HttpAnswer, type HttpClient } from './client.ts';
import { hopsOf, splitRequest, toJson, type Request } from './request.ts';

export interface Destination {
  /** Of the signals that it takes. */
  readonly urls: ReadonlyMap<Signal, URL>;
  readonly headers: RequestHeaders;
  readonly encoding: 'proto' | 'json';
  readonly compression: 'gzip' | 'zstd' | 'none';
  /** The most bytes of a request before it is compressed. */
  readonly maxRequestBytes: number;
  readonly userAgent: string;
}

const CONTENT_TYPES = { proto: 'application/x-protobuf', json: 'application/json' } as const;

const COMPRESS = { gzip: promisify(gzip), zstd: promisify(zstdCompress) } as const;

/** How many gateways of ours a request has passed, by which receivers know one that goes in circles. */
const HOPS_HEADER = 'x-sluice-hops';

/** Not for users to set: they say how the body is written. */
export const OWN_HEADERS: ReadonlySet<string> = new Set([
  'connection',
  'content-encoding',
  'content-length',
  'content-type',
  'transfer-encoding',
  HOPS_HEADER,
]);

const TOO_LARGE = 413;
const WORTH_RETRYING: ReadonlySet<number> = new Set([429, 502, 503, 504]);

/** What became of a request, as far as no retry is needed. */
interface Result {
  /** Items that the destination refused without saying which. */
  readonly refused: number;
  /** Why all of the request, or a part of it, will never be taken. */
  readonly failure?: PermanentError;
}

export class Sender {
  readonly #destination: Destination;
  readonly #client: HttpClient;
  readonly #logRefused: LogRefused;

  constructor(destination: Destination, client: HttpClient, logger: Logger) {
    this.#destination = destination;
    this.#client = client;
    this.#logRefused = refusalLog(logger);
  }

  /** @param records of one signal and format */
  async send(records: readonly QueueRecord[], stop: AbortSignal): Promise<SendOutcome> {
    const [first] = records;
    if (first === undefined) return { duplicates: 0, deadLettered: 0, refused: 0 };
    const { signal, format } = first;
    const hops = hopsOf(format);
    if (hops === undefined) throw new PermanentError(`the queue holds ${format}, which this version does not know`);
    const bytes = records.length === 1 ? first.bytes : Buffer.concat(records.map((record) => record.bytes));
    const items = records.reduce((sum, record) => sum + record.items, 0);
    const isShared = records.length > 1;
    const { refused, failure } = await this.#deliver({ signal, items, bytes }, { hops, isShared, stop });
    if (failure !== undefined) throw failure;
    return { duplicates: 0, deadLettered: 0, refused };
  }

  /**
   * A request that is too large goes in halves, and those in halves again. When one of them fails for good the others are
   * still sent, since the pipeline keeps the whole record then; when one has to be sent again, so have all.
   */
  async #deliver(request: Request, way: Way): Promise<Result> {
    const { encoding, maxRequestBytes } = this.#destination;
    const content = encoding === 'json' ? await toJson(request) : request.bytes;
    const fits = content.length <= maxRequestBytes;
    const result = fits ? await this.#post(request, content, way) : undefined;
    if (result !== undefined) return result;
    const limit = fits ? 'what the destination takes (413)' : `max_request_body_size (${maxRequestBytes} bytes)`;
    // Nothing of it is sent yet: the pipeline sends each record by itself then.
    if (way.isShared) return { refused: 0, failure: new PermanentError(`records together are more than ${limit}`) };
    const halves = await splitRequest(request);
    if (halves === undefined) {
      return { refused: 0, failure: new PermanentError(`one item of ${content.length} bytes is more than ${limit}`) };
    }
    let all: Result = { refused: 0 };
    for (const half of halves) all = joined(all, await this.#deliver(half, way));
    return all;
  }

  /** Undefined when the destination wants it smaller. */
  async #post(request: Request, content: Uint8Array, { hops, stop }: Way): Promise<Result | undefined> {
    const { urls, compression } = this.#destination;
    const url = urls.get(request.signal);
    if (url === undefined) throw new PermanentError(`no endpoint takes ${request.signal}`);
    const body = compression === 'none' ? content : await COMPRESS[compression](content);
    const answer = await this.#client.post({ url, headers: this.#headers(body.length, hops), body }, stop);
    if (answer.status >= 200 && answer.status <= 299) return this.#taken(request, answer);
    if (answer.status === TOO_LARGE) return undefined;
    const message = `${placeOf(url)} answered ${answer.status}${this.#saidOf(answer, url)}`;
    if (!WORTH_RETRYING.has(answer.status)) return { refused: 0, failure: new PermanentError(message) };
    const waitMs = retryAfterMs(answer, Date.now());
    throw new RetryableError(message, waitMs === undefined ? {} : { retryAfterMs: waitMs });
  }

  #taken({ signal, items }: Request, answer: HttpAnswer): Result {
    const partial = partialSuccessOf(answer, signal, this.#redact);
    if (partial === undefined) return { refused: 0 };
    const refused = Math.min(partial.rejected, items);
    this.#logRefused({ signal, refused, items, message: partial.message });
    return { refused };
  }

  #headers(contentLength: number, hops: number): Readonly<Record<string, string>> {
    const { headers, encoding, compression, userAgent } = this.#destination;
    const given = Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value.reveal()]);
    return {
      'user-agent': userAgent,
      ...Object.fromEntries(given),
      'content-type': CONTENT_TYPES[encoding],
      'content-length': String(contentLength),
      ...(compression === 'none' ? {} : { 'content-encoding': compression }),
      [HOPS_HEADER]: String(hops + 1),
    };
  }

  /** What stands behind the status in an error. A redirect is not followed: whoever answers it would get the headers. */
  #saidOf(answer: HttpAnswer, url: URL): string {
    const { location } = answer.headers;
    const target = location === undefined ? null : URL.parse(location, url.href);
    if (answer.status < 400 && target !== null) {
      return `, a redirect to ${target.host.slice(0, MAX_HOST_CHARS)}; set the endpoint to where it leads`;
    }
    const message = messageOf(answer, this.#redact);
    return message === '' ? '' : `: ${message}`;
  }

  /** A server may repeat what it was sent, and whoever reads the log must not learn a credential from that. */
  readonly #redact = (text: string): string => {
    let redacted = text;
    for (const value of Object.values(this.#destination.headers)) {
      for (const word of value.reveal().split(/\s+/)) {
        if (word.length >= LEAST_SECRET_CHARS) redacted = redacted.replaceAll(word, '[REDACTED]');
      }
    }
    return redacted;
  };
}

/** RFC 1035, section 2.3.4. */
const MAX_HOST_CHARS = 255;

/** Shorter words of a header, such as its scheme, are no secret. */
const LEAST_SECRET_CHARS = 8;

/** What does not change while the parts of one send are delivered. */
interface Way {
  readonly hops: number;
  /** Whether the request is made of several records. */
  readonly isShared: boolean;
  readonly stop: AbortSignal;
}

function joined(one: Result, other: Result): Result {
  const failure = one.failure ?? other.failure;
  return { refused: one.refused + other.refused, ...(failure === undefined ? {} : { failure }) };
}

interface Refusal {
  readonly signal: Signal;
  readonly refused: number;
  /** Of so many. */
  readonly items: number;
  readonly message: string;
}

type LogRefused = (refusal: Refusal) => void;

const LOG_AGAIN_AFTER_MS = 60_000;

/** A destination that refuses a part of every request must not write a line for each: repeats are told once a minute. */
function refusalLog(logger: Logger): LogRefused {
  let last = '';
  let silentUntilMs = 0;
  let untold = 0;
  return ({ signal, refused, items, message }) => {
    untold += refused;
    const now = performance.now();
    if (message === last && now < silentUntilMs) return;
    logger.warn({ signal, refused, items, refusedSinceLastLine: untold, message }, 'the destination refused a part');
    last = message;
    silentUntilMs = now + LOG_AGAIN_AFTER_MS;
    untold = 0;
  };
}
