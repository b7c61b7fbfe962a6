/** Reads a row in binary COPY format back to values, for people to look at. */
import { rowFormat } from './formats.ts';
import { fieldsOf } from './row_pieces.ts';

/** By column, in the order of the format. Times are ISO text with microseconds; integers beyond 2^53 are decimal text. */
export type RowValues = Readonly<Record<string, unknown>>;

type Decode = (field: Buffer) => unknown;

/** Microseconds from 1970 to 2000, where PostgreSQL counts from. */
const POSTGRES_EPOCH_US = 946_684_800_000_000n;

/** Columns of all formats by their type; those that are not named here are text. */
const COLUMNS_OF_TYPE: readonly (readonly [decode: Decode, columns: readonly string[]])[] = [
  [json, ['events', 'links', 'resource', 'scope_attributes', 'body_json', 'buckets', 'exemplars', 'metadata']],
  // A version byte stands before the text.
  [(field) => json(field.subarray(1)), ['attributes']],
  [time, ['started_at', 'ended_at', 'received_at', 'ts', 'observed_at', 'start_at']],
  [smallint, ['kind', 'status_code', 'severity_number', 'temporality']],
  [smallint, ['started_ns_rest', 'ts_ns_rest', 'observed_ns_rest', 'start_ns_rest']],
  [bigint, ['duration_ns', 'flags', 'value_int']],
  [bigint, ['dropped_attributes_count', 'dropped_events_count', 'dropped_links_count']],
  [bigint, ['resource_dropped_attributes_count', 'scope_dropped_attributes_count']],
  [(field) => field.readDoubleBE(), ['adjusted_count', 'value_double', 'sum', 'min', 'max']],
  [numeric, ['count']],
  [(field) => field[0] === 1, ['is_monotonic']],
];

const DECODERS: ReadonlyMap<string, Decode> = new Map(
  COLUMNS_OF_TYPE.flatMap(([decode, columns]) => columns.map((column) => [column, decode] as const)),
);

/** Undefined where the format is unknown or the bytes are no row of it. */
export function decodeRow(format: string, bytes: Uint8Array): RowValues | undefined {
  const columns = rowFormat(format)?.columns ?? [];
  const fields = fieldsOf(bytes);
  if (fields === undefined || fields.length !== columns.length) return undefined;
  return Object.fromEntries(columns.map((column, i) => [column, decodeField(column, fields[i])]));
}

/** What is not as its type wants it, perhaps the very reason why the row was refused, is shown as it lies there. */
function decodeField(column: string, field: Uint8Array | undefined): unknown {
  if (field === undefined) return null;
  const bytes = Buffer.from(field.buffer, field.byteOffset, field.byteLength);
  const decode = DECODERS.get(column);
  if (decode === undefined) return bytes.toString('utf8');
  try {
    return decode(bytes);
  } catch {
    return `\\x${bytes.toString('hex')}`;
  }
}

function smallint(field: Buffer): number {
  return field.readInt16BE();
}

function bigint(field: Buffer): number | string {
  return shortest(field.readBigInt64BE());
}

/** A whole number without sign: base-10000 digits behind count, weight, sign and scale (numeric_send in PostgreSQL). */
function numeric(field: Buffer): number | string {
  const digits = field.readUInt16BE(0);
  const weight = field.readInt16BE(2);
  let value = 0n;
  for (let i = 0; i <= weight; i++) value = value * 10_000n + BigInt(i < digits ? field.readUInt16BE(8 + 2 * i) : 0);
  return shortest(value);
}

function shortest(value: bigint): number | string {
  const number = Number(value);
  return Number.isSafeInteger(number) ? number : String(value);
}

function time(field: Buffer): string {
  const micros = field.readBigInt64BE() + POSTGRES_EPOCH_US;
  const rest = ((micros % 1_000_000n) + 1_000_000n) % 1_000_000n;
  const second = new Date(Number((micros - rest) / 1000n)).toISOString().replace('.000Z', '');
  return `${second}.${String(rest).padStart(6, '0')}Z`;
}

function json(field: Buffer): unknown {
  return JSON.parse(field.toString('utf8'), (_key, value: unknown, { source = '' }: { source?: string } = {}) =>
    typeof value === 'number' && !Number.isSafeInteger(value) && /^-?\d+$/.test(source) ? source : value,
  );
}
