/** From what went wrong to the answer over HTTP: the one place where our errors become status codes. */
import {
  ForbiddenError,
  InvalidDataError,
  PermanentError,
  QuotaError,
  RetryableError,
  UnauthenticatedError,
} from '../../errors.ts';
import { RPC, type Detail } from '../../otlp/status.ts';

/** What can be wrong with a request before anybody looks at its data. */
export type HttpFault =
  | 'bad_request'
  | 'no_token'
  | 'forbidden_origin'
  | 'not_found'
  | 'method_not_allowed'
  | 'too_large'
  | 'unsupported_type'
  | 'unsupported_compression'
  | 'unmet_expectation';

export class HttpError extends Error {
  override readonly name = 'HttpError';
  readonly fault: HttpFault;

  constructor(fault: HttpFault, message: string) {
    super(message);
    this.fault = fault;
  }
}

export interface Answer {
  readonly status: number;
  /** google.rpc.Code, for the body. */
  readonly code: number;
  readonly message: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly detail?: Detail;
  /** Whether an operator should hear of it. */
  readonly unexpected?: boolean;
}

/** As `Accept-Encoding` lists them. */
export const SUPPORTED_COMPRESSIONS = 'gzip, deflate, zstd';

/** RFC 6750, section 3: without a token no error is named. */
const CHALLENGE = 'Bearer realm="sluice"';

const FAULTS: Readonly<Record<HttpFault, Omit<Answer, 'message'>>> = {
  bad_request: { status: 400, code: RPC.invalidArgument, detail: { kind: 'bad_request', field: '', description: '' } },
  no_token: { status: 401, code: RPC.unauthenticated, headers: { 'WWW-Authenticate': CHALLENGE } },
  forbidden_origin: { status: 403, code: RPC.permissionDenied },
  not_found: { status: 404, code: RPC.unimplemented },
  method_not_allowed: { status: 405, code: RPC.unimplemented, headers: { Allow: 'POST' } },
  too_large: { status: 413, code: RPC.resourceExhausted },
  unsupported_type: { status: 415, code: RPC.invalidArgument },
  // RFC 9110, section 15.5.16: the header tells a bad compression from a bad type.
  unsupported_compression: {
    status: 415,
    code: RPC.unimplemented,
    headers: { 'Accept-Encoding': SUPPORTED_COMPRESSIONS },
  },
  unmet_expectation: { status: 417, code: RPC.invalidArgument },
};

/** SDKs give up when asked to wait longer than their time-out, which is 10 s by default: ask for little. */
const RETRY_AFTER_SECONDS = { least: 1, most: 3 } as const;

/** What is not one of our errors counts as retryable, which loses nothing. */
export function answerTo(error: unknown): Answer {
  if (error instanceof HttpError) return { ...FAULTS[error.fault], message: error.message };
  if (error instanceof InvalidDataError) return badRequest(error.message);
  if (error instanceof UnauthenticatedError) return unauthenticated(error.message);
  if (error instanceof ForbiddenError) return forbidden(error.message);
  if (error instanceof QuotaError) return later(429, RPC.resourceExhausted, error.message, error.retryAfterMs);
  if (error instanceof RetryableError) return later(503, RPC.unavailable, error.message, error.retryAfterMs);
  if (error instanceof PermanentError) {
    return { status: 500, code: RPC.internal, message: error.message, unexpected: true };
  }
  return { ...later(503, RPC.unavailable, 'the gateway failed; send the request again'), unexpected: true };
}

/** How messages about one field begin: with its path. */
const FIELD = /^([A-Za-z_]\w*(?:\[\d+\])?(?:\.[A-Za-z_]\w*(?:\[\d+\])?)*)(?::| must) /;
const MAX_FIELD_CHARS = 300;

function badRequest(message: string): Answer {
  const [, field = ''] = FIELD.exec(message.slice(0, MAX_FIELD_CHARS)) ?? [];
  const detail: Detail = { kind: 'bad_request', field, description: message };
  return { status: 400, code: RPC.invalidArgument, message, detail };
}

function unauthenticated(message: string): Answer {
  const headers = { 'WWW-Authenticate': `${CHALLENGE}, error="invalid_token"` };
  return { status: 401, code: RPC.unauthenticated, message, headers };
}

function forbidden(message: string): Answer {
  const headers = { 'WWW-Authenticate': `${CHALLENGE}, error="insufficient_scope"` };
  return { status: 403, code: RPC.permissionDenied, message, headers };
}

function later(status: number, code: number, message: string, retryAfterMs = 0): Answer {
  const { least, most } = RETRY_AFTER_SECONDS;
  const seconds = Math.min(Math.max(Math.ceil(retryAfterMs / 1000), least), most);
  return {
    status,
    code,
    message,
    headers: { 'Retry-After': String(seconds) },
    detail: { kind: 'retry_info', retryAfterMs: seconds * 1000 },
  };
}
