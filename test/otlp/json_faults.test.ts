import assert from 'node:assert/strict';
import { suite } from 'uvu';
import { InvalidDataError } from '../../src/errors.ts';
import { itemCount, type Signal } from '../../src/model/batch.ts';
import { DEFAULT_SHAPE_LIMITS } from '../../src/model/wire.ts';
import { recordsOf } from './content.ts';
import { TRACE_ID } from './golden_vectors.ts';
import { faultOf, JSON_IDS, jsonMetric, jsonRequest, jsonSpan, onlyRecord } from './json_requests.ts';
import { decodeJson } from './requests.ts';

/** Why the request is refused; empty when it is not. */
async function refusal(signal: Signal, json: string | Uint8Array): Promise<string> {
  try {
    await decodeJson(signal, json);
    return '';
  } catch (error) {
    assert.ok(error instanceof InvalidDataError, String(error));
    return error.message;
  }
}

const requests = suite('JSON requests');

const EMPTY: readonly string[] = [
  '{}',
  ' {\t"resourceSpans"\r\n:\n[ ] } \n',
  '\ufeff{}',
  '{"resourceSpans":null}',
  '{"resourceSpans":[]}',
  '{"resourceSpans":[null]}',
  '{"resourceSpans":[{}]}',
  '{"resourceSpans":[{"resource":{},"scopeSpans":[{"scope":null,"spans":[]}]}]}',
  '{"future":{"resourceSpans":[1]},"__proto__":[]}',
];

for (const json of EMPTY) {
  requests(`${JSON.stringify(json)} holds nothing`, async () => {
    const { batch, message } = await decodeJson('traces', json);
    assert.deepEqual([itemCount(batch), message], [0, '']);
  });
}

const NO_OBJECT = /^not valid JSON: an OTLP traces request is a JSON object; expected "{" /;

const MALFORMED: readonly (readonly [string, RegExp])[] = [
  ['', /an OTLP traces request is a JSON object; expected "{" at the end$/],
  ['  ', NO_OBJECT],
  ['\ufeff', NO_OBJECT],
  ['null', NO_OBJECT],
  ['[]', NO_OBJECT],
  ['1234', NO_OBJECT],
  ['"x"', NO_OBJECT],
  ['<html>', /expected "{" at byte 0$/],
  ['{', /expected a key at the end/],
  ['{"a"', /expected ":" at the end/],
  ['{"a":', /invalid value at the end/],
  ['{"a":1', /expected "," at the end/],
  ['{"a', /unterminated string at the end/],
  [String.raw`{"a\"`, /unterminated string at the end/],
  ['{"a\\', /invalid escape in a string at byte 3/],
  [`{"a":"${'x'.repeat(100)}`, /unterminated string at the end/],
  [String.raw`{"a":"${'x'.repeat(100)}\"`, /unterminated string at the end/],
  ['{"a":1,}', /expected a key at byte 7/],
  ['{"a":1 "b":2}', /expected "," at byte 7/],
  ['{,}', /expected a key at byte 1/],
  ['{a:1}', /expected a key at byte 1/],
  ['{"a":[1,]}', /invalid value at byte 8/],
  ['{"a":[,1]}', /invalid value at byte 6/],
  ['{"a":[1}', /expected "," at byte 7/],
  ['{"a":{"b":1]}', /expected "," at byte 11/],
  ['{"a":NaN}', /invalid value at byte 5/],
  ['{"a":undefined}', /invalid value at byte 5/],
  ['{"a":nul}', /invalid value at byte 5/],
  ['{"a":trueish}', /expected "," at byte 9/],
  ["{'a':1}", /expected a key at byte 1/],
  ...['01', '+1', '.5', '1.', '1e', '-', '--1', '1e5.5', '0x10', '1_000', '9'.repeat(513)].map(
    (number) => [`{"a":${number}}`, /invalid value at byte 5|expected "," at byte/] as const,
  ),
  ['{} {}', /text behind the end of the request at byte 3/],
  ['{}\n{}', /text behind the end of the request at byte 3/],
  ['{}]', /text behind the end of the request at byte 2/],
  ['{"resourceSpans":{}}', /^resourceSpans must be an array, found an object$/],
  ['{"resourceSpans":"x"}', /^resourceSpans must be an array, found a string$/],
  ['{"resourceSpans":[1]}', /^resourceSpans\[0\] must be an object \(ResourceSpans\), found a number$/],
  ['{"resourceSpans":[{},[]]}', /^resourceSpans\[1\] must be an object \(ResourceSpans\), found an array$/],
  [
    '{"resourceSpans":[{"schemaUrl":{}}]}',
    /^resourceSpans\[0\]\.schemaUrl must be a value of type string, found an object$/,
  ],
  [
    '{"resourceSpans":[{"resource":{"attributes":[{},{"value":{"intValue":"x"}}]}}]}',
    /^resourceSpans\[0\]\.resource\.attributes\[1\]\.value\.intValue must be an integer, found "x"$/,
  ],
];

