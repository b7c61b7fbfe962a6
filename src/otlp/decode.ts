/**
 * Reads an OTLP export request in protobuf form into a batch of views over its bytes. A body that is not such a message
 * is refused whole; a record that is whole but invalid (its ids, its value) is left out and counted, so that one bad
 * record never costs its neighbours.
 */
import { setImmediate } from 'node:timers/promises';
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

/** What a signal's requests are made of. */
interface RecordOf {
  traces: Span;
  logs: LogRecord;
  metrics: Metric;
}

type Records = RecordOf[Signal];

interface Grammar<S extends Signal> {
  /** Reads one record; undefined leaves it out. */
  read(reader: Reader, end: number, rejections: Rejections): RecordOf[S] | undefined;
  batch(envelope: Envelope, resources: ResourceGroup<RecordOf[S]>[]): Batches[S];
}

type Envelope = Pick<DecodeContext, 'tenant' | 'receivedAtMs'>;

function tooLarge(what: string, { max_record_bytes, max_record_nodes }: ShapeLimits): string {
  return (
    `${what} is larger than max_record_bytes (${max_record_bytes}), or has more than max_record_nodes ` +
    `(${max_record_nodes}) attributes, values, events and links; set limits for them in the SDK`
  );
}

/** Reads a record; undefined for one that is too large, which is left out. */
function readModest<R extends Span | LogRecord>(
  type: { read(reader: Reader, end: number): R },
  reader: Reader,
  end: number,
  rejections: Rejections,
): R | undefined {
  const { pos, nodes, limits } = reader;
  if (end - pos <= limits.max_record_bytes) {
    const record = type.read(reader, end);
    if (reader.nodes - nodes <= limits.max_record_nodes) return record;
  } else {
    reader.record();
    reader.pos = end;
  }
  rejections.add(1, tooLarge('the record', limits));
  return undefined;
}

const spans: Grammar<'traces'> = {
  batch: (envelope, resources) => ({ signal: 'traces', ...envelope, resources }),
  read(reader, end, rejections) {
    const span = readModest(Span, reader, end, rejections);
    if (span === undefined) return undefined;
    const fault = invalidSpan(span);
    if (fault === undefined) return span;
    rejections.add(1, fault);
    return undefined;
  },
};

const logRecords: Grammar<'logs'> = {
  batch: (envelope, resources) => ({ signal: 'logs', ...envelope, resources }),
  read(reader, end, rejections) {
    const record = readModest(LogRecord, reader, end, rejections);
    return record && withValidIds(record, reader.limits, rejections);
  },
};

const metrics: Grammar<'metrics'> = {
  batch: (envelope, resources) => ({ signal: 'metrics', ...envelope, resources }),
  read(reader, end, rejections) {
    const metric = Metric.read(reader, end);
    metric.points = validPoints(metric, rejections);
    return metric;
  },
};

const GRAMMARS: { readonly [S in Signal]: Grammar<S> } = { traces: spans, logs: logRecords, metrics };

/** How many bytes, or messages in them, are read before other requests have the event loop. */
const SLICE = { bytes: 4_194_304, nodes: 131_072 } as const;

/**
 * Decodes a request. The views keep `bytes` alive and rely on it never changing. A long one is read in slices, between
 * which other requests run; a short one at one go.
 * @throws InvalidDataError when the body is not a request of this signal, or is beyond a limit.
 */
export async function decodeInSlices<S extends Signal>(
  signal: S,
  bytes: Uint8Array,
  context: DecodeContext,
): Promise<Decoded<S>> {
  const reading = open(signal, bytes, context);
  while (!advance(reading)) await setImmediate();
  const { reader } = reading;
  // What comes next of a long request would come on top of its last slice.
  if (reader.pos > SLICE.bytes || reader.nodes > SLICE.nodes) await setImmediate();
  return decoded(reading, context);
}

