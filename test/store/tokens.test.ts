import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { connect, createServer } from 'node:net';
import { suite } from 'uvu';
import { PermanentError } from '../../src/errors.ts';
import { generateToken, hashToken, tokenPrefix } from '../../src/model/token.ts';
import { createPool } from '../../src/store/connection.ts';
import type { Subscription } from '../../src/store/notifications.ts';
import { LastUses, tokenStore, watchTokens, type NewToken, type TokenStore } from '../../src/store/tokens.ts';
import { testDatabase, type TestDatabase } from '../support/postgres.ts';
import { tcpProxy } from '../support/tcp_proxy.ts';

const Tokens = suite('token store');
let database: TestDatabase;
let store: TokenStore;

Tokens.before(async () => {
  database = await testDatabase();
  store = tokenStore(database.pool);
});
Tokens.before.each(async () => {
  await database.pool.query('TRUNCATE engagement_ingest_tokens');
});
Tokens.after(() => database.close());

function newToken(changes: Partial<NewToken> = {}): NewToken {
  const token = generateToken('in');
  return {
    hash: hashToken(token),
    prefix: tokenPrefix(token),
    name: 'of a test',
    tenant: { orgId: 'acme', workspaceId: 'web', targetId: undefined },
    scopes: ['ingest'],
    expiresAt: undefined,
    ...changes,
  };
}

Tokens('a token is found by its hash, with all it stands for', async () => {
  const tenant = { orgId: 'acme', workspaceId: 'web', targetId: 'shop' };
  const expiresAt = new Date(Date.now() + 60_000);
  const created = newToken({ tenant, scopes: ['ingest', 'audit:read'], expiresAt });
  const row = await store.create(created);
  assert.deepEqual(await store.find(created.hash), {
    id: row.id,
    identity: { tenant, scopes: new Set(['ingest', 'audit:read']) },
    expiresAtMs: expiresAt.getTime(),
  });
  assert.equal(await store.find(newToken().hash), undefined);
});

Tokens('a token without expiry never expires, and has no target where none was given', async () => {
  const created = newToken();
  await store.create(created);
  const found = await store.find(created.hash);
  assert.equal(found?.expiresAtMs, Infinity);
  assert.equal(found.identity.tenant.targetId, undefined);
});

Tokens('a scope that only a newer program knows allows nothing', async () => {
  const created = newToken();
  await store.create(created);
  await database.pool.query(`UPDATE engagement_ingest_tokens SET scopes = '{ingest,future:thing}'`);
  assert.deepEqual((await store.find(created.hash))?.identity.scopes, new Set(['ingest']));
});

Tokens('the list holds every token but no hash, the newest first, up to a limit', async () => {
  for (const name of ['one', 'two', 'three']) await store.create(newToken({ name }));
  const rows = await store.list(2);
  assert.deepEqual(
    rows.map(({ name }) => name),
    ['three', 'two'],
  );
  assert.deepEqual(Object.keys(rows[0] ?? {}), [
    'id',
    'name',
    'prefix',
    'org_id',
    'workspace_id',
    'target_id',
    'scopes',
    'created_at',
    'created_by',
    'expires_at',
    'revoked_at',
    'last_used_at',
  ]);
  assert.equal(rows[0]?.created_by, decodeURIComponent(new URL(database.url).username));
});

Tokens('a revoked token is not found, and revoking it again keeps the time', async () => {
  const created = newToken();
  const { id } = await store.create(created);
  const first = await store.revoke(id);
  assert(first?.revoked_at instanceof Date);
  assert.equal(await store.find(created.hash), undefined);
  assert.deepEqual(await store.revoke(id), first);
  assert.equal(await store.revoke('00000000-0000-4000-8000-000000000000'), undefined);
});

Tokens('texts are values, whatever they hold', async () => {
  const name = `'); DROP TABLE engagement_ingest_tokens; --`;
  const row = await store.create(newToken({ name }));
  assert.equal(row.name, name);
  assert.equal(await store.find(`' OR true --`).catch(() => 'refused'), 'refused');
  assert.equal((await store.list(10)).length, 1);
});

const REFUSED: readonly (readonly [name: string, assignment: string])[] = [
  ['a hash of another length', `token_hash = '\\x00'`],
  ['an id that leads out of a folder', `org_id = '..'`],
  ['an id with a slash', `workspace_id = 'a/b'`],
  ['an empty target', `target_id = ''`],
  ['no scope at all', `scopes = '{}'`],
  ['an expiry at infinity', `expires_at = 'infinity'`],
  ['a name with a control character', `name = E'a\\x1b[2J'`],
];
for (const [name, assignment] of REFUSED) {
  Tokens(`the table refuses ${name}`, async () => {
    await store.create(newToken());
    await assert.rejects(database.pool.query(`UPDATE engagement_ingest_tokens SET ${assignment}`), { code: '23514' });
  });
}

