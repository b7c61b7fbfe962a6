import assert from 'node:assert/strict';
import { suite } from 'uvu';
import { recordsOf } from './content.ts';
import { SPAN_ID, TRACE_ID } from './golden_vectors.ts';
import { attributeValue, JSON_IDS, jsonMetric, jsonRequest, jsonSpan, onlyPoint, onlyRecord } from './json_requests.ts';
import { decodeJson } from './requests.ts';

const values = suite('JSON values');

const INT64_MAX = 2n ** 63n - 1n;

/** `AnyValue` as JSON, and the value that it is. */
const ANY_VALUES: readonly (readonly [string, unknown])[] = [
  ['{"stringValue":"v"}', 'v'],
  ['{"string_value":"v"}', 'v'],
  ['{"stringValue":5}', '5'],
  ['{"stringValue":true}', 'true'],
  ['{"intValue":42}', 42],
  ['{"intValue":"42"}', 42],
  ['{"int_value":"-42"}', -42],
  ['{"intValue":-1}', -1],
  ['{"intValue":-0}', 0],
  ['{"intValue":0}', 0],
  ['{"intValue":"007"}', 7],
  ['{"intValue":1.0}', 1],
  ['{"intValue":1e3}', 1000],
  ['{"intValue":1.5e3}', 1500],
  ['{"intValue":100e-2}', 1],
  ['{"intValue":4294967295}', 2 ** 32 - 1],
  ['{"intValue":4294967296}', 2 ** 32],
  ['{"intValue":8589934591}', 2 ** 33 - 1],
  ['{"intValue":999999999999999}', 999_999_999_999_999],
  ['{"intValue":9007199254740991}', 2 ** 53 - 1],
  ['{"intValue":9007199254740993}', 2n ** 53n + 1n],
  ['{"intValue":9223372036854775807}', INT64_MAX],
  ['{"intValue":"9223372036854775807"}', INT64_MAX],
  ['{"intValue":-9223372036854775808}', -INT64_MAX - 1n],
  ['{"intValue":"-9223372036854775808"}', -INT64_MAX - 1n],
  ['{"intValue":9223372036854775808}', 2 ** 63],
  ['{"intValue":"-9223372036854775809"}', -(2 ** 63)],
  ['{"intValue":1e+300}', 1e300],
  ['{"intValue":1.5}', 1.5],
  ['{"intValue":{"low":5,"high":0,"unsigned":false}}', 5],
  ['{"intValue":{"low":-1,"high":-1}}', -1],
  ['{"intValue":{ "high" : 2147483647, "low" : 4294967295 }}', INT64_MAX],
  ['{"doubleValue":1.5}', 1.5],
  ['{"doubleValue":"1.5"}', 1.5],
  ['{"doubleValue":1}', 1],
  ['{"doubleValue":-0}', -0],
  ['{"doubleValue":1e999}', Number.POSITIVE_INFINITY],
  ['{"doubleValue":"NaN"}', Number.NaN],
  ['{"doubleValue":"Infinity"}', Number.POSITIVE_INFINITY],
  ['{"doubleValue":"-Infinity"}', Number.NEGATIVE_INFINITY],
  ['{"doubleValue":null}', null],
  ['{"boolValue":true}', true],
  ['{"boolValue":false}', false],
  ['{"boolValue":"true"}', true],
  ['{"bytesValue":"AP8="}', Buffer.from('00ff', 'hex')],
  ['{"bytesValue":"AP8"}', Buffer.from('00ff', 'hex')],
  ['{"bytesValue":"+/+/"}', Buffer.from('fbffbf', 'hex')],
  ['{"bytesValue":"-_-_"}', Buffer.from('fbffbf', 'hex')],
  [String.raw`{"bytesValue":"+\/+\/"}`, Buffer.from('fbffbf', 'hex')],
  ['{"bytesValue":""}', Buffer.alloc(0)],
  ['{}', null],
  ['null', null],
  ['{"unknownValue":1}', null],
  ['{"stringValue":null}', null],
  ['{"arrayValue":{}}', []],
  ['{"arrayValue":{"values":null}}', []],
  ['{"arrayValue":{"values":[]}}', []],
  ['{"arrayValue":{"values":[{"intValue":1},null,{},{"stringValue":""}]}}', [1, null, null, '']],
  ['{"array_value":{"values":[{"arrayValue":{"values":[{"boolValue":true}]}}]}}', [[true]]],
  ['{"kvlistValue":{}}', new Map()],
  ['{"kvlistValue":{"values":[{"key":"a","value":{"intValue":1}},{"key":"a"},null]}}', new Map([['a', null]])],
  ['{"kvlist_value":{"values":[{"key":"__proto__","value":{"intValue":1}}]}}', new Map([['__proto__', 1]])],
  ['{"stringValue":"a","intValue":1}', 1],
  ['{"intValue":1,"stringValue":"a"}', 'a'],
];

