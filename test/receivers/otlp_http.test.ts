import assert from 'node:assert/strict';
import { gzipSync } from 'node:zlib';
import {
  ProtobufLogsSerializer,
  ProtobufMetricsSerializer,
  ProtobufTraceSerializer,
} from '@opentelemetry/otlp-transformer';
import { z } from 'zod';
import { countRows, post } from '../support/gateway.ts';
import { any, attribute, double, field, fixed64, request, spanIds } from '../support/otlp_messages.ts';
import { LOGS, MAX_BODY_BYTES, METRICS, PROTOBUF, receiverUnderTest, SPANS, SPANS_JSON } from './otlp_requests.ts';
import { readStatus } from './rpc_status.ts';

const receiver = receiverUnderTest();

const success = receiver.suite('otlp http success');

for (const [signal, body, table] of [
  ['traces', SPANS, 'otel_spans'],
  ['logs', LOGS, 'otel_logs'],
  ['metrics', METRICS, 'otel_metrics'],
] as const) {
  success(`${signal} in protobuf: 200, no body, and the row is there`, async () => {
    const answer = await post(`${receiver.gateway().url}/v1/${signal}`, body);
    assert.equal(answer.status, 200);
    assert.equal(answer.headers.get('content-type'), PROTOBUF);
    assert.equal(answer.headers.get('content-length'), '0');
    assert.equal(answer.body.length, 0);
    assert.equal(await countRows(receiver.gateway().pool, table), 1);
  });
}

success('JSON: 200 and the empty object', async () => {
  const answer = await post(receiver.traces(), SPANS_JSON);
  assert.equal(answer.status, 200);
  assert.equal(answer.headers.get('content-type'), 'application/json');
  assert.equal(answer.body.toString(), '{}');
  assert.equal(await receiver.spanCount(), 1);
});

for (const [type, body, answered] of [
  ['application/json; charset=utf-8', SPANS_JSON, 'application/json'],
  ['APPLICATION/JSON', SPANS_JSON, 'application/json'],
  ['application/x-protobuf; messageType=any', SPANS, PROTOBUF],
  ['application/protobuf', SPANS, PROTOBUF],
] as const) {
  success(`${type} is answered as ${answered}, without parameters`, async () => {
    const answer = await post(receiver.traces(), body, { 'content-type': type });
    assert.equal(answer.status, 200);
    assert.equal(answer.headers.get('content-type'), answered);
    assert.equal(await receiver.spanCount(), 1);
  });
}

for (const [what, body] of [
  ['no bytes of protobuf', Buffer.alloc(0)],
  ['a resource without spans', field(1, field(1))],
  ['an empty JSON object', '{}'],
  ['an empty list', '{"resourceSpans":[]}'],
] as const) {
  success(`an empty request is a success: ${what}`, async () => {
    const answer = await post(receiver.traces(), body);
    assert.equal(answer.status, 200);
    assert.equal(answer.body.toString(), typeof body === 'string' ? '{}' : '');
  });
}

success('a trailing slash and a query string do not matter', async () => {
  for (const suffix of ['/', '?a=b', '/?a=b'])
    assert.equal((await post(`${receiver.traces()}${suffix}`, SPANS)).status, 200);
  assert.equal(await receiver.spanCount(), 3);
});

const GZIPPED = gzipSync(SPANS);
for (const [encoding, body] of [
  ['gzip', GZIPPED],
  ['GZIP', GZIPPED],
  [' x-gzip ', GZIPPED],
  ['identity', SPANS],
  ['', SPANS],
] as const) {
  success(`Content-Encoding "${encoding}"`, async () => {
    assert.equal((await post(receiver.traces(), body, { 'content-encoding': encoding })).status, 200);
    assert.equal(await receiver.spanCount(), 1);
  });
}

success('a body of several gzip members is read to its end', async () => {
  const body = Buffer.concat([gzipSync(SPANS), gzipSync(request([spanIds(2)])), gzipSync(request([spanIds(3)]))]);
  assert.equal((await post(receiver.traces(), body, { 'content-encoding': 'gzip' })).status, 200);
  assert.equal(await receiver.spanCount(), 3);
});

success('a gzip header on no body is an empty request', async () => {
  assert.equal((await post(receiver.traces(), Buffer.alloc(0), { 'content-encoding': 'gzip' })).status, 200);
});

success.run();

const partial = receiver.suite('otlp http partial success');

const WITHOUT_IDS = field(5, 'no ids');

const partialJson = z.strictObject({ partialSuccess: z.record(z.string(), z.string()) });

