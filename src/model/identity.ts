/** Who a credential stands for, and what it allows. */
import type { Tenant } from './tenant.ts';

export const SCOPES = [
  /** Send OTLP. */
  'ingest',
  /** Send SDK span JSON. */
  'proxy:write',
  /** Read traces that a proxy or SDK sent. */
  'proxy:read',
  /** Read scans and their traces. */
  'scans:read',
  'audit:read',
  'audit:write',
  /** Everything, and managing tokens. */
  'admin',
] as const;

export type Scope = (typeof SCOPES)[number];

export interface Identity {
  readonly tenant: Tenant;
  readonly scopes: ReadonlySet<Scope>;
}

/** `admin` includes every other scope. */
export function allows({ scopes }: Identity, scope: Scope): boolean {
  return scopes.has(scope) || scopes.has('admin');
}
