/**
 * The kinds of failure. Where an error happens decides which kind it is; the edge (a receiver, the CLI) turns the
 * kind into a status code once. An error of no kind counts as retryable, which loses nothing.
 */

/** One fault in a configuration file. */
export interface ConfigFault {
  /** YAML path, such as `receivers.otlp.protocols.http.endpoint`; empty for the file as a whole. */
  path: string;
  /** What was found and what is allowed. */
  message: string;
}

/** The operator's configuration cannot be used. Carries every fault that was found, not just the first. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError';
  readonly faults: readonly ConfigFault[];

  constructor(faults: readonly ConfigFault[]) {
    super(faults.map((fault) => (fault.path === '' ? fault.message : `${fault.path}: ${fault.message}`)).join('\n'));
    this.faults = faults;
  }
}

/** The sender's data can never be accepted: HTTP 400, gRPC INVALID_ARGUMENT. */
export class InvalidDataError extends Error {
  override readonly name = 'InvalidDataError';
}

/** There is no valid credential: HTTP 401, gRPC UNAUTHENTICATED. */
export class UnauthenticatedError extends Error {
  override readonly name = 'UnauthenticatedError';
}

/** The credential is valid and does not allow this: HTTP 403, gRPC PERMISSION_DENIED. */
export class ForbiddenError extends Error {
  override readonly name = 'ForbiddenError';
}

/** The tenant is over its own limit: HTTP 429, gRPC RESOURCE_EXHAUSTED with RetryInfo. */
export class QuotaError extends Error {
  override readonly name = 'QuotaError';
  readonly retryAfterMs: number;

  constructor(message: string, retryAfterMs: number) {
    super(message);
    this.retryAfterMs = retryAfterMs;
  }
}

/** The same data will fail again however often it is sent. */
export class PermanentError extends Error {
  override readonly name = 'PermanentError';
}

/** The same data may succeed later: HTTP 503 with Retry-After, gRPC UNAVAILABLE. */
export class RetryableError extends Error {
  override readonly name = 'RetryableError';
  readonly retryAfterMs: number | undefined;

  constructor(message: string, options: ErrorOptions & { retryAfterMs?: number } = {}) {
    super(message, options);
    this.retryAfterMs = options.retryAfterMs;
  }
}
