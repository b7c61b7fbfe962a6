/**
 * Which web pages of other origins may send, in the headers of the Fetch standard ("HTTP-CORS protocol"). Browsers read
 * an answer, a refusal too, only when it names their origin; they ask beforehand (preflight), never with a credential.
 */
import type { IncomingMessage } from 'node:http';
import { HttpError } from './http_error.ts';
import type { CorsConfig } from './server_config.ts';

/** What SDKs in browsers send. */
const SDK_HEADERS = [
  'content-type',
  'content-encoding',
  'authorization',
  'traceparent',
  'tracestate',
  'baggage',
  'user-agent',
];
const READABLE_HEADERS = ['Retry-After'];

type Headers = Record<string, string>;

/** Undefined unless the request only asks whether a page may send. */
export function isPreflight({ method, headers }: IncomingMessage): boolean {
  return method === 'OPTIONS' && headers.origin !== undefined && 'access-control-request-method' in headers;
}

/** For every answer, refusals included; caches must tell origins apart even where this one is not allowed. */
export function corsHeaders(config: CorsConfig, { headers: { origin } }: IncomingMessage): Headers {
  if (origin === undefined || !isAllowed(config, origin)) return { Vary: 'Origin' };
  return {
    Vary: 'Origin',
    // The origin itself: pages that send with credentials are not content with `*`.
    'Access-Control-Allow-Origin': origin,
    'Access-Control-Allow-Credentials': 'true',
    'Access-Control-Expose-Headers': [...READABLE_HEADERS, ...config.exposed_headers].join(', '),
  };
}

/** Throws HttpError when the page may not send. */
export function preflightHeaders(config: CorsConfig, { headers }: IncomingMessage): Headers {
  const { origin = '' } = headers;
  if (!isAllowed(config, origin)) {
    throw new HttpError('forbidden_origin', `the origin "${origin}" is not one of cors.allowed_origins`);
  }
  const asked = headers['access-control-request-headers'];
  const anyHeader = asked !== undefined && config.allowed_headers.includes('*');
  return {
    'Access-Control-Allow-Methods': 'POST, OPTIONS',
    'Access-Control-Allow-Headers': anyHeader ? asked : [...SDK_HEADERS, ...config.allowed_headers].join(', '),
    ...(config.max_age !== undefined && { 'Access-Control-Max-Age': String(config.max_age) }),
  };
}

function isAllowed({ allowed_origins }: CorsConfig, origin: string): boolean {
  const text = origin.toLowerCase();
  return allowed_origins.some((allowed) => {
    const [start = '', end] = allowed.toLowerCase().split('*');
    if (end === undefined) return text === start;
    return text.length >= start.length + end.length && text.startsWith(start) && text.endsWith(end);
  });
}
