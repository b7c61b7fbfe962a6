import assert from 'node:assert/strict';
import { once } from 'node:events';
import { request } from 'node:http';
import { suite } from 'uvu';
import { ingestTokens } from '../../src/extensions/ingest_tokens.ts';
import type { Scope } from '../../src/model/identity.ts';
import type { Tenant } from '../../src/model/tenant.ts';
import { generateToken, hashToken, tokenPrefix } from '../../src/model/token.ts';
import { listen } from '../../src/query/listen.ts';
import { admitByToken } from '../../src/query/reader.ts';
import { createDisabledQueryApp, createQueryApp } from '../../src/query/server.ts';
import { spanReader } from '../../src/store/span_tree.ts';
import { tokenStore } from '../../src/store/tokens.ts';
import { createLogger } from '../../src/telemetry/logger.ts';
import { build } from '../extensions/authenticator.ts';
import { insertSpans } from '../store/insert_spans.ts';
import { testDatabase } from '../support/postgres.ts';
import { tcpProxy } from '../support/tcp_proxy.ts';

const Reader = suite('query reader');
const database = await testDatabase();
const proxy = await tcpProxy(database.url);
const logger = createLogger('error', { write: () => undefined });
const store = tokenStore(database.pool);
const ACME: Tenant = { orgId: 'acme', workspaceId: 'web', targetId: undefined };
const DAY_MS = 86_400_000;

async function issue(scopes: Scope[], { tenant = ACME, expiresAt }: { tenant?: Tenant; expiresAt?: Date } = {}) {
  const token = generateToken('ak');
  const issued = { hash: hashToken(token), prefix: tokenPrefix(token), name: '', tenant, scopes, expiresAt };
  const { id } = await store.create(issued);
  return { token, id };
}

/**
 * The API over real tokens, on a port of its own: no address remembers what another test did. The authenticator is not
 * started, so that no LISTEN makes it doubt what it remembers.
 */
async function withApi(use: (url: string) => Promise<void>): Promise<void> {
  const { authenticator } = build(ingestTokens, { database_url: proxy.url });
  const app = createQueryApp({ spans: spanReader(database.pool), admit: admitByToken(authenticator), logger });
  const listening = await listen(app, '127.0.0.1', 0);
  try {
    await use(`http://${listening.address}`);
  } finally {
    await listening.close();
    await authenticator.shutdown?.(AbortSignal.timeout(1000));
  }
}

interface Answered {
  readonly status: number | undefined;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly body: Readonly<Record<string, unknown>>;
}

/** Sends headers as they stand, several of one name included. */
async function get(url: string, ...authorization: string[]): Promise<Answered> {
  const headers = ['Host', new URL(url).host, ...authorization.flatMap((value) => ['Authorization', value])];
  const call = request(url, { headers, agent: false });
  call.end();
  const [response] = await once(call, 'response');
  const text = (await response.setEncoding('utf8').toArray()).join('');
  return { status: response.statusCode, headers: response.headers, body: JSON.parse(text) };
}

const TRACE = '/observability/scans/s/trace';

Reader.before(async () => {
  await insertSpans(database.pool, [{ span_id: 'a', scan_id: 's', org_id: 'acme', workspace_id: 'web' }]);
});
Reader.after(async () => {
  await proxy.close();
  await database.close();
});

const REFUSED: readonly (readonly [behaviour: string, headers: readonly string[], status: number, detail: RegExp])[] = [
  ['no token', [], 401, /^This resource needs a bearer token\.$/],
  ['another scheme', ['Basic YWJj'], 401, /must be "Bearer" and a token/],
  ['nothing behind Bearer', ['Bearer '], 401, /must be "Bearer" and a token/],
  ['two words behind Bearer', ['Bearer a b'], 401, /must be "Bearer" and a token/],
  ['a token of 513 characters', [`Bearer ${'x'.repeat(513)}`], 401, /must be "Bearer" and a token/],
  ['a token that is none of ours', ['Bearer nonsense'], 401, /unknown, expired or revoked/],
  ['an unknown token', [`Bearer ${generateToken('ak')}`], 401, /unknown, expired or revoked/],
  ['several headers', ['Bearer a', 'Bearer b'], 400, /several Authorization headers/],
];

for (const [behaviour, headers, status, detail] of REFUSED) {
  Reader(`${behaviour} is ${status}`, () =>
    withApi(async (url) => {
      const answered = await get(url + TRACE, ...headers);
      assert.equal(answered.status, status);
      assert.equal(answered.headers['content-type'], 'application/problem+json');
      assert.equal(answered.headers['www-authenticate'], status === 401 ? 'Bearer realm="sluice"' : undefined);
      assert.match(String(answered.body['detail']), detail);
    }),
  );
}

