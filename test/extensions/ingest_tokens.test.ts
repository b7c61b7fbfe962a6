import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { inspect } from 'node:util';
import { suite } from 'uvu';
import { RetryableError, UnauthenticatedError } from '../../src/errors.ts';
import { ingestTokens, TokenCache } from '../../src/extensions/ingest_tokens.ts';
import { generateToken, hashToken, tokenPrefix } from '../../src/model/token.ts';
import { tokenStore, type NewToken, type TokenStore } from '../../src/store/tokens.ts';
import { testDatabase, type TestDatabase } from '../support/postgres.ts';
import { tcpProxy } from '../support/tcp_proxy.ts';
import { build } from './authenticator.ts';

let database: TestDatabase;
let store: TokenStore;

async function openDatabase(): Promise<void> {
  database = await testDatabase();
  store = tokenStore(database.pool);
}

async function issue(changes: Partial<NewToken> = {}): Promise<{ token: string; hash: string; id: string }> {
  const token = generateToken('in');
  const hash = hashToken(token);
  const tenant = { orgId: 'acme', workspaceId: 'web', targetId: 'shop' };
  const { id } = await store.create({
    hash,
    prefix: tokenPrefix(token),
    name: '',
    tenant,
    scopes: ['ingest'],
    expiresAt: undefined,
    ...changes,
  });
  return { token, hash, id };
}

const Cache = suite('token cache');

/** A cache over the real table that counts its questions, on a clock that stands still until it is told. */
function countingCache(maxSize = 100) {
  const clock = { epoch: Date.now(), monotonic: 7 };
  const asked: string[] = [];
  const find = (hash: string) => {
    asked.push(hash);
    return store.find(hash);
  };
  const cache = new TokenCache(
    find,
    { maxSize, positiveTtlMs: 30_000, negativeTtlMs: 5_000 },
    { epochMs: () => clock.epoch, monotonicMs: () => clock.monotonic },
  );
  const pass = (ms: number): void => {
    clock.epoch += ms;
    clock.monotonic += ms;
  };
  return { cache, asked, pass, clock };
}

Cache.before(openDatabase);
Cache.after(() => database.close());

Cache('a valid token is asked for once in its time', async () => {
  const { cache, asked, pass } = countingCache();
  const { hash, id } = await issue();
  assert.equal((await cache.get(hash))?.id, id);
  pass(29_999);
  assert.equal((await cache.get(hash))?.id, id);
  assert.equal(asked.length, 1);
  pass(1);
  assert.equal((await cache.get(hash))?.id, id);
  assert.equal(asked.length, 2);
});

Cache('an invalid token is asked for once in its shorter time', async () => {
  const { cache, asked, pass } = countingCache();
  const hash = hashToken(generateToken('in'));
  assert.equal(await cache.get(hash), undefined);
  pass(4_999);
  assert.equal(await cache.get(hash), undefined);
  assert.equal(asked.length, 1);
  pass(1);
  assert.equal(await cache.get(hash), undefined);
  assert.equal(asked.length, 2);
});

Cache('a clock that is set back makes nothing last longer', async () => {
  const { cache, asked, clock } = countingCache();
  const { hash } = await issue();
  await cache.get(hash);
  clock.epoch -= 86_400_000;
  clock.monotonic += 30_000;
  await cache.get(hash);
  assert.equal(asked.length, 2);
});

Cache('a hundred who ask at the same time make one query', async () => {
  const { cache, asked } = countingCache();
  const { hash, id } = await issue();
  const answers = await Promise.all(Array.from({ length: 100 }, () => cache.get(hash)));
  assert(answers.every((answer) => answer?.id === id));
  assert.equal(asked.length, 1);
});

Cache('a token that expires while it is remembered is refused from that moment on', async () => {
  const { cache, asked, pass, clock } = countingCache();
  const { hash } = await issue({ expiresAt: new Date(clock.epoch + 10_000) });
  assert(await cache.get(hash));
  pass(9_999);
  assert(await cache.get(hash));
  assert(cache.isKnown(hash));
  pass(1);
  assert.equal(await cache.get(hash), undefined);
  assert(!cache.isKnown(hash));
  assert.equal(asked.length, 1);
});

Cache('invalid tokens, however many, push no valid one out', async () => {
  const { cache, asked } = countingCache(10);
  const { hash } = await issue();
  await cache.get(hash);
  for (let number = 0; number < 200; number++) await cache.get(hashToken(`unknown ${number}`));
  const before = asked.length;
  assert(await cache.get(hash));
  assert.equal(asked.length, before);
});

Cache('a token stays known to be good after its time, until it is found to be bad', async () => {
  const { cache, pass } = countingCache();
  const { hash, id } = await issue();
  assert(!cache.isKnown(hash));
  await cache.get(hash);
  pass(3_600_000);
  assert(cache.isKnown(hash));
  await store.revoke(id);
  assert.equal(await cache.get(hash), undefined);
  assert(!cache.isKnown(hash));
});

