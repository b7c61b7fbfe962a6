/**
 * Reads JSON tokens from UTF-8 bytes. Numbers stay text, so that no digit of a 64-bit integer is lost. Strings are read
 * leniently: control characters may stand in them as they are, and bytes that are not UTF-8 are passed on.
 */
import { InvalidDataError } from '../errors.ts';
import { WireWriter } from './wire_writer.ts';

const SPACE = 0x20;
const QUOTE = 0x22;
const BACKSLASH = 0x5c;

/** JSON's number grammar; a longer one than this is not a number anybody means. */
const NUMBER = /^-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?$/;
const MAX_NUMBER_CHARACTERS = 512;

/** What is read in one go must have an end: a run of white space, and a string with escapes that is made a whole. */
const MAX_SPACE_BYTES = 1_048_576;
const MAX_ESCAPED_BYTES = 8_388_608;

const BYTE_ORDER_MARK = [0xef, 0xbb, 0xbf];

/** Up to here a plain loop finds a string's end faster than a call into native code. */
const SHORT_STRING_BYTES = 48;

/** What a backslash and this byte mean; `u` is not among them. */
const ESCAPES: ReadonlyMap<number, number> = new Map(
  Object.entries({ '"': '"', '\\': '\\', '/': '/', b: '\b', f: '\f', n: '\n', r: '\r', t: '\t' }).map(
    ([letter, character]) => [letter.charCodeAt(0), character.charCodeAt(0)],
  ),
);
const LETTER_U = 0x75;
const REPLACEMENT_CHARACTER = 0xfffd;

export class JsonTokens {
  readonly bytes: Buffer;
  pos = 0;
  /** Bounds of what `plainString` or `number` read last, without quotes. */
  start = 0;
  end = 0;
  /** The first backslash at or behind some place that was asked for, so that no stretch is searched twice. */
  private backslashAt = -1;

  constructor(bytes: Uint8Array) {
    this.bytes = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
    if (BYTE_ORDER_MARK.every((byte, i) => bytes[i] === byte)) this.pos = 3;
  }

  /** Skips white space and returns the next byte, or -1 at the end of the text. */
  peek(): number {
    const { bytes } = this;
    const byte = this.pos < bytes.length ? bytes[this.pos] : -1;
    return byte <= SPACE ? this.peekBehindSpace() : byte;
  }

  private peekBehindSpace(): number {
    const { bytes } = this;
    const last = Math.min(bytes.length, this.pos + MAX_SPACE_BYTES);
    let at = this.pos;
    while (at < last && isSpace(bytes[at])) at++;
    if (at - this.pos === MAX_SPACE_BYTES) throw this.syntaxError('too much white space');
    this.pos = at;
    return at < bytes.length ? bytes[at] : -1;
  }

  expect(byte: number): void {
    if (this.peek() !== byte) throw this.syntaxError(`expected ${JSON.stringify(String.fromCharCode(byte))}`);
    this.pos++;
  }

  /**
   * Reads a string in which nothing is escaped; `start` and `end` are its bounds. False when something is: then `pos`
   * stands behind the opening quote, and `unescape` or `skipEscaped` reads on. The next byte must be a quote.
   */
  plainString(): boolean {
    const { bytes } = this;
    const start = ++this.pos;
    const near = Math.min(start + SHORT_STRING_BYTES, bytes.length);
    for (let at = start; at < near; at++) {
      const byte = bytes[at];
      if (byte === QUOTE) return this.plainUntil(start, at);
      if (byte === BACKSLASH) return false;
    }
    const end = bytes.indexOf(QUOTE, near);
    if (end < 0 || near === bytes.length) throw this.syntaxError('unterminated string', bytes.length);
    if (this.backslashAt < near) {
      const at = bytes.indexOf(BACKSLASH, near);
      this.backslashAt = at < 0 ? bytes.length : at;
    }
    return this.backslashAt > end && this.plainUntil(start, end);
  }

  private plainUntil(start: number, end: number): true {
    this.start = start;
    this.end = end;
    this.pos = end + 1;
    return true;
  }

  /**
   * Writes what follows of a string, unescaped, up to its closing quote (true) or until about `stop` (false: call
   * again). Lone surrogates become U+FFFD.
   */
  unescape(out: WireWriter, stop: number): boolean {
    while (this.pos < stop) {
      const start = this.pos;
      const special = this.run(stop);
      out.copy(this.bytes, start, this.pos);
      if (special === QUOTE) {
        this.pos++;
        return true;
      }
      if (special === BACKSLASH) this.escape(out);
    }
    return false;
  }

  /** As `unescape`, without writing. What is escaped is not checked. */
  skipEscaped(stop: number): boolean {
    while (this.pos < stop) {
      const special = this.run(stop);
      if (special === QUOTE) {
        this.pos++;
        return true;
      }
      if (special === BACKSLASH) this.pos += 2;
    }
    return false;
  }

