import assert from 'node:assert/strict';
import * as fc from 'fast-check';
import { suite } from 'uvu';
import { InvalidDataError } from '../../../src/errors.ts';
import type { AttributeValue } from '../../../src/model/attributes.ts';
import { handle, handleAttributes, handleSpan, RECEIVED_NS, request, START } from './sdk_request.ts';

const START_NS = 1_780_912_800_000_000_000n;

const Accepts = suite('sdk spans accepts');

Accepts('the documented example', async () => {
  const { status, answer, batches, spans } = await handle({
    trace_id: 't-abc',
    spans: [
      { span_id: 's1', name: 'agent.run', kind: 'request', start_time: START, end_time: '2026-06-08T10:00:02Z' },
      {
        span_id: 's2',
        parent_span_id: 's1',
        name: 'tool.search',
        kind: 'tool',
        duration_ms: 120,
        attributes: { query: '…' },
      },
    ],
  });
  assert.equal(status, 202);
  assert.deepEqual(answer, { trace_id: 't-abc', accepted: 2 });
  assert.equal(batches.length, 1);
  const seen = spans.map((span) => ({
    ids: [span.traceId, span.spanId, span.parentSpanId],
    name: span.name,
    type: span.promoted?.spanType,
    times: [span.startTimeUnixNano, span.endTimeUnixNano],
    attributes: Object.fromEntries(span.attributes.entries()),
  }));
  assert.deepEqual(seen, [
    {
      ids: ['t-abc', 's1', ''],
      name: 'agent.run',
      type: 'request',
      times: [START_NS, START_NS + 2_000_000_000n],
      attributes: {},
    },
    {
      ids: ['t-abc', 's2', 's1'],
      name: 'tool.search',
      type: 'tool',
      times: [START_NS, START_NS + 120_000_000n],
      attributes: { query: '…', 'sluice.time_inferred': true },
    },
  ]);
});

Accepts('a request without spans, which no pipeline hears of', async () => {
  const { status, answer, batches } = await handle(request());
  assert.deepEqual({ status, answer, batches }, { status: 202, answer: { trace_id: 't', accepted: 0 }, batches: [] });
});

Accepts('fewer spans where the pipelines reject some', async () => {
  const spans = [1, 2, 3].map((n) => ({ span_id: `${n}`, name: 'n' }));
  const { answer } = await handle(request(...spans), { outcome: { rejected: 2, message: 'over the limit' } });
  assert.deepEqual(answer, { trace_id: 't', accepted: 1 });
});

Accepts('500 spans', async () => {
  const spans = Array.from({ length: 500 }, (_, i) => ({ span_id: `${i}`, name: 'n' }));
  assert.deepEqual((await handle(request(...spans))).answer, { trace_id: 't', accepted: 500 });
});

for (const [kind, otlpKind] of [
  ['request', 2],
  ['llm', 3],
  ['tool', 1],
  ['firewall', 1],
  ['detector', 1],
  ['other', 1],
] as const) {
  Accepts(`the kind ${kind}`, async () => {
    const span = await handleSpan({ kind });
    assert.deepEqual([span.promoted?.spanType, span.kind], [kind, otlpKind]);
  });
}

Accepts('a span without a kind as other', async () => {
  assert.equal((await handleSpan({})).promoted?.spanType, 'other');
});

for (const [status, code, mark] of [
  [undefined, 0, undefined],
  ['ok', 1, undefined],
  ['error', 2, undefined],
  ['blocked', 2, 'blocked'],
] as const) {
  Accepts(`the status ${status ?? 'that is missing'}, told apart from the others`, async () => {
    const span = await handleSpan({ status, status_message: 'why' });
    assert.deepEqual([span.statusCode, span.attributes.get('sluice.status')], [code, mark]);
    const { bytes, statusMessageAt, statusMessageEnd } = span;
    assert.equal(Buffer.from(bytes.subarray(statusMessageAt, statusMessageEnd)).toString(), 'why');
  });
}

Accepts("marks after a client's own attributes of the same name", async () => {
  const span = await handleSpan({ status: 'blocked', attributes: { 'sluice.status': 'ok', status: 403 } });
  assert.deepEqual([span.attributes.get('sluice.status'), span.attributes.get('status')], ['blocked', 403]);
});

