/**
 * Reads a body of SDK span JSON: `{"trace_id":…,"spans":[{"span_id":…,"name":…,…}]}`. Of a key that occurs twice the
 * last value counts, null is as good as missing, and unknown keys are passed over.
 */
import { setImmediate } from 'node:timers/promises';
import { InvalidDataError } from '../../errors.ts';
import { Faults, found } from './faults.ts';
import { DURATION_FORM, parseDuration, parseTime, TIME_FORM, type GivenTimes } from './times.ts';
import { JSON_BYTE, ValueWriter, type ValueLimits } from './value_writer.ts';

export interface SdkLimits extends ValueLimits {
  readonly max_spans: number;
}

/** A span is read back from the wire in one go; so many values take it some 20 ms, during which nobody else is served. */
export const DEFAULT_SDK_LIMITS: SdkLimits = { max_spans: 500, max_nodes: 500_000, max_depth: 64 };

const KINDS = ['request', 'llm', 'tool', 'firewall', 'detector', 'other'] as const;
const STATUSES = ['ok', 'blocked', 'error'] as const;

export type SdkKind = (typeof KINDS)[number];
type SdkStatus = (typeof STATUSES)[number];

/** Bounds in `SdkRequest.wire`. */
export interface WireRange {
  readonly from: number;
  readonly to: number;
}

export interface SdkSpan extends GivenTimes {
  readonly kind: SdkKind;
  readonly status: SdkStatus | undefined;
  /** The field `name` of OTLP's `Span`. */
  readonly name: WireRange;
  /** The field `message` of OTLP's `Status`. */
  readonly statusMessage: WireRange;
  /** The fields `attributes` of OTLP's `Span`. */
  readonly attributes: WireRange;
}

export interface SdkRequest {
  readonly traceId: string;
  readonly spans: readonly SdkSpan[];
  /** Fields of spans in OTLP protobuf form: those that may be long are never made objects. */
  readonly wire: Uint8Array;
}

/**
 * Reads the body in slices, between which other requests run.
 * @throws InvalidDataError that names the first faults by their fields, or the limit that the body is beyond
 */
export async function parseSdkSpans(json: Uint8Array, limits: SdkLimits): Promise<SdkRequest> {
  const parser = new Parser(json, limits);
  const slices = parser.request();
  let slice = slices.next();
  for (; slice.done !== true; slice = slices.next()) await setImmediate();
  return slice.value;
}

/** Tags of OTLP's `Span.name`, `Span.attributes` and `Status.message`. */
const NAME = 0x2a;
const ATTRIBUTES = 0x4a;
const STATUS_MESSAGE = 0x12;

/** 1 to 128 characters that can be seen or are spaces. U+FFFD stands for what was none. */
const ID = /^[^\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}\uFFFD]{1,128}$/u;
const ID_FORM = 'must be text of 1 to 128 printable characters';

/** No valid id, time or name of a kind is as long. */
const MAX_SHORT_TEXT = 1024;

const NOTHING: WireRange = { from: 0, to: 0 };

/** What is read of a span. Faulty fields keep what they had: the request is refused in the end. */
interface Draft {
  spanId: string;
  parentSpanId: string | undefined;
  kind: SdkKind;
  status: SdkStatus | undefined;
  startNs: bigint | undefined;
  endNs: bigint | undefined;
  durationNs: bigint | undefined;
  name: WireRange;
  statusMessage: WireRange;
  attributes: WireRange;
}

class Parser {
  private readonly values: ValueWriter;
  private readonly faults = new Faults();
  private readonly limits: SdkLimits;
  private traceId = '';
  private spans: Draft[] = [];

  constructor(json: Uint8Array, limits: SdkLimits) {
    this.values = new ValueWriter(json, limits);
    this.limits = limits;
  }

