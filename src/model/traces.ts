/** Spans: views over OTLP `Span` messages. Field numbers and meaning: opentelemetry-proto, trace/v1/trace.proto. */
import { Attributes } from './attributes.ts';
import { hex } from './ids.ts';
import type { Promoted } from './promoted.ts';
import { fixed32, fixed64, readUint32, skipField, text, type Cursor, type Reader } from './wire.ts';

/** Tags of `Span`. */
const SPAN = {
  traceId: 0x0a,
  spanId: 0x12,
  traceState: 0x1a,
  parentSpanId: 0x22,
  name: 0x2a,
  kind: 0x30,
  startTime: 0x39,
  endTime: 0x41,
  attributes: 0x4a,
  droppedAttributes: 0x50,
  events: 0x5a,
  droppedEvents: 0x60,
  links: 0x6a,
  droppedLinks: 0x70,
  status: 0x7a,
  flags: 0x85,
} as const;

const STATUS_MESSAGE = 0x12;
const STATUS_CODE = 0x18;

/**
 * One span. Numbers that end in `At` and `End` are offsets into `bytes`: writers copy from there without making
 * strings. An absent field has both offsets 0.
 */
export class Span {
  readonly bytes: Uint8Array;
  readonly start: number;
  readonly end: number;
  readonly attributes: Attributes;
  /**
   * Whether the ids are text (1 to 128 printable characters, in UTF-8) and not 16 and 8 bytes: those of the SDK span JSON
   * are. A span that replaces this one must have the same. As OTLP such ids are invalid; who forwards the span sends
   * the first 16 and 8 bytes of each id's SHA-256, or the bytes themselves of ids that are as many hex digits.
   */
  textIds = false;
  traceIdAt = 0;
  traceIdEnd = 0;
  spanIdAt = 0;
  spanIdEnd = 0;
  parentSpanIdAt = 0;
  parentSpanIdEnd = 0;
  traceStateAt = 0;
  traceStateEnd = 0;
  nameAt = 0;
  nameEnd = 0;
  /** As on the wire: 0 unspecified, 1 internal, 2 server, 3 client, 4 producer, 5 consumer. */
  kind = 0;
  /** Where the eight bytes of the time lie; 0 when it is absent. */
  startTimeAt = 0;
  endTimeAt = 0;
  droppedAttributesCount = 0;
  droppedEventsCount = 0;
  droppedLinksCount = 0;
  eventCount = 0;
  linkCount = 0;
  /** 0 unset, 1 ok, 2 error. */
  statusCode = 0;
  statusMessageAt = 0;
  statusMessageEnd = 0;
  flags = 0;
  /** What processors copied out for columns of their own. */
  promoted: Promoted | undefined = undefined;

  constructor(bytes: Uint8Array, start: number, end: number) {
    this.bytes = bytes;
    this.start = start;
    this.end = end;
    this.attributes = new Attributes(bytes, SPAN.attributes);
  }

  /** Checks the message that ends at `end`, with everything in it, and makes a view of it. */
  static read(reader: Reader, end: number): Span {
    const span = new Span(reader.bytes, reader.pos, end);
    reader.record();
    while (reader.pos < end) {
      const tagAt = reader.pos;
      const tag = reader.tag(end);
      switch (tag) {
        case SPAN.traceId:
          span.traceIdEnd = reader.fieldEnd(end);
          span.traceIdAt = reader.pos;
          reader.pos = span.traceIdEnd;
          break;
        case SPAN.spanId:
          span.spanIdEnd = reader.fieldEnd(end);
          span.spanIdAt = reader.pos;
          reader.pos = span.spanIdEnd;
          break;
        case SPAN.parentSpanId:
          span.parentSpanIdEnd = reader.fieldEnd(end);
          span.parentSpanIdAt = reader.pos;
          reader.pos = span.parentSpanIdEnd;
          break;
        case SPAN.traceState:
          span.traceStateEnd = reader.fieldEnd(end);
          span.traceStateAt = reader.pos;
          reader.pos = span.traceStateEnd;
          break;
        case SPAN.name:
          span.nameEnd = reader.fieldEnd(end);
          span.nameAt = reader.pos;
          reader.pos = span.nameEnd;
          break;
        case SPAN.kind:
          span.kind = reader.uint32(end);
          break;
        case SPAN.startTime:
          span.startTimeAt = reader.fixed(8, end);
          break;
        case SPAN.endTime:
          span.endTimeAt = reader.fixed(8, end);
          break;
        case SPAN.attributes:
          span.attributes.add(reader, tagAt, end);
          break;
        case SPAN.droppedAttributes:
          span.droppedAttributesCount = reader.uint32(end);
          break;
        case SPAN.events:
          checkEvent(reader, reader.fieldEnd(end));
          span.eventCount++;
          break;
        case SPAN.droppedEvents:
          span.droppedEventsCount = reader.uint32(end);
          break;
        case SPAN.links:
          checkLink(reader, reader.fieldEnd(end));
          span.linkCount++;
          break;
        case SPAN.droppedLinks:
          span.droppedLinksCount = reader.uint32(end);
          break;
        case SPAN.status:
          readStatus(span, reader, reader.fieldEnd(end));
          break;
        case SPAN.flags:
          span.flags = fixed32(reader.bytes, reader.fixed(4, end));
          break;
        default:
          reader.skipValue(tag, end);
      }
    }
    return span;
  }

  /** Lowercase hex, or the text of a text id. */
  get traceId(): string {
    return this.id(this.traceIdAt, this.traceIdEnd);
  }

