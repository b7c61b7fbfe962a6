import assert from 'node:assert/strict';
import { gzipSync } from 'node:zlib';
import { suite } from 'uvu';
import type { Exporter } from '../../src/component.ts';
import { PermanentError, RetryableError } from '../../src/errors.ts';
import { otlphttp, otlpHttp } from '../../src/exporters/otlp_http.ts';
import { itemCount, SIGNALS, type Signal } from '../../src/model/batch.ts';
import { FULL_TRACE, LOG, METRICS, MINIMAL_TRACE, RESPONSES } from '../otlp/golden_vectors.ts';
import { batchOf, keptLog, NEVER, otlpExporter, recordOf } from './records.ts';
import { accept, answering, inTurn, scriptedServer, type ScriptedServer, type Script } from './scripted_server.ts';

const OtlpHttp = suite('otlp_http exporter');

let server: ScriptedServer;
const open = new Set<Exporter>();

OtlpHttp.before.each(async () => {
  server = await scriptedServer();
});
OtlpHttp.after.each(async () => {
  for (const exporter of open) await exporter.shutdown?.(NEVER);
  open.clear();
  await server.close();
});

function exporterOf(config: object = {}, logger = keptLog().logger): Exporter {
  const exporter = otlpExporter({ endpoint: server.url, compression: 'none', ...config }, logger);
  open.add(exporter);
  return exporter;
}

const REQUESTS: Readonly<Record<Signal, Uint8Array>> = { traces: FULL_TRACE, logs: LOG, metrics: METRICS };

async function send(exporter: Exporter, signal: Signal = 'traces', body = REQUESTS[signal], stop = NEVER) {
  return exporter.send([await recordOf(exporter, batchOf(signal, body))], stop);
}

async function failureOf(sending: Promise<unknown>): Promise<PermanentError | RetryableError> {
  try {
    await sending;
  } catch (error) {
    if (error instanceof PermanentError || error instanceof RetryableError) return error;
    throw error;
  }
  throw new Error('it was delivered');
}

OtlpHttp('both names of the Collector make the same exporter', () => {
  assert.deepEqual([otlpHttp.type, otlphttp.type], ['otlp_http', 'otlphttp']);
  assert.equal(otlpHttp.config, otlphttp.config);
});

OtlpHttp('ten requests may be under way at once, as in the Collector, unless the file says otherwise', () => {
  assert.equal(exporterOf().queue?.num_consumers, 10);
  assert.equal(exporterOf({ sending_queue: { num_consumers: 3 } }).queue?.num_consumers, 3);
});

const ENDPOINTS: readonly (readonly [name: string, config: object, paths: readonly string[]])[] = [
  ['a base URL without a path', { endpoint: '' }, ['/v1/traces', '/v1/logs', '/v1/metrics']],
  ['a base URL that ends with a slash', { endpoint: '/' }, ['/v1/traces', '/v1/logs', '/v1/metrics']],
  ['a base URL with a path', { endpoint: '/otlp//' }, ['/otlp/v1/traces', '/otlp/v1/logs', '/otlp/v1/metrics']],
  ['a query, which stays', { endpoint: '/a?key=b' }, ['/a/v1/traces?key=b', '/a/v1/logs?key=b', '/a/v1/metrics?key=b']],
  [
    'whole URLs, which are taken as they are',
    { traces_endpoint: '', logs_endpoint: '/loki/v1/logs/', metrics_endpoint: '/x?y=1' },
    ['/', '/loki/v1/logs/', '/x?y=1'],
  ],
];

for (const [name, config, paths] of ENDPOINTS) {
  OtlpHttp(`sends to ${name}`, async () => {
    const urls = Object.entries(config).map(([key, path]) => [key, `${server.url}${path}`]);
    const exporter = exporterOf({ endpoint: undefined, ...Object.fromEntries(urls) });
    for (const signal of SIGNALS) await send(exporter, signal);
    assert.deepEqual(
      server.received.map(({ method, path }) => `${method} ${path}`),
      paths.map((path) => `POST ${path}`),
    );
  });
}

OtlpHttp('a signal without an endpoint is refused before it is queued', async () => {
  const exporter = otlpExporter({ traces_endpoint: server.url });
  await assert.rejects(exporter.encode(batchOf('logs', LOG)), /neither endpoint nor logs_endpoint is set/);
});

