/**
 * Writes OTLP messages byte by byte, so that a test can say what no well-behaved client would. Field numbers are those of
 * opentelemetry-proto 1.11.
 */

type Content = string | Uint8Array;

const VARINT = 0;
const FIXED64 = 1;
const LENGTH_PREFIXED = 2;
const FIXED32 = 5;

/** A string, bytes or message field; several contents are written one behind the other. */
export function field(number: number, ...contents: readonly Content[]): Buffer {
  const body = join(contents);
  return Buffer.concat([tag(number, LENGTH_PREFIXED), varintBytes(BigInt(body.length)), body]);
}

/** Negative numbers take ten bytes, as int32, int64 and enum fields have them. */
export function varint(number: number, value: bigint | number): Buffer {
  return Buffer.concat([tag(number, VARINT), varintBytes(BigInt(value))]);
}

/** Also sfixed64: negative numbers in two's complement. */
export function fixed64(number: number, value: bigint): Buffer {
  return Buffer.concat([tag(number, FIXED64), fixed64Bytes(value)]);
}

export function double(number: number, value: number): Buffer {
  return Buffer.concat([tag(number, FIXED64), doubleBytes(value)]);
}

export function fixed32(number: number, value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return Buffer.concat([tag(number, FIXED32), bytes]);
}

export function varintBytes(value: bigint): Buffer {
  const bytes: number[] = [];
  let rest = BigInt.asUintN(64, value);
  for (; rest > 0x7fn; rest >>= 7n) bytes.push(Number(rest & 0x7fn) | 0x80);
  return Buffer.from([...bytes, Number(rest)]);
}

export function fixed64Bytes(value: bigint): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(BigInt.asUintN(64, value));
  return bytes;
}

export function doubleBytes(value: number): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeDoubleLE(value);
  return bytes;
}

/** `AnyValue`s; `empty` has none of its fields. */
export const any = {
  empty: Buffer.alloc(0),
  string: (value: Content) => field(1, value),
  bool: (value: boolean) => varint(2, value ? 1 : 0),
  int: (value: bigint | number) => varint(3, value),
  double: (value: number) => double(4, value),
  array: (...values: readonly Uint8Array[]) => field(5, ...values.map((value) => field(1, value))),
  kvlist: (...entries: readonly (readonly [Content, Uint8Array])[]) =>
    field(6, ...entries.map(([key, value]) => attribute(1, key, value))),
  bytes: (value: Uint8Array) => field(7, value),
} as const;

/** A `KeyValue` as the field of that number: 9 in spans, 6 in log records, 7, 9 or 1 in data points. */
export function attribute(number: number, key: Content, value: Uint8Array): Buffer {
  return field(number, field(1, key), field(2, value));
}

/** One resource, one scope and these records: the shape is the same for spans, log records and metrics. */
export function request(
  records: readonly Uint8Array[],
  { resource = Buffer.alloc(0), scope = Buffer.alloc(0) }: { resource?: Uint8Array; scope?: Uint8Array } = {},
): Buffer {
  return field(1, field(1, resource), field(2, field(1, scope), ...records.map((record) => field(2, record))));
}

const TRACE_ID = Buffer.from('5b8efff798038103d269b633813fc60c', 'hex');

/** The ids that OTLP demands of a span; equal numbers give equal ids. */
export function spanIds(number: number): Buffer {
  const spanId = Buffer.alloc(8);
  spanId.writeUInt32BE(0xeee1_9b7e);
  spanId.writeUInt32BE(number, 4);
  return Buffer.concat([field(1, TRACE_ID), field(2, spanId)]);
}

function tag(number: number, wireType: number): Buffer {
  return varintBytes(BigInt((number << 3) | wireType));
}

function join(contents: readonly Content[]): Buffer {
  return Buffer.concat(contents.map((content) => (typeof content === 'string' ? Buffer.from(content) : content)));
}
