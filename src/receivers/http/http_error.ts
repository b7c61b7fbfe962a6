/** From what went wrong to the answer of OTLP/HTTP: the one place where our errors become status codes. */
import { InvalidDataError, PermanentError, QuotaError, RetryableError } from '../../errors.ts';
import { RPC } from '../../otlp/status.ts';

/** What can be wrong with a request before anybody looks at its data. */
export type HttpFault =
  'not_found' | 'method_not_allowed' | 'too_large' | 'unsupported_type' | 'unsupported_compression';

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
  /** Seconds; clients that retry wait so long. */
  readonly retryAfterSeconds?: number;
  /** Whether an operator should hear of it. */
  readonly unexpected?: boolean;
}

const FAULTS: Readonly<Record<HttpFault, { status: number; code: number }>> = {
  not_found: { status: 404, code: RPC.unimplemented },
  method_not_allowed: { status: 405, code: RPC.unimplemented },
  too_large: { status: 413, code: RPC.resourceExhausted },
  unsupported_type: { status: 415, code: RPC.invalidArgument },
  unsupported_compression: { status: 415, code: RPC.unimplemented },
};

/** SDKs give up when asked to wait longer than their time-out, which is 10 s by default: ask for little. */
const RETRY_AFTER_SECONDS = { least: 1, most: 3 } as const;

/** What is not one of our errors counts as retryable, which loses nothing. */
export function answerTo(error: unknown): Answer {
  if (error instanceof HttpError) return { ...FAULTS[error.fault], message: error.message };
  if (error instanceof InvalidDataError) return { status: 400, code: RPC.invalidArgument, message: error.message };
  if (error instanceof QuotaError) {
    return {
      status: 429,
      code: RPC.resourceExhausted,
      message: error.message,
      retryAfterSeconds: seconds(error.retryAfterMs),
    };
  }
  if (error instanceof PermanentError)
    return { status: 500, code: RPC.internal, message: error.message, unexpected: true };
  if (error instanceof RetryableError) {
    const retryAfterSeconds = seconds(error.retryAfterMs ?? 0);
    return { status: 503, code: RPC.unavailable, message: error.message, retryAfterSeconds };
  }
  const message = 'the gateway failed; send the request again';
  return {
    status: 503,
    code: RPC.unavailable,
    message,
    retryAfterSeconds: RETRY_AFTER_SECONDS.least,
    unexpected: true,
  };
}

function seconds(ms: number): number {
  return Math.min(Math.max(Math.ceil(ms / 1000), RETRY_AFTER_SECONDS.least), RETRY_AFTER_SECONDS.most);
}