for (const [json, expected] of ANY_VALUES) {
  values(json, async () => {
    assert.deepEqual(await attributeValue(json), expected);
  });
}

/** Strings as JSON, and the text that they are. */
const STRINGS: readonly (readonly [string, string])[] = [
  ['""', ''],
  ['"x"', 'x'],
  [String.raw`"\""`, '"'],
  [String.raw`"\\"`, '\\'],
  [String.raw`"\\\""`, '\\"'],
  [String.raw`"\\\\"`, '\\\\'],
  [String.raw`"\b\f\n\r\t\/"`, '\b\f\n\r\t/'],
  [String.raw`"\u0000\u007f\u0080\u07ff\u0800\uFfFf"`, '\u0000\u007f\u0080\u07ff\u0800\uffff'],
  [String.raw`"\ud83d\ude00"`, '\u{1f600}'],
  [String.raw`"\ud800\udc00\udbff\udfff"`, '\u{10000}\u{10ffff}'],
  [String.raw`"\ud83d"`, '\ufffd'],
  [String.raw`"\ude00x"`, '\ufffdx'],
  [String.raw`"\ude00\ude00"`, '\ufffd\ufffd'],
  [String.raw`"\ud83d\ud83d\ude00"`, '\ufffd\u{1f600}'],
  [String.raw`"\ud83dx\n\ud83d\n"`, '\ufffdx\n\ufffd\n'],
  [String.raw`"\ud83d\u0041"`, '\ufffdA'],
  [String.raw`"\\u0041"`, String.raw`\u0041`],
  ['"\u{1f600}ä"', '\u{1f600}ä'],
  ['"a\tb\u0001"', 'a\tb\u0001'],
  [`"${'x'.repeat(47)}"`, 'x'.repeat(47)],
  [`"${'x'.repeat(48)}"`, 'x'.repeat(48)],
  [`"${'x'.repeat(5000)}"`, 'x'.repeat(5000)],
  [String.raw`"${'x'.repeat(47)}\n${'y'.repeat(100)}\""`, `${'x'.repeat(47)}\n${'y'.repeat(100)}"`],
  [String.raw`"${'x'.repeat(48)}\n"`, `${'x'.repeat(48)}\n`],
  [String.raw`"${'x'.repeat(100)}\"${'y'.repeat(100)}\\"`, `${'x'.repeat(100)}"${'y'.repeat(100)}\\`],
];

for (const [json, expected] of STRINGS) {
  values(`the string ${json.length > 60 ? `${json.slice(0, 60)}…` : json}`, async () => {
    assert.equal(await attributeValue(`{"stringValue":${json}}`), expected);
    // A later string must not suffer from what was seen in this one.
    const record = await onlyRecord('traces', jsonSpan(`"future":${json},"name":${json},"traceState":"t"`));
    assert.deepEqual([record['name'], record['traceState']], [expected, 't']);
    const key = await onlyRecord('traces', jsonSpan(`${json}:1,"attributes":[{"key":${json}}]`));
    assert.deepEqual(key['attributes'], [[expected, null]]);
  });
}

