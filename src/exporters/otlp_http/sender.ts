/**
 * Delivers queue records: one request, or as many smaller ones as the destination wants. Which answers are final and which
 * are not: opentelemetry-proto, docs/specification.md, "Failures" of OTLP/HTTP.
 */
import { promisify } from 'node:util';
import { gzip, zstdCompress } from 'node:zlib';
import { DELIVERED, type Logger, type SendOutcome } from '../../component.ts';
import type { RequestHeaders } from '../../config/request_headers.ts';
import { PermanentError, RetryableError } from '../../errors.ts';
import type { Signal } from '../../model/batch.ts';
import type { QueueRecord } from '../../model/record.ts';
import { messageOf, partialSuccessOf, retryAfterMs } from './answer.ts';
import { placeOf, type HttpAnswer, type HttpClient } from './client.ts';
import { deliver, type Answer, type Post, type Progress } from './parts.ts';
import { hopsOf, toJson, type Request } from './request.ts';

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

export class Sender {
  readonly #destination: Destination;
  readonly #client: HttpClient;
  readonly #logRefused: LogRefused;
  /** Of records that go in parts. */
  readonly #begun = new WeakMap<QueueRecord, Progress>();

  constructor(destination: Destination, client: HttpClient, logger: Logger) {
    this.#destination = destination;
    this.#client = client;
    this.#logRefused = refusalLog(logger);
  }

  /** @param records of one signal and format */
  async send(records: readonly QueueRecord[], stop: AbortSignal): Promise<SendOutcome> {
    const [first, ...others] = records;
    if (first === undefined) return DELIVERED;
    const hops = hopsOf(first.format);
    if (hops === undefined) {
      throw new PermanentError(`the queue holds ${first.format}, which this version does not know`);
    }
    const post: Post = (request) => this.#post(request, hops, stop);
    return others.length > 0 ? this.#sendTogether(records, post) : this.#sendAlone(first, post);
  }

  /** All of them or none: what cannot go in one request is refused, since the pipeline sends each record alone then. */
  async #sendTogether(records: readonly QueueRecord[], post: Post): Promise<SendOutcome> {
    if (records.some((record) => this.#begun.has(record))) {
      throw new PermanentError('a part of one of the records has been delivered, so that it has to be sent alone');
    }
    const signal = records[0]?.signal ?? 'traces';
    const items = records.reduce((sum, record) => sum + record.items, 0);
    const answer = await post({ signal, items, bytes: Buffer.concat(records.map((record) => record.bytes)) });
    if (answer.kind === 'refused') throw new PermanentError(answer.reason);
    if (answer.kind === 'too large') throw new PermanentError(`records together are more than ${answer.limit}`);
    return { duplicates: 0, deadLettered: 0, refused: answer.refused };
  }

  async #sendAlone(record: QueueRecord, post: Post): Promise<SendOutcome> {
    const progress = this.#begun.get(record) ?? {};
    try {
      const { isTaken, refused, refusedParts } = await deliver(record, progress, post);
      const [first] = refusedParts;
      if (first !== undefined && !isTaken) throw new PermanentError(first.reason);
      const outcome = { duplicates: 0, deadLettered: 0, refused };
      if (first === undefined) return outcome;
      const parts = refusedParts.map(({ request: { items, bytes }, reason }) => ({ record, items, bytes, reason }));
      return { ...outcome, refusedParts: parts };
    } finally {
      this.#note(record, progress);
    }
  }

  /** With refused parts it is kept to the end of the record: who fails to store them asks again, and nothing is sent twice. */
  #note(record: QueueRecord, progress: Progress): void {
    const isOver = progress.result !== undefined && progress.result.refusedParts.length === 0;
    if (progress.halves !== undefined && !isOver) this.#begun.set(record, progress);
    else this.#begun.delete(record);
  }

  /** @throws RetryableError when the request has to be posted again */
  async #post(request: Request, hops: number, stop: AbortSignal): Promise<Answer> {
    const { urls, encoding, compression, maxRequestBytes } = this.#destination;
    const url = urls.get(request.signal);
    if (url === undefined) return { kind: 'refused', reason: `no endpoint takes ${request.signal}` };
    const content = encoding === 'json' ? await toJson(request) : request.bytes;
    const bytes = content.length;
    if (bytes > maxRequestBytes) {
      return { kind: 'too large', bytes, limit: `max_request_body_size (${maxRequestBytes} bytes)` };
    }
    const body = compression === 'none' ? content : await COMPRESS[compression](content);
    const answer = await this.#client.post({ url, headers: this.#headers(body.length, hops), body }, stop);
    if (answer.status >= 200 && answer.status <= 299) {
      return { kind: 'taken', refused: this.#refusedOf(request, answer) };
    }
    if (answer.status === TOO_LARGE) return { kind: 'too large', bytes, limit: 'what the destination takes (413)' };
    return this.#failed(answer, url);
  }

  #failed(answer: HttpAnswer, url: URL): Answer {
    const reason = `${placeOf(url)} answered ${answer.status}${this.#saidOf(answer, url)}`;
    if (!WORTH_RETRYING.has(answer.status)) return { kind: 'refused', reason };
    const waitMs = retryAfterMs(answer, Date.now());
    throw new RetryableError(reason, waitMs === undefined ? {} : { retryAfterMs: waitMs });
  }

  /** Items that a success leaves out. */
  #refusedOf({ signal, items }: Request, answer: HttpAnswer): number {
    const partial = partialSuccessOf(answer, signal, this.#redact);
    if (partial === undefined) return 0;
    const refused = Math.min(partial.rejected, items);
    this.#logRefused({ signal, refused, items, message: partial.message });
    return refused;
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
