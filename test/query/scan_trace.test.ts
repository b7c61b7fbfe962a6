import assert from 'node:assert/strict';
import { performance } from 'node:perf_hooks';
import * as fc from 'fast-check';
import { suite } from 'uvu';
import { arrangeForest } from '../../src/query/forest.ts';
import { serializeScanTrace } from '../../src/query/scan_trace.ts';
import { createQueryApp } from '../../src/query/server.ts';
import { READ_LIMITS, spanReader } from '../../src/store/span_tree.ts';
import type { StoredSpan } from '../../src/store/span_tree.ts';
import { createLogger } from '../../src/telemetry/logger.ts';
import { insertSpans } from '../store/insert_spans.ts';
import type { SpanRow } from '../store/insert_spans.ts';
import { testDatabase } from '../support/postgres.ts';

const scanTrace = suite('scan trace');
const database = await testDatabase();
const { pool } = database;
const logger = createLogger('error');
const app = createQueryApp({ spans: spanReader(pool), logger });

/** The most time an answer may take, by the requirement. */
const ANSWER_MS = 1_000;

scanTrace.before.each(async () => {
  await pool.query('TRUNCATE otel_spans');
});
scanTrace.after(() => database.close());

interface TreeSpan {
  readonly span_id: string;
  readonly trace_id: string;
  readonly children: readonly TreeSpan[];
}

interface Answer {
  readonly scan_id: string;
  readonly span_count: number;
  readonly truncated?: boolean;
  readonly tree: readonly TreeSpan[];
}

async function get(scanId: string): Promise<Answer> {
  const response = await app.request(`/observability/scans/${encodeURIComponent(scanId)}/trace`);
  assert.equal(response.status, 200);
  return parsed(await response.text());
}

function parsed(text: string): Answer {
  const answer: Answer = JSON.parse(text);
  return answer;
}

/** One word a span, depth first, with a dot for each level. Without recursion, for trees deeper than the stack. */
function drawn({ tree }: Answer): string {
  const words: string[] = [];
  const rest = tree.map((span) => ({ span, depth: 0 })).toReversed();
  for (let next = rest.pop(); next !== undefined; next = rest.pop()) {
    const { span, depth } = next;
    words.push('.'.repeat(depth) + span.span_id);
    rest.push(...span.children.map((child) => ({ span: child, depth: depth + 1 })).toReversed());
  }
  return words.join(' ');
}

/** Stores spans that carry the scan id `s` unless they say otherwise. */
async function store(...rows: readonly SpanRow[]): Promise<void> {
  await insertSpans(pool, rows, { scan_id: 's' });
}

scanTrace('answers with the documented fields in the documented order', async () => {
  const scanId = '11111111-2222-3333-4444-555555555555';
  await store(
    {
      trace_id: 'ff01',
      span_id: 'ab12',
      name: 'scan.execute',
      service_name: 'pencheff-celery-worker',
      started_at: '2026-05-08 03:00:01.123Z',
      ended_at: '2026-05-08 03:14:22.456Z',
      duration_ns: '861333000000',
      status_code: 1,
      attributes: { 'pencheff.scan_id': scanId, 'pencheff.scan_kind': 'full' },
      scan_id: scanId,
    },
    {
      trace_id: 'ff01',
      span_id: 'cd34',
      parent_span_id: 'ab12',
      name: 'GET "é"',
      kind: 2,
      started_at: '2026-05-08 03:00:02.123456Z',
      started_ns_rest: 789,
      duration_ns: '9223372036854775807',
      status_code: 2,
      status_message: 'refused\n',
      scan_id: null,
    },
  );
  const response = await app.request(`/observability/scans/${scanId}/trace`);
  assert.equal(response.headers.get('content-type'), 'application/json');
  assert.equal(
    await response.text(),
    `{"scan_id":"${scanId}","span_count":2,"tree":[` +
      '{"span_id":"ab12","parent_span_id":null,"trace_id":"ff01","name":"scan.execute","kind":0,' +
      '"service_name":"pencheff-celery-worker","started_at":"2026-05-08T03:00:01.123Z",' +
      '"ended_at":"2026-05-08T03:14:22.456Z","duration_ns":861333000000,"status_code":1,"status_message":null,' +
      `"attributes":{"pencheff.scan_id": "${scanId}", "pencheff.scan_kind": "full"},"children":[` +
      '{"span_id":"cd34","parent_span_id":"ab12","trace_id":"ff01","name":"GET \\"é\\"","kind":2,' +
      '"service_name":null,"started_at":"2026-05-08T03:00:02.123456789Z","ended_at":null,' +
      '"duration_ns":9223372036854775807,"status_code":2,"status_message":"refused\\n",' +
      '"attributes":{},"children":[]}]}]}',
  );
});