values('text and messages of megabytes', async () => {
  const [short, long] = ['x'.repeat(70_000), 'x'.repeat(3_000_000)];
  for (const text of [short, long]) {
    const value = JSON.stringify({ stringValue: `${text}\n${text}` });
    assert.equal(await attributeValue(value), `${text}\n${text}`);
    assert.deepEqual(await attributeValue(`{"arrayValue":{"values":[${value}]}}`), [`${text}\n${text}`]);
  }
});

values('text that is not UTF-8 is replaced', async () => {
  const [before = '', after = ''] = jsonRequest('traces', jsonSpan('"name":"*","traceState":"\\n*"')).split('*', 2);
  const rest = '"}]}]}]}';
  for (const [hex, expected] of [
    ['fffe', '\ufffd\ufffd'],
    ['e4bd', '\ufffd'],
  ] as const) {
    const bytes = Buffer.from(hex, 'hex');
    const json = Buffer.concat([Buffer.from(before), bytes, Buffer.from(after), bytes, Buffer.from(rest)]);
    const [record] = recordsOf((await decodeJson('traces', json)).batch);
    assert.deepEqual([record?.['name'], record?.['traceState']], [expected, `\n${expected}`]);
  }
});

values.run();

const fields = suite('JSON fields');

/** Members of a span, and what they make of one of its fields. */
const SPAN_MEMBERS: readonly (readonly [string, string, unknown])[] = [
  ['"traceId":"0102030405060708090A0B0C0D0E0F10"', 'traceId', TRACE_ID],
  ['"trace_id":"ffffffffffffffffffffffffffffffff"', 'traceId', 'f'.repeat(32)],
  ['"parentSpanId":"eee19b7ec3c1b174"', 'parentSpanId', 'eee19b7ec3c1b174'],
  ['"parent_span_id":"EEE19B7EC3C1B174"', 'parentSpanId', 'eee19b7ec3c1b174'],
  ['"parentSpanId":""', 'parentSpanId', ''],
  ['"parentSpanId":null', 'parentSpanId', ''],
  [String.raw`"parentSpanId":"\u0065ee19b7ec3c1b174"`, 'parentSpanId', 'eee19b7ec3c1b174'],
  [String.raw`"par\u0065ntSpanId":"eee19b7ec3c1b174"`, 'parentSpanId', 'eee19b7ec3c1b174'],
  ['"kind":3', 'kind', 3],
  ['"kind":"3"', 'kind', 3],
  ['"kind":3.0', 'kind', 3],
  ['"kind":99', 'kind', 99],
  ['"kind":-1', 'kind', 0xffff_ffff],
  ['"kind":"SPAN_KIND_CLIENT"', 'kind', 3],
  ['"kind":"CLIENT"', 'kind', 3],
  ['"kind":"client"', 'kind', 3],
  ['"kind":"SPAN_KIND_UNSPECIFIED"', 'kind', 0],
  ['"startTimeUnixNano":"1544712660000000000"', 'start', 1_544_712_660_000_000_000n],
  ['"startTimeUnixNano":1544712660123456789', 'start', 1_544_712_660_123_456_789n],
  ['"start_time_unix_nano":1544712660123456789', 'start', 1_544_712_660_123_456_789n],
  ['"startTimeUnixNano":1.544712660123456789e18', 'start', 1_544_712_660_123_456_789n],
  ['"startTimeUnixNano":"0001544712660123456789"', 'start', 1_544_712_660_123_456_789n],
  ['"startTimeUnixNano":"9999999999999999999"', 'start', 9_999_999_999_999_999_999n],
  ['"startTimeUnixNano":"18446744073709551615"', 'start', 2n ** 64n - 1n],
  ['"startTimeUnixNano":18446744073709551615', 'start', 2n ** 64n - 1n],
  ['"startTimeUnixNano":"1000000000000000000"', 'start', 10n ** 18n],
  ['"startTimeUnixNano":7', 'start', 7n],
  ['"startTimeUnixNano":0', 'start', 0n],
  ['"startTimeUnixNano":{"low":-1,"high":-1,"unsigned":true}', 'start', 2n ** 64n - 1n],
  ['"startTimeUnixNano":{"low":2,"high":1}', 'start', 2n ** 32n + 2n],
  ['"flags":769', 'flags', 769],
  ['"flags":"4294967295"', 'flags', 0xffff_ffff],
  ['"status":{"code":"STATUS_CODE_ERROR","message":"boom"}', 'status', [2, 'boom']],
  ['"status":{"code":"ERROR"}', 'status', [2, '']],
  ['"status":{"message":404}', 'status', [0, '404']],
  ['"status":{}', 'status', [0, '']],
  ['"status":null', 'status', [0, '']],
  ['"attributes":null', 'attributes', []],
  ['"attributes":[null,{"key":"k"},null]', 'attributes', [['k', null]]],
  [
    '"attributes":[{"key":"k","value":{"intValue":1}},{"key":"k","value":{"intValue":2}}]',
    'attributes',
    [
      ['k', 1],
      ['k', 2],
    ],
  ],
  ['"attributes":[{"value":{"intValue":1},"key":"k"}]', 'attributes', [['k', 1]]],
  ['"name":"a","name":"b"', 'name', 'b'],
  ['"name":"a","name":null', 'name', 'a'],
  ['"droppedAttributesCount":4294967295,"dropped_events_count":"2"', 'dropped', [0xffff_ffff, 2, 0]],
  ['"future":{"a":[{"b":["}",{}]}],"traceId":"x"},"name":"n"', 'name', 'n'],
  ['"future":[[[]],{"spans":[1]}],"name":"n"', 'name', 'n'],
  ['"__proto__":{"name":"x"},"constructor":1,"toString":[1],"name":"n"', 'name', 'n'],
  ['"future":1.5e-7,"futures":true,"none":null,"text":"\\ud800","name":"n"', 'name', 'n'],
  ['"events":[null,{"name":"e","timeUnixNano":"5"}]', 'events', [{ time: 5n, name: 'e', attributes: [], dropped: 0 }]],
];