/** The same at one go, however long it is. */
export function decodeRequest<S extends Signal>(signal: S, bytes: Uint8Array, context: DecodeContext): Decoded<S> {
  const reading = open(signal, bytes, context);
  while (!advance(reading));
  return decoded(reading, context);
}

function open<S extends Signal>(signal: S, bytes: Uint8Array, { limits }: DecodeContext): Reading<S> {
  return {
    signal,
    grammar: GRAMMARS[signal],
    reader: new Reader(bytes, limits),
    rejections: new Rejections(),
    groups: [],
    resource: undefined,
    scope: undefined,
  };
}

function decoded<S extends Signal>(reading: Reading<S>, { tenant, receivedAtMs }: DecodeContext): Decoded<S> {
  const { grammar, groups, rejections } = reading;
  return { batch: grammar.batch({ tenant, receivedAtMs }, groups), rejections };
}

/**
 * Reads a slice more; true at the end. No closure may hold what is read: an error keeps the functions alive that it came
 * through, and with them all that a refused request had made.
 */
function advance<S extends Signal>(reading: Reading<S>): boolean {
  try {
    return readSlice(reading);
  } catch (error) {
    if (!(error instanceof MalformedError)) throw error;
    const { signal, reader } = reading;
    const message = `not a valid OTLP ${signal} request: ${error.message}${hint(reader.bytes)}`;
    throw new InvalidDataError(message, { cause: error });
  }
}

/** What senders mistake for a request in protobuf form most often. */
function hint([first, second]: Uint8Array): string {
  if (first === 0x1f && second === 0x8b) return '; it looks like gzip: is the header Content-Encoding missing?';
  if (first === 0x7b) return '; it looks like JSON, which is sent with Content-Type: application/json';
  return '';
}

/** How far a request is read. */
interface Reading<S extends Signal> {
  readonly signal: S;
  readonly grammar: Grammar<S>;
  readonly reader: Reader;
  readonly rejections: Rejections;
  readonly groups: ResourceGroup<RecordOf[S]>[];
  /** What is open: the scope lies in the resource. */
  resource: OpenResource<RecordOf[S]> | undefined;
  scope: OpenScope<RecordOf[S]> | undefined;
}

interface OpenResource<R extends Records> {
  readonly start: number;
  readonly end: number;
  readonly heads: Resource[];
  readonly scopes: ScopeGroup<R>[];
  schemaUrl: string;
  hasLegacy: boolean;
  /** Set while it is read once more, for its scopes in the old spelling. */
  isLegacy: boolean;
}

interface OpenScope<R extends Records> {
  readonly end: number;
  readonly heads: Scope[];
  readonly records: R[];
  schemaUrl: string;
}

function readSlice<S extends Signal>(reading: Reading<S>): boolean {
  const { reader } = reading;
  const lastPos = reader.pos + SLICE.bytes;
  const lastNode = reader.nodes + SLICE.nodes;
  while (reader.pos < lastPos && reader.nodes < lastNode) {
    if (reading.scope !== undefined) readInScope(reading, reading.scope);
    else if (reading.resource !== undefined) readInResource(reading, reading.resource);
    else if (reader.pos < reader.bytes.length) readInRequest(reading);
    else return true;
  }
  return false;
}

function readInRequest<S extends Signal>(reading: Reading<S>): void {
  const { reader } = reading;
  const tag = reader.tag(reader.bytes.length);
  if (tag === RESOURCE_GROUP) openResource(reading, reader.fieldEnd(reader.bytes.length));
  else reader.skipValue(tag, reader.bytes.length);
}

function openResource<S extends Signal>(reading: Reading<S>, end: number): void {
  const { reader } = reading;
  reader.group();
  const empty = { heads: [], scopes: [], schemaUrl: '', hasLegacy: false, isLegacy: false };
  reading.resource = { start: reader.pos, end, ...empty };
}