Tokens('a database that was not migrated is told by its remedy', async () => {
  const empty = await testDatabase();
  await empty.pool.query('DROP TABLE engagement_ingest_tokens');
  const bare = tokenStore(empty.pool);
  for (const work of [() => bare.find(newToken().hash), () => bare.create(newToken()), () => bare.list(1)]) {
    await assert.rejects(work(), (error: unknown) => {
      assert(error instanceof PermanentError);
      assert.match(error.message, /sluice migrate/);
      return true;
    });
  }
  await empty.close();
});

Tokens('uses are written together, never backwards', async () => {
  const [first, second] = [await store.create(newToken()), await store.create(newToken())];
  const [early, late] = [new Date('2026-01-01T00:00:00Z'), new Date('2026-01-01T00:01:00Z')];
  await store.touch([
    { id: first.id, at: late },
    { id: second.id, at: early },
  ]);
  await store.touch([
    { id: first.id, at: early },
    { id: second.id, at: late },
  ]);
  for (const { last_used_at } of await store.list(2)) assert.deepEqual(last_used_at, late);
});

Tokens('a use does not wait for somebody who changes the token', async () => {
  const { id } = await store.create(newToken());
  const client = await database.pool.connect();
  await client.query('BEGIN');
  await client.query('UPDATE engagement_ingest_tokens SET name = $1', ['changing']);
  await store.touch([{ id, at: new Date() }]);
  await client.query('COMMIT');
  client.release();
  assert.equal((await store.list(1))[0]?.last_used_at, null);
});

Tokens.run();

const Uses = suite('last uses');
const NOON_MS = Date.parse('2026-11-20T12:00:00Z');

Uses.before(async () => {
  database = await testDatabase();
  store = tokenStore(database.pool);
});
Uses.after(() => database.close());

const fail = (error: unknown): never => assert.fail(String(error));

async function lastUseOf(id: string): Promise<Date | null | undefined> {
  return (await store.list(10)).find((row) => row.id === id)?.last_used_at;
}

Uses('of many uses of a token one is written, the last', async () => {
  const { id } = await store.create(newToken());
  const batches: unknown[] = [];
  const touch: TokenStore['touch'] = (batch) => store.touch(batch).then(() => void batches.push([...batch]));
  const uses = new LastUses({ touch }, fail);
  for (let number = 0; number < 1_000; number++) uses.note(id, NOON_MS + number);
  assert.equal(await lastUseOf(id), null);
  await uses.flush();
  await uses.flush();
  assert.deepEqual(batches, [[{ id, at: new Date(NOON_MS + 999) }]]);
  assert.deepEqual(await lastUseOf(id), new Date(NOON_MS + 999));
});

Uses('what could not be written is written later, unless the token was used again', async () => {
  const [first, second] = [await store.create(newToken()), await store.create(newToken())];
  const proxy = await tcpProxy(database.url);
  const pool = createPool({ url: proxy.url, max: 1, applicationName: 'test', statementTimeoutMs: 5_000 });
  const errors: unknown[] = [];
  const uses = new LastUses(tokenStore(pool), (error) => errors.push(error));
  uses.note(first.id, NOON_MS);
  uses.note(second.id, NOON_MS);
  proxy.cut();
  const flushed = uses.flush();
  uses.note(second.id, NOON_MS + 5);
  await flushed;
  assert.equal(errors.length, 1);
  proxy.mend();
  await uses.stop();
  assert.equal(errors.length, 1);
  assert.deepEqual(await lastUseOf(first.id), new Date(NOON_MS));
  assert.deepEqual(await lastUseOf(second.id), new Date(NOON_MS + 5));
  await pool.end();
  await proxy.close();
});

Uses('no more than ten thousand tokens are gathered, and a thousand written at a time', async () => {
  const sizes: number[] = [];
  const touch: TokenStore['touch'] = (batch) => store.touch(batch).then(() => void sizes.push(batch.length));
  const uses = new LastUses({ touch }, fail);
  for (let number = 0; number < 10_500; number++) uses.note(randomUUID(), NOON_MS);
  await uses.flush();
  assert.deepEqual(
    sizes,
    Array.from({ length: 10 }, () => 1_000),
  );
});

Uses.run();

const Changes = suite('token changes');

Changes.before(async () => {
  database = await testDatabase();
  store = tokenStore(database.pool);
});
Changes.after(() => database.close());

/** Hears changes, and lets a test wait for the next thing that is heard. */
function listener(url: string) {
  const heard: string[] = [];
  const waiting: (() => void)[] = [];
  const hear = (what: string): void => {
    heard.push(what);
    for (const wake of waiting.splice(0)) wake();
  };
  const subscription: Subscription = watchTokens(url, {
    onChange: hear,
    onGap: () => hear('gap'),
    onLost: () => hear('lost'),
  });
  const next = async (): Promise<string> => {
    for (;;) {
      const what = heard.shift();
      if (what !== undefined) return what;
      await new Promise<void>((resolve) => waiting.push(resolve));
    }
  };
  return { next, heard, close: () => subscription.close() };
}

