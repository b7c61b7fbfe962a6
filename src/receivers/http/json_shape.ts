/**
 * Tells the two JSON formats of `POST /v1/traces` apart by the first keys of the body, so that a long body costs no more
 * than a short one. What is neither, or no JSON at all, counts as OTLP.
 */
import { InvalidDataError } from '../../errors.ts';
import { JsonTokens } from '../../otlp/json_tokens.ts';

const OPEN_OBJECT = 0x7b;
const CLOSE_OBJECT = 0x7d;
const OPEN_ARRAY = 0x5b;
const CLOSE_ARRAY = 0x5d;
const COMMA = 0x2c;
const COLON = 0x3a;
const QUOTE = 0x22;

/** The deciding key stands within so many bytes: no format has much in front of it. */
const HEAD_BYTES = 65_536;

const SDK_KEYS: ReadonlySet<string> = new Set(['trace_id', 'spans']);
const OTLP_KEYS: ReadonlySet<string> = new Set(['resourceSpans', 'resource_spans']);

/** Whether a JSON body is SDK span JSON: of the keys that tell, the first one does. */
export function isSdkSpanJson(body: Uint8Array): boolean {
  try {
    return decide(new JsonTokens(body.subarray(0, HEAD_BYTES)));
  } catch (error) {
    if (error instanceof InvalidDataError) return false;
    throw error;
  }
}

function decide(tokens: JsonTokens): boolean {
  tokens.expect(OPEN_OBJECT);
  while (tokens.peek() === QUOTE) {
    const key = tokens.string();
    if (SDK_KEYS.has(key)) return true;
    if (OTLP_KEYS.has(key)) return false;
    tokens.expect(COLON);
    skipValue(tokens);
    if (tokens.peek() === COMMA) tokens.pos++;
  }
  return false;
}

/** Passes a value without asking whether its brackets match: whoever takes the body reads it again. */
function skipValue(tokens: JsonTokens): void {
  let open = 0;
  do {
    switch (tokens.peek()) {
      case QUOTE:
        if (!tokens.plainString()) tokens.skipEscaped(tokens.bytes.length);
        break;
      case OPEN_OBJECT:
      case OPEN_ARRAY:
        open++;
        tokens.pos++;
        break;
      case CLOSE_OBJECT:
      case CLOSE_ARRAY:
        open--;
        tokens.pos++;
        break;
      case COMMA:
      case COLON:
        tokens.pos++;
        break;
      default:
        skipScalar(tokens);
    }
  } while (open > 0);
}

function skipScalar(tokens: JsonTokens): void {
  const byte = tokens.peek();
  if (byte >= 0x61 && byte <= 0x7a) {
    tokens.literal();
    return;
  }
  tokens.number();
  tokens.numberText();
}
