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

type Integer = Exclude<Scalar, 'string' | 'bytes' | 'id' | 'bool' | 'double'>;

const UINT32 = { least: 0n, most: 2n ** 32n - 1n } as const;
const INT32 = { least: -(2n ** 31n), most: 2n ** 31n - 1n } as const;
const UINT64 = { least: 0n, most: 2n ** 64n - 1n } as const;
const INT64 = { least: -(2n ** 63n), most: 2n ** 63n - 1n } as const;

const RANGES: Readonly<Record<Integer, { readonly least: bigint; readonly most: bigint }>> = {
  enum: INT32,
  uint32: UINT32,
  sint32: INT32,
  fixed32: UINT32,
  int64: INT64,
  uint64: UINT64,
  fixed64: UINT64,
  sfixed64: INT64,
};

/**
 * Writes a scalar that has its usual form: a whole number without sign, or an id in hex. False leaves all else to
 * `writeScalar`. `start` and `end` bound the text of a number or of a string.
 */
export function writePlainScalar(
  out: WireWriter,
  field: Field,
  bytes: Uint8Array,
  start: number,
  end: number,
): boolean {
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
    const digit = bytes[at] - ZERO;
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
  if (end - start !== 19) return false;
  const high = digits(bytes, start, start + 10);
  let low = 0;
  for (let at = start + 10; at < end; at++) {
    const digit = bytes[at] - ZERO;
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
    const high = hexDigit(bytes[at]);
    const low = hexDigit(bytes[at + 1]);
    if (high < 0 || low < 0) {
      out.pos = before;
      return false;
    }
    out.byte(high * 16 + low);
  }
  return true;
}

/**
 * Writes a scalar field of this type, tag and value. Returns what is wrong when the value does not fit, and then writes
 * nothing. The message continues a path: "must be …, found …".
 */
export function writeScalar(out: WireWriter, field: Field, type: Scalar, value: JsonScalar): string | undefined {
  const before = out.pos;
  out.uint32(field.tag);
  if (write(out, field, type, value)) return undefined;
  out.pos = before;
  if (type === 'int64' && writeAsDouble(out, value)) return undefined;
  return `must be ${wanted(type)}, found ${found(value)}`;
}

function write(out: WireWriter, field: Field, type: Scalar, value: JsonScalar): boolean {
  switch (type) {
    case 'string':
      return writeBytes(out, Buffer.from(asText(value), 'utf8'));
    case 'bytes':
      return writeBytes(out, base64(value));
    case 'id':
      return writeBytes(out, hexBytes(value));
    case 'bool':
      return writeBool(out, value);
    case 'double':
      return writeDouble(out, value);
    case 'enum':
      return writeInteger(out, type, enumNumber(value, field.names));
    default:
      return writeInteger(out, type, integer(value));
  }
}

function wanted(type: Scalar): string {
  switch (type) {
    case 'string':
      return 'text';
    case 'bytes':
      return 'base64';
    case 'id':
      return 'hex digits (not base64)';
    case 'bool':
      return 'true or false';
    case 'double':
      return 'a number, "NaN", "Infinity" or "-Infinity"';
    case 'int64':
      return 'an integer';
    default:
      return `an integer from ${RANGES[type].least} to ${RANGES[type].most}`;
  }
}

const MAX_FOUND_CHARACTERS = 60;

function found(value: JsonScalar): string {
  const text = asText(value);
  const short = text.length > MAX_FOUND_CHARACTERS ? `${text.slice(0, MAX_FOUND_CHARACTERS)}…` : text;
  return typeof value === 'string' ? JSON.stringify(short) : short;
}

function asText(value: JsonScalar): string {
  return typeof value === 'object' ? value.number : String(value);
}

function writeBytes(out: WireWriter, bytes: Uint8Array | undefined): boolean {
  if (bytes === undefined) return false;
  out.uint32(bytes.length);
  out.raw(bytes);
  return true;
}

function writeBool(out: WireWriter, value: JsonScalar): boolean {
  const text = typeof value === 'object' ? '' : String(value);
  if (text !== 'true' && text !== 'false') return false;
  out.uint32(text === 'true' ? 1 : 0);
  return true;
}

