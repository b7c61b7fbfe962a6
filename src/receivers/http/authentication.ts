/**
 * Who a request is from, by its bearer token (RFC 6750), before anything of its body is read. An address that brings
 * many bad tokens waits; good ones from there pass all the same.
 */
import type { IncomingMessage } from 'node:http';
import type { Authenticator, Settings } from '../../component.ts';
import { QuotaError, UnauthenticatedError } from '../../errors.ts';
import { FailedAttempts } from '../../model/attempts.ts';
import { authorizations, parseBearer, type BearerFault } from '../../model/bearer.ts';
import type { Identity } from '../../model/identity.ts';
import { SCOPES } from '../../model/identity.ts';
import { DEFAULT_TENANT } from '../../model/tenant.ts';
import { HttpError } from './http_error.ts';

/**
 * @throws UnauthenticatedError, RetryableError and QuotaError
 * @throws HttpError where there is no token, or more than one
 */
export type Authenticate = (request: IncomingMessage) => Promise<Identity>;

/** Where nobody asks who a request is from. */
const ANYBODY: Identity = { tenant: DEFAULT_TENANT, scopes: new Set(SCOPES) };

export const anybody: Authenticate = () => Promise.resolve(ANYBODY);

/** Counts of bad tokens, one for all receivers of a service. */
export function failedAttempts(settings: Settings): FailedAttempts {
  return settings.shared('failed attempts', () => new FailedAttempts());
}

export function byBearerToken(authenticator: Authenticator, failures: FailedAttempts): Authenticate {
  return async ({ rawHeaders, socket }) => {
    const bearer = parseBearer(authorizations(rawHeaders));
    if ('fault' in bearer) throw faultOf(bearer.fault);
    return identify({ authenticator, failures }, bearer.token, socket.remoteAddress ?? '');
  };
}

/**
 * Who has the token, for every transport.
 * @throws UnauthenticatedError, RetryableError and QuotaError
 */
export async function identify(
  { authenticator, failures }: { readonly authenticator: Authenticator; readonly failures: FailedAttempts },
  token: string,
  address: string,
): Promise<Identity> {
  const waitMs = failures.check(address);
  if (waitMs > 0 && !authenticator.isKnown(token)) {
    throw new QuotaError('too many bad tokens came from this address; wait a minute', waitMs);
  }
  try {
    return await authenticator.authenticate(token);
  } catch (error) {
    if (error instanceof UnauthenticatedError) failures.count(address);
    throw error;
  }
}

const EXPECTED = 'send "Authorization: Bearer <token>"';

function faultOf(fault: BearerFault): Error {
  switch (fault) {
    case 'several':
      return new HttpError('bad_request', 'several Authorization headers; send one');
    case 'missing':
      return new HttpError('no_token', `there is no token; ${EXPECTED}`);
    case 'other_scheme':
      return new HttpError('no_token', `the Authorization is of another kind; ${EXPECTED}`);
    default:
      return new UnauthenticatedError(`the Authorization is malformed; ${EXPECTED}`);
  }
}
