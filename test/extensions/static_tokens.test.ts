import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { inspect } from 'node:util';
import { suite } from 'uvu';
import { loadConfig } from '../../src/config/load.ts';
import { parseSection } from '../../src/config/schema.ts';
import { ConfigError, UnauthenticatedError } from '../../src/errors.ts';
import { staticTokens } from '../../src/extensions/static_tokens.ts';
import { build } from './authenticator.ts';

const StaticTokens = suite('static_tokens');

const newToken = (): string => randomBytes(12).toString('hex');
const entry = (token: unknown, changes: object = {}) => ({ token, org_id: 'acme', workspace_id: 'web', ...changes });

StaticTokens('each token stands for its own tenant and scopes', async () => {
  const [first, second] = [newToken(), newToken()];
  const tokens = [
    entry(first),
    entry(second, { target_id: 'shop', org_id: 'other', scopes: ['proxy:write', 'admin'] }),
  ];
  const { authenticator, log } = build(staticTokens, { tokens });
  assert.deepEqual(await authenticator.authenticate(first), {
    tenant: { orgId: 'acme', workspaceId: 'web', targetId: undefined },
    scopes: new Set(['ingest']),
  });
  assert.deepEqual(await authenticator.authenticate(second), {
    tenant: { orgId: 'other', workspaceId: 'web', targetId: 'shop' },
    scopes: new Set(['proxy:write', 'admin']),
  });
  assert(authenticator.isKnown(first));
  assert.equal(log(), '');
});

StaticTokens('anything else is refused, in words that do not repeat it', async () => {
  const token = newToken();
  const { authenticator } = build(staticTokens, { tokens: [entry(token)] });
  for (const wrong of ['', token.slice(1), `${token} `, token.toUpperCase(), newToken(), token.repeat(100)]) {
    assert(!authenticator.isKnown(wrong));
    await assert.rejects(authenticator.authenticate(wrong), (error: unknown) => {
      assert(error instanceof UnauthenticatedError);
      assert(wrong === '' || !inspect(error).includes(wrong));
      return true;
    });
  }
});

const FAULTS: readonly (readonly [name: string, section: (token: string) => unknown, path: string, message: RegExp])[] =
  [
    [
      'a token that is too short',
      () => [entry('x'.repeat(15))],
      'tokens[0].token',
      /^found \[REDACTED\]; allowed: 16 to 512/,
    ],
    [
      'a token that is too long',
      () => [entry('x'.repeat(513))],
      'tokens[0].token',
      /^found \[REDACTED\]; allowed: 16 to 512/,
    ],
    ['a token with a space', (token) => [entry(`${token} x`)], 'tokens[0].token', /without spaces$/],
    ['a token that is a list', (token) => [entry([token])], 'tokens[0].token', /^found \[REDACTED\]; allowed: text$/],
    ['no token', () => [entry(undefined)], 'tokens[0].token', /^missing/],
    ['an unknown scope', (token) => [entry(token, { scopes: ['ingets'] })], 'tokens[0].scopes[0]', /^found "ingets"/],
    ['no scope', (token) => [entry(token, { scopes: [] })], 'tokens[0].scopes', /at least 1 item$/],
    [
      'an id with a slash',
      (token) => [entry(token, { org_id: 'a/b' })],
      'tokens[0].org_id',
      /^found "a\/b"; allowed: 1 to/,
    ],
    ['an unknown key', (token) => [entry(token, { orgid: 'a' })], 'tokens[0].orgid', /^unknown key `orgid`/],
    ['no entry', () => [], 'tokens', /at least 1 item$/],
  ];
for (const [name, section, path, message] of FAULTS) {
  StaticTokens(`a configuration with ${name} is a fault that does not tell the token`, async () => {
    const token = newToken();
    const raw = await loadConfig({ files: [], sets: [], env: {} });
    const { faults } = parseSection(staticTokens.config, { tokens: section(token) }, '', raw);
    const [fault] = faults;
    assert.equal(fault?.path, path);
    assert.match(fault.message, message);
    assert(!inspect(faults).includes(token));
  });
}

StaticTokens('a token that is listed twice is a fault', () => {
  const token = newToken();
  assert.throws(
    () => build(staticTokens, { tokens: [entry(newToken()), entry(token), entry(token, { org_id: 'other' })] }),
    (error: unknown) => {
      assert(error instanceof ConfigError);
      assert.deepEqual(error.faults, [{ path: 'tokens[2].token', message: 'found a token that is listed before' }]);
      return true;
    },
  );
});

StaticTokens.run();
