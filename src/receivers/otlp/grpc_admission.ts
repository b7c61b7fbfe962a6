/**
 * Who may call: asked as soon as a call's metadata has come, and answered before its message is read. Until then a
 * stream holds no more than its flow-control window.
 */
import assert from 'node:assert/strict';
import { ServerInterceptingCall, type Metadata, type ServerInterceptor } from '@grpc/grpc-js';
import type { Authenticator, Logger } from '../../component.ts';
import { ForbiddenError, QuotaError, RetryableError, UnauthenticatedError } from '../../errors.ts';
import type { FailedAttempts } from '../../model/attempts.ts';
import { allows } from '../../model/identity.ts';
import { DEFAULT_TENANT, type Tenant } from '../../model/tenant.ts';
import { GrpcError, statusOf } from './grpc_status.ts';

export interface AdmissionSettings {
  /** Without it everybody is let in, as the default tenant. */
  readonly authenticator: Authenticator | undefined;
  readonly failures: FailedAttempts;
  /** How many calls may be let in and unfinished. */
  readonly maxRequests: number;
  /** How long a message may take to come, once its call was let in. */
  readonly receiveTimeoutMs: number;
  readonly logger: Logger;
}

export interface Admission {
  readonly interceptor: ServerInterceptor;
  /**
   * Runs the work of a call that was let in, which it knows by its metadata. The call counts as unfinished until the
   * work is done, even when its client has gone.
   */
  run<T>(metadata: Metadata, work: (tenant: Tenant) => Promise<T>): Promise<T>;
}

/** A call that was let in. */
interface Admitted {
  readonly tenant: Tenant;
  isRunning: boolean;
}

export function admission(settings: AdmissionSettings): Admission {
  const calls = new WeakMap<Metadata, Admitted>();
  let unfinished = 0;

  const admit = async (metadata: Metadata, address: string): Promise<Admitted> => {
    const tenant = await authenticate(settings, metadata, address);
    if (unfinished >= settings.maxRequests) {
      throw new RetryableError(`more than max_concurrent_requests (${settings.maxRequests}) calls at once`);
    }
    return { tenant, isRunning: false };
  };

  const interceptor: ServerInterceptor = ({ path }, call) => {
    let admitted: Admitted | undefined;
    let timer: NodeJS.Timeout | undefined;
    let isOver = false;
    const refuse = (error: unknown): void => {
      const { status, unexpected } = statusOf(error);
      if (unexpected) settings.logger.error({ err: error, method: path }, 'a call could not be let in');
      call.sendStatus(status);
    };
    const receive = async (metadata: Metadata, proceed: (metadata: Metadata) => void): Promise<void> => {
      const found = await admit(metadata, call.getConnectionInfo().remoteAddress ?? '');
      if (isOver) return;
      admitted = found;
      unfinished++;
      calls.set(metadata, found);
      timer = setTimeout(() => refuse(tooSlow(settings.receiveTimeoutMs)), settings.receiveTimeoutMs);
      proceed(metadata);
    };
    return new ServerInterceptingCall(call, {
      start(next) {
        next({
          onReceiveMetadata: (metadata, proceed) => void receive(metadata, proceed).catch(refuse),
          onReceiveHalfClose(proceed) {
            clearTimeout(timer);
            proceed();
          },
          // Once for every call, however it ends.
          onCancel() {
            clearTimeout(timer);
            isOver = true;
            if (admitted?.isRunning === false) unfinished--;
          },
        });
      },
    });
  };

  const run = async <T>(metadata: Metadata, work: (tenant: Tenant) => Promise<T>): Promise<T> => {
    const call = calls.get(metadata);
    assert(call !== undefined, 'a call is let in before its handler runs');
    call.isRunning = true;
    try {
      return await work(call.tenant);
    } finally {
      unfinished--;
    }
  };
  return { interceptor, run };
}

function tooSlow(limitMs: number): GrpcError {
  return new GrpcError('too_slow', `the message did not come within read_timeout (${limitMs} ms)`);
}

async function authenticate(
  { authenticator, failures }: AdmissionSettings,
  metadata: Metadata,
  address: string,
): Promise<Tenant> {
  if (authenticator === undefined) return DEFAULT_TENANT;
  const token = bearerToken(metadata);
  const waitMs = failures.check(address);
  if (waitMs > 0 && !authenticator.isKnown(token)) {
    throw new QuotaError('too many bad tokens from this address; try later', waitMs);
  }
  try {
    const identity = await authenticator.authenticate(token);
    if (allows(identity, 'ingest')) return identity.tenant;
  } catch (error) {
    if (error instanceof UnauthenticatedError) failures.count(address);
    throw error;
  }
  throw new ForbiddenError('the token lacks the scope "ingest"');
}

/** Some SDKs send the space as it stands in OTEL_EXPORTER_OTLP_HEADERS, percent-encoded. */
const BEARER = /^Bearer(?: +|%20)(?<token>[!-~]+)$/i;

function bearerToken(metadata: Metadata): string {
  const [value, ...others] = metadata.get('authorization');
  if (others.length > 0) throw new GrpcError('invalid_metadata', 'there are several values of authorization; send one');
  if (value === undefined) {
    throw new UnauthenticatedError('there is no token; send the metadata "authorization: Bearer <token>"');
  }
  const token = BEARER.exec(String(value).trim())?.groups?.['token'];
  if (token === undefined) throw new UnauthenticatedError('authorization is not of the form "Bearer <token>"');
  return token;
}