for (const [what, id] of [
  ['one character', 'x'],
  ['128 characters', 'x'.repeat(128)],
  ['128 characters of four bytes', '🦀'.repeat(128)],
  ['hex digits', '5b8efff798038103d269b633813fc60c'],
  ['spaces and quotes inside', 'a "b" \\c'],
] as const) {
  Accepts(`ids of ${what}`, async () => {
    const { answer, spans } = await handle({
      trace_id: id,
      spans: [{ span_id: id, parent_span_id: id, name: 'n' }],
    });
    assert.deepEqual(answer, { trace_id: id, accepted: 1 });
    const [span] = spans;
    assert.deepEqual([span?.textIds, span?.traceId, span?.spanId, span?.parentSpanId], [true, id, id, id]);
  });
}

Accepts('null as good as missing, and an empty parent as none', async () => {
  const fields = ['kind', 'start_time', 'end_time', 'duration_ms', 'attributes', 'status', 'status_message'];
  const span = await handleSpan({ ...Object.fromEntries(fields.map((name) => [name, null])), parent_span_id: '' });
  assert.deepEqual([span.parentSpanId, span.promoted?.spanType, span.statusCode], ['', 'other', 0]);
});

Accepts('keys that it does not know, and of equal ones the last', async () => {
  const { spans } = await handle(
    `\uFEFF {"x":[{"spans":[1]}],"trace_id":"a","trace_id":"b","spans":[],"spans":[{"name":"early","attributes":{"a":1},
      "x":{"span_id":"y"},"span_id":"s","n\\u0061me":"l\\u00e4te","attributes":{"b":2},"start_time":"${START}"}]}`,
  );
  assert.deepEqual(
    spans.map((span) => [span.traceId, span.spanId, span.name, span.attributes.entries()]),
    [['b', 's', 'läte', new Map([['b', 2]])]],
  );
});

Accepts('a span without any time at the time of the request', async () => {
  const span = await handleSpan({});
  assert.deepEqual([span.startTimeUnixNano, span.endTimeAt], [RECEIVED_NS, 0]);
  assert.equal(span.attributes.get('sluice.time_inferred'), true);
});

Accepts('an end before the start, with a mark', async () => {
  const span = await handleSpan({ start_time: START, end_time: '2026-06-08T09:00:00Z' });
  assert.deepEqual([span.startTimeUnixNano, span.endTimeUnixNano], [START_NS, START_NS - 3_600_000_000_000n]);
  assert.deepEqual(span.attributes.entries(), new Map([['sluice.time_conflict', true]]));
});

Accepts.run();

const Attributes = suite('sdk span attributes');

for (const [json, expected] of [
  ['""', ''],
  ['"é\\n\\u0041\\ud83e\\udd80\\ud800"', 'é\nA🦀\uFFFD'],
  ['true', true],
  ['false', false],
  ['null', null],
  ['0', 0],
  ['-1', -1],
  ['9007199254740993', 9_007_199_254_740_993n],
  ['9223372036854775807', 2n ** 63n - 1n],
  ['-9223372036854775808', -(2n ** 63n)],
  ['9223372036854775808', '9223372036854775808'],
  ['18446744073709551615', '18446744073709551615'],
  ['1.5', 1.5],
  ['1e3', 1000],
  ['-2.5e-3', -0.0025],
  ['1e999', '1e999'],
  ['[]', []],
  ['{}', new Map()],
  ['[1,[null,"x"],{"a":{"b":[]}}]', [1, [null, 'x'], new Map([['a', new Map([['b', []]])]])]],
] as const) {
  Attributes(`the value ${json}`, async () => {
    assert.deepEqual(await handleAttributes(`{"a":${json}}`), new Map<string, unknown>([['a', expected]]));
  });
}

Attributes('keys of every kind', async () => {
  assert.deepEqual(
    await handleAttributes('{"":1,"__proto__":2,"a\\"b":3,"é":4}'),
    new Map([
      ['', 1],
      ['__proto__', 2],
      ['a"b', 3],
      ['é', 4],
    ]),
  );
});

/** What an attribute holds of a value that JSON.stringify wrote. */
function storedValue(value: unknown): AttributeValue {
  if (Array.isArray(value)) return value.map(storedValue);
  if (typeof value === 'string') return value.toWellFormed();
  if (typeof value === 'number') return storedNumber(value);
  if (typeof value === 'boolean' || value === null) return value;
  return new Map(Object.entries(value ?? {}).map(([key, member]) => [key.toWellFormed(), storedValue(member)]));
}

function storedNumber(value: number): AttributeValue {
  const text = JSON.stringify(value);
  if (Number.isSafeInteger(value) || !/^-?\d+$/.test(text)) return Number(text);
  return BigInt.asIntN(64, BigInt(text)) === BigInt(text) ? BigInt(text) : text;
}

