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
import { Rejections } from './rejections.ts';
import { invalidLog, invalidSpan, validPoints } from './validate.ts';

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
  read(reader, end, rejections) {
    const log = LogRecord.read(reader, end);
    const fault = invalidLog(log);
    if (fault === undefined) return log;
    rejections.add(1, fault);
    return undefined;
  },
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
  const resources = guard(signal, () => readRequest(signal, new Reader(bytes, context.limits), rejections));
  const { tenant, receivedAtMs } = context;
  return { batch: { signal, tenant, receivedAtMs, resources } as unknown as Batches[S], rejections };
}

function guard<T>(signal: Signal, read: () => T): T {
  try {
    return read();
  } catch (error) {
    if (!(error instanceof MalformedError)) throw error;
    throw new InvalidDataError(`not an OTLP ${signal} request in protobuf: ${error.message}`, { cause: error });
  }
}

function readRequest(signal: Signal, reader: Reader, rejections: Rejections): ResourceGroup<Records>[] {
  switch (signal) {
    case 'traces':
      return readGroups(spans, reader, rejections);
    case 'logs':
      return readGroups(logRecords, reader, rejections);
    default:
      return readGroups(metrics, reader, rejections);
  }
}

function readGroups<R extends Records>(grammar: Grammar<R>, reader: Reader, rejections: Rejections): ResourceGroup<R>[] {
  const groups: ResourceGroup<R>[] = [];
  const end = reader.bytes.length;
  while (reader.pos < end) {
    const tag = reader.tag(end);
    if (tag === RESOURCE_GROUP) groups.push(readResourceGroup(grammar, reader, reader.fieldEnd(end), rejections));
    else reader.skip(tag, end);
  }
  return groups;
}

function readResourceGroup<R extends Records>(
  grammar: Grammar<R>,
  reader: Reader,
  end: number,
  rejections: Rejections,
): ResourceGroup<R> {
  reader.node();
  let resource: Resource | undefined;
  let schemaUrl = '';
  const scopes: ScopeGroup<R>[] = [];
  const legacy: ScopeGroup<R>[] = [];
  while (reader.pos < end) {
    const tag = reader.tag(end);
    if (tag === GROUP.head) resource = merge(resource, Resource.read(reader, reader.fieldEnd(end)), Resource.read);
    else if (tag === GROUP.member) scopes.push(readScopeGroup(grammar, reader, reader.fieldEnd(end), rejections));
    else if (tag === GROUP.schemaUrl) schemaUrl = readText(reader, end);
    else if (tag === LEGACY_SCOPE_GROUP) {
      legacy.push(readScopeGroup(grammar, reader, reader.fieldEnd(end), rejections));
    } else reader.skip(tag, end);
  }
  return { resource: resource ?? new Resource(reader.bytes, 0, 0), schemaUrl, scopes: scopes.length > 0 ? scopes : legacy };
}

function readScopeGroup<R extends Records>(
  grammar: Grammar<R>,
  reader: Reader,
  end: number,
  rejections: Rejections,
): ScopeGroup<R> {
  reader.node();
  let scope: Scope | undefined;
  let schemaUrl = '';
  const records: R[] = [];
  while (reader.pos < end) {
    const tag = reader.tag(end);
    if (tag === GROUP.head) scope = merge(scope, Scope.read(reader, reader.fieldEnd(end)), Scope.read);
    else if (tag === GROUP.member) {
      const record = grammar.read(reader, reader.fieldEnd(end), rejections);
      if (record !== undefined) records.push(record);
    } else if (tag === GROUP.schemaUrl) schemaUrl = readText(reader, end);
    else reader.skip(tag, end);
  }
  return { scope: scope ?? new Scope(reader.bytes, 0, 0), schemaUrl, records };
}

/** Protobuf merges a message field that occurs twice, which is what reading both, one behind the other, does. */
function merge<T extends Resource | Scope>(
  first: T | undefined,
  second: T,
  read: (reader: Reader, end: number) => T,
): T {
  if (first === undefined) return second;
  const joined = Buffer.concat([
    first.bytes.subarray(first.start, first.end),
    second.bytes.subarray(second.start, second.end),
  ]);
  return read(new Reader(joined), joined.length);
}
