/**
 * The bearer tokens that Sluice issues: `slc_`, a word for the kind, 30 random characters and a checksum, so that what
 * is no token is refused without asking anybody, and scanners for leaked secrets find a token without false alarms.
 */
import { hash, randomInt } from 'node:crypto';
import { crc32 } from 'node:zlib';
import { SCOPES, type Scope } from './identity.ts';

/** `in` can only send OTLP; `ak` is an API key with other scopes. The table of tokens decides, the word only tells. */
type TokenKind = 'in' | 'ak';

const ALPHABET = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz';
const BASE = ALPHABET.length;
/** 30 characters of 62 are 178 bits. */
const RANDOM_CHARS = 30;
/** 62^6 is more than 2^32. */
const CHECKSUM_CHARS = 6;
const KIND_CHARS = 'slc_in_'.length;
const TOKEN_CHARS = KIND_CHARS + RANDOM_CHARS + CHECKSUM_CHARS;
const FORM = /^slc_(?:in|ak)_[0-9A-Za-z]{36}$/;

/** Leaves 154 bits untold. */
const SHOWN_CHARS = KIND_CHARS + 4;

/** A new token with all the randomness it needs. Show it once and keep its hash. */
export function generateToken(kind: TokenKind): string {
  let token = `slc_${kind}_`;
  for (let char = 0; char < RANDOM_CHARS; char++) token += ALPHABET.charAt(randomInt(BASE));
  return token + checksum(token);
}

export function tokenKind(scopes: readonly Scope[]): TokenKind {
  return scopes.every((scope) => scope === 'ingest') ? 'in' : 'ak';
}

/** Whether Sluice may have issued this text. The work is bounded however long the text is. */
export function isToken(text: string): boolean {
  if (text.length !== TOKEN_CHARS || !FORM.test(text)) return false;
  return text.slice(-CHECKSUM_CHARS) === checksum(text.slice(0, -CHECKSUM_CHARS));
}

/** How a token begins: enough for people to tell tokens apart. */
export function tokenPrefix(token: string): string {
  return token.slice(0, SHOWN_CHARS);
}

/** SHA-256 in lowercase hex: what a token is known by wherever it is kept. */
export function hashToken(token: string): string {
  return hash('sha256', token, 'hex');
}

/** Undefined for what is no scope. */
export function scopeOf(text: string): Scope | undefined {
  return SCOPES.find((scope) => scope === text);
}

export const TENANT_ID_FORM = "1 to 150 of the characters 0-9 A-Z a-z ! - _ . * ' ( ), and not . or ..";

/** Ids of organisations, workspaces and targets, as Grafana Mimir bounds them: safe in a path and in a URL as they are. */
export function isTenantId(text: string): boolean {
  return /^[0-9A-Za-z!_.*'()-]{1,150}$/.test(text) && text !== '.' && text !== '..';
}

/** CRC-32 in base 62, highest digit first. */
function checksum(text: string): string {
  let rest = crc32(text);
  let digits = '';
  for (let char = 0; char < CHECKSUM_CHARS; char++) {
    digits = ALPHABET.charAt(rest % BASE) + digits;
    rest = Math.floor(rest / BASE);
  }
  return digits;
}