const NAMED_DOUBLES: ReadonlyMap<unknown, number> = new Map([
  ['NaN', Number.NaN],
  ['Infinity', Number.POSITIVE_INFINITY],
  ['-Infinity', Number.NEGATIVE_INFINITY],
]);

function writeDouble(out: WireWriter, value: JsonScalar): boolean {
  const named = NAMED_DOUBLES.get(value);
  const text = numberText(value);
  if (named === undefined && text === undefined) return false;
  out.double(named ?? Number(text));
  return true;
}

/** Tag of `AnyValue.double_value`. */
const DOUBLE_VALUE = 0x21;

/** For `AnyValue.int_value`: JavaScript's SDK writes any integral number there, also those that no int64 holds. */
function writeAsDouble(out: WireWriter, value: JsonScalar): boolean {
  const text = numberText(value);
  if (text === undefined) return false;
  out.uint32(DOUBLE_VALUE);
  out.double(Number(text));
  return true;
}

/** False when there is none, or when it is out of range. */
function writeInteger(out: WireWriter, type: Integer, value: bigint | undefined): boolean {
  const { least, most } = RANGES[type];
  if (value === undefined || value < least || value > most) return false;
  switch (type) {
    case 'enum':
    case 'uint32':
      out.uint32(Number(value));
      break;
    case 'sint32':
      out.uint32(zigzag(Number(value)));
      break;
    case 'fixed32':
      out.fixed32(Number(value));
      break;
    case 'int64':
    case 'uint64':
      out.varint64(value);
      break;
    default:
      out.fixed64(value);
  }
  return true;
}

const zigzag = (value: number): number => ((value << 1) ^ (value >> 31)) >>> 0;

/** Text of a number, or of a string that holds one. */
function numberText(value: JsonScalar): string | undefined {
  const text = typeof value === 'object' ? value.number : value;
  return typeof text === 'string' && /^-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?$/.test(text) ? text : undefined;
}

function integer(value: JsonScalar): bigint | undefined {
  const text = numberText(value);
  return text === undefined ? undefined : parseInteger(text);
}

/** More digits than any integer type of protobuf has: what is longer is out of range whatever it is. */
const MAX_DIGITS = 40;

/** The exact integer that a JSON number means, `1.5e3` included; undefined when it has a fraction or is huge. */
function parseInteger(text: string): bigint | undefined {
  const [, sign = '', whole = '', fraction = '', exponent = '0'] =
    /^(-?)(\d+)(?:\.(\d+))?(?:[eE]([+-]?\d+))?$/.exec(text) ?? [];
  const shift = Number(exponent) - fraction.length;
  const significant = (whole + fraction).replace(/^0+/, '');
  if (significant === '') return 0n;
  if (significant.length + shift > MAX_DIGITS || significant.length > MAX_DIGITS) return undefined;
  if (shift >= 0) return BigInt(`${sign}${significant}`) * 10n ** BigInt(shift);
  const cut = significant.slice(shift);
  if (-shift > significant.length || !/^0+$/.test(cut)) return undefined;
  return BigInt(`${sign}${significant.slice(0, shift) || '0'}`);
}

/** Enums are numbers in OTLP/JSON; their names, with or without prefix, are understood all the same. */
function enumNumber(value: JsonScalar, names: EnumNames | undefined): bigint | undefined {
  if (typeof value === 'string' && names !== undefined) {
    const short = value.startsWith(names.prefix) ? value.slice(names.prefix.length) : value;
    const index = names.values.indexOf(short.toUpperCase());
    if (index >= 0) return BigInt(index);
  }
  return integer(value);
}

function hexBytes(value: JsonScalar): Uint8Array | undefined {
  if (typeof value !== 'string' || value.length % 2 !== 0 || /[^0-9a-fA-F]/.test(value)) return undefined;
  return Buffer.from(value, 'hex');
}

/** The standard alphabet or the URL-safe one, padded or not. */
function base64(value: JsonScalar): Uint8Array | undefined {
  if (typeof value !== 'string') return undefined;
  const characters = value.length - (value.endsWith('==') ? 2 : Number(value.endsWith('=')));
  // A single digit of a last group is not even one byte.
  if (characters % 4 === 1) return undefined;
  const bytes = Buffer.from(value, 'base64');
  // Node passes over what is not base64, so that fewer bytes come out.
  return bytes.length === Math.floor((characters * 3) / 4) ? bytes : undefined;
}