for (const [json, message] of MALFORMED) {
  requests(`${json.length > 60 ? `${json.slice(0, 60)}…` : json} is refused`, async () => {
    assert.match(await refusal('traces', json), message);
  });
}

const BAD_ESCAPES = [
  String.raw`\q`,
  String.raw`\u12`,
  String.raw`\u12g4`,
  String.raw`\U0041`,
  '\\\n',
  String.raw`\x41`,
];

for (const escape of BAD_ESCAPES) {
  requests(`a name with the escape ${JSON.stringify(escape)} is refused`, async () => {
    const json = jsonRequest('traces', jsonSpan(`"name":"ab${escape}"`));
    assert.match(
      await refusal('traces', json),
      new RegExp(`invalid escape in a string at byte ${json.indexOf('\\')}$`),
    );
  });
}

requests('cut anywhere are refused', async () => {
  const json = jsonRequest(
    'traces',
    jsonSpan(String.raw`"name":"a\u00e4\n","flags":-1.5e3,"x":[true,null,{"y":"\\"}]`),
  );
  for (let length = 0; length < json.length; length++) {
    assert.match(await refusal('traces', json.slice(0, length)), /^not valid JSON: /, `${length} characters`);
  }
});

requests('with any byte changed are read or refused, never more', async () => {
  const members =
    '"attributes":[{"key":"k\\u0041","value":{"arrayValue":{"values":[{"intValue":"5"},{"doubleValue":-1e3}]}}}]';
  const bytes = Buffer.from(jsonRequest('traces', jsonSpan(`${members},"startTimeUnixNano":"1544712660000000000"`)));
  for (let at = 0; at < bytes.length; at++) {
    for (let bit = 0; bit < 8; bit++) {
      const changed = Buffer.from(bytes);
      changed[at] = (bytes[at] ?? 0) ^ (1 << bit);
      await refusal('traces', changed);
    }
  }
});

const values = (levels: number): string =>
  `${'{"kvlistValue":{"values":[{"key":"k","value":'.repeat(levels)}{}${'}]}}'.repeat(levels)}`;

const spanWith = (levels: number): string =>
  jsonRequest('traces', jsonSpan(`"attributes":[{"value":${values(levels)}}]`));

requests('that nest too deep are refused, however deep, wherever it is', async () => {
  const limit = DEFAULT_SHAPE_LIMITS.max_depth * 4 + 32;
  assert.equal(await refusal('traces', `{"a":${'['.repeat(limit - 1)}${']'.repeat(limit - 1)}}`), '');
  const deep = new RegExp(`^JSON nests deeper than ${limit} levels \\(max_depth\\)$`);
  for (const levels of [limit, 100_000]) {
    assert.match(await refusal('traces', `{"a":${'['.repeat(levels)}`), deep);
    assert.match(await refusal('traces', '{"a":'.repeat(levels + 1)), deep);
  }
  assert.equal(await refusal('traces', spanWith(63)), '');
  assert.match(await refusal('traces', spanWith(64)), /attribute values nest deeper than max_depth \(64\)/);
  assert.match(await refusal('traces', spanWith(20_000)), deep);
});