Changes('every way to take a token away is heard, and the use of it is not', async () => {
  const changes = listener(database.url);
  assert.equal(await changes.next(), 'gap');
  const statements = [
    'UPDATE engagement_ingest_tokens SET revoked_at = now()',
    `UPDATE engagement_ingest_tokens SET scopes = '{audit:read}'`,
    `UPDATE engagement_ingest_tokens SET expires_at = now()`,
    `UPDATE engagement_ingest_tokens SET org_id = 'other'`,
    'DELETE FROM engagement_ingest_tokens',
  ];
  for (const statement of statements) {
    const created = newToken();
    const { id } = await store.create(created);
    await store.touch([{ id, at: new Date() }]);
    await database.pool.query(`${statement}${statement.startsWith('DELETE') ? '' : ` WHERE id = '${id}'`}`);
    assert.equal(await changes.next(), created.hash, statement);
    await database.pool.query('TRUNCATE engagement_ingest_tokens');
    assert.equal(await changes.next(), 'gap');
  }
  const created = newToken();
  const { id } = await store.create(created);
  await store.revoke(id);
  assert.equal(await changes.next(), created.hash);
  assert.deepEqual(changes.heard, []);
  await changes.close();
});

Changes('a connection that the server ends is made again, and the gap is told', async () => {
  const changes = listener(database.url);
  assert.equal(await changes.next(), 'gap');
  await database.pool.query(
    `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
     WHERE application_name = 'sluice token changes' AND datname = current_database()`,
  );
  assert.equal(await changes.next(), 'lost');
  assert.equal(await changes.next(), 'gap');
  const created = newToken();
  const { id } = await store.create(created);
  await store.revoke(id);
  assert.equal(await changes.next(), created.hash);
  await changes.close();
});

Changes('a database that is away is tried again until it is there', async () => {
  const proxy = await tcpProxy(database.url);
  proxy.cut();
  const changes = listener(proxy.url);
  assert.equal(await changes.next(), 'lost');
  assert.equal(await changes.next(), 'lost');
  proxy.mend();
  let heard = await changes.next();
  while (heard === 'lost') heard = await changes.next();
  assert.equal(heard, 'gap');
  await changes.close();
  await proxy.close();
});

Changes('a pooler that does not keep LISTEN is noticed', async () => {
  const pooler = await forgetfulPooler(database.url);
  let reason: unknown;
  const told = Promise.withResolvers<void>();
  const subscription = watchTokens(pooler.url, {
    onChange: fail,
    onGap: () => fail('nothing can be heard'),
    onLost(error) {
      reason = error;
      told.resolve();
    },
  });
  await told.promise;
  assert.match(String(reason), /does not keep LISTEN/);
  await subscription.close();
  await pooler.close();
});

/** Stands before a database as a transaction pooler does: a LISTEN succeeds and has no effect. */
async function forgetfulPooler(target: string): Promise<{ url: string; close(): Promise<void> }> {
  const { hostname, port } = new URL(target);
  const server = createServer((client) => {
    const upstream = connect(Number(port), hostname);
    client.on('data', (bytes) => upstream.write(bytes.toString('latin1').replace('LISTEN "', 'NOTIFY "'), 'latin1'));
    upstream.on('data', (bytes) => client.write(bytes));
    client.on('error', () => {}).on('close', () => upstream.destroy());
    upstream.on('error', () => {}).on('close', () => client.destroy());
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  assert(typeof address === 'object' && address !== null);
  const url = new URL(target);
  url.port = String(address.port);
  return {
    url: url.href,
    async close() {
      server.close();
      await once(server, 'close');
    },
  };
}

Changes('closing does not wait for a server that never answers, nor for one that is gone', async () => {
  const silent = createServer(() => {}).listen(0, '127.0.0.1');
  await once(silent, 'listening');
  const address = silent.address();
  assert(typeof address === 'object' && address !== null);
  const url = new URL(database.url);
  url.port = String(address.port);
  const connected = once(silent, 'connection');
  const unanswered = listener(url.href);
  await connected;
  const startedMs = performance.now();
  await unanswered.close();
  const proxy = await tcpProxy(database.url);
  const frozen = listener(proxy.url);
  assert.equal(await frozen.next(), 'gap');
  proxy.freeze();
  await frozen.close();
  assert(performance.now() - startedMs < 4_000);
  assert.deepEqual([...unanswered.heard, ...frozen.heard], []);
  await proxy.close();
  silent.close();
});

Changes.run();
