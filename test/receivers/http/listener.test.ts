import assert from 'node:assert/strict';
import { once } from 'node:events';
import { request as httpsRequest } from 'node:https';
import { connect } from 'node:net';
import { suite } from 'uvu';
import { ConfigError, type ConfigFault } from '../../../src/errors.ts';
import { certificateAuthority } from '../../support/certificates.ts';
import { freePort, post } from '../../support/gateway.ts';
import { LOGS, PROTOBUF, SPANS, SPANS_JSON } from '../otlp_requests.ts';
import { readStatus } from '../rpc_status.ts';
import { head, openSocket, received, runningOtlp, stopAll, testService } from '../served.ts';

const deadline = (): AbortSignal => AbortSignal.timeout(5000);

function faultsOf(make: () => unknown): readonly ConfigFault[] {
  try {
    make();
  } catch (error) {
    if (error instanceof ConfigError) return error.faults;
    throw error;
  }
  return [];
}

const httpFaults = (http: object): readonly ConfigFault[] =>
  faultsOf(() => testService().build('otlp', { protocols: { http } }));

/** How many endpoints it serves. */
async function listening(config: unknown): Promise<number> {
  const service = testService();
  const receiver = service.build('otlp', config);
  await receiver.start?.();
  await receiver.shutdown?.(deadline());
  return service.addresses.length;
}

const sharing = suite('receivers that share a listener');
sharing.after.each(stopAll);

const SDK_JSON = JSON.stringify({ trace_id: 't', spans: [{ span_id: 's', name: 'n', kind: 'tool' }] });

sharing('the body of one path picks the receiver, whichever was built first', async () => {
  for (const order of [
    ['otlp', 'sdk_spans'],
    ['sdk_spans', 'otlp'],
  ]) {
    const service = testService();
    const endpoint = '127.0.0.1:0';
    const receivers = order.map((id) =>
      service.build(id, id === 'otlp' ? { protocols: { http: { endpoint } } } : { endpoint }),
    );
    for (const receiver of receivers) await receiver.start?.();
    assert.equal(service.addresses.length, 1);
    const url = `http://${service.addresses[0]}/v1/traces`;
    assert.equal((await post(url, SDK_JSON)).status, 202);
    for (const body of [SPANS, SPANS_JSON, '{}', '[]']) {
      assert.equal((await post(url, body)).status, body === '[]' ? 400 : 200);
    }
    assert.equal(service.batches.length, 3);
    await Promise.all(receivers.map(async (receiver) => receiver.shutdown?.(deadline())));
  }
});

const isOpen = async (address: string): Promise<boolean> => {
  const { hostname, port } = new URL(`http://${address}`);
  const socket = connect(Number(port), hostname);
  const opened = await new Promise<boolean>((resolve) => {
    socket.once('connect', () => resolve(true)).once('error', () => resolve(false));
  });
  socket.destroy();
  return opened;
};

sharing('it listens from the first start to the last shutdown', async () => {
  const service = testService();
  const endpoint = '127.0.0.1:0';
  const first = service.build('otlp', { protocols: { http: { endpoint } } });
  const second = service.build('sdk_spans', { endpoint });
  const never = service.build('otlp/never', { protocols: { http: { endpoint: '127.0.0.1:1' } } });
  await first.start?.();
  const [address = ''] = service.addresses;
  await second.start?.();
  await first.shutdown?.(deadline());
  assert.equal(await isOpen(address), true);
  await second.shutdown?.(deadline());
  assert.equal(await isOpen(address), false);
  await never.shutdown?.(deadline());
});

sharing('a shutdown of a receiver that never started stops nobody else', async () => {
  const service = testService();
  const endpoint = '127.0.0.1:0';
  const first = service.build('otlp', { protocols: { http: { endpoint } } });
  const second = service.build('sdk_spans', { endpoint });
  await first.start?.();
  await second.shutdown?.(deadline());
  assert.equal(await isOpen(service.addresses[0] ?? ''), true);
  await first.shutdown?.(deadline());
});

sharing('a listener that could not be opened is released all the same', async () => {
  const port = await freePort();
  await runningOtlp({ endpoint: `127.0.0.1:${port}` });
  const other = testService().build('otlp/b', { protocols: { http: { endpoint: `127.0.0.1:${port}` } } });
  await assert.rejects(
    async () => other.start?.(),
    /address in use \(receivers\.otlp\/b\.protocols\.http\.endpoint\)$/,
  );
  await other.shutdown?.(deadline());
});

