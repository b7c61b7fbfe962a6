/**
 * Reads an OTLP export request in protobuf form into a batch of views over its bytes. A body that is not such a message
 * is refused whole; a record that is whole but invalid (its ids, its value) is left out and counted, so that one bad
 * record never costs its neighbours.
 */
import { InvalidDataError } from '../errors.ts';
import type { Batches, ResourceGroup, ScopeGroup, Signal } from '../model/batch.ts';
import { LogRecord } from '../model/logs.ts';
import { Metric } from '../model/metrics.ts';
import { readText, Resource, Scope } from '../model/resource.ts';
import type { Tenant } from '../model/tenant.ts';
import { Span } from '../model/traces.ts';
import { MalformedError, Reader, type ShapeLimits } from '../model/wire.ts';
import { withValidIds } from './log_ids.ts';
import { Rejections } from './rejections.ts';
import { invalidSpan, validPoints } from './validate.ts';

/** Tags that requests of the three signals share. */
const RESOURCE_GROUP = 0x0a;
const GROUP = { head: 0x0a, member: 0x12, schemaUrl: 0x1a } as const;

/** `instrumentation_library_spans` and its like, from before OTLP 0.19: field 1000, the shape of `scope_spans`. */
const LEGACY_SCOPE_GROUP = (1000 << 3) | 2;

export interface Decoded<S extends Signal> {
  readonly batch: Batches[S];
  readonly rejections: Rejections;
}

export interface DecodeContext {
  readonly tenant: Tenant;
  readonly receivedAtMs: number;
  readonly limits: ShapeLimits;
}

type Records = Span | LogRecord | Metric;

interface Grammar<R extends Records> {
  /** Reads one record; undefined leaves it out. */
  read(reader: Reader, end: number, rejections: Rejections): R | undefined;
}

const spans: Grammar<Span> = {
  read(reader, end, rejections) {
    const span = Span.read(reader, end);
    const fault = invalidSpan(span);
    if (fault === undefined) return span;
    rejections.add(1, fault);
    return undefined;
  },
};

const logRecords: Grammar<LogRecord> = {
  read: (reader, end, rejections) => withValidIds(LogRecord.read(reader, end), reader.limits, rejections),
};

const metrics: Grammar<Metric> = {
  read(reader, end, rejections) {
    const metric = Metric.read(reader, end);
    metric.points = validPoints(metric, rejections);
    return metric;
  },
};

/**
 * Decodes a request. The views keep `bytes` alive and rely on it never changing.
 * @throws InvalidDataError when the body is not a request of this signal, or is beyond a limit.
 */
export function decodeRequest<S extends Signal>(signal: S, bytes: Uint8Array, context: DecodeContext): Decoded<S> {
  const rejections = new Rejections();
  const read = READERS[signal];
  const { tenant, receivedAtMs, limits } = context;
  const batch = guard(signal, bytes, () => read({ tenant, receivedAtMs }, new Reader(bytes, limits), rejections));
  return { batch, rejections };
}

type Envelope = Pick<DecodeContext, 'tenant' | 'receivedAtMs'>;

const READERS: { readonly [S in Signal]: (envelope: Envelope, reader: Reader, rejections: Rejections) => Batches[S] } =
  {
    traces: (envelope, ...input) => ({ signal: 'traces', ...envelope, resources: readGroups(spans, ...input) }),
    logs: (envelope, ...input) => ({ signal: 'logs', ...envelope, resources: readGroups(logRecords, ...input) }),
    metrics: (envelope, ...input) => ({ signal: 'metrics', ...envelope, resources: readGroups(metrics, ...input) }),
  };

function guard<T>(signal: Signal, bytes: Uint8Array, read: () => T): T {
  try {
    return read();
  } catch (error) {
    if (!(error instanceof MalformedError)) throw error;
    throw new InvalidDataError(`not a valid OTLP ${signal} request: ${error.message}${hint(bytes)}`, { cause: error });
  }
}

