/**
 * The settings of a receiver's HTTP server, by the names that the Collector gives them (confighttp), to be spread into
 * the receiver's own. Receivers with the same endpoint must agree on all of them, since they share the server.
 */
import { isDeepStrictEqual } from 'node:util';
import { z } from 'zod';
import { duration } from '../../config/duration.ts';
import { endpoint, isLoopback, type Endpoint } from '../../config/endpoint.ts';
import { size } from '../../config/size.ts';
import { tlsServer } from '../../config/tls.ts';
import { ConfigError } from '../../errors.ts';

const MAX_TIMEOUT_MS = 3_600_000;

const timeout = () => duration({ min: 1, max: MAX_TIMEOUT_MS });

const auth = z
  .strictObject({
    authenticator: z.string().min(1).describe('Id of the extension that knows the tokens, such as ingest_tokens.'),
  })
  .describe('Who may send. Without it everybody who reaches the endpoint may, and all data is of tenant `default`.');

/** What a header can hold without becoming two. */
const HEADER_NAME = /^(?:[!#$%&'*+.^_`|~0-9A-Za-z-]{1,100})$/;
const headerNames = () => z.array(z.string().regex(HEADER_NAME)).max(100).default([]);

const origin = z
  .string()
  .max(300)
  .refine((text) => text.split('*').length <= 2, 'an origin such as https://app.example.com, with at most one * in it');

const cors = z
  .strictObject({
    allowed_origins: z
      .array(origin)
      .min(1)
      .max(100)
      .describe(
        'Origins of web pages that may send, such as https://app.example.com; one * in it stands for any text.',
      ),
    allowed_headers: headerNames().describe('Headers that pages may send besides those that OpenTelemetry SDKs use.'),
    exposed_headers: headerNames().describe('Headers of answers that pages may read besides Retry-After.'),
    max_age: z.int().min(0).max(86_400).optional().describe('Seconds for which browsers remember what is allowed.'),
  })
  .describe('Lets web pages of other origins send. Off when missing.');

export type CorsConfig = z.output<typeof cors>;

/** The keys of a server, for a receiver's own schema. */
export const serverKeys = ({ defaultEndpoint }: { readonly defaultEndpoint: string }) => ({
  endpoint: endpoint().prefault(defaultEndpoint).describe('Where to listen, `host:port`.'),
  tls: tlsServer().optional().describe('Serves HTTPS. Without it the server speaks plain HTTP.'),
  auth: auth.optional(),
  allow_unauthenticated: z
    .boolean()
    .default(false)
    .describe('Takes data from anybody on an address that other machines can reach.'),
  cors: cors.optional(),
  max_request_body_size: size({ min: 1 })
    .prefault('64MiB')
    .describe('Largest body of a request, before and after decompression.'),
  max_decompression_ratio: z
    .number()
    .min(1)
    .default(200)
    .describe('How many times its compressed size a body of more than 1 MiB may have.'),
  max_concurrent_requests: z
    .int()
    .min(1)
    .default(1000)
    .describe('Requests under way at once; more are told to come again (503).'),
  max_connections: z.int().min(1).default(2000).describe('Open connections; more are closed at once.'),
  read_header_timeout: timeout().prefault('10s').describe('How long a client may take for the headers of a request.'),
  read_timeout: timeout().prefault('30s').describe('How long a client may take for a whole request.'),
  idle_timeout: timeout()
    .prefault('75s')
    .describe(
      'How long an unused connection is kept: longer than load balancers do, or reuse would race with closing.',
    ),
});

const schema = z.strictObject(serverKeys({ defaultEndpoint: '127.0.0.1:0' }));

/** Server settings, whatever other settings the receiver has beside them. */
export type ServerConfig = z.output<typeof schema>;

/** The keys whose settings differ. */
export function differences(one: ServerConfig, other: ServerConfig): string[] {
  return schema.keyof().options.filter((key) => !isDeepStrictEqual(comparable(one)[key], comparable(other)[key]));
}

/** Secrets do not show their value to a comparison either. */
function comparable({ tls, ...rest }: ServerConfig): Record<keyof ServerConfig, unknown> {
  const revealed = tls && { ...tls, cert_pem: tls.cert_pem?.reveal(), key_pem: tls.key_pem?.reveal() };
  return { ...EVERY_KEY, ...rest, tls: revealed };
}

/** Of what is optional, missing counts as undefined. */
const EVERY_KEY = { auth: undefined, cors: undefined };

/** Throws ConfigError when anybody on the network could send without saying who they are, and nobody asked for that. */
export function requireAuthentication({
  endpoint: { host, port },
  auth: given,
  allow_unauthenticated,
}: Pick<ServerConfig, 'endpoint' | 'auth' | 'allow_unauthenticated'>): void {
  if (given !== undefined || allow_unauthenticated || isLoopback(host)) return;
  const message =
    `found "${printEndpoint({ host, port })}", which other machines can reach, and no authenticator, so anybody could send; allowed: ` +
    'auth.authenticator with an extension such as ingest_tokens, an endpoint on 127.0.0.1, or allow_unauthenticated: true';
  throw new ConfigError([{ path: 'endpoint', message }]);
}

/** `host:port`, as it is written in a configuration. */
export function printEndpoint({ host, port }: Endpoint): string {
  return `${host.includes(':') ? `[${host}]` : host}:${port}`;
}