sharing('other settings on the same endpoint are a fault, each by its name', () => {
  const service = testService();
  service.build('otlp', {
    protocols: { http: { endpoint: '127.0.0.1:4318', auth: { authenticator: 'static_tokens' } } },
  });
  const faults = faultsOf(() => service.build('sdk_spans', { endpoint: '127.0.0.1:4318', read_timeout: '1s' }));
  assert.deepEqual(
    faults.map(({ path }) => path),
    ['auth', 'read_timeout'],
  );
  assert.match(faults[0]?.message ?? '', /receiver otlp.*same endpoint/);
});

const tls = (key: string): object => ({ cert_pem: 'certificate', key_pem: key });

sharing('other certificates are other settings, though secrets print alike', () => {
  const service = testService();
  const endpoint = '127.0.0.1:4318';
  service.build('otlp', { protocols: { http: { endpoint, tls: tls('a') } } });
  assert.deepEqual(
    faultsOf(() => service.build('sdk_spans', { endpoint, tls: tls('a') })),
    [],
  );
  assert.deepEqual(
    faultsOf(() => service.build('sdk_spans/b', { endpoint, tls: tls('b') })).map(({ path }) => path),
    ['tls', 'endpoint'],
  );
});

sharing('two receivers of the same kind cannot share a path', () => {
  const service = testService();
  const protocols = { http: { endpoint: '127.0.0.1:4318' } };
  service.build('otlp', { protocols });
  const faults = faultsOf(() => service.build('otlp/b', { protocols }));
  assert.equal(faults.length, 3);
  assert.deepEqual(faults[0], {
    path: 'protocols.http.endpoint',
    message: 'another receiver of this endpoint takes POST /v1/traces already',
  });
});

sharing('without authentication only this machine is let in, unless somebody says otherwise', () => {
  for (const host of ['0.0.0.0', '', '[::]', '192.0.2.1', 'gateway.example', '[::ffff:192.0.2.1]', '127.example']) {
    const [fault] = httpFaults({ endpoint: `${host}:4318` });
    assert.equal(fault?.path, 'protocols.http.endpoint');
    assert.match(fault?.message ?? '', /auth\.authenticator.*127\.0\.0\.1.*allow_unauthenticated: true$/);
    assert.deepEqual(httpFaults({ endpoint: `${host}:4318`, allow_unauthenticated: true }), []);
    assert.deepEqual(httpFaults({ endpoint: `${host}:4318`, auth: { authenticator: 'static_tokens' } }), []);
  }
  for (const host of ['127.0.0.1', '127.1.2.3', '[::1]', 'localhost', 'LOCALHOST']) {
    assert.deepEqual(httpFaults({ endpoint: `${host}:4318` }), []);
  }
});

sharing('an unknown authenticator is a fault at its path', () => {
  const http = { auth: { authenticator: 'nobody' } };
  const [fault] = faultsOf(() => testService().build('otlp', { protocols: { http } }));
  assert.equal(fault?.path, 'protocols.http.auth.authenticator');
});

sharing('protocols are served when they are listed', async () => {
  const endpoint = '127.0.0.1:0';
  assert.equal(await listening({ protocols: { http: { endpoint } } }), 1);
  assert.equal(await listening({ protocols: { http: { endpoint }, grpc: { endpoint } } }), 2);
  assert.throws(() => testService().build('otlp', { protocols: {} }));
});

sharing.run();

const answers = suite('answers of a listener');
answers.after.each(stopAll);

answers('success_status 204 has no body, and partial success is 200 as ever', async () => {
  const gateway = await runningOtlp({ success_status: 204 });
  for (const body of [SPANS, SPANS_JSON]) {
    const answer = await post(`${gateway.url}/v1/traces`, body);
    assert.equal(answer.status, 204);
    assert.equal(answer.body.length, 0);
    assert.equal(answer.headers.get('content-type'), null);
    assert.equal(answer.headers.get('content-length'), null);
  }
  const partial = await post(`${gateway.url}/v1/traces`, SPANS_JSON.replace('5b8e', 'zzzz'));
  assert.equal(partial.status, 200);
  assert.match(String(partial.body), /"rejectedSpans":"1"/);
});

answers('spans without a valid one hint at another signal', async () => {
  const gateway = await runningOtlp();
  const answer = await post(`${gateway.url}/v1/traces`, LOGS);
  assert.equal(answer.status, 200);
  assert.match(String(answer.body), /are these logs or metrics/);
});