OtlpHttp('says who sends, what, and how far it has come', async () => {
  const exporter = exporterOf({ headers: { 'X-Scope-OrgID': 'a', authorization: 'Bearer t' } });
  const batch = batchOf('traces', FULL_TRACE);
  await exporter.send([await recordOf(exporter, batch)], NEVER);
  await exporter.send([await recordOf(exporter, { ...batch, hops: 2 })], NEVER);
  const [first, second] = server.received.map(({ headers }) => headers);
  assert.match(first?.['user-agent'] ?? '', /^OTel-OTLP-Exporter-Sluice\/\d+\.\d+\.\d+/);
  const { 'content-type': type, 'content-encoding': encoding, 'content-length': length } = first ?? {};
  assert.deepEqual([type, encoding, length], ['application/x-protobuf', undefined, String(FULL_TRACE.length)]);
  assert.deepEqual([first?.['x-scope-orgid'], first?.authorization], ['a', 'Bearer t']);
  assert.deepEqual([first?.['x-sluice-hops'], second?.['x-sluice-hops']], ['1', '3']);
  assert.deepEqual(server.received[0]?.body, FULL_TRACE);
});

for (const compression of ['gzip', 'zstd'] as const) {
  OtlpHttp(`compresses with ${compression}`, async () => {
    await send(exporterOf({ compression }));
    const [{ headers, raw, body } = assert.fail()] = server.received;
    assert.equal(headers['content-encoding'], compression);
    assert.equal(headers['content-length'], String(raw.length));
    assert.notDeepEqual(raw, FULL_TRACE);
    assert.deepEqual(body, FULL_TRACE);
  });
}

OtlpHttp('compresses with gzip unless told otherwise', async () => {
  await send(exporterOf({ compression: undefined }));
  assert.equal(server.received[0]?.headers['content-encoding'], 'gzip');
});

OtlpHttp('a record is sent byte for byte the same again', async () => {
  const exporter = exporterOf();
  const record = await recordOf(exporter, batchOf('metrics', METRICS));
  server.script = inTurn(answering(503), accept);
  await assert.rejects(exporter.send([record], NEVER), RetryableError);
  await exporter.send([record], NEVER);
  assert.deepEqual(server.received[0]?.body, server.received[1]?.body);
});

OtlpHttp('records that are sent together are one request, in protobuf form and in JSON', async () => {
  for (const encoding of ['proto', 'json'] as const) {
    const exporter = exporterOf({ encoding });
    const records = [FULL_TRACE, MINIMAL_TRACE].map((body) => recordOf(exporter, batchOf('traces', body)));
    await exporter.send(await Promise.all(records), NEVER);
  }
  const [proto, json] = server.received;
  assert.ok(proto !== undefined && json !== undefined);
  assert.equal(itemCount(batchOf('traces', proto.body)), 2);
  assert.deepEqual(json.body.toString().match(/"name":"(?:GET \/|a)"/g), ['"name":"GET /"', '"name":"a"']);
  assert.equal(json.headers['content-type'], 'application/json');
  assert.equal(Object.keys(JSON.parse(json.body.toString())).join(), 'resourceSpans');
});

const LONG = Buffer.alloc(200_000, '{"a":"');

/** F-1: none of these may be sent again. */
const SUCCESSES: readonly (readonly [name: string, script: Script])[] = [
  ['nothing', answering(200)],
  ['202', answering(202, { 'content-type': 'application/json' }, '{}')],
  ['204', answering(204)],
  ['a text', answering(200, { 'content-type': 'text/plain' }, 'ok')],
  ['a web page', answering(200, { 'content-type': 'text/html' }, '<html>hello</html>')],
  ['a web page that says it is protobuf', answering(200, { 'content-type': 'application/x-protobuf' }, '<html>')],
  ['JSON that is none', answering(200, { 'content-type': 'application/json' }, '{"partialSuccess":')],
  ['JSON of another shape', answering(200, { 'content-type': 'application/json' }, '{"partialSuccess":[7]}')],
  [
    'a count that is none',
    answering(200, { 'content-type': 'application/json' }, '{"partialSuccess":{"rejectedSpans":"x"}}'),
  ],
  ['200 kB', answering(200, { 'content-type': 'application/json' }, LONG)],
  ['gzip that is none', answering(200, { 'content-type': 'application/json', 'content-encoding': 'gzip' }, 'gzip?')],
  [
    'a bomb',
    answering(
      200,
      { 'content-type': 'application/json', 'content-encoding': 'gzip' },
      gzipSync(Buffer.alloc(30 << 20)),
    ),
  ],
  [
    'less than it announced',
    (response) => {
      response.writeHead(200, { 'content-length': '10' }).flushHeaders();
      response.write('12345', () => response.destroy());
    },
  ],
  [
    'without an end',
    (response) => {
      response.writeHead(200, { 'content-type': 'application/x-protobuf' });
      const more = (): void => {
        while (!response.destroyed && response.write(LONG));
      };
      response.on('drain', more);
      more();
    },
  ],
];