Reader('a token reads what its tenant has, whatever the case of the scheme', () =>
  withApi(async (url) => {
    const { token } = await issue(['scans:read']);
    for (const scheme of ['Bearer', 'bearer', 'BEARER  ']) {
      const answered = await get(url + TRACE, `${scheme} ${token}`);
      assert.deepEqual([answered.status, answered.body['span_count']], [200, 1]);
    }
  }),
);

Reader("another tenant's scan is as unknown as none", () =>
  withApi(async (url) => {
    const others: Tenant[] = [
      { ...ACME, orgId: 'other' },
      { ...ACME, workspaceId: 'other' },
    ];
    for (const tenant of others) {
      const { token } = await issue(['admin'], { tenant });
      const [theirs, none] = await Promise.all(
        [TRACE, '/observability/scans/none/trace'].map((path) => get(url + path, `Bearer ${token}`)),
      );
      assert.equal(theirs?.status, 404);
      assert.deepEqual(theirs?.body, none?.body);
    }
  }),
);

Reader('an expired token, a revoked one and one without the scope are refused', () =>
  withApi(async (url) => {
    const expired = await issue(['scans:read'], { expiresAt: new Date(Date.now() - DAY_MS) });
    const revoked = await issue(['scans:read']);
    await store.revoke(revoked.id);
    const narrow = await issue(['ingest', 'proxy:read', 'audit:read']);
    const answers = await Promise.all(
      [expired, revoked, narrow].map(({ token }) => get(url + TRACE, `Bearer ${token}`)),
    );
    assert.deepEqual(
      answers.map(({ status }) => status),
      [401, 401, 403],
    );
    assert.match(String(answers[2]?.body['detail']), /does not have the scope scans:read/);
  }),
);

Reader('what needs no token stays open', () =>
  withApi(async (url) => {
    for (const path of ['/', '/healthz']) assert.equal((await fetch(url + path)).status, 200);
    assert.equal((await fetch(`${url}/nothing`)).status, 404);
    assert.equal((await fetch(url + TRACE, { method: 'POST' })).status, 405);
  }),
);

Reader('while the tokens cannot be read, a known one is good and another is 503, never 401', () =>
  withApi(async (url) => {
    const [known, unknown] = [await issue(['scans:read']), await issue(['scans:read'])];
    assert.equal((await get(url + TRACE, `Bearer ${known.token}`)).status, 200);
    proxy.cut();
    assert.equal((await get(url + TRACE, `Bearer ${known.token}`)).status, 200);
    const answered = await get(url + TRACE, `Bearer ${unknown.token}`);
    proxy.mend();
    assert.deepEqual([answered.status, answered.headers['retry-after']], [503, '1']);
    assert.equal(answered.body['detail'], 'The bearer token cannot be checked now.');
  }),
);

Reader('who tries tokens is told to wait, and good tokens of that address pass', () =>
  withApi(async (url) => {
    const { token } = await issue(['scans:read']);
    await get(url + TRACE, `Bearer ${token}`);
    const statuses: (number | undefined)[] = [];
    for (let attempt = 0; attempt < 25; attempt++) {
      statuses.push((await get(url + TRACE, `Bearer ${generateToken('ak')}`)).status);
    }
    assert.deepEqual(statuses, [...Array.from({ length: 20 }, () => 401), ...Array.from({ length: 5 }, () => 429)]);
    const slowed = await get(url + TRACE, `Bearer ${generateToken('ak')}`);
    const waitSeconds = Number(slowed.headers['retry-after']);
    assert(waitSeconds >= 1 && waitSeconds <= 60, `Retry-After: ${waitSeconds}`);
    assert.equal((await get(url + TRACE, `Bearer ${token}`)).status, 200);
    assert.equal((await get(url + TRACE)).status, 401);
  }),
);

Reader('switched off, routes for data say so to everybody, and the rest stays', async () => {
  const app = createDisabledQueryApp(logger);
  for (const method of ['GET', 'HEAD', 'POST']) {
    const response = await app.request(TRACE, { method, headers: { authorization: 'Bearer nonsense' } });
    assert.deepEqual([response.status, response.headers.get('retry-after')], [503, '5']);
    assert.equal(response.headers.get('content-type'), 'application/problem+json');
    if (method === 'GET') assert.match(await response.text(), /disabled/);
  }
  for (const path of ['/', '/healthz']) assert.equal((await app.request(path)).status, 200);
  assert.equal((await app.request('/nothing')).status, 404);
});

Reader.run();