  *request(): Generator<void, SdkRequest> {
    const { tokens } = this.values;
    if (tokens.peek() !== JSON_BYTE.openObject) throw tokens.syntaxError('a request is a JSON object; expected "{"');
    yield* this.object('', ['trace_id', 'spans'], (key, path) => this.requestField(key, path));
    if (tokens.peek() !== -1) throw tokens.syntaxError('text behind the end of the request');
    this.faults.throwIfAny();
    return { traceId: this.traceId, spans: this.spans, wire: this.values.out.bytes() };
  }

  /** Reads an object, which is next and must give these keys a value. */
  private *object(
    prefix: string,
    required: readonly string[],
    read: (key: string, path: string) => Generator<void>,
  ): Generator<void> {
    const { values } = this;
    const { tokens } = values;
    const missing = new Set(required);
    for (const _ of values.members(JSON_BYTE.closeObject)) {
      if (tokens.peek() !== JSON_BYTE.quote) throw tokens.syntaxError('expected a key');
      const key = this.shortText();
      tokens.expect(JSON_BYTE.colon);
      values.path = `${prefix}${key}`;
      if (tokens.peek() === JSON_BYTE.n) yield* values.skip();
      else {
        missing.delete(key);
        yield* read(key, values.path);
      }
    }
    for (const key of missing) this.faults.add(`${prefix}${key}`, 'is required');
  }

  private *requestField(key: string, path: string): Generator<void> {
    if (key === 'trace_id') this.traceId = (yield* this.id(path)) ?? this.traceId;
    else if (key === 'spans') yield* this.spanList(path);
    else yield* this.values.skip();
  }

  private *spanList(path: string): Generator<void> {
    const { tokens } = this.values;
    this.spans = [];
    if (tokens.peek() !== JSON_BYTE.openArray) {
      yield* this.wrong(path, 'must be a list of spans');
      return;
    }
    for (const index of this.values.members(JSON_BYTE.closeArray)) {
      if (index === this.limits.max_spans) {
        throw new InvalidDataError(`spans: more than max_spans (${this.limits.max_spans}) in one request`);
      }
      yield* this.span(`spans[${index}]`);
    }
  }

  private *span(path: string): Generator<void> {
    const { values } = this;
    values.path = path;
    values.node();
    if (values.tokens.peek() !== JSON_BYTE.openObject) {
      yield* this.wrong(path, 'must be an object');
      return;
    }
    const draft = newDraft();
    this.spans.push(draft);
    yield* this.object(`${path}.`, ['span_id', 'name'], (key, at) => this.spanField(draft, key, at));
  }

  private *spanField(draft: Draft, key: string, path: string): Generator<void> {
    switch (key) {
      case 'span_id':
        draft.spanId = (yield* this.id(path)) ?? draft.spanId;
        return;
      case 'parent_span_id':
        draft.parentSpanId = yield* this.parentId(path);
        return;
      case 'name':
        draft.name = yield* this.longText(path, NAME);
        if (draft.name.to - draft.name.from === EMPTY_FIELD_BYTES) this.faults.add(path, 'must not be empty');
        return;
      case 'kind':
        draft.kind = (yield* this.oneOf(path, KINDS)) ?? draft.kind;
        return;
      case 'start_time':
        draft.startNs = yield* this.time(path);
        return;
      case 'end_time':
        draft.endNs = yield* this.time(path);
        return;
      case 'duration_ms':
        draft.durationNs = yield* this.duration(path);
        return;
      case 'attributes':
        draft.attributes = yield* this.attributes(path);
        return;
      case 'status':
        draft.status = yield* this.oneOf(path, STATUSES);
        return;
      case 'status_message':
        draft.statusMessage = yield* this.longText(path, STATUS_MESSAGE);
        return;
      default:
        yield* this.values.skip();
    }
  }

  private *id(path: string): Generator<void, string | undefined> {
    return yield* this.checked(path, ID_FORM, (text) => (ID.test(text) ? text : undefined));
  }

