/**
 * Forwards to any OTLP/HTTP server: Tempo, Loki, Prometheus, a Collector, another Sluice. What is sent again after a crash
 * or a lost answer is byte for byte the same request, which a second Sluice knows and stores once; other servers may
 * store it twice.
 */
import { readFileSync } from 'node:fs';
import { z } from 'zod';
import { exporterFactory } from '../component.ts';
import { duration } from '../config/duration.ts';
import { httpUrl } from '../config/http_url.ts';
import { requestHeaders } from '../config/request_headers.ts';
import { retryOnFailure } from '../config/retry_on_failure.ts';
import { sendingQueue } from '../config/sending_queue.ts';
import { size } from '../config/size.ts';
import { tlsClient } from '../config/tls.ts';
import { PermanentError } from '../errors.ts';
import { SIGNALS, type Signal } from '../model/batch.ts';
import { requestBytes } from '../otlp/split.ts';
import { HttpClient } from './otlp_http/client.ts';
import { encode } from './otlp_http/request.ts';
import { OWN_HEADERS, Sender } from './otlp_http/sender.ts';

const MAX_TIMEOUT_MS = 3_600_000;

/** As in the Collector: each request is sent by itself. */
const CONSUMERS = 10;

/** Connections where there is no queue. */
const UNQUEUED_CONNECTIONS = 10;

const signalEndpoint = (signal: Signal) =>
  httpUrl().optional().describe(`Whole URL for ${signal}, taken as it is, instead of the one made from endpoint.`);

const config = z
  .strictObject({
    endpoint: httpUrl()
      .optional()
      .describe('Base URL, such as http://tempo:4318; v1/traces, v1/logs and v1/metrics are added to its path.'),
    traces_endpoint: signalEndpoint('traces'),
    logs_endpoint: signalEndpoint('logs'),
    metrics_endpoint: signalEndpoint('metrics'),
    encoding: z.enum(['proto', 'json']).default('proto').describe('How requests are written: protobuf or OTLP/JSON.'),
    compression: z.enum(['gzip', 'zstd', 'none']).default('gzip').describe('How requests are compressed.'),
    headers: requestHeaders(OWN_HEADERS)
      .default({})
      .describe('Headers of every request. Values are secrets, best taken from the environment as ${env:NAME}.'),
    timeout: duration({ min: 1, max: MAX_TIMEOUT_MS })
      .prefault('30s')
      .describe('Limit of one request, from connecting to the end of the answer; then it is sent again.'),
    max_request_body_size: size({ min: 1 })
      .prefault('64MiB')
      .describe(
        'Largest request before compression; more is sent as several. A single larger item becomes a dead letter.',
      ),
    tls: tlsClient()
      .optional()
      .describe('For https. The files are read at start, and again after a failed connection.'),
    sending_queue: sendingQueue({ consumers: CONSUMERS }).describe(
      'How data waits for the destination. With `batch`, requests are joined, and a second Sluice no longer knows repeats.',
    ),
    retry_on_failure: retryOnFailure(),
  })
  .superRefine((given, context) => {
    if ([given.endpoint, ...SIGNALS.map((signal) => given[`${signal}_endpoint`])].some((url) => url !== undefined))
      return;
    const message = 'missing; allowed: a URL such as http://127.0.0.1:4318, or traces_endpoint and its like';
    context.addIssue({ code: 'custom', path: ['endpoint'], input: {}, message });
  });

/** The type has two names in the Collector, an older one that most files use and a newer one. */
const named = (type: string) =>
  exporterFactory({
    type,
    signals: SIGNALS,
    config,
    create(given, { logger }) {
      const { sending_queue, retry_on_failure, tls, timeout } = given;
      const maxConnections = sending_queue?.num_consumers ?? UNQUEUED_CONNECTIONS;
      const client = new HttpClient({ tls, maxConnections, timeoutMs: timeout });
      const urls = urlsOf(given);
      const { headers, encoding, compression, max_request_body_size: maxRequestBytes } = given;
      const destination = { urls, headers, encoding, compression, maxRequestBytes, userAgent: userAgent() };
      const sender = new Sender(destination, client, logger);
      return {
        queue: sending_queue,
        retry: retry_on_failure,
        async encode(batch) {
          if (!urls.has(batch.signal)) throw new PermanentError(`neither endpoint nor ${batch.signal}_endpoint is set`);
          return encode(batch);
        },
        sizeOf: requestBytes,
        start: () => client.open(urls.values()),
        send: (records, signal) => sender.send(records, signal),
        shutdown: async () => client.close(),
      };
    },
  });

export const otlpHttp = named('otlp_http');
export const otlphttp = named('otlphttp');

type Endpoints = Pick<z.output<typeof config>, 'endpoint' | `${Signal}_endpoint`>;

/** Source: opentelemetry-specification, protocol/exporter.md, "Endpoint URLs for OTLP/HTTP". */
function urlsOf({ endpoint, ...own }: Endpoints): ReadonlyMap<Signal, URL> {
  const urls = new Map<Signal, URL>();
  for (const signal of SIGNALS) {
    const url = own[`${signal}_endpoint`] ?? (endpoint && below(endpoint, signal));
    if (url !== undefined) urls.set(signal, url);
  }
  return urls;
}

function below(base: URL, signal: Signal): URL {
  const url = new URL(base);
  url.pathname = `${base.pathname.replace(/\/+$/, '')}/v1/${signal}`;
  return url;
}

function userAgent(): string {
  const file: unknown = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8'));
  const version = z.object({ version: z.string() }).parse(file).version;
  return `OTel-OTLP-Exporter-Sluice/${version}`;
}