for (const [members, field, expected] of SPAN_MEMBERS) {
  fields(members, async () => {
    const record = await onlyRecord('traces', jsonSpan(members));
    assert.deepEqual(record[field], expected);
  });
}

/** Members of a data point in this kind of metric, and what they make of the point. */
const POINT_MEMBERS: readonly (readonly [string, string, object])[] = [
  ['gauge', '"asInt":"42"', { asInt: 42n }],
  ['gauge', '"asInt":-42', { asInt: -42n }],
  ['gauge', '"as_int":"-9223372036854775808"', { asInt: -(2n ** 63n) }],
  ['gauge', '"asInt":{"low":-5,"high":-1}', { asInt: -5n }],
  ['gauge', '"asDouble":"1.5"', { asDouble: 1.5 }],
  ['gauge', '"asDouble":"-Infinity"', { asDouble: Number.NEGATIVE_INFINITY }],
  ['gauge', '"asDouble":1,"asInt":null', { asDouble: 1 }],
  ['sum', '"asInt":1,"flags":"1"', { asInt: 1n, flags: 1 }],
  [
    'histogram',
    '"count":3,"bucketCounts":["1",2],"explicitBounds":[0.5]',
    { count: 3n, counts: [1n, 2n], bounds: [0.5] },
  ],
  ['histogram', '"count":"3","bucket_counts":[3],"explicit_bounds":[]', { count: 3n, counts: [3n], bounds: [] }],
  ['histogram', '"sum":"NaN","min":-1,"max":1e3', { sum: Number.NaN, min: -1, max: 1000 }],
  [
    'exponentialHistogram',
    '"scale":-3,"zeroCount":"1","positive":{"offset":-2,"bucketCounts":["0",300,"18446744073709551615"]}',
    { scale: -3, zeroCount: 1n, positive: { offset: -2, counts: [0n, 300n, 2n ** 64n - 1n] } },
  ],
  ['exponential_histogram', '"zeroThreshold":0.5,"negative":{}', { zeroThreshold: 0.5 }],
  [
    'summary',
    '"quantileValues":[{"quantile":0.5,"value":"NaN"}]',
    { quantiles: [{ quantile: 0.5, value: Number.NaN }] },
  ],
  [
    'gauge',
    `"asInt":1,"exemplars":[{"asInt":"5","traceId":"${TRACE_ID}","spanId":"${SPAN_ID}","filteredAttributes":[{"key":"k"}]}]`,
    { exemplars: [{ attributes: [['k', null]], time: 0n, value: 5n, traceId: TRACE_ID, spanId: SPAN_ID }] },
  ],
];