partial('in JSON counts are strings, and what was fine is stored', async () => {
  const body = SPANS_JSON.replace('"spans":[', '"spans":[{"traceId":"00"},{"name":"x"},');
  const answer = await post(receiver.traces(), body);
  assert.equal(answer.status, 200);
  assert.equal(answer.headers.get('content-type'), 'application/json');
  const { partialSuccess } = partialJson.parse(JSON.parse(answer.body.toString()));
  assert.equal(partialSuccess['rejectedSpans'], '2');
  assert.match(partialSuccess['errorMessage'] ?? '', /trace_id must be 16 bytes/);
  assert.equal(await receiver.spanCount(), 1);
});

partial("in protobuf, as the SDK's own deserializers read it", async () => {
  const spans = await post(receiver.traces(), request([spanIds(1), WITHOUT_IDS]));
  const readSpans = ProtobufTraceSerializer.deserializeResponse(spans.body).partialSuccess;
  assert.equal(Number(readSpans?.rejectedSpans), 1);
  assert.match(readSpans?.errorMessage ?? '', /^1 rejected: trace_id must be/);

  // A log record is kept whatever its ids: this is full success with a warning.
  const logs = await post(`${receiver.gateway().url}/v1/logs`, request([field(9, 'short')]));
  const readLogs = ProtobufLogsSerializer.deserializeResponse(logs.body).partialSuccess;
  assert.equal(readLogs?.rejectedLogRecords ?? 0, 0);
  assert.match(readLogs?.errorMessage ?? '', /trace_id/);

  const points = request([Buffer.concat([field(1, 'm'), field(5, field(1, fixed64(3, 1n)), field(1, double(4, 1)))])]);
  const metrics = await post(`${receiver.gateway().url}/v1/metrics`, points);
  const readMetrics = ProtobufMetricsSerializer.deserializeResponse(metrics.body).partialSuccess;
  assert.equal(Number(readMetrics?.rejectedDataPoints), 1);

  for (const { status, headers } of [spans, logs, metrics]) {
    assert.equal(status, 200);
    assert.equal(headers.get('content-type'), PROTOBUF);
  }
  for (const table of ['otel_spans', 'otel_logs', 'otel_metrics'] as const) {
    assert.equal(await countRows(receiver.gateway().pool, table), 1, table);
  }
});

partial('each signal has its own name for the count', async () => {
  const record = '{"timeUnixNano":"yesterday"}';
  for (const [signal, body, name] of [
    ['logs', `{"resourceLogs":[{"scopeLogs":[{"logRecords":[${record}]}]}]}`, 'rejectedLogRecords'],
    [
      'metrics',
      `{"resourceMetrics":[{"scopeMetrics":[{"metrics":[{"name":"m","gauge":{"dataPoints":[${record}]}}]}]}]}`,
      'rejectedDataPoints',
    ],
  ] as const) {
    const answer = await post(`${receiver.gateway().url}/v1/${signal}`, body);
    assert.equal(answer.status, 200);
    const { partialSuccess } = partialJson.parse(JSON.parse(answer.body.toString()));
    assert.equal(partialSuccess[name], '1');
  }
});

partial('the answer stays small whatever was rejected', async () => {
  const answer = await post(receiver.traces(), request(Array.from({ length: 5000 }, () => WITHOUT_IDS)));
  assert.ok(answer.body.length < 2048);
  assert.equal(Number(ProtobufTraceSerializer.deserializeResponse(answer.body).partialSuccess?.rejectedSpans), 5000);
});

partial.run();

const refusal = receiver.suite('otlp http refusal');

const malformed: readonly (readonly [what: string, body: string | Buffer<ArrayBuffer>])[] = [
  ['field number 0', Buffer.from('0200', 'hex')],
  ['a truncated message', Buffer.from('0a100102', 'hex')],
  ['gzip without its header', GZIPPED],
  ['JSON as protobuf', Buffer.from('{}')],
  ['HTML as protobuf', Buffer.from('<html>')],
  ['no JSON at all', ''],
  ['null', 'null'],
  ['a list', '[]'],
  ['text behind the end', '{} {}'],
  ['NaN', '{"a":NaN}'],
  ['an object where a list belongs', '{"resourceSpans":{}}'],
];
for (const [what, body] of malformed) {
  refusal(`400 for ${what}`, async () => {
    const answer = await post(receiver.traces(), body);
    assert.equal(answer.status, 400);
    const { code, message } = readStatus(answer.body, answer.headers.get('content-type'));
    assert.equal(code, 3);
    assert.notEqual(message, '');
    assert.equal(answer.headers.get('content-type'), typeof body === 'string' ? 'application/json' : PROTOBUF);
  });
}