/** What senders mistake for a request in protobuf form most often. */
function hint([first, second]: Uint8Array): string {
  if (first === 0x1f && second === 0x8b) return '; it looks like gzip: is the header Content-Encoding missing?';
  if (first === 0x7b) return '; it looks like JSON, which is sent with Content-Type: application/json';
  return '';
}

function readGroups<R extends Records>(
  grammar: Grammar<R>,
  reader: Reader,
  rejections: Rejections,
): ResourceGroup<R>[] {
  const groups: ResourceGroup<R>[] = [];
  const end = reader.bytes.length;
  while (reader.pos < end) {
    const tag = reader.tag(end);
    if (tag === RESOURCE_GROUP) groups.push(readResourceGroup(grammar, reader, reader.fieldEnd(end), rejections));
    else reader.skipValue(tag, end);
  }
  return groups;
}

function readResourceGroup<R extends Records>(
  grammar: Grammar<R>,
  reader: Reader,
  end: number,
  rejections: Rejections,
): ResourceGroup<R> {
  reader.group();
  const start = reader.pos;
  const heads: Resource[] = [];
  let schemaUrl = '';
  let hasLegacy = false;
  const scopes: ScopeGroup<R>[] = [];
  while (reader.pos < end) {
    const tag = reader.tag(end);
    if (tag === GROUP.head) heads.push(readHead(Resource, heads, reader, end));
    else if (tag === GROUP.member) scopes.push(readScopeGroup(grammar, reader, reader.fieldEnd(end), rejections));
    else if (tag === GROUP.schemaUrl) schemaUrl = readText(reader, end);
    else {
      hasLegacy ||= tag === LEGACY_SCOPE_GROUP;
      reader.skipValue(tag, end);
    }
  }
  if (hasLegacy && scopes.length === 0) {
    reader.pos = start;
    readLegacyScopes(grammar, reader, end, rejections, scopes);
  }
  return { resource: merged(Resource, heads, reader), schemaUrl, scopes };
}

/** Where both spellings occur, the old one repeats the new one and is left out. */
function readLegacyScopes<R extends Records>(
  grammar: Grammar<R>,
  reader: Reader,
  end: number,
  rejections: Rejections,
  scopes: ScopeGroup<R>[],
): void {
  while (reader.pos < end) {
    const tag = reader.tag(end);
    if (tag !== LEGACY_SCOPE_GROUP) reader.skipValue(tag, end);
    else scopes.push(readScopeGroup(grammar, reader, reader.fieldEnd(end), rejections));
  }
}

function readScopeGroup<R extends Records>(
  grammar: Grammar<R>,
  reader: Reader,
  end: number,
  rejections: Rejections,
): ScopeGroup<R> {
  reader.group();
  const heads: Scope[] = [];
  let schemaUrl = '';
  const records: R[] = [];
  while (reader.pos < end) {
    const tag = reader.tag(end);
    if (tag === GROUP.head) heads.push(readHead(Scope, heads, reader, end));
    else if (tag === GROUP.member) {
      const record = grammar.read(reader, reader.fieldEnd(end), rejections);
      if (record !== undefined) records.push(record);
    } else if (tag === GROUP.schemaUrl) schemaUrl = readText(reader, end);
    else reader.skipValue(tag, end);
  }
  return { scope: merged(Scope, heads, reader), schemaUrl, records };
}

/** `Resource` or `Scope`. */
interface HeadType<T> {
  new (bytes: Uint8Array, start: number, end: number): T;
  read(reader: Reader, end: number): T;
}

function readHead<T>(type: HeadType<T>, before: readonly T[], reader: Reader, end: number): T {
  if (before.length > 0) reader.group();
  return type.read(reader, reader.fieldEnd(end));
}

/** Protobuf merges a message field that occurs twice, which is what reading both, one behind the other, does. */
function merged<T extends Resource | Scope>(type: HeadType<T>, heads: readonly T[], reader: Reader): T {
  const [first = new type(reader.bytes, 0, 0), ...more] = heads;
  if (more.length === 0) return first;
  const joined = Buffer.concat(heads.map(({ bytes, start, end }) => bytes.subarray(start, end)));
  return type.read(new Reader(joined, reader.limits), joined.length);
}
