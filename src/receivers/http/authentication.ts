/**
 * Who a request is from, by its bearer token (RFC 6750), before anything of its body is read. An address that brings
 * many bad tokens waits; good ones from there pass all the same.
 */
import type { IncomingMessage } from 'node:http';
import type { Authenticator, Settings } from '../../component.ts';
import { QuotaError, UnauthenticatedError } from '../../errors.ts';
import { FailedAttempts } from '../../model/attempts.ts';
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
  return async (request) => {
    const token = bearerToken(authorization(request));
    const address = request.socket.remoteAddress ?? '';
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
  };
}

const EXPECTED = 'send "Authorization: Bearer <token>"';

/** The header's value. Node's own record of headers keeps the first of several, so the raw ones are looked at. */
function authorization({ rawHeaders }: IncomingMessage): string {
  const values = rawHeaders.filter((_, at) => at % 2 === 1 && rawHeaders[at - 1]?.toLowerCase() === 'authorization');
  if (values.length > 1) throw new HttpError('bad_request', 'several Authorization headers; send one');
  const [value = ''] = values;
  if (value === '') throw new HttpError('no_token', `there is no token; ${EXPECTED}`);
  return value;
}

function bearerToken(value: string): string {
  const text = decodedOnce(value);
  if (!/^bearer(?: |$)/i.test(text))
    throw new HttpError('no_token', `the Authorization is of another kind; ${EXPECTED}`);
  const token = /^bearer +([!-~]+) *$/i.exec(text)?.[1];
  if (token === undefined) throw new UnauthenticatedError(`the Authorization is malformed; ${EXPECTED}`);
  return token;
}

/**
 * Some SDKs send `OTEL_EXPORTER_OTLP_HEADERS` as it is written, percent-encoded: `Bearer%20…`
 * (open-telemetry/opentelemetry-python issue 4492).
 */
function decodedOnce(value: string): string {
  if (!/^bearer%20/i.test(value)) return value;
  try {
    return decodeURIComponent(value);
  } catch {
    return value;
  }
}
