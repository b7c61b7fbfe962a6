import assert from 'node:assert/strict';
import { suite } from 'uvu';
import {
  generateToken,
  hashToken,
  isTenantId,
  isToken,
  scopeOf,
  tokenKind,
  tokenPrefix,
} from '../../src/model/token.ts';

const Token = suite('token');

const ALPHABET = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz';

Token('a generated token names its kind and is a token', () => {
  for (const kind of ['in', 'ak'] as const) {
    const token = generateToken(kind);
    assert.match(token, new RegExp(`^slc_${kind}_[0-9A-Za-z]{36}$`));
    assert(isToken(token));
  }
});

Token('the checksum is CRC-32 over what stands before it, in six digits of base 62', () => {
  const body = `slc_in_${'0'.repeat(30)}`;
  // 1,695,564,408 by an implementation of CRC-32 other than ours, Python's zlib.
  assert(isToken(`${body}1qkPl2`));
});

Token('one wrong character anywhere makes it no token', () => {
  const token = generateToken('in');
  for (let at = 0; at < token.length; at++) {
    const other = ALPHABET.charAt((ALPHABET.indexOf(token.charAt(at)) + 1) % ALPHABET.length);
    assert(!isToken(token.slice(0, at) + other + token.slice(at + 1)), `character ${at}`);
  }
});

const token = generateToken('ak');
const GARBAGE: readonly (readonly [name: string, text: string])[] = [
  ['nothing', ''],
  ['a prefix', 'slc_in_'],
  ['one character less', token.slice(0, -1)],
  ['one character more', `${token}0`],
  ['a line end behind it', `${token.slice(0, -1)}\n`],
  ['a space before it', ` ${token}`],
  ['another kind', token.replace('_ak_', '_xx_')],
  ['the kind of another', token.replace('_ak_', '_in_')],
  ['letters of other scripts', `slc_in_${'é'.repeat(36)}`],
  ['surrogates', `slc_in_${'\u{1F600}'.repeat(18)}`],
  ['a megabyte', 'a'.repeat(1 << 20)],
];
for (const [name, text] of GARBAGE) Token(`${name} is no token`, () => assert(!isToken(text)));

Token('tokens differ, and every character of the alphabet comes equally often', () => {
  const tokens = Array.from({ length: 2_000 }, () => generateToken('in'));
  assert.equal(new Set(tokens).size, tokens.length);
  const counts = new Map<string, number>();
  const random = tokens.map((text) => text.slice(7, 37)).join('');
  for (const char of random) counts.set(char, (counts.get(char) ?? 0) + 1);
  const expected = random.length / ALPHABET.length;
  // Chi-squared with 61 degrees of freedom: 9 standard deviations above its mean. Bytes modulo 62 would give some 450.
  let chiSquared = 0;
  for (const char of ALPHABET) chiSquared += ((counts.get(char) ?? 0) - expected) ** 2 / expected;
  assert(chiSquared < 160, `chi-squared ${chiSquared}`);
});

Token('a hash is SHA-256 in hex', () => {
  assert.equal(hashToken('abc'), 'ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad');
});

Token('what is shown of a token is four of its random characters', () => {
  assert.equal(tokenPrefix(token), token.slice(0, 11));
});

Token('the kind tells whether it can do more than send OTLP', () => {
  assert.equal(tokenKind(['ingest']), 'in');
  assert.equal(tokenKind(['ingest', 'scans:read']), 'ak');
});

Token('only the names of scopes are scopes', () => {
  assert.equal(scopeOf('proxy:write'), 'proxy:write');
  for (const text of ['', 'Ingest', 'ingest ', 'toString', 'proxy']) assert.equal(scopeOf(text), undefined);
});

Token('ids of tenants are safe in paths', () => {
  for (const id of ['acme', "a.b-c_d!e*f'g(h)", '...', 'x'.repeat(150)]) assert(isTenantId(id), id);
  for (const id of ['', '.', '..', 'a/b', 'a\\b', 'a b', '%2e', 'é', 'a\n', 'x'.repeat(151)])
    assert(!isTenantId(id), id);
});

Token.run();
