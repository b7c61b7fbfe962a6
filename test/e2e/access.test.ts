/**
 * Who may do what: every route of both servers, by every kind of credential, on the profile that has them all; and the
 * same once more with the service switched off. The rows of gRPC are in the tests of that transport.
 */
import assert from 'node:assert/strict';
import { suite } from 'uvu';
import { SCOPES, type Scope } from '../../src/model/identity.ts';
import { generateToken } from '../../src/model/token.ts';
import { deploy, Issuer, type Deployment } from './deployment.ts';
import { routes, SDK_SPANS, send, type RouteCase } from './requests.ts';

const Access = suite('access');
const PROFILE = 'pencheff.yaml';
const OTLP_SUCCESS = 204;
const ALL_ROUTES = [...routes(OTLP_SUCCESS), SDK_SPANS];
const DAY_MS = 86_400_000;

let on: Deployment;
let off: Deployment;
let issuer: Issuer;

interface Credential {
  readonly name: string;
  /** The Authorization headers of a request to a route of this scope. */
  readonly headers: (scope: Scope) => Promise<readonly string[]>;
  /** On a route that asks who it is. */
  readonly expected: (route: RouteCase) => number;
}

const bearer = (token: string): readonly string[] => [`Bearer ${token}`];
const always = (status: number) => (): number => status;
const others = (scope: Scope): Scope[] => SCOPES.filter((one) => one !== scope && one !== 'admin');

const CREDENTIALS: readonly Credential[] = [
  { name: 'no token', headers: async () => [], expected: always(401) },
  { name: 'a malformed token', headers: async () => ['Bearer a b'], expected: always(401) },
  { name: 'another scheme', headers: async () => ['Basic YTpi'], expected: always(401) },
  {
    name: 'several Authorization headers',
    headers: async (scope) => [...bearer(await issuer.token({ scopes: [scope] })), ...bearer(generateToken('ak'))],
    expected: always(400),
  },
  { name: 'a wrong token', headers: async () => bearer(generateToken('ak')), expected: always(401) },
  {
    name: 'an expired token',
    headers: async (scope) => {
      return bearer(await issuer.token({ scopes: [scope], expiresAt: new Date(Date.now() - DAY_MS) }));
    },
    expected: always(401),
  },
  {
    name: 'a revoked token',
    headers: async (scope) => bearer(await issuer.revokedToken({ scopes: [scope] })),
    expected: always(401),
  },
  {
    name: 'every scope but the right one',
    headers: async (scope) => bearer(await issuer.token({ scopes: others(scope) })),
    expected: always(403),
  },
  {
    name: 'the right scope of another tenant',
    // Who reads is one who has sent nothing, or there would be a scan of the same name to see.
    headers: async (scope) => {
      return bearer(await issuer.token({ scopes: [scope], orgId: scope === 'scans:read' ? 'stranger' : 'other' }));
    },
    expected: ({ otherTenant }) => otherTenant,
  },
  {
    name: 'the right token',
    headers: async (scope) => bearer(await issuer.token({ scopes: [scope] })),
    expected: ({ success }) => success,
  },
  {
    name: 'an admin token',
    headers: async () => bearer(await issuer.token({ scopes: ['admin'] })),
    expected: ({ success }) => success,
  },
];

Access.before(async () => {
  on = await deploy(PROFILE, { PENCHEFF_OBSERVABILITY_ENABLED: 'true' });
  off = await deploy(PROFILE, {});
  issuer = new Issuer(on.database);
});
Access.after(async () => {
  await on.close();
  await off.close();
});

for (const route of ALL_ROUTES) {
  for (const { name, headers, expected } of CREDENTIALS) {
    const status = route.scope === undefined ? route.success : expected(route);
    Access(`${route.name} with ${name}: ${status}`, async () => {
      const answered = await send(on, route, await headers(route.scope ?? 'ingest'));
      assert.equal(answered.status, status, answered.body);
      const challenge = String(answered.headers['www-authenticate'] ?? '');
      if (status === 401) assert.match(challenge, /^Bearer /);
      if (status >= 400) assert.equal(answered.headers['content-type'], errorType(route));
    });
  }
}

/** Errors come as google.rpc.Status in the encoding of the request, or as problem documents. */
function errorType({ server, contentType }: RouteCase): string | undefined {
  return server === 'query' ? 'application/problem+json' : contentType;
}

async function stored(): Promise<{ tenant: string; spans: number }[]> {
  const { rows } = await on.database.pool.query<{ tenant: string; spans: number }>(
    "SELECT org_id || '/' || workspace_id AS tenant, count(*)::int AS spans FROM otel_spans GROUP BY 1 ORDER BY 1",
  );
  return rows;
}

Access('data is of the tenant of its token, stored once for each, and what was refused is nowhere', async () => {
  // What is acknowledged is on disk, and in the database soon after.
  let rows = await stored();
  while (rows.length < 2 || rows.some(({ spans }) => spans < 2)) rows = await stored();
  assert.deepEqual(rows, [
    { tenant: 'acme/web', spans: 2 },
    { tenant: 'other/web', spans: 2 },
  ]);
});

for (const route of ALL_ROUTES) {
  const status = route.scope === undefined ? route.success : 503;
  Access(`switched off, ${route.name} is ${status} with and without a token`, async () => {
    for (const headers of [[], ['Bearer a b'], bearer(generateToken('ak'))]) {
      const answered = await send(off, route, headers);
      assert.equal(answered.status, status);
      if (status !== 503) continue;
      assert.equal(answered.headers['content-type'], errorType(route));
      assert.equal(answered.headers['retry-after'], '5');
      assert.match(answered.body, /disabled/);
    }
  });
}

Access('switched off, nothing connects to the database', async () => {
  const { rows } = await off.database.pool.query<{ name: string }>(
    'SELECT application_name AS name FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()',
  );
  assert.deepEqual(
    rows.filter(({ name }) => name !== 'sluice test'),
    [],
  );
});

Access.run();
