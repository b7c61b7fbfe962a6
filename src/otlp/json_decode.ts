/**
 * Transcodes an OTLP/JSON request to protobuf form, following the tables of `fields.ts`. It keeps its own stack instead
 * of recursing, so that nesting costs no call stack and a long body is read in slices, between which other requests run.
 * A fault inside a record costs that record alone.
 */
import { setImmediate } from 'node:timers/promises';
import { InvalidDataError } from '../errors.ts';
import { SIGNALS, type Signal } from '../model/batch.ts';
import type { ShapeLimits } from '../model/wire.ts';
import { ANY_VALUE_MESSAGE, REQUESTS, type Field, type Message, type Unit } from './fields.ts';
import { JsonTokens } from './json_tokens.ts';
import { writePlainScalar, writeScalar, type JsonScalar } from './json_scalars.ts';
import type { Rejections } from './rejections.ts';
import { WireWriter } from './wire_writer.ts';

const OPEN_OBJECT = 0x7b;
const CLOSE_OBJECT = 0x7d;
const OPEN_ARRAY = 0x5b;
const CLOSE_ARRAY = 0x5d;
const COMMA = 0x2c;
const COLON = 0x3a;
const QUOTE = 0x22;
const LETTER_F = 0x66;
const LETTER_N = 0x6e;
const LETTER_T = 0x74;

/** How many bytes of input are read before other requests have the event loop. */
const SLICE_BYTES = 262_144;

/** How many JSON containers a level of `AnyValue` takes at most, and what lies around the outermost one. */
const CONTAINERS_A_LEVEL = 4;
const OUTER_CONTAINERS = 32;

/** Ids, numbers and names of enums are shorter. */
const MAX_SCALAR_CHARACTERS = 512;

/** `{"low":…,"high":…,"unsigned":…}` is shorter, however it is spaced. */
const MAX_LONG_BYTES = 256;

/**
 * Resolves to the request in protobuf form. Records with a fault are left out and counted.
 * @throws InvalidDataError when the body is not JSON, is not a request, or nests too deep.
 */
export async function jsonToProtobuf(
  signal: Signal,
  json: Uint8Array,
  limits: ShapeLimits,
  rejections: Rejections,
): Promise<Uint8Array> {
  const transcoder = new Transcoder(signal, json, limits, rejections);
  while (!transcoder.advance(SLICE_BYTES)) await setImmediate();
  return transcoder.output();
}

/** An open object or array. Frames are used again and again: one a level, not one an object. */
class Frame {
  /** What the object is; undefined for arrays and for what is only skipped. */
  message: Message | undefined = undefined;
  /** The repeated field whose elements the array holds; undefined for objects and for what is only skipped. */
  elements: Field | undefined = undefined;
  isArray = false;
  /** The field it is the value of, for paths; undefined for elements. */
  field: Field | undefined = undefined;
  /** Where its content begins in the output, and its tag; -1 where it writes none. */
  contentAt = -1;
  tagAt = -1;
  /** Members read so far: the index of the current element of an array is one less. */
  members = 0;
  /** Records inside that were kept. */
  records = 0;
  fault: string | undefined = undefined;
  /** The record around it, or the frame itself: what a fault inside costs. */
  owner: Frame | undefined = undefined;
}

/** What becomes of a string with escapes, which is read in slices like all else. */
type OpenString = 'none' | 'written' | 'skipped';

class Transcoder {
  private readonly tokens: JsonTokens;
  private readonly out: WireWriter;
  /** The first `depth` of them are open. */
  private readonly frames: Frame[] = [];
  private depth = 0;
  private readonly limits: ShapeLimits;
  private readonly maxFrames: number;
  private records = 0;
  private readonly rejections: Rejections;
  private openString: OpenString = 'none';
  private stringAt = 0;

  constructor(signal: Signal, json: Uint8Array, limits: ShapeLimits, rejections: Rejections) {
    this.tokens = new JsonTokens(json);
    this.out = new WireWriter(json.length);
    this.limits = limits;
    this.maxFrames = limits.max_depth * CONTAINERS_A_LEVEL + OUTER_CONTAINERS;
    this.rejections = rejections;
    if (this.tokens.peek() !== OPEN_OBJECT) {
      throw this.tokens.syntaxError(`an OTLP ${signal} request is a JSON object; expected "{"`);
    }
    this.push(false, undefined).message = REQUESTS[signal];
  }

  /** Reads about so many bytes more; true when the text is at its end. */
  advance(bytes: number): boolean {
    const { tokens, frames } = this;
    const stop = tokens.pos + bytes;
    while (tokens.pos < stop) {
      if (this.openString !== 'none') {
        if (!this.continueString(stop)) return false;
        continue;
      }
      const top = frames[this.depth - 1];
      if (this.depth === 0 || top === undefined) return this.finish();
      if (tokens.peek() === (top.isArray ? CLOSE_ARRAY : CLOSE_OBJECT)) this.close(top);
      else this.member(top);
    }
    return false;
  }

  output(): Uint8Array {
    return this.out.bytes();
  }

