/** What is in a record, for people to read. */
import { hopsOf, toJson } from '../../exporters/otlp_http/request.ts';
import type { QueueRecord } from '../../model/record.ts';
import type { Content } from './letter.ts';

/** How the `file` exporter writes. */
const OTLP_LINES = 'otlp_jsonl/1';

/** The bytes themselves where the format is unknown, or they are not what it says. */
export async function contentOf({ signal, format, items, bytes }: QueueRecord): Promise<Content> {
  try {
    if (hopsOf(format) !== undefined) return { requests: [parse(await toJson({ signal, items, bytes }))] };
    if (format === OTLP_LINES) return { requests: linesOf(bytes).map(parse) };
  } catch {
    // They are shown as they are.
  }
  return { base64: Buffer.from(bytes).toString('base64') };
}

function linesOf(bytes: Uint8Array): Uint8Array[] {
  const lines: Uint8Array[] = [];
  for (let start = 0; start < bytes.length;) {
    const end = bytes.indexOf(0x0a, start);
    lines.push(bytes.subarray(start, end === -1 ? bytes.length : end));
    start = end === -1 ? bytes.length : end + 1;
  }
  return lines;
}

function parse(json: Uint8Array): unknown {
  return JSON.parse(Buffer.from(json).toString('utf8'));
}
