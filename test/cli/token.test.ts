import assert from 'node:assert/strict';
import { suite } from 'uvu';
import { z } from 'zod';
import { hashToken, isToken } from '../../src/model/token.ts';
import { tokenStore } from '../../src/store/tokens.ts';
import { testDatabase, type TestDatabase } from '../support/postgres.ts';
import { sluice, type Ended } from './sluice.ts';

const Token = suite('sluice token');
let database: TestDatabase;

Token.before(async () => {
  database = await testDatabase();
});
Token.before.each(async () => {
  await database.pool.query('TRUNCATE engagement_ingest_tokens');
});
Token.after(() => database.close());

const token = (...args: string[]): Promise<Ended> =>
  sluice(['token', ...args], { env: { DATABASE_URL: database.url } });
const create = (...args: string[]): Promise<Ended> => token('create', '--org', 'acme', '--workspace', 'web', ...args);

const listed = z.strictObject({
  id: z.uuid(),
  name: z.string(),
  prefix: z.string(),
  org_id: z.string(),
  workspace_id: z.string(),
  target_id: z.string().nullable(),
  scopes: z.array(z.string()),
  created_at: z.iso.datetime(),
  created_by: z.string(),
  expires_at: z.iso.datetime().nullable(),
  revoked_at: z.iso.datetime().nullable(),
  last_used_at: z.iso.datetime().nullable(),
});
const created = listed.extend({ token: z.string() });

Token('create prints the token once, list never, and the table keeps its hash', async () => {
  const { code, stdout, stderr } = await create('--name', 'ci');
  assert.deepEqual({ code, stderr }, { code: 0, stderr: '' });
  const secret = /^token {4}(\S+)$/m.exec(stdout)?.[1] ?? '';
  assert(isToken(secret) && secret.startsWith('slc_in_'));
  assert.match(stdout, /^tenant {3}acme\/web\nscopes {3}ingest\nexpires {2}never\nKeep the token now: [^\n]+\n$/m);
  const found = await tokenStore(database.pool).find(hashToken(secret));
  assert.deepEqual(found?.identity, {
    tenant: { orgId: 'acme', workspaceId: 'web', targetId: undefined },
    scopes: new Set(['ingest']),
  });
  const list = await token('list');
  assert.equal(list.code, 0);
  assert(!list.stdout.includes(secret));
  assert.match(list.stdout, /^ID +TOKEN +STATE +TENANT +SCOPES +CREATED +EXPIRES +LAST USED +NAME\n/);
  assert(list.stdout.includes(`${found.id}  ${secret.slice(0, 11)}…  valid  acme/web  ingest  `));
});

Token('--json prints every field, with a target, several scopes and an expiry', async () => {
  const { stdout } = await create('--target', 'shop', '--scopes', 'ingest, scans:read', '--expires', '90d', '--json');
  const { token: secret, ...row } = created.parse(JSON.parse(stdout));
  assert(isToken(secret) && secret.startsWith('slc_ak_'));
  assert.deepEqual([row.target_id, row.scopes], ['shop', ['ingest', 'scans:read']]);
  const lifeMs = Date.parse(row.expires_at ?? '') - Date.now();
  assert(lifeMs > 90 * 86_400_000 - 60_000 && lifeMs <= 90 * 86_400_000);
  const rows = z.array(listed).parse(JSON.parse((await token('list', '--json')).stdout));
  assert.deepEqual(rows, [row]);
});

Token('revoke takes a token away; it says so again when asked again', async () => {
  const { id, token: secret } = created.parse(JSON.parse((await create('--json')).stdout));
  const first = await token('revoke', id);
  assert.deepEqual([first.code, first.stdout], [0, `revoked ${id}  ${secret.slice(0, 11)}…\n`]);
  assert.equal(await tokenStore(database.pool).find(hashToken(secret)), undefined);
  const again = listed.parse(JSON.parse((await token('revoke', '--json', id)).stdout));
  assert(again.revoked_at !== null);
  assert.match((await token('list')).stdout, /… {2}revoked {2}/);
});

Token('a list without tokens says so', async () => {
  assert.equal((await token('list')).stdout, 'there are no tokens\n');
  assert.equal((await token('list', '--json')).stdout, '[]\n');
});

