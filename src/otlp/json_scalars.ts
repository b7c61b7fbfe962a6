/**
 * Scalars of OTLP/JSON. The mapping is proto3's (64-bit integers as numbers or strings, doubles also as "NaN" and
 * "Infinity") with OTLP's exceptions (ids are hex, enums are numbers), and lenient where senders are known to differ.
 */
import { SPAN_ID_BYTES, TRACE_ID_BYTES } from '../model/ids.ts';
import type { EnumNames, Field, Scalar } from './fields.ts';
import { hexDigit } from './json_tokens.ts';
import type { WireWriter } from './wire_writer.ts';

/** A scalar as it stood in the JSON: text of a number keeps all its digits. */
export type JsonScalar = { readonly number: string } | string | boolean;

/** The value does not fit its field. The message continues a path: "must be …, found …". */
export class ScalarFault extends Error {
  override readonly name = 'ScalarFault';
}

const INT64_MIN = -(2n ** 63n);
const INT64_MAX = 2n ** 63n - 1n;
const UINT64_MAX = 2n ** 64n - 1n;

/**
 * Writes a scalar that has its usual form: a whole number without sign, or an id in hex. False leaves all else to
 * `writeScalar`. `start` and `end` bound the text of a number or of a string.
 */
export function writePlainScalar(out: WireWriter, field: Field, bytes: Uint8Array, start: number, end: number): boolean {
  switch (field.type) {
    case 'id':
      return writeHex(out, field, bytes, start, end);
    case 'fixed64':
      return writeTime(out, field, bytes, start, end);
    case 'int64':
    case 'uint64':
      return writeDigits(out, field, bytes, start, end, SAFE_DIGITS);
    case 'enum':
    case 'uint32':
      return writeDigits(out, field, bytes, start, end, 9);
    default:
      return false;
  }
}

/** Numbers of so many digits are exact in a double, and so is every step on the way to them. */
const SAFE_DIGITS = 15;

function writeDigits(
  out: WireWriter,
  field: Field,
  bytes: Uint8Array,
  start: number,
  end: number,
  most: number,
): boolean {
  const value = end - start > most ? -1 : digits(bytes, start, end);
  if (value < 0) return false;
  out.uint32(field.tag);
  out.safeInteger(value);
  return true;
}

/** The value of a run of digits; -1 when it is longer, has a leading zero or is something else. */
function digits(bytes: Uint8Array, start: number, end: number): number {
  const count = end - start;
  if (count === 0 || count > SAFE_DIGITS || (count > 1 && bytes[start] === ZERO)) return -1;
  let value = 0;
  for (let at = start; at < end; at++) {
    const digit = (bytes[at] as number) - ZERO;
    if (digit < 0 || digit > 9) return -1;
    value = value * 10 + digit;
  }
  return value;
}

const ZERO = 0x30;
const NINE_DIGITS = 1_000_000_000;
const TWO_16 = 65_536;

/** Times in nanoseconds have 19 digits for the next centuries, which is also what always fits 64 bits. */
function writeTime(out: WireWriter, field: Field, bytes: Uint8Array, start: number, end: number): boolean {
  if (end - start !== 19 || bytes[start] === ZERO) return false;
  const high = digits(bytes, start, start + 10);
  let low = 0;
  for (let at = start + 10; at < end; at++) {
    const digit = (bytes[at] as number) - ZERO;
    if (digit < 0 || digit > 9) return false;
    low = low * 10 + digit;
  }
  if (high < 0) return false;
  // high * 10^9 + low in base 2^16, since a double holds no product of 64 bits.
  const units = (high % TWO_16) * NINE_DIGITS + low;
  const rest = Math.floor(high / TWO_16) * NINE_DIGITS + Math.floor(units / TWO_16);
  out.uint32(field.tag);
  out.fixed64Parts(Math.floor(rest / TWO_16), (rest % TWO_16) * TWO_16 + (units % TWO_16));
  return true;
}

/** An empty id is an absent one. */
function writeHex(out: WireWriter, field: Field, bytes: Uint8Array, start: number, end: number): boolean {
  const size = (end - start) / 2;
  if (size !== TRACE_ID_BYTES && size !== SPAN_ID_BYTES) return size === 0;
  const before = out.pos;
  out.uint32(field.tag);
  out.uint32(size);
  for (let at = start; at < end; at += 2) {
    const high = hexDigit(bytes[at] as number);
    const low = hexDigit(bytes[at + 1] as number);
    if (high < 0 || low < 0) {
      out.pos = before;
      return false;
    }
    out.byte(high * 16 + low);
  }
  return true;
}

/** Writes a scalar field, tag and value. */
export function writeScalar(out: WireWriter, field: Field, value: JsonScalar): void {
  const type = field.type as Scalar;
  if (type === 'int64') {
    writeInt64(out, field, value);
    return;
  }
  out.uint32(field.tag);
  switch (type) {
    case 'string':
      return writeBytes(out, Buffer.from(asText(value), 'utf8'));
    case 'bytes':
      return writeBytes(out, base64(value));
    case 'id':
      return writeBytes(out, hexBytes(value));
    case 'bool':
      return out.uint32(bool(value) ? 1 : 0);
    case 'enum':
      return out.uint32(enumNumber(value, field.names));
    case 'uint32':
      return out.uint32(Number(integer(value, 0n, 0xffffffffn)));
    case 'sint32':
      return out.uint32(zigzag(Number(integer(value, -0x80000000n, 0x7fffffffn))));
    case 'fixed32':
      return out.fixed32(Number(integer(value, 0n, 0xffffffffn)));
    case 'uint64':
      return out.varint64(integer(value, 0n, UINT64_MAX));
    case 'fixed64':
      return out.fixed64(integer(value, 0n, UINT64_MAX));
    case 'sfixed64':
      return out.fixed64(integer(value, INT64_MIN, INT64_MAX));
    default:
      return out.double(double(value));
  }
}

