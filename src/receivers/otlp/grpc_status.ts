/** From what went wrong to the status of a call: the one place where our errors become gRPC codes. */
import { Metadata, type StatusObject } from '@grpc/grpc-js';
import {
  ForbiddenError,
  InvalidDataError,
  PermanentError,
  QuotaError,
  RetryableError,
  UnauthenticatedError,
} from '../../errors.ts';
import { RPC, statusResponse, type Detail } from '../../otlp/status.ts';

/** What can be wrong with a call before anybody looks at its data. */
export type GrpcFault = 'invalid_metadata' | 'too_slow';

export class GrpcError extends Error {
  override readonly name = 'GrpcError';
  readonly fault: GrpcFault;

  constructor(fault: GrpcFault, message: string) {
    super(message);
    this.fault = fault;
  }
}

/** Only in gRPC: a call took longer than it may. Clients send such requests again. */
const DEADLINE_EXCEEDED = 4;

const FAULTS: Readonly<Record<GrpcFault, number>> = {
  invalid_metadata: RPC.invalidArgument,
  too_slow: DEADLINE_EXCEEDED,
};

interface Answer {
  readonly code: number;
  readonly message: string;
  readonly detail?: Detail;
  readonly unexpected?: boolean;
}

/** SDKs give up when asked to wait longer than their time-out, which is 10 s by default: ask for little. */
const RETRY_MS = { least: 1000, most: 3000 } as const;

/**
 * Some clients take 8 KiB of headers in all, and a message goes into them up to three times, a character having up to
 * three bytes: as `%XX` in grpc-message, and in base64 in the status and in its details.
 */
const MAX_MESSAGE_CHARACTERS = 400;

/** How a call ends, with a `google.rpc.Status` among its trailers, and whether an operator should hear of it. */
export interface Refusal {
  readonly status: StatusObject;
  readonly unexpected: boolean;
}

/** What is not one of our errors counts as retryable, which loses nothing. */
export function statusOf(error: unknown): Refusal {
  const { code, message, detail, unexpected = false } = answerTo(error);
  const details = shorten(message);
  const metadata = new Metadata();
  metadata.set('grpc-status-details-bin', statusResponse(code, details, 'protobuf', detail));
  return { status: { code, details, metadata }, unexpected };
}

/** Half of a surrogate pair would make grpc-js throw. */
const shorten = (message: string): string => message.slice(0, MAX_MESSAGE_CHARACTERS).toWellFormed();

function answerTo(error: unknown): Answer {
  if (error instanceof GrpcError) return { code: FAULTS[error.fault], message: error.message };
  if (error instanceof UnauthenticatedError) return { code: RPC.unauthenticated, message: error.message };
  if (error instanceof ForbiddenError) return { code: RPC.permissionDenied, message: error.message };
  if (error instanceof InvalidDataError) return { code: RPC.invalidArgument, ...badRequest(error.message) };
  if (error instanceof QuotaError) return { code: RPC.resourceExhausted, ...later(error.message, error.retryAfterMs) };
  if (error instanceof PermanentError) return { code: RPC.internal, message: error.message, unexpected: true };
  if (error instanceof RetryableError) return { code: RPC.unavailable, ...later(error.message, error.retryAfterMs) };
  return { code: RPC.unavailable, ...later('the gateway failed; send the request again'), unexpected: true };
}

function badRequest(message: string): Pick<Answer, 'message' | 'detail'> {
  return { message, detail: { kind: 'bad_request', field: 'request', description: shorten(message) } };
}

function later(message: string, retryAfterMs = 0): Pick<Answer, 'message' | 'detail'> {
  const bounded = Math.min(Math.max(retryAfterMs, RETRY_MS.least), RETRY_MS.most);
  return { message, detail: { kind: 'retry_info', retryAfterMs: Math.ceil(bounded) } };
}