  /** An empty one is none, as in OTLP. */
  private *parentId(path: string): Generator<void, string | undefined> {
    const id = yield* this.checked(path, ID_FORM, (text) => (text === '' || ID.test(text) ? text : undefined));
    return id === '' ? undefined : id;
  }

  private *oneOf<T extends string>(path: string, allowed: readonly T[]): Generator<void, T | undefined> {
    return yield* this.checked(path, `must be one of ${allowed.join(', ')}`, (text) =>
      allowed.find((value) => value === text),
    );
  }

  private *time(path: string): Generator<void, bigint | undefined> {
    return yield* this.checked(path, `must be ${TIME_FORM}`, parseTime);
  }

  private *checked<T>(
    path: string,
    form: string,
    parse: (text: string) => T | undefined,
  ): Generator<void, T | undefined> {
    if (this.values.tokens.peek() !== JSON_BYTE.quote) {
      yield* this.wrong(path, form);
      return undefined;
    }
    const text = this.shortText();
    const value = parse(text);
    if (value === undefined) this.faults.add(path, `${form}; ${found(text)}`);
    return value;
  }

  private *duration(path: string): Generator<void, bigint | undefined> {
    const { tokens } = this.values;
    const form = `must be ${DURATION_FORM}`;
    if (typeof KIND_NAMES[tokens.peek()] === 'string') {
      yield* this.wrong(path, form);
      return undefined;
    }
    tokens.number();
    const text = tokens.numberText();
    const duration = parseDuration(text);
    if (duration === undefined) this.faults.add(path, `${form}; found ${text.slice(0, 40)}`);
    return duration;
  }

  private *longText(path: string, tag: number): Generator<void, WireRange> {
    const { values } = this;
    if (values.tokens.peek() !== JSON_BYTE.quote) {
      yield* this.wrong(path, 'must be text');
      return NOTHING;
    }
    const from = values.out.pos;
    yield* values.text(tag);
    return { from, to: values.out.pos };
  }

  private *attributes(path: string): Generator<void, WireRange> {
    const { values } = this;
    if (values.tokens.peek() !== JSON_BYTE.openObject) {
      yield* this.wrong(path, 'must be an object');
      return NOTHING;
    }
    const from = values.out.pos;
    yield* values.entries(ATTRIBUTES);
    return { from, to: values.out.pos };
  }

  /** Notes that a value is of the wrong kind, and passes it. */
  private *wrong(path: string, form: string): Generator<void> {
    this.faults.add(path, `${form}; found ${KIND_NAMES[this.values.tokens.peek()] ?? 'a number'}`);
    yield* this.values.skip();
  }

  /** Reads a string, which is next; one that is too long for anything is cut. */
  private shortText(): string {
    const { tokens } = this.values;
    const at = tokens.pos;
    if (tokens.plainString()) {
      return tokens.bytes.toString('utf8', tokens.start, Math.min(tokens.end, tokens.start + MAX_SHORT_TEXT));
    }
    tokens.pos = at;
    return tokens.string().slice(0, MAX_SHORT_TEXT);
  }
}

/** A tag and a length of zero. */
const EMPTY_FIELD_BYTES = 2;

/** What begins with this byte; a number begins with none of them. */
const KIND_NAMES: Readonly<Record<number, string>> = {
  [JSON_BYTE.quote]: 'text',
  [JSON_BYTE.openObject]: 'an object',
  [JSON_BYTE.openArray]: 'a list',
  [JSON_BYTE.t]: 'true',
  [JSON_BYTE.f]: 'false',
  [JSON_BYTE.n]: 'null',
};

function newDraft(): Draft {
  return {
    spanId: '',
    parentSpanId: undefined,
    kind: 'other',
    status: undefined,
    startNs: undefined,
    endNs: undefined,
    durationNs: undefined,
    name: NOTHING,
    statusMessage: NOTHING,
    attributes: NOTHING,
  };
}