const SHAPES: readonly (readonly [behaviour: string, rows: readonly SpanRow[], drawing: string])[] = [
  [
    'children by start time, then span id',
    [
      { span_id: 'c', parent_span_id: 'r' },
      { span_id: 'b', parent_span_id: 'r' },
      { span_id: 'a', parent_span_id: 'r', started_ns_rest: 1 },
      { span_id: 'r', started_at: '2026-05-08 03:00:09Z' },
    ],
    'r .b .c .a',
  ],
  [
    'two traces of one scan as one forest',
    [
      { trace_id: 'y', span_id: 'y1', started_ns_rest: 1 },
      { trace_id: 'x', span_id: 'x1' },
      { trace_id: 'y', span_id: 'y2', parent_span_id: 'y1', started_ns_rest: 2 },
      { trace_id: 'x', span_id: 'x2', parent_span_id: 'x1', started_ns_rest: 3 },
    ],
    'x1 .x2 y1 .y2',
  ],
  [
    'spans without the scan id, of a trace that has it',
    [
      { span_id: 'a', scan_id: null },
      { span_id: 'b', parent_span_id: 'a' },
      { span_id: 'c', parent_span_id: 'b', scan_id: null },
    ],
    'a .b ..c',
  ],
  [
    'an orphan at the top',
    [{ span_id: 'a' }, { span_id: 'b', parent_span_id: 'gone' }, { span_id: 'c', parent_span_id: 'b' }],
    'a b .c',
  ],
  [
    'a cycle, from its first span',
    [
      { span_id: 'a', parent_span_id: 'c', started_ns_rest: 2 },
      { span_id: 'b', parent_span_id: 'a' },
      { span_id: 'c', parent_span_id: 'b', started_ns_rest: 1 },
    ],
    'b .c ..a',
  ],
  ['a span that is its own parent', [{ span_id: 'a', parent_span_id: 'a' }], 'a'],
  [
    'a duplicate id, children under the first',
    [{ span_id: 'a' }, { span_id: 'a', started_ns_rest: 1 }, { span_id: 'b', parent_span_id: 'a' }],
    'a .b a',
  ],
];

for (const [behaviour, rows, drawing] of SHAPES) {
  scanTrace(`shows ${behaviour}`, async () => {
    await store(...rows);
    const answer = await get('s');
    assert.equal(drawn(answer), drawing);
    assert.equal(answer.span_count, rows.length);
    assert.ok(!('truncated' in answer));
  });
}

/** The parent of span `at` of `count`, by shape. */
const LARGE: readonly (readonly [name: string, count: number, parentOf: (at: number) => number | null])[] = [
  ['10,000 spans', 10_000, (at) => (at === 0 ? null : Math.floor((at - 1) / 7))],
  ['10,000 siblings', 10_000, (at) => (at === 0 ? null : 0)],
  ['10,000 orphans', 10_000, (at) => at + 1_000_000],
  ['a chain of 10,000', 10_000, (at) => (at === 0 ? null : at - 1)],
  ['a cycle of 10,000', 10_000, (at) => (at + 1) % 10_000],
];

const spanId = (at: number): string => at.toString(16).padStart(16, '0');

for (const [name, count, parentOf] of LARGE) {
  scanTrace(`answers for ${name} within a second`, async () => {
    const rows = Array.from({ length: count }, (_, at) => {
      const parent = parentOf(at);
      const place = { span_id: spanId(at), parent_span_id: parent === null ? null : spanId(parent) };
      return { ...place, attributes: { 'http.request.method': 'GET', 'url.path': `/${at}` } };
    });
    await store(...rows);
    const start = performance.now();
    const response = await app.request('/observability/scans/s/trace');
    const text = await response.text();
    const elapsedMs = performance.now() - start;
    const answer = parsed(text);
    const shown = drawn(answer).split(/ \.*/);
    assert.equal(shown.length, count);
    assert.equal(new Set(shown).size, count);
    assert.equal(answer.span_count, count);
    assert.ok(elapsedMs < ANSWER_MS, `${elapsedMs} ms`);
  });
}