requests('with more records than they may have are refused, whole or not', async () => {
  const limits = { ...DEFAULT_SHAPE_LIMITS, max_records: 2 };
  const two = [jsonSpan(''), '{"kind":"x"}'];
  assert.equal((await decodeJson('traces', jsonRequest('traces', ...two), limits)).rejected, 1);
  await assert.rejects(decodeJson('traces', jsonRequest('traces', ...two, jsonSpan('')), limits), {
    name: 'InvalidDataError',
    message: 'more than max_records (2) records in one request',
  });
});

requests.run();

const records = suite('JSON records with faults');

const SPAN = 'resourceSpans[0].scopeSpans[0].spans[0]';

const FAULTS: readonly (readonly [string, string])[] = [
  ['"attributes":{"k":"v"}', '.attributes must be an array, found an object'],
  ['"attributes":"k"', '.attributes must be an array, found a string'],
  ['"attributes":[{},["k"]]', '.attributes[1] must be an object (KeyValue), found an array'],
  ['"attributes":[{"key":"k","value":"v"}]', '.attributes[0].value must be an object (AnyValue), found a string'],
  ['"attributes":[{"key":"k","value":["v"]}]', '.attributes[0].value must be an object (AnyValue), found an array'],
  ['"attributes":[{"key":{}}]', '.attributes[0].key must be a value of type string, found an object'],
  [
    '"attributes":[{"value":{"arrayValue":{"values":[{},{"intValue":"1.x"}]}}}]',
    '.attributes[0].value.arrayValue.values[1].intValue must be an integer, found "1.x"',
  ],
  [
    '"attributes":[{"value":{"arrayValue":[]}}]',
    '.attributes[0].value.arrayValue must be an object (ArrayValue), found an array',
  ],
  [
    '"attributes":[{"value":{"doubleValue":"Inf"}}]',
    '.attributes[0].value.doubleValue must be a number, "NaN", "Infinity" or "-Infinity", found "Inf"',
  ],
  [
    '"attributes":[{"value":{"doubleValue":" 1"}}]',
    '.attributes[0].value.doubleValue must be a number, "NaN", "Infinity" or "-Infinity", found " 1"',
  ],
  ['"attributes":[{"value":{"boolValue":1}}]', '.attributes[0].value.boolValue must be true or false, found 1'],
  ['"attributes":[{"value":{"boolValue":"yes"}}]', '.attributes[0].value.boolValue must be true or false, found "yes"'],
  ['"attributes":[{"value":{"bytesValue":"a b"}}]', '.attributes[0].value.bytesValue must be base64, found "a b"'],
  [
    '"attributes":[{"value":{"bytesValue":[1,2]}}]',
    '.attributes[0].value.bytesValue must be a value of type bytes, found an array',
  ],
  ['"traceId":"xyz"', '.traceId must be hex digits (not base64), found "xyz"'],
  ['"traceId":"abc"', '.traceId must be hex digits (not base64), found "abc"'],
  [
    '"traceId":"0x02030405060708090a0b0c0d0e0f10"',
    '.traceId must be hex digits (not base64), found "0x02030405060708090a0b0c0d0e0f10"',
  ],
  [
    '"traceId":"AQIDBAUGBwgJCgsMDQ4PEA=="',
    '.traceId must be hex digits (not base64), found "AQIDBAUGBwgJCgsMDQ4PEA=="',
  ],
  [
    '"traceId":12345678901234567890123456789012',
    '.traceId must be hex digits (not base64), found 12345678901234567890123456789012',
  ],
  ['"spanId":1234567890123456', '.spanId must be hex digits (not base64), found 1234567890123456'],
  ['"spanId":true', '.spanId must be hex digits (not base64), found true'],
  ['"kind":"SPAN_KIND_UNKNOWN"', '.kind must be an integer from -2147483648 to 2147483647, found "SPAN_KIND_UNKNOWN"'],
  ['"kind":1.5', '.kind must be an integer from -2147483648 to 2147483647, found 1.5'],
  ['"kind":2147483648', '.kind must be an integer from -2147483648 to 2147483647, found 2147483648'],
  ['"flags":4294967296', '.flags must be an integer from 0 to 4294967295, found 4294967296'],
  ['"flags":-1', '.flags must be an integer from 0 to 4294967295, found -1'],
  [
    '"startTimeUnixNano":"2018-12-13T14:51:00Z"',
    '.startTimeUnixNano must be an integer from 0 to 18446744073709551615, found "2018-12-13T14:51:00Z"',
  ],
  ['"startTimeUnixNano":-1', '.startTimeUnixNano must be an integer from 0 to 18446744073709551615, found -1'],
  ['"startTimeUnixNano":""', '.startTimeUnixNano must be an integer from 0 to 18446744073709551615, found ""'],
  [
    '"startTimeUnixNano":"18446744073709551616"',
    '.startTimeUnixNano must be an integer from 0 to 18446744073709551615, found "18446744073709551616"',
  ],
  [
    '"startTimeUnixNano":"154471266000000000x"',
    '.startTimeUnixNano must be an integer from 0 to 18446744073709551615, found "154471266000000000x"',
  ],
  [
    '"startTimeUnixNano":"1700344572441000936000000"',
    '.startTimeUnixNano must be an integer from 0 to 18446744073709551615, found "1700344572441000936000000"',
  ],
  ['"startTimeUnixNano":1.5', '.startTimeUnixNano must be an integer from 0 to 18446744073709551615, found 1.5'],
  ['"startTimeUnixNano":{"seconds":1}', '.startTimeUnixNano must be a value of type fixed64, found an object'],
  ['"startTimeUnixNano":{"low":1}', '.startTimeUnixNano must be a value of type fixed64, found an object'],
  [
    '"startTimeUnixNano":{"low":1,"high":{"low":1}}',
    '.startTimeUnixNano must be a value of type fixed64, found an object',
  ],
  [
    '"events":[{"timeUnixNano":"x"}]',
    '.events[0].timeUnixNano must be an integer from 0 to 18446744073709551615, found "x"',
  ],
  ['"links":{}', '.links must be an array, found an object'],
  ['"status":2', '.status must be an object (Status), found a number'],
  ['"status":[]', '.status must be an object (Status), found an array'],
  ['"status":{"code":"BAD"}', '.status.code must be an integer from -2147483648 to 2147483647, found "BAD"'],
  ['"attributes":[{"value":{"bytesValue":"AA=A"}}]', '.attributes[0].value.bytesValue must be base64, found "AA=A"'],
  [`"flags":"${'1'.repeat(1000)}"`, `.flags must be an integer from 0 to 4294967295, found "${'1'.repeat(60)}…"`],
  [`"flags":"${'1'.repeat(100)}"`, `.flags must be an integer from 0 to 4294967295, found "${'1'.repeat(60)}…"`],
  ['"flags":-1,"links":{}', '.flags must be an integer from 0 to 4294967295, found -1'],
  ['"flags":-1,"kind":"x"', '.flags must be an integer from 0 to 4294967295, found -1'],
];