Cache('a change forgets what was known of that token alone', async () => {
  const { cache, asked } = countingCache();
  const [first, second] = [await issue(), await issue()];
  await cache.get(first.hash);
  await cache.get(second.hash);
  cache.forget(first.hash);
  assert(!cache.isKnown(first.hash));
  await cache.get(first.hash);
  await cache.get(second.hash);
  assert.deepEqual(asked, [first.hash, second.hash, first.hash]);
});

Cache('after a gap everything is asked for again, and good tokens stay known', async () => {
  const { cache, asked } = countingCache();
  const { hash } = await issue();
  const unknown = hashToken('unknown');
  await Promise.all([cache.get(hash), cache.get(unknown)]);
  cache.doubtAll();
  assert(cache.isKnown(hash));
  await Promise.all([cache.get(hash), cache.get(unknown)]);
  assert.equal(asked.length, 4);
});

for (const [name, change] of [
  ['a revocation', (cache: TokenCache, hash: string) => cache.forget(hash)],
  ['a gap', (cache: TokenCache) => cache.doubtAll()],
] as const) {
  Cache(`what was read before ${name} and arrives after it is not remembered`, async () => {
    const { cache, asked } = countingCache();
    const { hash, id } = await issue();
    const early = cache.get(hash);
    change(cache, hash);
    await early;
    assert(!cache.isKnown(hash));
    await store.revoke(id);
    assert.equal(await cache.get(hash), undefined);
    assert.equal(asked.length, 2);
  });
}

Cache('a thousand questions at once are the most; clients of more are told to come again', async () => {
  const { cache } = countingCache();
  const answers = Array.from({ length: 1_001 }, (_, number) => cache.get(hashToken(`unknown ${number}`)));
  const last = answers.pop();
  assert(last);
  await assert.rejects(last, RetryableError);
  await Promise.all(answers);
  assert.equal(await cache.get(hashToken('one more')), undefined);
});

Cache.run();

const IngestTokens = suite('ingest_tokens');

IngestTokens.before(openDatabase);
IngestTokens.after(() => database.close());

const section = (url: string) => ({ database_url: url });
const soon = (): AbortSignal => AbortSignal.timeout(5_000);

/** Resolves when so many connections listen. */
async function untilListening(count: number): Promise<void> {
  for (const deadlineMs = performance.now() + 10_000; performance.now() < deadlineMs;) {
    const { rowCount } = await database.pool.query(
      `SELECT FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'sluice token changes'
       AND query LIKE '%pg_listening_channels%' AND state = 'idle'`,
    );
    if (rowCount === count) return;
  }
  assert.fail(`never were ${count} connections listening`);
}

IngestTokens(
  'a good token tells its tenant and scopes; when it was used is written when the gateway stops',
  async () => {
    const { authenticator } = build(ingestTokens, section(database.url));
    const { token, id } = await issue({ scopes: ['ingest', 'scans:read'] });
    assert(!authenticator.isKnown(token));
    assert.deepEqual(await authenticator.authenticate(token), {
      tenant: { orgId: 'acme', workspaceId: 'web', targetId: 'shop' },
      scopes: new Set(['ingest', 'scans:read']),
    });
    assert(authenticator.isKnown(token));
    await authenticator.shutdown?.(soon());
    const row = (await store.list(100)).find((listed) => listed.id === id);
    assert(row?.last_used_at && Math.abs(Date.now() - row.last_used_at.getTime()) < 10_000);
  },
);

IngestTokens('unknown, expired and revoked tokens are refused with the same words', async () => {
  const { authenticator } = build(ingestTokens, section(database.url));
  const expired = await issue({ expiresAt: new Date(Date.now() - 1) });
  const revoked = await issue();
  await store.revoke(revoked.id);
  const messages = new Set<string>();
  for (const token of [generateToken('in'), expired.token, revoked.token, 'garbage', '']) {
    await assert.rejects(authenticator.authenticate(token), (error: unknown) => {
      assert(error instanceof UnauthenticatedError);
      messages.add(error.message);
      return true;
    });
    assert(!authenticator.isKnown(token));
  }
  assert.equal(messages.size, 1);
  await authenticator.shutdown?.(soon());
});