  private finish(): true {
    if (this.tokens.peek() !== -1) throw this.tokens.syntaxError('text behind the end of the request');
    return true;
  }

  private member(top: Frame): void {
    const { tokens } = this;
    if (top.members > 0) tokens.expect(COMMA);
    const field = top.isArray ? top.elements : this.key(top);
    const byte = tokens.peek();
    top.members++;
    // Of a faulty record only the structure is read on, since data points of a faulty metric are counted.
    const scalar = top.owner?.fault === undefined ? field : undefined;
    switch (byte) {
      case QUOTE:
        this.string(top, scalar);
        return;
      case OPEN_OBJECT:
        this.openObject(top, field);
        return;
      case OPEN_ARRAY:
        this.openArray(top, field);
        return;
      case LETTER_N:
        this.null(top);
        return;
      case LETTER_T:
      case LETTER_F:
        this.convert(top, scalar, tokens.literal() === true);
        return;
      default:
        this.number(top, scalar);
    }
  }

  /** Reads a key and its colon; undefined when the object has no such field. */
  private key(top: Frame): Field | undefined {
    const { tokens } = this;
    if (tokens.peek() !== QUOTE) throw tokens.syntaxError('expected a key');
    const keyAt = tokens.pos;
    let field: Field | undefined;
    if (tokens.plainString()) {
      field = top.message?.byName.get(tokens.bytes, tokens.start, tokens.end);
      if (field === undefined && this.depth === 1) this.foreignRecords(tokens.start, tokens.end);
    } else {
      tokens.pos = keyAt;
      const key = Buffer.from(tokens.string(), 'utf8');
      field = top.message?.byName.get(key, 0, key.length);
    }
    tokens.expect(COLON);
    return field;
  }

  /** Says so where the unknown key of a request is known in that of another signal: it came to the wrong path. */
  private foreignRecords(start: number, end: number): void {
    for (const signal of SIGNALS) {
      const field = REQUESTS[signal].byName.get(this.tokens.bytes, start, end);
      if (field !== undefined) this.rejections.warn(1, `"${field.name}" left out: ${signal} have a path of their own`);
    }
  }

  /** Null means absent. A null element keeps its place where places count: among values, and among records. */
  private null({ isArray, elements }: Frame): void {
    this.tokens.literal();
    if (!isArray || typeof elements?.type !== 'object') return;
    if (elements.type !== ANY_VALUE_MESSAGE && elements.type.unit === undefined) return;
    this.out.uint32(elements.tag);
    this.out.uint32(0);
  }

  private openObject(top: Frame, field: Field | undefined): void {
    const { out } = this;
    const name = top.isArray ? undefined : field;
    if (field === undefined) this.push(false, undefined);
    else if (typeof field.type === 'object' && takes(top, field)) {
      const opened = this.push(false, name);
      this.begin(opened, field.type);
      opened.tagAt = out.pos;
      out.uint32(field.tag);
      opened.contentAt = out.open();
    } else if (!isLong(field) || !this.longObject(top, field)) {
      this.fault(top, field, `must be ${wanted(top, field)}, found an object`);
      this.push(false, name);
    }
  }

  private begin(opened: Frame, message: Message): void {
    opened.message = message;
    if (message.unit === undefined) return;
    opened.owner = opened;
    if (message.unit === 'record' && ++this.records > this.limits.max_records) {
      throw new InvalidDataError(`more than max_records (${this.limits.max_records}) records in one request`);
    }
  }

  private openArray(top: Frame, field: Field | undefined): void {
    const holdsElements = field !== undefined && field.repeated && !top.isArray;
    if (field !== undefined && !holdsElements) this.fault(top, field, `must be ${wanted(top, field)}, found an array`);
    const opened = this.push(true, top.isArray ? undefined : field);
    if (holdsElements) opened.elements = field;
  }

  private push(isArray: boolean, field: Field | undefined): Frame {
    this.tokens.pos++;
    if (this.depth >= this.maxFrames) {
      throw new InvalidDataError(`JSON nests deeper than ${this.maxFrames} levels (max_depth)`);
    }
    const parent = this.frames[this.depth - 1];
    const frame = (this.frames[this.depth++] ??= new Frame());
    frame.message = undefined;
    frame.elements = undefined;
    frame.isArray = isArray;
    frame.field = field;
    frame.contentAt = -1;
    frame.tagAt = -1;
    frame.members = 0;
    frame.records = 0;
    frame.fault = undefined;
    frame.owner = parent?.owner;
    return frame;
  }

  private string(top: Frame, field: Field | undefined): void {
    const { tokens, out } = this;
    const stringAt = tokens.pos;
    const isPlain = tokens.plainString();
    if (field === undefined) {
      if (!isPlain) this.openString = 'skipped';
      return;
    }
    if (field.type === 'string' && takes(top, field)) {
      out.uint32(field.tag);
      if (isPlain) {
        out.uint32(tokens.end - tokens.start);
        out.copy(tokens.bytes, tokens.start, tokens.end);
      } else {
        this.openString = 'written';
        this.stringAt = out.open();
      }
      return;
    }
    if (isPlain && takes(top, field) && writePlainScalar(out, field, tokens.bytes, tokens.start, tokens.end)) return;
    tokens.pos = stringAt;
    this.convert(top, field, shortened(field, tokens.string()));
  }