for (const [name, script] of SUCCESSES) {
  OtlpHttp(`a success that says ${name} is a success`, async () => {
    server.script = script;
    assert.deepEqual(await send(exporterOf()), { duplicates: 0, deadLettered: 0, refused: 0 });
    assert.equal(server.received.length, 1);
  });
}

OtlpHttp('a success whose body never ends in time is a success', async () => {
  server.script = (response) => response.writeHead(200).write('{');
  await send(exporterOf({ timeout: '200ms' }));
  assert.equal(server.received.length, 1);
});

const protobuf = { 'content-type': 'application/x-protobuf' };
const json = { 'content-type': 'application/json; charset=utf-8' };
const partialJson = (rejectedDataPoints: unknown, errorMessage?: string) =>
  JSON.stringify({ partialSuccess: { rejectedDataPoints, errorMessage } });

const PARTIAL: readonly (readonly [name: string, script: Script, refused: number])[] = [
  ['protobuf', answering(200, protobuf, Buffer.from(RESPONSES.partial, 'hex')), 2],
  ['protobuf, a negative count', answering(200, protobuf, Buffer.from('0a0b08ffffffffffffffffff01', 'hex')), 0],
  ['JSON, the count as text', answering(200, json, partialJson('2', 'bad id')), 2],
  ['JSON, the count as a number', answering(200, json, partialJson(1)), 1],
  ['more than was sent', answering(200, json, partialJson(99, 'all')), 3],
  ['a warning', answering(200, json, partialJson(0, 'careful')), 0],
  ['gzip', answering(200, { ...json, 'content-encoding': 'gzip' }, gzipSync(partialJson('2'))), 2],
];

for (const [name, script, refused] of PARTIAL) {
  OtlpHttp(`partial success is counted and never sent again: ${name}`, async () => {
    server.script = script;
    assert.deepEqual(await send(exporterOf(), 'metrics'), { duplicates: 0, deadLettered: 0, refused });
    assert.equal(server.received.length, 1);
  });
}

OtlpHttp('partial success is told in one short line, and told again only when there is something new', async () => {
  const { lines, logger } = keptLog();
  const exporter = exporterOf({ headers: { 'x-api-key': 'abcdefgh12' } }, logger);
  server.script = answering(200, json, partialJson(2, `bad\u0000\n\u202e \ud800 abcdefgh12 ${'x'.repeat(5000)}`));
  await send(exporter, 'metrics');
  await send(exporter, 'metrics');
  server.script = answering(200, json, partialJson(1, 'other'));
  await send(exporter, 'metrics');
  assert.equal(lines.length, 2);
  const [first, second] = lines.map(({ fields }) => fields);
  assert.ok(first !== undefined && 'message' in first && typeof first.message === 'string');
  assert.match(first.message, /^bad \[REDACTED\] x{200,}…$/);
  assert.deepEqual(second, { signal: 'metrics', refused: 1, items: 3, refusedSinceLastLine: 3, message: 'other' });
});

for (const status of [429, 502, 503, 504]) {
  OtlpHttp(`${status} is worth another try`, async () => {
    server.script = answering(status, { 'content-type': 'text/plain' }, 'busy');
    const error = await failureOf(send(exporterOf()));
    assert.ok(error instanceof RetryableError);
    assert.equal(error.message, `${server.url}/v1/traces answered ${status}: busy`);
    assert.equal(error.retryAfterMs, undefined);
  });
}

const date = (offsetMs: number) => new Date(Date.now() + offsetMs).toUTCString();

const RETRY_AFTER: readonly (readonly [value: string, range: readonly [number, number] | undefined])[] = [
  ['7', [7000, 7000]],
  [' 7 ', [7000, 7000]],
  [date(60_000), [50_000, 60_000]],
  ['86400', [300_000, 300_000]],
  [date(86_400_000), [300_000, 300_000]],
  ['0', undefined],
  [date(-60_000), undefined],
  ['-5', undefined],
  ['1.5', undefined],
  ['soon', undefined],
  ['2030', [300_000, 300_000]],
  ['99999999999999999999', undefined],
  ['Fri, 99 Foo 2099 99:99:99 GMT', undefined],
];

for (const [value, range] of RETRY_AFTER) {
  OtlpHttp(`Retry-After: ${value.replace(/\d{4} .*/, '…')}`, async () => {
    server.script = answering(503, { 'retry-after': value });
    const error = await failureOf(send(exporterOf()));
    assert.ok(error instanceof RetryableError);
    if (range === undefined) assert.equal(error.retryAfterMs, undefined);
    else
      assert.ok(error.retryAfterMs !== undefined && error.retryAfterMs >= range[0] && error.retryAfterMs <= range[1]);
  });
}

