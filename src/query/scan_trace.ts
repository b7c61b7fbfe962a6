/**
 * `GET /observability/scans/{scan_id}/trace`: the span tree of one scan. Several traces of the scan come as one forest
 * (`forest.ts` says what stands where). A scan with more spans than one answer holds has `"truncated": true`; no other
 * answer has that field.
 */
import { setImmediate as nextTurn } from 'node:timers/promises';
import type { Context } from 'hono';
import { InvalidDataError } from '../errors.ts';
import type { Tenant } from '../model/tenant.ts';
import type { ScanSpans, SpanReader, StoredSpan } from '../store/span_tree.ts';
import { arrangeForest } from './forest.ts';
import type { Forest } from './forest.ts';
import { jsonHeaders } from './headers.ts';
import { problem } from './problem.ts';

export const SCAN_TRACE_PATH = '/observability/scans/:scan_id/trace';

/** In code points, as PostgreSQL counts. */
const MAX_SCAN_ID_CHARS = 256;

/** A chunk of the answer ends at whichever comes first; between two chunks the process does other things. */
const CHUNK_SPANS = 256;
const CHUNK_CHARS = 64 * 1024;

/** The path to the span tree of a scan. */
export function scanTracePath(scanId: string): string {
  return SCAN_TRACE_PATH.replace(':scan_id', () => encodeURIComponent(scanId));
}

export async function scanTrace(context: Context, spans: SpanReader, tenant: Tenant): Promise<Response> {
  const scanId = parseScanId(context);
  const found = await spans.scanSpans(tenant, scanId);
  if (found.spans.length === 0) return problem(404, 'There are no spans of this scan.');
  const forest = await arrangeForest(found.spans);
  const body = ReadableStream.from(encoded(serializeScanTrace(scanId, found, forest)));
  return new Response(body, { headers: jsonHeaders('application/json') });
}

function parseScanId(context: Context): string {
  // The router leaves broken percent-encoding as it is; taken literally it would name a different scan.
  if (!isPercentEncoded(new URL(context.req.url).pathname)) {
    throw new InvalidDataError('The path is not valid percent-encoded UTF-8.');
  }
  const scanId = context.req.param('scan_id') ?? '';
  if (Array.from(scanId).length > MAX_SCAN_ID_CHARS) {
    throw new InvalidDataError(`A scan id has at most ${MAX_SCAN_ID_CHARS} characters.`);
  }
  if (scanId.includes('\0')) throw new InvalidDataError('A scan id cannot contain the character U+0000.');
  return scanId;
}

function isPercentEncoded(path: string): boolean {
  try {
    decodeURIComponent(path);
    return true;
  } catch {
    return false;
  }
}

/** Yields the answer in pieces of bounded size. Attributes and decimals pass as the database printed them. */
export function* serializeScanTrace(
  scanId: string,
  { spans, truncated }: ScanSpans,
  { order, depths }: Forest,
): Generator<string> {
  const mark = truncated ? '"truncated":true,' : '';
  let chunk = `{"scan_id":${JSON.stringify(scanId)},"span_count":${spans.length},${mark}"tree":[`;
  let depth = -1;
  for (const [position, index] of order.entries()) {
    const span = spans[index];
    const nextDepth = depths[position];
    if (span === undefined || nextDepth === undefined) throw new RangeError('a forest of other spans');
    // A child follows the "[" of its parent; else the span before closes, with every parent that has no more children.
    if (nextDepth <= depth) chunk += `${']}'.repeat(depth - nextDepth + 1)},`;
    chunk += openSpan(span);
    depth = nextDepth;
    if ((position + 1) % CHUNK_SPANS === 0 || chunk.length >= CHUNK_CHARS) {
      yield chunk;
      chunk = '';
    }
  }
  yield `${chunk}${']}'.repeat(depth + 1)}]}`;
}

/** All of a span up to its children. */
function openSpan(span: StoredSpan): string {
  return (
    `{"span_id":${JSON.stringify(span.spanId)},"parent_span_id":${JSON.stringify(span.parentSpanId)}` +
    `,"trace_id":${JSON.stringify(span.traceId)},"name":${JSON.stringify(span.name)},"kind":${span.kind}` +
    `,"service_name":${JSON.stringify(span.serviceName)},"started_at":"${span.startedAt}"` +
    `,"ended_at":${JSON.stringify(span.endedAt)},"duration_ns":${span.durationNs ?? 'null'}` +
    `,"status_code":${span.statusCode},"status_message":${JSON.stringify(span.statusMessage)}` +
    `,"attributes":${span.attributes},"children":[`
  );
}

async function* encoded(chunks: Iterable<string>): AsyncGenerator<Uint8Array> {
  const encoder = new TextEncoder();
  for (const chunk of chunks) {
    yield encoder.encode(chunk);
    await nextTurn();
  }
}