answers('a fault at a known place is named in the details', async () => {
  const gateway = await runningOtlp();
  const answer = await post(`${gateway.url}/v1/traces`, '{"resourceSpans":{}}');
  const { message, details } = readStatus(answer.body, answer.headers.get('content-type'));
  assert.match(message, /^resourceSpans must be/);
  assert.deepEqual(details, [
    {
      '@type': 'type.googleapis.com/google.rpc.BadRequest',
      fieldViolations: [{ field: 'resourceSpans', description: message }],
    },
  ]);
});

for (const [path, hint] of [
  ['/', /base URL/],
  ['/v1/v1/traces', /leave it out there/],
  ['/v1/traces/v1/traces', /leave it out there/],
  ['//v1/traces', /leave it out there/],
  ['/otlp/v1/logs/', /leave it out there/],
  ['/V1/Traces', /lower case/],
  ['/v1/profiles', /base URL/],
] as const) {
  answers(`404 for ${path} says what may be wrong`, async () => {
    const gateway = await runningOtlp();
    const answer = await post(`${gateway.url}${path}`, SPANS);
    assert.equal(answer.status, 404);
    assert.match(readStatus(answer.body, PROTOBUF).message, hint);
  });
}

answers('more requests than may be under way are told to come again', async () => {
  const gate = Promise.withResolvers<void>();
  const inside = Promise.withResolvers<void>();
  let taken = 0;
  const consume = async (): Promise<{ rejected: number; message: string }> => {
    taken += 1;
    if (taken === 2) inside.resolve();
    await gate.promise;
    return { rejected: 0, message: '' };
  };
  const gateway = await runningOtlp({ max_concurrent_requests: 2 }, { consume });
  const url = `${gateway.url}/v1/traces`;
  const under = [post(url, SPANS), post(url, SPANS)];
  await inside.promise;
  const refused = await post(url, SPANS);
  assert.equal(refused.status, 503);
  assert.equal(refused.headers.get('retry-after'), '1');
  const { code, message, details } = readStatus(refused.body, PROTOBUF);
  assert.equal(code, 14);
  assert.match(message, /max_concurrent_requests \(2\)/);
  assert.deepEqual(details, [{ '@type': 'type.googleapis.com/google.rpc.RetryInfo', retryDelay: '1s' }]);
  gate.resolve();
  for (const answer of await Promise.all(under)) assert.equal(answer.status, 200);
  assert.equal((await post(url, SPANS)).status, 200);
});

answers('an expectation nobody knows is 417, as a Status', async () => {
  const gateway = await runningOtlp();
  const socket = await openSocket(gateway.port, head('/v1/traces', 'Expect: tea', 'Content-Length: 5'));
  assert.match(await received(socket, /100-continue/), /^HTTP\/1\.1 417 .*"code":3/s);
  socket.destroy();
});

for (const [what, lines] of [
  ['a length beside chunks', ['Content-Length: 5', 'Transfer-Encoding: chunked']],
  ['two lengths', ['Content-Length: 5', 'Content-Length: 6']],
  ['an unknown transfer encoding', ['Transfer-Encoding: xchunked']],
  ['a folded header', ['X-A: b', ' c']],
] as const) {
  answers(`a request that two servers could read in two ways is 400: ${what}`, async () => {
    const gateway = await runningOtlp();
    const socket = await openSocket(gateway.port, head('/v1/traces', `Content-Type: ${PROTOBUF}`, ...lines));
    assert.match(await received(socket, /\r\n\r\n/), /^HTTP\/1\.1 400 /);
    socket.destroy();
  });
}

answers('headers beyond 8 KiB are refused', async () => {
  const gateway = await runningOtlp();
  const socket = await openSocket(gateway.port, head('/v1/traces', `X-A: ${'x'.repeat(9000)}`));
  assert.match(await received(socket, /\r\n\r\n/), /^HTTP\/1\.1 431 /);
  socket.destroy();
});

answers('HTTPS, with the certificate that is configured', async () => {
  const authority = certificateAuthority('test authority');
  const { cert, key } = authority.issue('gateway', ['127.0.0.1']);
  const gateway = await runningOtlp({ tls: { cert_pem: cert, key_pem: key } });
  const options = { ca: authority.cert, method: 'POST', headers: { 'content-type': PROTOBUF } };
  const sent = httpsRequest(`https://127.0.0.1:${gateway.port}/v1/traces`, options).end(SPANS);
  const [answer] = await once(sent, 'response');
  assert.equal(answer.statusCode, 200);
  answer.resume();
  await assert.rejects(post(`${gateway.url}/v1/traces`, SPANS), 'plain HTTP gets no answer');
  assert.equal(gateway.batches.length, 1);
});