Token('an unknown id fails', async () => {
  const { code, stderr } = await token('revoke', '00000000-0000-4000-8000-000000000000');
  assert.equal(code, 1);
  assert.equal(stderr, 'sluice: there is no token with the id 00000000-0000-4000-8000-000000000000\n');
});

Token('a database that was not migrated fails with the remedy', async () => {
  const empty = await testDatabase();
  await empty.pool.query('DROP TABLE engagement_ingest_tokens');
  const { code, stderr } = await token('list', '--database-url', empty.url);
  assert.equal(code, 1);
  assert.match(stderr, /^sluice: the database has no table of tokens; `sluice migrate` makes it: [^\n]+\n$/);
  await empty.close();
});

Token('a database that is away fails with one line, without the password', async () => {
  const url = new URL(database.url);
  url.pathname = '/nothing';
  const { code, stderr } = await token('list', '--database-url', url.href);
  assert.equal(code, 1);
  assert.equal(stderr, `sluice: the database cannot be used: ${url.host} has no database named nothing\n`);
});

const USAGE: readonly (readonly [args: readonly string[], line: RegExp])[] = [
  [[], /^token needs the name of a command: token create, token list, token revoke$/],
  [['--json'], /^token needs the name of a command/],
  [['crate'], /^unknown command token crate \(did you mean token create\?\)$/],
  [['create'], /^token create needs --org and --workspace$/],
  [['create', '--org', 'acme'], /^token create needs --org and --workspace$/],
  [['create', '--org', 'a/b', '--workspace', 'web'], /^--org must be 1 to 150 of the characters/],
  [['create', '--org', 'a', '--workspace', 'b', '--target', ''], /^--target must be/],
  [
    ['create', '--org', 'a', '--workspace', 'b', '--scopes', 'ingets'],
    /^unknown scope `ingets`; did you mean `ingest`\?/,
  ],
  [['create', '--org', 'a', '--workspace', 'b', '--expires', 'tomorrow'], /^--expires must be a time such as 90d/],
  [['create', '--org', 'a', '--workspace', 'b', '--expires', '0d'], /^--expires must be/],
  [['create', '--org', 'a', '--workspace', 'b', '--expires', '99999d'], /^--expires must be/],
  [['create', '--org', 'a', '--workspace', 'b', '--name', 'a\nb'], /^--name must be/],
  [['list', 'all'], /^unexpected argument all$/],
  [['list', '--org', 'a'], /^unknown option --org for sluice token list/],
  [['revoke'], /^token revoke needs ID$/],
  [['revoke', 'first'], /^the ID of a token is a UUID/],
  [['revoke', 'first', 'second'], /^unexpected argument second$/],
  [['revoke', 'first', '--jsno'], /^unknown option --jsno for sluice token revoke \(did you mean --json\?\)$/],
];
for (const [args, line] of USAGE) {
  Token(`${['sluice token', ...args].join(' ')} is a usage error`, async () => {
    const { code, stdout, stderr } = await sluice(['token', ...args]);
    assert.deepEqual({ code, stdout }, { code: 2, stdout: '' });
    const said = /^sluice: (.+); see sluice --help\n$/.exec(stderr)?.[1];
    assert.match(said ?? stderr, line);
  });
}

for (const args of [
  ['token', '--help'],
  ['token', '-h'],
  ['help', 'token'],
]) {
  Token(`sluice ${args.join(' ')} lists the three commands`, async () => {
    const { code, stdout } = await sluice(args);
    assert.equal(code, 0);
    for (const name of ['token create', 'token list', 'token revoke'])
      assert.match(stdout, new RegExp(`^  ${name} +\\S`, 'm'));
  });
}

for (const args of [
  ['help', 'token', 'revoke'],
  ['token', 'revoke', '--help'],
]) {
  Token(`sluice ${args.join(' ')} names what it needs`, async () => {
    const { code, stdout } = await sluice(args);
    assert.equal(code, 0);
    assert.match(stdout, /^Usage: sluice token revoke ID \[OPTIONS\]$/m);
  });
}

Token.run();