IngestTokens('ten thousand pieces of garbage make no connection, let alone a query', async () => {
  let connections = 0;
  const server = createServer((socket) => {
    connections++;
    socket.destroy();
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  assert(typeof address === 'object' && address !== null);
  const { authenticator } = build(ingestTokens, section(`postgres://me@127.0.0.1:${address.port}/x`));
  const good = generateToken('in');
  for (let number = 0; number < 10_000; number++) {
    const garbage = `${good.slice(0, -6)}${String(number).padStart(6, '0')}`;
    await assert.rejects(authenticator.authenticate(garbage), UnauthenticatedError);
  }
  assert.equal(connections, 0);
  await assert.rejects(authenticator.authenticate(good), RetryableError);
  assert.equal(connections, 1);
  await authenticator.shutdown?.(soon());
  server.close();
});

IngestTokens('a revocation by one instance, or by plain SQL, reaches the others within a second', async () => {
  const replicas = [1, 2].map(() => build(ingestTokens, section(database.url)).authenticator);
  for (const replica of replicas) await replica.start?.();
  await untilListening(replicas.length);
  const ways = [
    (id: string) => store.revoke(id),
    (id: string) => database.pool.query('DELETE FROM engagement_ingest_tokens WHERE id = $1', [id]),
  ];
  for (const revoke of ways) {
    const { token, id } = await issue();
    await Promise.all(replicas.map((replica) => replica.authenticate(token)));
    await revoke(id);
    const revokedAtMs = performance.now();
    for (const replica of replicas) {
      while (replica.isKnown(token) && performance.now() - revokedAtMs < 1_000)
        await new Promise((resolve) => setImmediate(resolve));
      await assert.rejects(replica.authenticate(token), UnauthenticatedError);
    }
    const heardAfterMs = performance.now() - revokedAtMs;
    assert(heardAfterMs < 1_000, `heard after ${heardAfterMs} ms`);
  }
  for (const replica of replicas) await replica.shutdown?.(soon());
});

IngestTokens('with the database away, known tokens go on and others come again; it is logged once', async () => {
  const proxy = await tcpProxy(database.url);
  const { authenticator, log } = build(ingestTokens, section(proxy.url));
  const [known, other] = [await issue(), await issue()];
  await authenticator.authenticate(known.token);
  proxy.cut();
  const { tenant } = await authenticator.authenticate(known.token);
  assert.equal(tenant.orgId, 'acme');
  for (const token of [other.token, generateToken('in'), other.token]) {
    await assert.rejects(authenticator.authenticate(token), (error: unknown) => {
      assert(error instanceof RetryableError);
      assert.equal(error.retryAfterMs, 1_000);
      return true;
    });
  }
  await assert.rejects(authenticator.authenticate('garbage'), UnauthenticatedError);
  proxy.mend();
  await authenticator.authenticate(other.token);
  await authenticator.shutdown?.(soon());
  const messages = log()
    .trim()
    .split('\n')
    .map((line): string => JSON.parse(line).msg);
  assert.deepEqual(messages, ['tokens that are not remembered cannot be checked', 'tokens can be checked again']);
  await proxy.close();
});

IngestTokens('starts without its database, and without its table', async () => {
  const proxy = await tcpProxy(database.url);
  proxy.cut();
  const away = build(ingestTokens, section(proxy.url));
  await away.authenticator.start?.();
  await assert.rejects(away.authenticator.authenticate(generateToken('in')), RetryableError);
  await away.authenticator.shutdown?.(soon());
  await proxy.close();
  const empty = await testDatabase();
  await empty.pool.query('DROP TABLE engagement_ingest_tokens');
  const bare = build(ingestTokens, section(empty.url));
  await assert.rejects(bare.authenticator.authenticate(generateToken('in')), RetryableError);
  assert.match(bare.log(), /sluice migrate/);
  await bare.authenticator.shutdown?.(soon());
  await empty.close();
});

IngestTokens('no token appears in errors, logs or tables', async () => {
  const proxy = await tcpProxy(database.url);
  const { authenticator, log } = build(ingestTokens, section(proxy.url));
  await authenticator.start?.();
  const { token } = await issue();
  const tokens = [token, generateToken('in'), `${token}x`];
  const seen: string[] = [];
  const tryAll = async (): Promise<void> => {
    for (const each of tokens) {
      seen.push(await authenticator.authenticate(each).then(inspect, (error: unknown) => inspect(error, { depth: 9 })));
    }
  };
  await tryAll();
  proxy.cut();
  await tryAll();
  await authenticator.shutdown?.(soon());
  seen.push(log());
  const { rows } = await database.pool.query<{ text: string }>(
    'SELECT token::text AS text FROM engagement_ingest_tokens AS token',
  );
  seen.push(...rows.map(({ text }) => text));
  for (const secret of tokens) for (const text of seen) assert(!text.includes(secret));
  assert(seen.some((text) => text.includes(hashToken(token))));
  await proxy.close();
});

IngestTokens('may be shut down without a start, whatever the deadline', async () => {
  const { authenticator } = build(ingestTokens, section(database.url));
  await authenticator.shutdown?.(AbortSignal.abort());
});

const parse = (cache: unknown) => ingestTokens.config.safeParse({ ...section('postgres://x'), cache });

IngestTokens('the cache can be configured, within bounds', () => {
  assert(parse({ max_size: 5, positive_ttl: '1m', negative_ttl: '500ms' }).success);
  for (const cache of [{ max_size: 0 }, { positive_ttl: '0s' }, { negative_ttl: '2h' }, { ttl: '1s' }]) {
    assert(!parse(cache).success, JSON.stringify(cache));
  }
});

IngestTokens.run();