function writeBytes(out: WireWriter, bytes: Uint8Array): void {
  out.uint32(bytes.length);
  out.raw(bytes);
}

const zigzag = (value: number): number => ((value << 1) ^ (value >> 31)) >>> 0;

/** Tag of `AnyValue.double_value`. */
const DOUBLE_VALUE = 0x21;

/** `AnyValue.int_value`. JavaScript's SDK writes any integral number there, so what no int64 holds becomes a double. */
function writeInt64(out: WireWriter, field: Field, value: JsonScalar): void {
  const text = numberText(value, 'an integer');
  const exact = parseInteger(text);
  if (exact !== undefined && exact >= INT64_MIN && exact <= INT64_MAX) {
    out.uint32(field.tag);
    out.varint64(exact);
  } else {
    out.uint32(DOUBLE_VALUE);
    out.double(Number(text));
  }
}

function asText(value: JsonScalar): string {
  return typeof value === 'object' ? value.number : String(value);
}

const MAX_FOUND_CHARACTERS = 60;

function found(value: JsonScalar): string {
  const text = asText(value);
  const short = text.length > MAX_FOUND_CHARACTERS ? `${text.slice(0, MAX_FOUND_CHARACTERS)}…` : text;
  return typeof value === 'string' ? JSON.stringify(short) : short;
}

/** Text of a number, or of a string that holds one. */
function numberText(value: JsonScalar, wanted: string): string {
  const text = typeof value === 'object' ? value.number : value;
  if (typeof text === 'string' && /^-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?$/.test(text)) return text;
  throw new ScalarFault(`must be ${wanted}, found ${found(value)}`);
}

function integer(value: JsonScalar, least: bigint, most: bigint): bigint {
  const wanted = `an integer from ${least} to ${most}`;
  const exact = parseInteger(numberText(value, wanted));
  if (exact !== undefined && exact >= least && exact <= most) return exact;
  throw new ScalarFault(`must be ${wanted}, found ${found(value)}`);
}

/** More digits than any integer type of protobuf has: what is longer is out of range whatever it is. */
const MAX_DIGITS = 40;

/** The exact integer that a JSON number means, `1.5e3` included; undefined when it has a fraction or is huge. */
function parseInteger(text: string): bigint | undefined {
  const [, sign = '', whole = '', fraction = '', exponent = '0'] = /^(-?)(\d+)(?:\.(\d+))?(?:[eE]([+-]?\d+))?$/.exec(text) ?? [];
  const shift = Number(exponent) - fraction.length;
  const digits = (whole + fraction).replace(/^0+/, '');
  if (digits === '') return 0n;
  if (digits.length + shift > MAX_DIGITS || digits.length > MAX_DIGITS) return undefined;
  if (shift >= 0) return BigInt(`${sign}${digits}`) * 10n ** BigInt(shift);
  const cut = digits.slice(shift);
  if (-shift > digits.length || !/^0+$/.test(cut)) return undefined;
  return BigInt(`${sign}${digits.slice(0, shift) || '0'}`);
}

const NAMED_DOUBLES: Readonly<Record<string, number>> = { NaN, Infinity, '-Infinity': -Infinity };

function double(value: JsonScalar): number {
  if (typeof value === 'string' && Object.hasOwn(NAMED_DOUBLES, value)) return NAMED_DOUBLES[value] ?? Number.NaN;
  return Number(numberText(value, 'a number, "NaN", "Infinity" or "-Infinity"'));
}

function bool(value: JsonScalar): boolean {
  if (value === true || value === 'true') return true;
  if (value === false || value === 'false') return false;
  throw new ScalarFault(`must be true or false, found ${found(value)}`);
}

/** Enums are numbers in OTLP/JSON; their names, with or without prefix, are understood all the same. */
function enumNumber(value: JsonScalar, names: EnumNames | undefined): number {
  if (typeof value === 'string' && names !== undefined) {
    const short = value.startsWith(names.prefix) ? value.slice(names.prefix.length) : value;
    const index = names.values.indexOf(short.toUpperCase());
    if (index >= 0) return index;
  }
  return Number(integer(value, -0x80000000n, 0x7fffffffn));
}

function hexBytes(value: JsonScalar): Uint8Array {
  if (typeof value !== 'string' || value.length % 2 !== 0 || /[^0-9a-fA-F]/.test(value)) {
    throw new ScalarFault(`must be hex digits (not base64), found ${found(value)}`);
  }
  return Buffer.from(value, 'hex');
}

/** The standard alphabet or the URL-safe one, padded or not. */
function base64(value: JsonScalar): Uint8Array {
  if (typeof value !== 'string' || !/^[A-Za-z0-9+/_-]*={0,2}$/.test(value)) {
    throw new ScalarFault(`must be base64, found ${found(value)}`);
  }
  return Buffer.from(value, 'base64');
}