  /** Moves to the next quote or backslash, at most to `stop`, and returns what stands there. */
  private run(stop: number): number {
    const { bytes } = this;
    const last = Math.min(stop, bytes.length);
    let at = this.pos;
    while (at < last && bytes[at] !== QUOTE && bytes[at] !== BACKSLASH) at++;
    this.pos = at;
    if (at >= bytes.length) throw this.syntaxError('unterminated string');
    return bytes[at];
  }

  private escape(out: WireWriter): void {
    const letter = this.bytes[this.pos + 1] ?? 0;
    this.pos += 2;
    const meaning = ESCAPES.get(letter);
    if (meaning !== undefined) out.byte(meaning);
    else if (letter === LETTER_U) writeUtf8(out, this.codePoint());
    else throw this.syntaxError('invalid escape in a string', this.pos - 2);
  }

  /** The character of a `\u` escape, or of two that are a surrogate pair. */
  private codePoint(): number {
    const unit = this.codeUnit();
    if (unit < 0xd800 || unit > 0xdfff) return unit;
    const { bytes, pos } = this;
    if (unit > 0xdbff || bytes[pos] !== BACKSLASH || bytes[pos + 1] !== LETTER_U) return REPLACEMENT_CHARACTER;
    this.pos += 2;
    const low = this.codeUnit();
    if (low >= 0xdc00 && low <= 0xdfff) return 0x10000 + ((unit - 0xd800) << 10) + (low - 0xdc00);
    this.pos = pos;
    return REPLACEMENT_CHARACTER;
  }

  private codeUnit(): number {
    const { bytes, pos } = this;
    let unit = 0;
    for (let at = pos; at < pos + 4; at++) {
      const digit = hexDigit(bytes[at] ?? 0);
      if (digit < 0) throw this.syntaxError('invalid escape in a string', pos - 2);
      unit = unit * 16 + digit;
    }
    this.pos = pos + 4;
    return unit;
  }

  /** Reads a string of any kind; the next byte must be a quote. */
  string(): string {
    if (this.plainString()) return this.bytes.toString('utf8', this.start, this.end);
    const out = new WireWriter(0);
    if (!this.unescape(out, this.pos + MAX_ESCAPED_BYTES)) throw this.syntaxError('too long a string with escapes');
    return Buffer.from(out.bytes()).toString('utf8');
  }

  /** Reads a number; `start` and `end` are its bounds. */
  number(): void {
    const { bytes } = this;
    const start = this.pos;
    const last = Math.min(bytes.length, start + MAX_NUMBER_CHARACTERS + 1);
    let at = start;
    while (at < last && isNumberByte(bytes[at])) at++;
    this.start = start;
    this.end = this.pos = at;
  }

  /** The text of the number that was read last. */
  numberText(): string {
    const { bytes, start, end } = this;
    const text = end - start > MAX_NUMBER_CHARACTERS ? '' : bytes.toString('latin1', start, end);
    if (!NUMBER.test(text)) throw this.syntaxError('invalid value', start);
    return text;
  }

  /** Reads `true`, `false` or `null`. */
  literal(): boolean | null {
    for (const [word, value] of LITERALS) {
      if (!this.startsWith(word)) continue;
      this.pos += word.length;
      return value;
    }
    throw this.syntaxError('invalid value');
  }

  private startsWith(word: Uint8Array): boolean {
    for (let i = 0; i < word.length; i++) if (this.bytes[this.pos + i] !== word[i]) return false;
    return true;
  }

  syntaxError(what: string, at = this.pos): InvalidDataError {
    const where = at >= this.bytes.length ? 'at the end' : `at byte ${at}`;
    return new InvalidDataError(`not valid JSON: ${what} ${where}`);
  }
}

const LITERALS: readonly (readonly [Uint8Array, boolean | null])[] = [
  [Buffer.from('true'), true],
  [Buffer.from('false'), false],
  [Buffer.from('null'), null],
];

function isSpace(byte: number): boolean {
  return byte === SPACE || byte === 0x0a || byte === 0x0d || byte === 0x09;
}

function isNumberByte(byte: number): boolean {
  return (byte >= 0x30 && byte <= 0x39) || byte === 0x2d || byte === 0x2b || byte === 0x2e || (byte | 0x20) === 0x65;
}

/** The value of a hex digit; -1 for every other byte. */
export function hexDigit(byte: number): number {
  if (byte >= 0x30 && byte <= 0x39) return byte - 0x30;
  const letter = byte | 0x20;
  return letter >= 0x61 && letter <= 0x66 ? letter - 0x57 : -1;
}

function writeUtf8(out: WireWriter, codePoint: number): void {
  if (codePoint < 0x80) {
    out.byte(codePoint);
    return;
  }
  if (codePoint < 0x800) out.byte(0xc0 | (codePoint >> 6));
  else {
    if (codePoint < 0x10000) out.byte(0xe0 | (codePoint >> 12));
    else {
      out.byte(0xf0 | (codePoint >> 18));
      out.byte(0x80 | ((codePoint >> 12) & 0x3f));
    }
    out.byte(0x80 | ((codePoint >> 6) & 0x3f));
  }
  out.byte(0x80 | (codePoint & 0x3f));
}