  get spanId(): string {
    return this.id(this.spanIdAt, this.spanIdEnd);
  }

  get parentSpanId(): string {
    return this.id(this.parentSpanIdAt, this.parentSpanIdEnd);
  }

  private id(at: number, end: number): string {
    return this.textIds ? text(this.bytes, at, end) : hex(this.bytes, at, end);
  }

  get name(): string {
    return text(this.bytes, this.nameAt, this.nameEnd);
  }

  get startTimeUnixNano(): bigint {
    return this.startTimeAt === 0 ? 0n : fixed64(this.bytes, this.startTimeAt);
  }

  get endTimeUnixNano(): bigint {
    return this.endTimeAt === 0 ? 0n : fixed64(this.bytes, this.endTimeAt);
  }

  events(): Generator<SpanEvent> {
    return submessages(this, SPAN.events, (at, end) => new SpanEvent(this.bytes, at, end));
  }

  links(): Generator<SpanLink> {
    return submessages(this, SPAN.links, (at, end) => new SpanLink(this.bytes, at, end));
  }
}

/** `Status` may occur more than once: its fields then merge, the last of each counting. */
function readStatus(span: Span, reader: Reader, end: number): void {
  reader.node();
  while (reader.pos < end) {
    const tag = reader.tag(end);
    if (tag === STATUS_MESSAGE) {
      span.statusMessageEnd = reader.fieldEnd(end);
      span.statusMessageAt = reader.pos;
      reader.pos = span.statusMessageEnd;
    } else if (tag === STATUS_CODE) span.statusCode = reader.uint32(end);
    else reader.skipValue(tag, end);
  }
}

function* submessages<T>(span: Span, tag: number, view: (at: number, end: number) => T): Generator<T> {
  const cursor: Cursor = { at: span.start };
  while (cursor.at < span.end) {
    const found = readUint32(span.bytes, cursor);
    if (found === tag) {
      const end = readUint32(span.bytes, cursor) + cursor.at;
      yield view(cursor.at, end);
      cursor.at = end;
    } else skipField(span.bytes, found, cursor);
  }
}

const EVENT = { time: 0x09, name: 0x12, attributes: 0x1a, droppedAttributes: 0x20 } as const;
const LINK = {
  traceId: 0x0a,
  spanId: 0x12,
  traceState: 0x1a,
  attributes: 0x22,
  droppedAttributes: 0x28,
  flags: 0x35,
} as const;

function checkEvent(reader: Reader, end: number): void {
  checkWithAttributes(reader, end, EVENT.attributes);
}

function checkLink(reader: Reader, end: number): void {
  checkWithAttributes(reader, end, LINK.attributes);
}

function checkWithAttributes(reader: Reader, end: number, attributesTag: number): void {
  reader.node();
  const attributes = new Attributes(reader.bytes, attributesTag);
  while (reader.pos < end) {
    const tagAt = reader.pos;
    const tag = reader.tag(end);
    if (tag === attributesTag) attributes.add(reader, tagAt, end);
    else reader.skipValue(tag, end);
  }
}

/** An event of a span, in checked bytes. */
export class SpanEvent {
  readonly attributes: Attributes;
  timeUnixNano = 0n;
  name = '';
  droppedAttributesCount = 0;

  constructor(bytes: Uint8Array, start: number, end: number) {
    this.attributes = new Attributes(bytes, EVENT.attributes);
    this.attributes.from = start;
    this.attributes.to = end;
    const cursor: Cursor = { at: start };
    while (cursor.at < end) {
      const tag = readUint32(bytes, cursor);
      if (tag === EVENT.time) this.timeUnixNano = fixed64(bytes, cursor.at);
      else if (tag === EVENT.name) this.name = peekText(bytes, cursor.at);
      else if (tag === EVENT.droppedAttributes) this.droppedAttributesCount = peekUint32(bytes, cursor.at);
      else if (tag === EVENT.attributes) this.attributes.count++;
      skipField(bytes, tag, cursor);
    }
  }
}

/** A link of a span, in checked bytes. */
export class SpanLink {
  readonly attributes: Attributes;
  traceId = '';
  spanId = '';
  traceState = '';
  droppedAttributesCount = 0;
  flags = 0;

  constructor(bytes: Uint8Array, start: number, end: number) {
    this.attributes = new Attributes(bytes, LINK.attributes);
    this.attributes.from = start;
    this.attributes.to = end;
    const cursor: Cursor = { at: start };
    while (cursor.at < end) {
      const tag = readUint32(bytes, cursor);
      if (tag === LINK.traceId) this.traceId = peekHex(bytes, cursor.at);
      else if (tag === LINK.spanId) this.spanId = peekHex(bytes, cursor.at);
      else if (tag === LINK.traceState) this.traceState = peekText(bytes, cursor.at);
      else if (tag === LINK.droppedAttributes) this.droppedAttributesCount = peekUint32(bytes, cursor.at);
      else if (tag === LINK.flags) this.flags = fixed32(bytes, cursor.at);
      else if (tag === LINK.attributes) this.attributes.count++;
      skipField(bytes, tag, cursor);
    }
  }
}

function peekUint32(bytes: Uint8Array, at: number): number {
  return readUint32(bytes, { at });
}

function peekText(bytes: Uint8Array, at: number): string {
  const cursor = { at };
  const end = readUint32(bytes, cursor) + cursor.at;
  return text(bytes, cursor.at, end);
}

function peekHex(bytes: Uint8Array, at: number): string {
  const cursor = { at };
  const end = readUint32(bytes, cursor) + cursor.at;
  return hex(bytes, cursor.at, end);
}