  /** Goes on in a string with escapes; true when its end was reached. */
  private continueString(stop: number): boolean {
    const { tokens, out } = this;
    const isWritten = this.openString === 'written';
    if (!(isWritten ? tokens.unescape(out, stop) : tokens.skipEscaped(stop))) return false;
    if (isWritten) out.close(this.stringAt);
    this.openString = 'none';
    return true;
  }

  private number(top: Frame, field: Field | undefined): void {
    const { tokens, out } = this;
    tokens.number();
    const isPlain = field !== undefined && field.type !== 'id' && takes(top, field);
    if (isPlain && writePlainScalar(out, field, tokens.bytes, tokens.start, tokens.end)) return;
    this.convert(top, field, { number: tokens.numberText() });
  }

  private convert(top: Frame, field: Field | undefined, value: JsonScalar): void {
    if (field === undefined) return;
    if (typeof field.type === 'object' || !takes(top, field)) {
      const kind = typeof value === 'object' ? 'number' : typeof value;
      this.fault(top, field, `must be ${wanted(top, field)}, found a ${kind}`);
      return;
    }
    const fault = writeScalar(this.out, field, field.type, value);
    if (fault === undefined) return;
    if (field.isLenient) writeInvalidId(this.out, field);
    else this.fault(top, field, fault);
  }

  /** A 64-bit integer as `{low, high}`, as JavaScript SDKs wrote it before 0.45; false when it is something else. */
  private longObject(top: Frame, field: Field): boolean {
    const { tokens } = this;
    const text = tokens.bytes.toString('latin1', tokens.pos, tokens.pos + MAX_LONG_BYTES);
    const [object = ''] = /^\{[^{}]*\}/.exec(text) ?? [];
    const low = /"low"\s*:\s*(-?\d{1,10})\b/.exec(object)?.[1];
    const high = /"high"\s*:\s*(-?\d{1,10})\b/.exec(object)?.[1];
    if (low === undefined || high === undefined) return false;
    tokens.pos += object.length;
    const value = (BigInt.asUintN(32, BigInt(high)) << 32n) | BigInt.asUintN(32, BigInt(low));
    const isUnsigned = field.type === 'fixed64' || field.type === 'uint64';
    this.convert(top, field, { number: String(isUnsigned ? value : BigInt.asIntN(64, value)) });
    return true;
  }

  private close(top: Frame): void {
    this.tokens.pos++;
    this.depth--;
    const unit = top.message?.unit;
    if (top.contentAt >= 0) {
      if (top.fault === undefined) this.out.close(top.contentAt);
      else this.reject(top, top.fault, unit);
    }
    const parent = this.frames[this.depth - 1];
    if (parent === undefined) return;
    if (unit !== 'record') parent.records += top.records;
    else if (top.fault === undefined) parent.records++;
  }

  /** Takes what was written of a faulty record back. */
  private reject(top: Frame, fault: string, unit: Unit | undefined): void {
    this.out.pos = top.tagAt;
    this.rejections.add(unit === 'points' ? top.records : 1, fault);
    top.records = 0;
  }

  /** Charges a fault in the current value to the record around it. */
  private fault(top: Frame, field: Field, what: string): void {
    if (top.owner?.fault !== undefined) return;
    const message = `${this.path(top.isArray ? undefined : field)} ${what}`;
    if (top.owner === undefined) throw new InvalidDataError(message);
    top.owner.fault = message;
  }

  /** Such as `resourceSpans[0].scopeSpans[0].spans[2].startTimeUnixNano`. */
  private path(field: Field | undefined): string {
    const steps: string[] = [];
    for (const frame of this.frames.slice(0, this.depth)) {
      if (frame.field !== undefined) steps.push(`.${frame.field.name}`);
      if (frame.isArray) steps.push(`[${frame.members - 1}]`);
    }
    if (field !== undefined) steps.push(`.${field.name}`);
    return steps.join('').slice(1);
  }
}

/** No id is as short as one byte. */
function writeInvalidId(out: WireWriter, field: Field): void {
  out.uint32(field.tag);
  out.uint32(1);
  out.byte(0);
}

/** Text that is too long for what it should be becomes short text that is no more right. */
function shortened(field: Field, text: string): string {
  if (field.type === 'bytes' || field.type === 'string' || text.length <= MAX_SCALAR_CHARACTERS) return text;
  return `${text.slice(0, MAX_SCALAR_CHARACTERS)}…`;
}

/** Whether a single value may stand here: a repeated field takes an array, of single values. */
function takes(top: Frame, field: Field): boolean {
  return field.repeated === top.isArray;
}

function isLong(field: Field): boolean {
  return field.type === 'fixed64' || field.type === 'sfixed64' || field.type === 'int64' || field.type === 'uint64';
}

function wanted(top: Frame, field: Field): string {
  if (!takes(top, field)) return 'an array';
  return typeof field.type === 'object' ? `an object (${field.type.name})` : `a value of type ${field.type}`;
}
