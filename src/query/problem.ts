/**
 * How this API says that something went wrong: `application/problem+json` (RFC 9457) for every error. The client gets a
 * sentence that is safe to show; the log gets the cause.
 */
import type { Context } from 'hono';
import { ForbiddenError, InvalidDataError, QuotaError, RetryableError, UnauthenticatedError } from '../errors.ts';
import { jsonHeaders } from './headers.ts';

/** Titles are the status phrases, as section 4.2.1 of RFC 9457 asks where the type is `about:blank`. */
const TITLES = {
  400: 'Bad Request',
  401: 'Unauthorized',
  403: 'Forbidden',
  404: 'Not Found',
  405: 'Method Not Allowed',
  429: 'Too Many Requests',
  500: 'Internal Server Error',
  503: 'Service Unavailable',
} as const;

type ProblemStatus = keyof typeof TITLES;

/** Where failures that the operator should see are written; `Logger` of `component.ts` is one. */
export interface FailureLog {
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
}

/** How to authenticate: a 401 must say so (RFC 9110, 11.6.1), and Bearer takes a parameter (RFC 6750, 3). */
const CHALLENGE = { 'www-authenticate': 'Bearer realm="sluice"' } as const;

/** `Retry-After` of an error that does not say when to come back. */
const RETRY_AFTER_MS = 1_000;

/** `detail` is a whole sentence for the reader, and holds nothing internal. */
export function problem(status: ProblemStatus, detail: string, headers: Record<string, string> = {}): Response {
  const body = { type: 'about:blank', title: TITLES[status], status, detail };
  return new Response(JSON.stringify(body), { status, headers: jsonHeaders('application/problem+json', headers) });
}

/** Turns what a route threw into an answer. */
export function problemOf(error: Error, context: Context, log: FailureLog): Response {
  const fields = { err: error, method: context.req.method, path: context.req.path };
  if (error instanceof InvalidDataError) return problem(400, error.message);
  if (error instanceof UnauthenticatedError) return problem(401, error.message, CHALLENGE);
  if (error instanceof ForbiddenError) return problem(403, error.message);
  if (error instanceof QuotaError) return problem(429, error.message, retryAfter(error.retryAfterMs));
  if (error instanceof RetryableError) {
    log.warn(fields, 'a query could not be answered now');
    return problem(503, error.message, retryAfter(error.retryAfterMs ?? RETRY_AFTER_MS));
  }
  log.error(fields, 'a query failed');
  return problem(500, 'The query failed because of a fault in the gateway; its log has the details.');
}

/** Whole seconds, RFC 9110 section 10.2.3; never 0, which would ask for a busy loop. */
export function retryAfter(ms: number): Record<string, string> {
  return { 'retry-after': String(Math.max(1, Math.ceil(ms / 1_000))) };
}
