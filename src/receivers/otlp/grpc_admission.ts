/**
 * Who may call: asked as soon as a call's metadata has come, and answered before its message is read. Until then a
 * stream holds no more than its flow-control window; from then on each byte that comes is held against the memory of all
 * requests, before grpc-js keeps it.
 */
import assert from 'node:assert/strict';
import { ServerInterceptingCall, type Metadata, type ServerInterceptor } from '@grpc/grpc-js';
import type { Authenticator, Logger, RequestMemory, Settings } from '../../component.ts';
import { ForbiddenError, RetryableError, UnauthenticatedError } from '../../errors.ts';
import type { FailedAttempts } from '../../model/attempts.ts';
import { parseBearer, type BearerFault } from '../../model/bearer.ts';
import { allows } from '../../model/identity.ts';
import { DEFAULT_TENANT, type Tenant } from '../../model/tenant.ts';
import { identify } from '../http/authentication.ts';
import { HOPS_HEADER, hopsOf } from '../http/hops.ts';
import { GrpcError, statusOf } from './grpc_status.ts';
import { endUnread, observeBytes, streamOf } from './grpc_stream.ts';

/** In front of each message: whether it is compressed, and its length. */
const FRAME_BYTES = 5;

export interface AdmissionSettings {
  /** Without it everybody is let in, as the default tenant. */
  readonly authenticator: Authenticator | undefined;
  readonly failures: FailedAttempts;
  readonly memory: Settings['admission'];
  /** How many calls may be let in and unfinished. */
  readonly maxRequests: number;
  /** How long a message may take to come, once its call was let in. */
  readonly receiveTimeoutMs: number;
  readonly logger: Logger;
}

export interface Admission {
  readonly interceptor: ServerInterceptor;
  /**
   * Runs the work of a call that was let in, which it knows by its metadata. The call counts as unfinished, and its
   * message's bytes as held, until the work is done, even when its client has gone.
   */
  run<T>(metadata: Metadata, work: (call: Caller) => Promise<T>): Promise<T>;
}

/** What the metadata of a call say. */
export interface Caller {
  readonly tenant: Tenant;
  /** How many gateways of ours have forwarded it before. */
  readonly hops: number;
}

/** A call that was let in. */
interface Admitted extends Caller {
  readonly memory: RequestMemory;
  /** Of its message, as it came or decompressed, whichever is more. */
  heldBytes: number;
  isRunning: boolean;
}

export function admission(settings: AdmissionSettings): Admission {
  const calls = new WeakMap<Metadata, Admitted>();
  const unfinished = new Set<Admitted>();

  const admit = (tenant: Tenant, metadata: Metadata): Admitted => {
    if (unfinished.size >= settings.maxRequests) {
      throw new RetryableError(`more than max_concurrent_requests (${settings.maxRequests}) calls at once`);
    }
    const hops = hopsOf(metadata.get(HOPS_HEADER).map(String));
    const admitted = { tenant, hops, memory: settings.memory.admit(), heldBytes: 0, isRunning: false };
    unfinished.add(admitted);
    calls.set(metadata, admitted);
    return admitted;
  };
  const end = (call: Admitted): void => {
    call.memory.release();
    unfinished.delete(call);
  };

  const interceptor: ServerInterceptor = ({ path }, call) => {
    const stream = streamOf(call);
    let admitted: Admitted | undefined;
    let timer: NodeJS.Timeout | undefined;
    let isOver = false;
    const refuse = (error: unknown): void => {
      const { status, unexpected } = statusOf(error);
      if (unexpected) settings.logger.error({ err: error, method: path }, 'a call could not be let in');
      call.sendStatus(status);
    };
    const hold = (caller: Admitted, bytes: number): boolean => {
      if (isOver) return false;
      try {
        growTo(caller, bytes);
        return true;
      } catch (error) {
        isOver = true;
        refuse(error);
        return false;
      }
    };
    const receive = async (metadata: Metadata, proceed: (metadata: Metadata) => void): Promise<void> => {
      const tenant = await authenticate(settings, metadata, call.getConnectionInfo().remoteAddress ?? '');
      if (isOver) return;
      const caller = admit(tenant, metadata);
      admitted = caller;
      observeBytes(stream, (bytes) => void hold(caller, bytes - FRAME_BYTES));
      timer = setTimeout(() => refuse(tooSlow(settings.receiveTimeoutMs)), settings.receiveTimeoutMs);
      proceed(metadata);
    };
    return new ServerInterceptingCall(call, {
      start(next) {
        next({
          onReceiveMetadata: (metadata, proceed) => void receive(metadata, proceed).catch(refuse),
          onReceiveMessage(message: Buffer, proceed) {
            if (admitted !== undefined && hold(admitted, message.length)) proceed(message);
          },
          onReceiveHalfClose(proceed) {
            clearTimeout(timer);
            proceed();
          },
          // Once for every call, however it ends.
          onCancel() {
            clearTimeout(timer);
            isOver = true;
            endUnread(stream, () => {
              if (admitted?.isRunning === false) end(admitted);
            });
          },
        });
      },
    });
  };

  const run: Admission['run'] = async (metadata, work) => {
    const call = calls.get(metadata);
    assert(call !== undefined, 'a call is let in before its handler runs');
    call.isRunning = true;
    try {
      return await work(call);
    } finally {
      end(call);
    }
  };
  return { interceptor, run };
}

/** @throws RetryableError when there is no memory for so many bytes now */
function growTo(call: Admitted, bytes: number): void {
  if (bytes <= call.heldBytes) return;
  call.memory.grow(bytes - call.heldBytes);
  call.heldBytes = bytes;
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
  const bearer = parseBearer(metadata.get('authorization').map(String));
  if ('fault' in bearer) throw faultOf(bearer.fault);
  const identity = await identify({ authenticator, failures }, bearer.token, address);
  if (allows(identity, 'ingest')) return identity.tenant;
  throw new ForbiddenError('the token lacks the scope "ingest"');
}

function faultOf(fault: BearerFault): Error {
  switch (fault) {
    case 'several':
      return new GrpcError('invalid_metadata', 'there are several values of authorization; send one');
    case 'missing':
      return new UnauthenticatedError('there is no token; send the metadata "authorization: Bearer <token>"');
    default:
      return new UnauthenticatedError('authorization is not of the form "Bearer <token>"');
  }
}