Attributes('any JSON comes back as it was sent', async () => {
  const anything = fc.dictionary(fc.string({ unit: 'binary' }), fc.jsonValue({ maxDepth: 4 }));
  await fc.assert(
    fc.asyncProperty(anything, async (attributes) => {
      assert.deepEqual(await handleAttributes(JSON.stringify(attributes)), storedValue(attributes));
    }),
    { numRuns: 200 },
  );
});

const nested = (levels: number) => `{"a":${'['.repeat(levels - 1)}1${']'.repeat(levels - 1)}}`;

Attributes('64 levels, and not one more', async () => {
  assert.equal((await handleAttributes(nested(64))).size, 1);
  await assert.rejects(handleAttributes(nested(65)), /^InvalidDataError: spans\[0\]\.attributes: .*max_depth \(64\)/);
  await assert.rejects(handleAttributes(`{"a":${'{"a":'.repeat(100_000)}`), /max_depth/);
});

Attributes('long texts and many values, read in slices', async () => {
  const plain = 'x'.repeat(1_000_000);
  const escaped = 'é\n'.repeat(300_000);
  const many = Array.from({ length: 100_000 }, (_, i) => i);
  const entries = await handleAttributes(JSON.stringify({ plain, escaped, many }));
  assert.deepEqual(entries, new Map<string, unknown>(Object.entries({ plain, escaped, many })));
});

Attributes.run();

const Refuses = suite('sdk spans refuses');

const RFC = 'must be an RFC 3339 time between 1970 and 2262, with an offset and up to 9 fraction digits';
const ID = 'must be text of 1 to 128 printable characters';
const MS = 'must be a number of milliseconds from 0 to 315360000000';
const spanWith = (fields: object) => request({ span_id: 's', name: 'n', ...fields });

for (const [what, body, message] of [
  ['no trace id', { spans: [] }, 'trace_id: is required'],
  ['no spans', { trace_id: 't' }, 'spans: is required'],
  ['null for what is required', { trace_id: null, spans: [] }, 'trace_id: is required'],
  ['spans that are no list', { trace_id: 't', spans: {} }, 'spans: must be a list of spans; found an object'],
  ['a span that is no object', request('x'), 'spans[0]: must be an object; found text'],
  ['a span that is null', request(null), 'spans[0]: must be an object; found null'],
  ['no span id', request({ name: 'n' }), 'spans[0].span_id: is required'],
  ['no name', request({ span_id: 's' }), 'spans[0].name: is required'],
  ['an empty name', spanWith({ name: '' }), 'spans[0].name: must not be empty'],
  ['a name that is a number', spanWith({ name: 1 }), 'spans[0].name: must be text; found a number'],
  ['an empty trace id', { trace_id: '', spans: [] }, `trace_id: ${ID}; found ""`],
  [
    'an id of 129 characters',
    spanWith({ span_id: 'x'.repeat(129) }),
    `spans[0].span_id: ${ID}; found "${'x'.repeat(60)}…"`,
  ],
  ['a line feed in an id', spanWith({ span_id: 'a\nb' }), `spans[0].span_id: ${ID}; found "a\\nb"`],
  ['NUL in an id', spanWith({ parent_span_id: '\0' }), `spans[0].parent_span_id: ${ID}; found "\\u0000"`],
  ['an id with a lone surrogate', spanWith({ span_id: '\ud800' }), `spans[0].span_id: ${ID}; found "\uFFFD"`],
  ['an invisible character in an id', spanWith({ span_id: 'a\u200Bb' }), `spans[0].span_id: ${ID}; found "a\u200Bb"`],
  ['an id that is a number', spanWith({ span_id: 7 }), `spans[0].span_id: ${ID}; found a number`],
  [
    'an unknown kind',
    spanWith({ kind: 'LLM' }),
    'spans[0].kind: must be one of request, llm, tool, firewall, detector, other; found "LLM"',
  ],
  ['an unknown status', spanWith({ status: 'OK' }), 'spans[0].status: must be one of ok, blocked, error; found "OK"'],
  [
    'a status that is a number',
    spanWith({ status: 2 }),
    'spans[0].status: must be one of ok, blocked, error; found a number',
  ],
  [
    'a time without an offset',
    spanWith({ start_time: '2026-06-08T10:00:00' }),
    `spans[0].start_time: ${RFC}; found "2026-06-08T10:00:00"`,
  ],
  ['a time that is a number', spanWith({ end_time: 1 }), `spans[0].end_time: ${RFC}; found a number`],
  ['a negative duration', spanWith({ duration_ms: -1 }), `spans[0].duration_ms: ${MS}; found -1`],
  ['a duration that is text', spanWith({ duration_ms: '120' }), `spans[0].duration_ms: ${MS}; found text`],
  [
    'a duration that began before 1970',
    spanWith({ end_time: '1971-01-01T00:00:00Z', duration_ms: 1e11 }),
    'spans[0].duration_ms: is longer than the time from 1970 to the end',
  ],
  ['attributes that are a list', spanWith({ attributes: [] }), 'spans[0].attributes: must be an object; found a list'],
  [
    'a faulty span, also where a later list replaces it',
    `{"trace_id":"t","spans":[{"span_id":"s"}],"spans":[]}`,
    'spans[0].name: is required',
  ],
  [
    'several faults, each named by span and field',
    {
      spans: [
        { span_id: 's', name: 'n' },
        { kind: 'x', name: true },
      ],
    },
    'spans[1].kind: must be one of request, llm, tool, firewall, detector, other; found "x"; ' +
      'spans[1].name: must be text; found true; spans[1].span_id: is required; trace_id: is required',
  ],
] as const) {
  Refuses(what, async () => {
    await assert.rejects(handle(body), { name: 'InvalidDataError', message });
  });
}

