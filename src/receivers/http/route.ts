/**
 * What a receiver serves over HTTP. The listener does what all routes need (connections, authentication, bodies,
 * answers to errors); a route turns one body into one answer. Receivers whose server settings are equal share a
 * listener, and two of them may serve the same path when the bodies tell them apart.
 */
import type { Scope } from '../../model/identity.ts';
import type { Tenant } from '../../model/tenant.ts';
import type { Encoding } from '../../otlp/status.ts';

export interface Route {
  /** Without a slash at its end. POST is the only method. */
  readonly path: string;
  /** What the credential must allow; asked after the body has picked the route. */
  readonly scope: Scope;
  readonly encodings: ReadonlySet<Encoding>;
  /** Whether the body is for this route; asked only where several routes have the same path. */
  claims(encoding: Encoding, body: Uint8Array): boolean;
  /** Rejects with one of our errors, which the listener answers. */
  handle(request: RoutedRequest): Promise<RouteReply>;
}

export interface RoutedRequest {
  readonly encoding: Encoding;
  /** Decompressed. */
  readonly body: Uint8Array;
  /** Of the credential; the default tenant where no authenticator is configured. */
  readonly tenant: Tenant;
  readonly receivedAtMs: number;
  /** How many gateways of ours have forwarded it before. */
  readonly hops: number;
}

export interface RouteReply {
  readonly status: number;
  readonly body: Uint8Array;
}