for (const [what, body] of [
  ['no gzip', SPANS],
  ['truncated gzip', GZIPPED.subarray(0, -4)],
  ['gzip with something behind', Buffer.concat([GZIPPED, Buffer.from('garbage')])],
] as const) {
  refusal(`400 for ${what}`, async () => {
    const answer = await post(receiver.traces(), body, { 'content-encoding': 'gzip' });
    assert.equal(answer.status, 400);
    assert.match(readStatus(answer.body, PROTOBUF).message, /gzip/);
    assert.equal(await receiver.spanCount(), 0);
  });
}

for (const path of ['/', '/v1/v1/traces', '//v1/traces', '/v1/traces//', '/v1/profiles', '/V1/traces']) {
  refusal(`404 for ${path}, with the paths there are and the usual mistake`, async () => {
    for (const body of [SPANS, SPANS_JSON]) {
      const answer = await post(`${receiver.gateway().url}${path}`, body);
      assert.equal(answer.status, 404);
      const { message } = readStatus(answer.body, answer.headers.get('content-type'));
      assert.match(message, /\/v1\/traces, \/v1\/logs, \/v1\/metrics .*OTEL_EXPORTER_OTLP_ENDPOINT/);
    }
  });
}

for (const method of ['GET', 'PUT', 'OPTIONS', 'DELETE']) {
  refusal(`405 for ${method}, with what is allowed`, async () => {
    const response = await fetch(receiver.traces(), { method });
    assert.equal(response.status, 405);
    assert.equal(response.headers.get('allow'), 'POST');
    const body = Buffer.from(await response.arrayBuffer());
    assert.match(readStatus(body, response.headers.get('content-type')).message, /POST/);
  });
}

refusal('405 for HEAD has no body', async () => {
  const response = await fetch(receiver.traces(), { method: 'HEAD' });
  assert.equal(response.status, 405);
  assert.equal((await response.arrayBuffer()).byteLength, 0);
});

refusal('415 for a content type that OTLP does not know, answered as JSON', async () => {
  for (const type of ['text/plain', 'application/octet-stream', 'multipart/form-data; boundary=x', '']) {
    const answer = await post(receiver.traces(), SPANS, { 'content-type': type });
    assert.equal(answer.status, 415);
    assert.match(readStatus(answer.body, answer.headers.get('content-type')).message, /application\/x-protobuf/);
  }
});

refusal('415 for a compression that nobody asked us to know, in the encoding of the request', async () => {
  for (const encoding of ['br', 'compress', 'gzip, gzip', 'gzip, identity', 'gzip;q=1']) {
    const answer = await post(receiver.traces(), SPANS, { 'content-encoding': encoding });
    assert.equal(answer.status, 415);
    assert.equal(answer.headers.get('content-type'), PROTOBUF);
    assert.match(readStatus(answer.body, PROTOBUF).message, /supported: identity, gzip, deflate, zstd$/);
    assert.equal(answer.headers.get('accept-encoding'), 'gzip, deflate, zstd');
  }
});

const filled = (length: number): Buffer =>
  request([Buffer.concat([spanIds(1), attribute(9, 'v', any.bytes(Buffer.alloc(length)))])]);

/** A request of exactly so many bytes. */
function requestOf(bytes: number): Buffer<ArrayBuffer> {
  const overhead = filled(bytes).length - bytes;
  return Buffer.from(filled(bytes - overhead));
}

refusal('a body of just the limit passes, one byte more is 413, compressed or not', async () => {
  assert.equal(requestOf(MAX_BODY_BYTES).length, MAX_BODY_BYTES);
  for (const [bytes, status] of [
    [MAX_BODY_BYTES - 1, 200],
    [MAX_BODY_BYTES, 200],
    [MAX_BODY_BYTES + 1, 413],
  ] as const) {
    const body = requestOf(bytes);
    assert.equal((await post(receiver.traces(), body)).status, status);
    assert.equal((await post(receiver.traces(), gzipSync(body), { 'content-encoding': 'gzip' })).status, status);
  }
});

refusal('413 names the setting, in the encoding of the request', async () => {
  const answer = await post(receiver.traces(), requestOf(MAX_BODY_BYTES + 1));
  const { code, message } = readStatus(answer.body, answer.headers.get('content-type'));
  assert.equal(code, 8);
  assert.match(message, /max_request_body_size \(65536 bytes\)/);
});

refusal('413 for a gzip bomb', async () => {
  const bomb = gzipSync(Buffer.alloc(50_000_000));
  assert.ok(bomb.length < MAX_BODY_BYTES);
  const answer = await post(receiver.traces(), bomb, { 'content-encoding': 'gzip' });
  assert.equal(answer.status, 413);
});

refusal.run();