answers.run();

const cors = suite('cors');
cors.after.each(stopAll);

const PAGE = 'https://app.example.com';
const CORS = {
  allowed_origins: [PAGE, 'https://*.pages.example', 'http://localhost:*'],
  allowed_headers: ['X-Mine'],
  exposed_headers: ['X-Ours'],
  max_age: 600,
};

const preflight = (url: string, origin: string): Promise<Response> =>
  fetch(url, {
    method: 'OPTIONS',
    headers: { origin, 'access-control-request-method': 'POST', 'access-control-request-headers': 'authorization' },
  });

cors('a preflight of an allowed origin needs no token and is told what is allowed', async () => {
  const gateway = await runningOtlp({ cors: CORS, auth: { authenticator: 'static_tokens' } });
  for (const origin of [PAGE, 'https://a.pages.example', 'http://localhost:5173', 'HTTPS://APP.EXAMPLE.COM']) {
    const answer = await preflight(`${gateway.url}/v1/traces`, origin);
    assert.equal(answer.status, 204);
    const { headers } = answer;
    assert.equal(headers.get('access-control-allow-origin'), origin);
    assert.equal(headers.get('access-control-allow-credentials'), 'true');
    assert.equal(headers.get('access-control-allow-methods'), 'POST, OPTIONS');
    assert.equal(headers.get('access-control-max-age'), '600');
    assert.equal(headers.get('vary'), 'Origin');
    const allowed = headers.get('access-control-allow-headers');
    assert.equal(
      allowed,
      'content-type, content-encoding, authorization, traceparent, tracestate, baggage, user-agent, X-Mine',
    );
  }
});

cors('a preflight of another origin is 403, without a word of permission', async () => {
  const gateway = await runningOtlp({ cors: CORS });
  for (const origin of [
    'https://evil.example',
    `${PAGE}.evil`,
    'https://pages.example',
    'null',
    'https://a.pages.example.evil',
  ]) {
    const answer = await preflight(`${gateway.url}/v1/traces`, origin);
    assert.equal(answer.status, 403);
    assert.equal(answer.headers.get('access-control-allow-origin'), null);
    assert.equal(answer.headers.get('vary'), 'Origin');
  }
});

cors('answers to posts name the origin, refusals too', async () => {
  const gateway = await runningOtlp({ cors: CORS });
  for (const [path, type, status] of [
    ['/v1/traces', PROTOBUF, 200],
    ['/v1/traces', 'text/plain', 415],
    ['/nowhere', PROTOBUF, 404],
  ] as const) {
    const answer = await post(`${gateway.url}${path}`, SPANS, { origin: PAGE, 'content-type': type });
    assert.equal(answer.status, status);
    assert.equal(answer.headers.get('access-control-allow-origin'), PAGE);
    assert.equal(answer.headers.get('access-control-expose-headers'), 'Retry-After, X-Ours');
    assert.equal(answer.headers.get('vary'), 'Origin');
  }
  const other = await post(`${gateway.url}/v1/traces`, SPANS, { origin: 'https://evil.example' });
  assert.equal(other.headers.get('access-control-allow-origin'), null);
});

cors('off by default: OPTIONS is a method that is not allowed, and no answer speaks of origins', async () => {
  const gateway = await runningOtlp();
  const asked = await preflight(`${gateway.url}/v1/traces`, PAGE);
  assert.equal(asked.status, 405);
  assert.equal(asked.headers.get('allow'), 'POST');
  const answer = await post(`${gateway.url}/v1/traces`, SPANS, { origin: PAGE });
  for (const { headers } of [asked, answer]) {
    assert.equal(headers.get('access-control-allow-origin'), null);
    assert.equal(headers.get('vary'), null);
  }
});

cors('any header may be allowed', async () => {
  const gateway = await runningOtlp({ cors: { allowed_origins: ['*'], allowed_headers: ['*'] } });
  const answer = await preflight(`${gateway.url}/v1/traces`, PAGE);
  assert.equal(answer.headers.get('access-control-allow-origin'), PAGE);
  assert.equal(answer.headers.get('access-control-allow-headers'), 'authorization');
});

cors.run();