for (const [kind, members, expected] of POINT_MEMBERS) {
  fields(`${kind} ${members}`, async () => {
    const point = await onlyPoint(jsonMetric(`"${kind}":{"dataPoints":[{${members}}]}`));
    const found = Object.fromEntries(Object.keys(expected).map((name) => [name, point[name]]));
    assert.deepEqual(found, expected);
  });
}

fields('of a metric', async () => {
  const members = '"description":"d","unit":"1","metadata":[{"key":"k"}]';
  const data = '"sum":{"aggregationTemporality":"AGGREGATION_TEMPORALITY_CUMULATIVE","isMonotonic":true}';
  const { points, ...metric } = await onlyRecord('metrics', jsonMetric(`${members},${data}`));
  assert.deepEqual(points, []);
  assert.deepEqual(metric, {
    name: 'm',
    description: 'd',
    unit: '1',
    type: 'sum',
    temporality: 2,
    isMonotonic: true,
    metadata: [['k', null]],
  });
});

fields('of a log record', async () => {
  const members = '"severityNumber":"SEVERITY_NUMBER_ERROR2","severityText":"E","eventName":"ev","flags":1';
  const times = '"observedTimeUnixNano":"2","timeUnixNano":1';
  const body = '"body":{"kvlistValue":{"values":[{"key":"k","value":{"doubleValue":0.5}}]}}';
  assert.deepEqual(await onlyRecord('logs', `{${JSON_IDS},${members},${times},${body}}`), {
    time: 1n,
    observed: 2n,
    severity: [18, 'E'],
    body: new Map([['k', 0.5]]),
    attributes: [],
    dropped: 0,
    flags: 1,
    traceId: TRACE_ID,
    spanId: SPAN_ID,
    eventName: 'ev',
  });
  assert.equal((await onlyRecord('logs', '{"body":{"stringValue":"x"},"body":null}'))['body'], 'x');
});

fields('with the names from before OTLP 0.19', async () => {
  const scope = `{"instrumentationLibrary":{"name":"l"},"spans":[${jsonSpan('"name":"a"')}]}`;
  for (const name of ['instrumentationLibrarySpans', 'instrumentation_library_spans']) {
    const { batch } = await decodeJson('traces', `{"resource_spans":[{"${name}":[${scope}]}]}`);
    const [group] = batch.resources;
    assert.deepEqual(
      group?.scopes.map(({ scope: { name: scopeName }, records }) => [scopeName, records.length]),
      [['l', 1]],
    );
  }
});

fields('of resource and scope, and one that strayed', async () => {
  const resource = '"resource":{"schemaUrl":"stray","attributes":[{"key":"k"}],"droppedAttributesCount":1}';
  const scope = '"scope":{"name":"n","version":"v","attributes":[{"key":"l"}]},"schemaUrl":"s"';
  const json = `{"resourceSpans":[{${resource},"scopeSpans":[{${scope}}],"schema_url":"r"}]}`;
  const [group] = (await decodeJson('traces', json)).batch.resources;
  assert.deepEqual([group?.schemaUrl, group?.resource.droppedAttributesCount], ['r', 1]);
  assert.deepEqual([...(group?.resource.attributes.entries() ?? [])], [['k', null]]);
  const [found] = group?.scopes ?? [];
  assert.deepEqual([found?.schemaUrl, found?.scope.name, found?.scope.version], ['s', 'n', 'v']);
});

fields.run();