function readInResource<S extends Signal>(reading: Reading<S>, resource: OpenResource<RecordOf[S]>): void {
  const { reader } = reading;
  const { end, heads } = resource;
  if (reader.pos === end) {
    closeResource(reading, resource);
    return;
  }
  const tag = reader.tag(end);
  if (tag === (resource.isLegacy ? LEGACY_SCOPE_GROUP : GROUP.member)) openScope(reading, reader.fieldEnd(end));
  else if (resource.isLegacy) reader.skipValue(tag, end);
  else if (tag === GROUP.head) heads.push(readHead(Resource, heads, reader, end));
  else if (tag === GROUP.schemaUrl) resource.schemaUrl = readText(reader, end);
  else {
    resource.hasLegacy ||= tag === LEGACY_SCOPE_GROUP;
    reader.skipValue(tag, end);
  }
}

/** Where both spellings of scopes occur, the old one repeats the new one and is left out. */
function closeResource<S extends Signal>(reading: Reading<S>, resource: OpenResource<RecordOf[S]>): void {
  const { reader } = reading;
  if (resource.hasLegacy && !resource.isLegacy && resource.scopes.length === 0) {
    resource.isLegacy = true;
    reader.pos = resource.start;
    return;
  }
  const { heads, schemaUrl, scopes } = resource;
  reading.groups.push({ resource: merged(Resource, heads, reader), schemaUrl, scopes });
  reading.resource = undefined;
}

function openScope<S extends Signal>(reading: Reading<S>, end: number): void {
  reading.reader.group();
  reading.scope = { end, heads: [], records: [], schemaUrl: '' };
}

function readInScope<S extends Signal>(reading: Reading<S>, scope: OpenScope<RecordOf[S]>): void {
  const { grammar, reader, rejections } = reading;
  const { end, heads, records } = scope;
  if (reader.pos === end) {
    reading.resource?.scopes.push({ scope: merged(Scope, heads, reader), schemaUrl: scope.schemaUrl, records });
    reading.scope = undefined;
    return;
  }
  const tag = reader.tag(end);
  if (tag === GROUP.head) heads.push(readHead(Scope, heads, reader, end));
  else if (tag === GROUP.member) {
    const record = grammar.read(reader, reader.fieldEnd(end), rejections);
    if (record !== undefined) records.push(record);
  } else if (tag === GROUP.schemaUrl) scope.schemaUrl = readText(reader, end);
  else reader.skipValue(tag, end);
}

/** `Resource` or `Scope`. */
interface HeadType<T> {
  new (bytes: Uint8Array, start: number, end: number): T;
  read(reader: Reader, end: number): T;
}

function readHead<T>(type: HeadType<T>, before: readonly T[], reader: Reader, end: number): T {
  if (before.length > 0) reader.group();
  const { nodes } = reader;
  const head = type.read(reader, modestEnd(reader, end));
  if (reader.nodes - nodes > reader.limits.max_record_nodes) throw headTooLarge(reader);
  return head;
}

function modestEnd(reader: Reader, end: number): number {
  const fieldEnd = reader.fieldEnd(end);
  if (fieldEnd - reader.pos > reader.limits.max_record_bytes) throw headTooLarge(reader);
  return fieldEnd;
}

/** Every record below it would go with it, so the request does. */
function headTooLarge({ limits }: Reader): MalformedError {
  return new MalformedError(tooLarge('a resource or scope', limits));
}

/** Protobuf merges a message field that occurs twice, which is what reading both, one behind the other, does. */
function merged<T extends Resource | Scope>(type: HeadType<T>, heads: readonly T[], reader: Reader): T {
  const [first = new type(reader.bytes, 0, 0), ...more] = heads;
  if (more.length === 0) return first;
  const joined = Buffer.concat(heads.map(({ bytes, start, end }) => bytes.subarray(start, end)));
  return type.read(new Reader(joined, reader.limits), joined.length);
}