for (const [members, fault] of FAULTS) {
  records(members.length > 60 ? `${members.slice(0, 60)}…` : members, async () => {
    assert.equal(await faultOf('traces', jsonSpan(members)), `${SPAN}${fault}`);
    const good = jsonSpan('"name":"good"');
    const { batch, rejected, message } = await decodeJson(
      'traces',
      jsonRequest('traces', good, jsonSpan(members), good),
    );
    assert.deepEqual(
      recordsOf(batch).map(({ name }) => name),
      ['good', 'good'],
    );
    assert.deepEqual([rejected, message], [1, `1 rejected: ${SPAN.replace('spans[0]', 'spans[1]')}${fault}`]);
  });
}

records('that are no objects cost the request, null alone does not', async () => {
  assert.match(
    await refusal('traces', jsonRequest('traces', '5')),
    /spans\[0\] must be an object \(Span\), found a number$/,
  );
  const { rejected, message } = await decodeJson('traces', jsonRequest('traces', 'null', jsonSpan('')));
  assert.deepEqual(
    [rejected, message],
    [1, '1 rejected: trace_id must be 16 bytes (32 hex digits in JSON), not all zero'],
  );
});

records('without ids, with short ids, with ids of zeros', async () => {
  for (const ids of [
    '',
    `"traceId":"${TRACE_ID}"`,
    `"traceId":"0102","spanId":"0102"`,
    JSON_IDS.replaceAll(/[1-9a-f](?=[0-9a-f]*")/g, '0'),
  ]) {
    assert.match(await faultOf('traces', `{${ids}}`), /^(?:trace_id must be 16|span_id must be 8) bytes/);
  }
});

records('logs with an id that is none are kept without it', async () => {
  for (const id of ['"x"', '5', '"abc"', '"AQIDBAUGBwgJCgsMDQ4PEA=="']) {
    const { batch, rejected, message } = await decodeJson(
      'logs',
      jsonRequest('logs', `{"traceId":${id},"severityText":"I"}`),
    );
    assert.equal(rejected, 0);
    assert.match(message, /^1 kept without ids: trace_id of a log record must be empty or 16 bytes/);
    assert.deepEqual(recordsOf(batch), [await onlyRecord('logs', '{"severityText":"I"}')]);
  }
});

const point = (members: string): string => `{"asInt":1${members === '' ? '' : ','}${members}}`;
const gauge = (...points: readonly string[]): string => jsonMetric(`"gauge":{"dataPoints":[${points.join(',')}]}`);

records('a fault in a data point costs that point', async () => {
  const metric = gauge(point(''), point('"flags":-1'), point(''));
  const { batch, rejected, message } = await decodeJson('metrics', jsonRequest('metrics', metric));
  assert.deepEqual([itemCount(batch), rejected], [2, 1]);
  assert.match(
    message,
    /^1 rejected: resourceMetrics\[0\]\.scopeMetrics\[0\]\.metrics\[0\]\.gauge\.dataPoints\[1\]\.flags must be/,
  );
});

records('a fault in a metric costs all its points, each counted once', async () => {
  const faulty = `{"name":{},"gauge":{"dataPoints":[${point('')},${point('"flags":-1')},${point('')}]}}`;
  const kept = gauge(point(''));
  const { batch, rejected, message } = await decodeJson('metrics', jsonRequest('metrics', kept, faulty, kept));
  assert.deepEqual([itemCount(batch), rejected], [2, 3]);
  assert.match(
    message,
    /; 2 rejected: resourceMetrics\[0\]\.scopeMetrics\[0\]\.metrics\[1\]\.name must be a value of type string, found an object$/,
  );
  const monotonic = jsonMetric(`"sum":{"isMonotonic":"x","dataPoints":[${point('')},${point('')}]}`);
  assert.equal((await decodeJson('metrics', jsonRequest('metrics', monotonic))).rejected, 2);
});

records('many faults are counted exactly and told shortly', async () => {
  const faulty = Array.from({ length: 1000 }, () => jsonSpan('"kind":"x"'));
  const { rejected, message } = await decodeJson('traces', jsonRequest('traces', ...faulty, jsonSpan('')));
  assert.equal(rejected, 1000);
  assert.match(message, /^1 rejected: .*spans\[0\]\.kind .*; 995 with other faults$/);
  assert.ok(message.length < 1000);
});

records.run();
