/**
 * Writes JSON values as OTLP attribute values while it reads them, so that a long body takes no objects. Generators stop
 * after each slice of input; who runs them lets other requests have the event loop.
 */
import { InvalidDataError } from '../../errors.ts';
import { ANY_VALUE } from '../../model/attributes.ts';
import { JsonTokens } from '../../otlp/json_tokens.ts';
import { WireWriter } from '../../otlp/wire_writer.ts';

export const JSON_BYTE = {
  openObject: 0x7b,
  closeObject: 0x7d,
  openArray: 0x5b,
  closeArray: 0x5d,
  comma: 0x2c,
  colon: 0x3a,
  quote: 0x22,
  n: 0x6e,
  t: 0x74,
  f: 0x66,
} as const;

/** Tags of `KeyValue`, and of the repeated field in `ArrayValue` and `KeyValueList`. */
const KEY = 0x0a;
const VALUE = 0x12;
const ELEMENT = 0x0a;

const SLICE_BYTES = 262_144;

/** Spans and values of one request: what bounds the time and the memory that it takes. */
export interface ValueLimits {
  readonly max_nodes: number;
  /** How deep attribute values may nest. */
  readonly max_depth: number;
}

export class ValueWriter {
  readonly tokens: JsonTokens;
  readonly out: WireWriter;
  /** The field that is being read, for errors. */
  path = '';
  private readonly limits: ValueLimits;
  private nodes = 0;
  private sliceEnd = SLICE_BYTES;

  constructor(json: Uint8Array, limits: ValueLimits) {
    this.tokens = new JsonTokens(json);
    this.out = new WireWriter(json.length);
    this.limits = limits;
  }

  /** Counts a span or a value, as reading them back from the wire does. */
  node(): void {
    if (++this.nodes > this.limits.max_nodes) {
      throw new InvalidDataError(`${this.path}: more than max_nodes (${this.limits.max_nodes}) values in one request`);
    }
  }

  /** Reads an object, which is next, and writes each member as a `KeyValue` field of this tag. */
  *entries(tag: number, depth = 1): Generator<void> {
    const { out, tokens } = this;
    for (const _ of this.members(JSON_BYTE.closeObject)) {
      this.node();
      out.uint32(tag);
      const entryAt = out.open();
      if (tokens.peek() !== JSON_BYTE.quote) throw tokens.syntaxError('expected a key');
      yield* this.text(KEY);
      tokens.expect(JSON_BYTE.colon);
      yield* this.value(VALUE, depth);
      out.close(entryAt);
    }
  }

  /** Stands before each member or element in turn; the object or array is next, and this byte ends it. */
  *members(closing: number): Generator<number> {
    const { tokens } = this;
    tokens.pos++;
    for (let index = 0; tokens.peek() !== closing; index++) {
      if (index > 0) tokens.expect(JSON_BYTE.comma);
      yield index;
    }
    tokens.pos++;
  }

  /** Reads any value and writes it as an `AnyValue` field of this tag. */
  *value(tag: number, depth: number): Generator<void> {
    const { out, tokens } = this;
    this.node();
    if (depth > this.limits.max_depth) {
      throw new InvalidDataError(`${this.path}: values nest deeper than max_depth (${this.limits.max_depth})`);
    }
    out.uint32(tag);
    const valueAt = out.open();
    switch (tokens.peek()) {
      case JSON_BYTE.quote:
        yield* this.text(ANY_VALUE.string);
        break;
      case JSON_BYTE.openObject:
        yield* this.nested(ANY_VALUE.kvlist, this.entries(ELEMENT, depth + 1));
        break;
      case JSON_BYTE.openArray:
        yield* this.nested(ANY_VALUE.array, this.elements(depth + 1));
        break;
      default:
        this.scalar();
    }
    out.close(valueAt);
    if (tokens.pos < this.sliceEnd) return;
    this.sliceEnd = tokens.pos + SLICE_BYTES;
    yield;
  }

  private *nested(tag: number, content: Generator<void>): Generator<void> {
    this.out.uint32(tag);
    const contentAt = this.out.open();
    yield* content;
    this.out.close(contentAt);
  }

  private *elements(depth: number): Generator<void> {
    for (const _ of this.members(JSON_BYTE.closeArray)) yield* this.value(ELEMENT, depth);
  }

  /** Reads a value that nobody wants. */
  *skip(): Generator<void> {
    const before = this.out.pos;
    yield* this.value(VALUE, 1);
    this.out.pos = before;
  }

  /** Reads a string, which is next, and writes it as a field of this tag. */
  *text(tag: number): Generator<void> {
    const { out, tokens } = this;
    out.uint32(tag);
    if (tokens.plainString()) {
      out.uint32(tokens.end - tokens.start);
      out.copy(tokens.bytes, tokens.start, tokens.end);
      return;
    }
    const textAt = out.open();
    while (!tokens.unescape(out, tokens.pos + SLICE_BYTES)) yield;
    out.close(textAt);
  }

  private scalar(): void {
    const { out, tokens } = this;
    switch (tokens.peek()) {
      case JSON_BYTE.n:
        tokens.literal();
        return;
      case JSON_BYTE.t:
      case JSON_BYTE.f:
        out.uint32(ANY_VALUE.bool);
        out.byte(tokens.literal() === true ? 1 : 0);
        return;
      default:
        tokens.number();
        this.number(tokens.numberText());
    }
  }

  /** What neither an int64 nor a double holds becomes text, which keeps every digit. */
  private number(text: string): void {
    const { out } = this;
    if (/^-?\d+$/.test(text)) {
      const value = BigInt(text);
      if (value !== BigInt.asIntN(64, value)) return this.digits(text);
      out.uint32(ANY_VALUE.int);
      out.varint64(value);
    } else if (Number.isFinite(Number(text))) {
      out.uint32(ANY_VALUE.double);
      out.double(Number(text));
    } else this.digits(text);
  }

  private digits(text: string): void {
    this.out.uint32(ANY_VALUE.string);
    this.out.uint32(text.length);
    this.out.raw(Buffer.from(text, 'latin1'));
  }
}