Refuses('many faults, of which it names the first five', async () => {
  const spans = Array.from({ length: 500 }, () => ({ span_id: 's', name: '' }));
  await assert.rejects(handle(request(...spans)), ({ message }: Error) => {
    assert.deepEqual(
      message.split('; '),
      [0, 1, 2, 3, 4].map((index) => `spans[${index}].name: must not be empty`),
    );
    return true;
  });
});

Refuses('501 spans, naming the limit', async () => {
  const spans = Array.from({ length: 501 }, (_, i) => ({ span_id: `${i}`, name: 'n' }));
  await assert.rejects(handle(request(...spans)), {
    name: 'InvalidDataError',
    message: 'spans: more than max_spans (500) in one request',
  });
});

Refuses('more values than max_nodes, wherever they are', async () => {
  const limits = { max_nodes: 10 };
  const tenValues = Array.from({ length: 10 }, () => null);
  await assert.rejects(handle(spanWith({ attributes: { a: tenValues } }), { limits }), /max_nodes \(10\)/);
  await assert.rejects(handle({ x: tenValues, ...request() }, { limits }), /^InvalidDataError: x: .*max_nodes/);
  await assert.rejects(handle(`{${'"a":null,'.repeat(11)}"trace_id":"t"}`, { limits }), /max_nodes/);
  await assert.rejects(handle(request(...tenValues.map(() => ({ span_id: 's' }))), { limits }), InvalidDataError);
});

for (const body of [
  '',
  'null',
  '[]',
  '"x"',
  '{',
  '{"trace_id"}',
  '{"trace_id":"t","spans":[]',
  '{"trace_id":"t","spans":[]}x',
  '{"trace_id":"t","spans":[],}',
  '{"trace_id":"t","spans":[,]}',
  '{"trace_id":"t" "spans":[]}',
  '{"trace_id":"t","spans":[{"span_id":"s","name":"n","attributes":{"a":NaN}}]}',
  '{"trace_id":"t","spans":[{"span_id":"s","name":"n","attributes":{"a":01}}]}',
  '{"trace_id":"t","spans":[{"span_id":"s","name":"n","duration_ms":}]}',
  '{"trace_id":"\\x"}',
  '{a:1}',
]) {
  Refuses(`${body === '' ? 'an empty body' : body}, which is not JSON or no object`, async () => {
    await assert.rejects(handle(body), /^InvalidDataError: not valid JSON: /);
  });
}

Refuses('every truncation of a request, with an error of the sender', async () => {
  const body = JSON.stringify(
    spanWith({ kind: 'llm', start_time: START, duration_ms: 1.5, attributes: { a: [1, { b: 'c\n' }], d: true } }),
  );
  for (let length = 0; length < body.length; length++) {
    await assert.rejects(handle(body.slice(0, length)), InvalidDataError);
  }
});

Refuses('flipped bytes, or takes them, and never breaks', async () => {
  const body = Buffer.from(JSON.stringify(spanWith({ kind: 'llm', attributes: { a: [1, { b: 'c' }] } })));
  await fc.assert(
    fc.asyncProperty(fc.nat(body.length - 1), fc.integer({ min: 0, max: 255 }), async (at, byte) => {
      const flipped = Buffer.from(body);
      flipped[at] = byte;
      const result = await handle(flipped.toString('latin1')).catch((error: unknown) => error);
      assert.ok(!(result instanceof Error) || result instanceof InvalidDataError, String(result));
    }),
    { numRuns: 2000 },
  );
});

Refuses.run();