scanTrace('lets the process do other things while it writes a large answer', async () => {
  await store(...Array.from({ length: 5_000 }, (_, at) => ({ span_id: `${at}` })));
  const response = await app.request('/observability/scans/s/trace');
  let turns = 0;
  let ticking = setImmediate(function tick() {
    turns++;
    ticking = setImmediate(tick);
  });
  let chunks = 0;
  for await (const chunk of response.body ?? []) {
    chunks++;
    assert.ok(chunk.length < 256 * 1_024);
  }
  clearImmediate(ticking);
  assert.ok(chunks >= 19, `${chunks} chunks`);
  assert.ok(turns >= chunks - 1, `${turns} turns for ${chunks} chunks`);
});

scanTrace('says when it leaves spans out', async () => {
  await store({ span_id: 'a' }, { span_id: 'b', parent_span_id: 'a', started_ns_rest: 1 });
  const limited = createQueryApp({ spans: spanReader(pool, { ...READ_LIMITS, spans: 1 }), logger });
  const response = await limited.request('/observability/scans/s/trace');
  const text = await response.text();
  assert.ok(text.startsWith('{"scan_id":"s","span_count":1,"truncated":true,"tree":[{"span_id":"a"'), text);
});

scanTrace('shows nothing of another tenant', async () => {
  await store({ span_id: 'a' }, { span_id: 'b', org_id: 'other' }, { span_id: 'c', workspace_id: 'other' });
  await store({ span_id: 'd', trace_id: 'x', scan_id: 'theirs', org_id: 'other' });
  assert.equal(drawn(await get('s')), 'a');
  assert.equal((await app.request('/observability/scans/theirs/trace')).status, 404);
});

for (const scanId of [
  "'; DROP TABLE otel_spans; --",
  'a/b?c#d&e=f',
  '50%',
  '%2F',
  '日本語 🔎',
  '"\\\n',
  'é',
  '🔎'.repeat(256),
]) {
  scanTrace(`finds the scan ${JSON.stringify(scanId.slice(0, 40))}`, async () => {
    await store({ span_id: 'a', scan_id: scanId });
    const answer = await get(scanId);
    assert.equal(answer.scan_id, scanId);
    assert.equal(drawn(answer), 'a');
  });
}

const anyText = fc.string({ unit: 'binary', maxLength: 8 });
const anySpan: fc.Arbitrary<StoredSpan> = fc.record({
  traceId: fc.constantFrom('x', 'y'),
  spanId: fc.integer({ min: 0, max: 9 }).map(String),
  parentSpanId: fc.option(fc.integer({ min: 0, max: 11 }).map(String)),
  name: anyText,
  kind: fc.constantFrom('0', '4'),
  serviceName: fc.option(anyText),
  startedAt: fc.constant('2026-05-08T03:00:01.123Z'),
  endedAt: fc.option(fc.constant('2026-05-08T03:00:01.123456789Z')),
  durationNs: fc.option(fc.integer().map(String)),
  statusCode: fc.constantFrom('0', '2'),
  statusMessage: fc.option(anyText),
  attributes: fc.dictionary(anyText, fc.jsonValue()).map((attributes) => JSON.stringify(attributes)),
});

scanTrace('writes JSON that holds every span once, depth first, whatever the spans', async () => {
  await fc.assert(
    fc.asyncProperty(anyText, fc.array(anySpan, { maxLength: 30 }), async (scanId, spans) => {
      const forest = await arrangeForest(spans);
      const text = [...serializeScanTrace(scanId, { spans, truncated: false }, forest)].join('');
      const answer = parsed(text);
      assert.equal(answer.scan_id, scanId);
      assert.equal(answer.span_count, spans.length);
      const expected = [...forest.order].map((index, at) => {
        return '.'.repeat(forest.depths[at] ?? 0) + (spans[index]?.spanId ?? '');
      });
      assert.equal(drawn(answer), expected.join(' '));
    }),
  );
});

scanTrace.run();
