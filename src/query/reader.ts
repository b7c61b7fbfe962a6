/**
 * Who reads: the tenant and the scopes of a request's bearer token (RFC 6750). Whoever tries tokens is slowed by address,
 * as `model/attempts.ts` describes; tokens are never logged.
 */
import type { IncomingMessage } from 'node:http';
import type { HttpBindings } from '@hono/node-server';
import type { Context } from 'hono';
import { ForbiddenError, InvalidDataError, QuotaError, RetryableError, UnauthenticatedError } from '../errors.ts';
import { FailedAttempts } from '../model/attempts.ts';
import { authorizations, parseBearer } from '../model/bearer.ts';
import { allows, type Identity, type Scope } from '../model/identity.ts';
import { DEFAULT_TENANT, type Tenant } from '../model/tenant.ts';

/** Knows tokens; `Authenticator` of `component.ts` is one. */
export interface TokenJudge {
  /** Rejects with UnauthenticatedError for a token that is not good, and with anything else when it cannot know. */
  authenticate(token: string): Promise<Identity>;
  /** Whether the token was good when it was last asked about. */
  isKnown(token: string): boolean;
}

/**
 * Resolves to the tenant whose data the request may read. Rejects with InvalidDataError, UnauthenticatedError,
 * ForbiddenError, QuotaError or RetryableError, each with a sentence for the reader.
 */
export type Admit = (context: QueryContext, scope: Scope) => Promise<Tenant>;

/** Holds the request as the socket brought it, where `listen.ts` serves the API. */
export type QueryContext = Context<{ Bindings: HttpBindings }>;

/** For an endpoint that only those can reach who may read everything. */
export const admitAll: Admit = async () => DEFAULT_TENANT;

export function admitByToken(judge: TokenJudge): Admit {
  const failures = new FailedAttempts();
  return async ({ env: { incoming } }, scope) => {
    const identity = await identify(judge, failures, bearerToken(incoming), incoming.socket.remoteAddress ?? '');
    if (!allows(identity, scope)) throw new ForbiddenError(`The bearer token does not have the scope ${scope}.`);
    return identity.tenant;
  };
}

async function identify(
  judge: TokenJudge,
  failures: FailedAttempts,
  token: string,
  address: string,
): Promise<Identity> {
  const waitMs = failures.check(address);
  if (waitMs > 0 && !judge.isKnown(token)) {
    throw new QuotaError('Too many bad bearer tokens came from this address.', waitMs);
  }
  try {
    return await judge.authenticate(token);
  } catch (cause) {
    if (!(cause instanceof UnauthenticatedError)) {
      throw new RetryableError('The bearer token cannot be checked now.', { cause });
    }
    failures.count(address);
    throw new UnauthenticatedError('The bearer token is unknown, expired or revoked.', { cause });
  }
}

function bearerToken({ rawHeaders }: IncomingMessage): string {
  const bearer = parseBearer(authorizations(rawHeaders));
  if ('token' in bearer) return bearer.token;
  switch (bearer.fault) {
    case 'several':
      throw new InvalidDataError('There are several Authorization headers; send one.');
    case 'missing':
      throw new UnauthenticatedError('This resource needs a bearer token.');
    default:
      throw new UnauthenticatedError('The Authorization header must be "Bearer" and a token.');
  }
}