const status = { 'content-type': 'application/x-protobuf' };

const FINAL: readonly (readonly [name: string, script: Script, message: string])[] = [
  ['a protobuf status', answering(400, status, Buffer.from(RESPONSES.status, 'hex')), ' 400: bad'],
  ['a JSON status', answering(400, json, '{"code":3,"message":"bad\\u0007\\nid"}'), ' 400: bad id'],
  [
    'a text',
    answering(404, { 'content-type': 'text/plain; charset=utf-8' }, 'no\r\nsuch page\n'),
    ' 404: no such page',
  ],
  ['a web page', answering(401, { 'content-type': 'text/html' }, '<html>'), ' 401'],
  ['a status that is none', answering(500, status, '<html>'), ' 500'],
  ['not implemented', answering(501), ' 501'],
  ['nothing but 403', answering(403), ' 403'],
  ['a redirect', answering(307, { location: 'https://elsewhere.example/v1' }), ' 307, a redirect to elsewhere.example'],
  ['a redirect on the same host', answering(308, { location: '/elsewhere' }), ' 308, a redirect to 127.0.0.1:'],
  ['a redirect nowhere', answering(302), ' 302'],
  ['not modified', answering(304), ' 304'],
];

for (const [name, script, message] of FINAL) {
  OtlpHttp(`final: ${name}`, async () => {
    server.script = script;
    const error = await failureOf(send(exporterOf()));
    assert.ok(error instanceof PermanentError);
    assert.ok(error.message.startsWith(`${server.url}/v1/traces answered${message}`), error.message);
    assert.equal(server.received.length, 1);
  });
}

OtlpHttp('what a server repeats of our headers is not repeated by us', async () => {
  const key = `key-${'k'.repeat(20)}`;
  server.script = (response, { headers }) =>
    response.writeHead(401, { 'content-type': 'text/plain' }).end(`unknown: ${String(headers.authorization)}`);
  const error = await failureOf(
    send(exporterOf({ endpoint: `${server.url}/?token=abc`, headers: { Authorization: `Bearer ${key}` } })),
  );
  assert.equal(error.message, `${server.url}/v1/traces answered 401: unknown: Bearer [REDACTED]`);
});

OtlpHttp('not even the first letters, where a long message is cut', async () => {
  const key = 'k'.repeat(200);
  server.script = answering(400, { 'content-type': 'text/plain' }, `${'x'.repeat(200)}${key}`);
  const error = await failureOf(send(exporterOf({ headers: { 'x-api-key': key } })));
  assert.ok(error.message.endsWith(`${'x'.repeat(200)}[REDACTED]`), error.message);
});

OtlpHttp('a format of another version becomes a dead letter, not a loop', async () => {
  const exporter = exporterOf();
  const record = await recordOf(exporter, batchOf('traces', FULL_TRACE));
  await assert.rejects(exporter.send([{ ...record, format: 'otlp_proto/2' }], NEVER), PermanentError);
});

OtlpHttp.run();

const Config = suite('configuration of otlp_http');

Config('has the defaults of the Collector', () => {
  const config = otlpHttp.config.parse({ endpoint: 'http://localhost:4318' });
  const { encoding, compression, timeout, max_request_body_size, sending_queue, retry_on_failure } = config;
  assert.deepEqual([encoding, compression, timeout, max_request_body_size], ['proto', 'gzip', 30_000, 67_108_864]);
  assert.equal(sending_queue?.batch, undefined);
  assert.equal(retry_on_failure.max_elapsed_time, 300_000);
});

const REFUSED: readonly (readonly [name: string, config: object])[] = [
  ['no endpoint at all', {}],
  ['no URL', { endpoint: 'localhost:4318' }],
  ['another scheme', { endpoint: 'ftp://localhost' }],
  ['a password in the URL', { endpoint: 'http://u:p@localhost' }],
  ['a header that is ours', { headers: { 'Content-Length': '1' } }],
  ['a header that is no name', { headers: { 'a b': 'c' } }],
  ['a header of two lines', { headers: { a: 'b\r\nc: d' } }],
  ['a certificate without a key', { tls: { cert_file: 'a' } }],
  ['an unknown key', { read_buffer_size: 1 }],
];

for (const [name, config] of REFUSED) {
  Config(`refuses ${name}`, () => {
    const endpoint = name.includes('URL') || name.startsWith('no endpoint') ? {} : { endpoint: 'http://localhost' };
    const { success, error } = otlpHttp.config.safeParse({ ...endpoint, ...config });
    assert.equal(success, false);
    assert.doesNotMatch(JSON.stringify(error.issues), /c: d/);
  });
}

Config.run();
