/** Section 1B: what OTLP over HTTP demands, and what the Collector does where it demands nothing. */
import assert from 'node:assert/strict';
import http from 'node:http';
import http2 from 'node:http2';
import { once } from 'node:events';
import { field, request } from '../support/otlp_messages.ts';
import { withoutArrival } from '../support/gateway.ts';
import { readStatus } from '../receivers/rpc_status.ts';
import { MAX_BODY_BYTES, MAX_CONCURRENT, ORIGIN } from './conformance_gateway.ts';
import { answerOf, httpRequest, type HttpOptions, type HttpReply } from './http_client.ts';
import { invalidRecord, record, withVerdict } from './requests.ts';
import { rowsFor, type Run } from './rows.ts';
import { CONTENT_TYPE, encoded, fromHttp, HTTP } from './wires.ts';

interface Call extends HttpOptions {
  /** Instead of `/v1/<signal>`. */
  readonly to?: string;
}

/** A valid request, but for what the options say. */
export function call(run: Run, { to, headers = {}, ...options }: Call = {}): Promise<HttpReply> {
  const { gateway, signal } = run;
  return httpRequest(`${gateway.url}${to ?? `/v1/${signal}`}`, {
    body: valid(run),
    headers: { ...ownHeaders(run), ...headers },
    ...options,
  });
}

export const valid = ({ wire, signal }: Run): Buffer => encoded(wire, signal, request([record(signal)]));

export const typeOf = ({ wire }: Run): string => (wire === 'grpc' ? 'application/grpc' : CONTENT_TYPE[wire]);

export const ownHeaders = (run: Run): http.OutgoingHttpHeaders => ({
  authorization: `Bearer ${run.gateway.token}`,
  'content-type': typeOf(run),
});

/** Fails unless the body is a Status in the type that was sent, with something to read. */
function assertStatus(run: Run, { status, headers, body }: HttpReply, expected: number): void {
  assert.equal(status, expected);
  assert.equal(headers['content-type'], typeOf(run));
  assert.ok(readStatus(body, typeOf(run)).message.length > 10);
}

const isSeconds = (text: string | undefined): boolean => text !== undefined && /^[1-3]$/.test(text);

const judged = ({ wire, signal }: Run, verdict: string): Buffer =>
  encoded(wire, signal, request([record(signal)], { resource: withVerdict(verdict) }));

/** Holds as many requests open as may be under way, and then lets them end. */
async function whileFull(run: Run, use: () => Promise<void>): Promise<void> {
  const { url } = run.gateway;
  const body = valid(run);
  const headers = { ...ownHeaders(run), 'content-length': body.length, expect: '100-continue' };
  const held = Array.from({ length: MAX_CONCURRENT }, () =>
    http.request(`${url}/v1/${run.signal}`, { method: 'POST', headers, agent: false }),
  );
  const answers = held.map(answerOf);
  for (const one of held) one.flushHeaders();
  // Asked to go on, each is under way.
  await Promise.all(held.map((one) => once(one, 'continue')));
  try {
    await use();
  } finally {
    for (const one of held) one.end(body);
    for (const { status } of await Promise.all(answers)) assert.equal(status, 200);
  }
}

export const HTTP_ROWS = rowsFor(HTTP, [
  {
    id: 'H1',
    says: 'telemetry is posted to the default paths',
    async check(run) {
      assert.equal((await call(run)).status, 200);
      assert.equal((await run.rows()).length, 1);
      assertStatus(run, await call(run, { to: '/v1development/profiles' }), 404);
    },
  },
  {
    id: 'H2',
    says: 'HTTP/1.1 is spoken; a client that begins with HTTP/2 learns at once that this is not it',
    async check(run) {
      const session = http2.connect(run.gateway.url);
      const [error] = await once(session, 'error');
      session.destroy();
      assert(error instanceof Error);
      const { status, httpVersion } = await call(run);
      assert.deepEqual([status, httpVersion], [200, '1.1']);
    },
  },
  {
    id: 'H3',
    says: 'protobuf and JSON mean the same',
    async check(run) {
      const { signal, gateway } = run;
      assert.equal((await call(run)).status, 200);
      const [own] = await run.rows();
      await run.clear();
      const headers = { authorization: `Bearer ${gateway.token}`, 'content-type': 'application/x-protobuf' };
      await httpRequest(`${gateway.url}/v1/${signal}`, { body: request([record(signal)]), headers });
      const [other] = await run.rows();
      assert(own !== undefined && other !== undefined);
      assert.deepEqual(withoutArrival(own), withoutArrival(other));
    },
  },
  {
    id: 'H4',
    says: 'one port and one connection take both encodings',
    async check(run) {
      const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
      const url = `${run.gateway.url}/v1/${run.signal}`;
      try {
        for (const wire of ['http/protobuf', 'http/json', 'http/protobuf'] as const) {
          const headers = { ...ownHeaders(run), 'content-type': CONTENT_TYPE[wire] };
          const reply = await httpRequest(url, { agent, headers, body: valid({ ...run, wire }) });
          assert.deepEqual([reply.status, reply.headers['content-type']], [200, CONTENT_TYPE[wire]]);
        }
      } finally {
        agent.destroy();
      }
    },
  },
  {
    id: 'H5',
    says: 'the type of an answer is that of the request, byte by byte, of errors too',
    async check(run) {
      const type = typeOf(run);
      for (const spelt of [type, `${type}; charset=utf-8`, `${type} ;charset="UTF-8"`, type.toUpperCase()]) {
        const headers = { 'content-type': spelt };
        const replies = [
          await call(run, { headers }),
          await call(run, { headers, body: Buffer.from('\0') }),
          await call(run, { headers, to: '/nowhere' }),
        ];
        assert.deepEqual(
          replies.map(({ status }) => status),
          [200, 400, 404],
          spelt,
        );
        assert.deepEqual(
          replies.map((reply) => reply.headers['content-type']),
          [type, type, type],
        );
      }
    },
  },
  {
    id: 'H6',
    says: 'an answer is compressed only for who can read it',
    async check(run) {
      for (const headers of [{}, { 'accept-encoding': 'identity' }, { 'accept-encoding': 'br' }]) {
        assert.equal((await call(run, { headers })).headers['content-encoding'], undefined);
      }
    },
  },
  {
    id: 'H7',
    says: 'success and partial success are 200',
    async check(run) {
      assert.equal((await call(run)).status, 200);
      const invalid = run.signal === 'logs' ? record('logs', { more: field(9, 'x') }) : invalidRecord(run.signal);
      const partial = fromHttp(
        run.signal,
        await call(run, { body: encoded(run.wire, run.signal, request([invalid])) }),
      );
      assert.deepEqual([partial.status, partial.partial.isSet], [200, true]);
    },
  },
  {
    id: 'H8',
    says: 'every failure has a Status in the encoding of the request',
    async check(run) {
      const { token: noScope } = await run.gateway.issueToken({ scopes: ['scans:read'] });
      assertStatus(run, await call(run, { body: Buffer.from('\0') }), 400);
      assertStatus(run, await call(run, { headers: withAuthorization('') }), 401);
      assertStatus(run, await call(run, { headers: withAuthorization(`Bearer ${noScope}`) }), 403);
      assertStatus(run, await call(run, { to: '/v1/unknown' }), 404);
      assertStatus(run, await call(run, { method: 'PUT' }), 405);
      assertStatus(run, await call(run, { body: Buffer.alloc(MAX_BODY_BYTES + 1) }), 413);
      assertStatus(run, await call(run, { headers: { 'content-encoding': 'br' } }), 415);
      assertStatus(run, await call(run, { headers: { expect: 'the unexpected' } }), 417);
      assertStatus(run, await call(run, { body: judged(run, 'quota') }), 429);
      assertStatus(run, await call(run, { body: judged(run, 'permanent') }), 500);
      assertStatus(run, await call(run, { body: judged(run, 'unknown') }), 503);
    },
  },
  {
    id: 'H9',
    says: 'what cannot be decoded is 400 with BadRequest',
    async check(run) {
      const { status, code, details } = fromHttp(run.signal, await call(run, { body: Buffer.from('<html>') }));
      assert.deepEqual([status, code, details], [400, 3, ['BadRequest']]);
    },
  },
  {
    id: 'H10',
    says: 'what is too large is 413',
    async check(run) {
      const { status, code } = fromHttp(run.signal, await call(run, { body: Buffer.alloc(MAX_BODY_BYTES + 1, ' ') }));
      assert.deepEqual([status, code], [413, 8]);
    },
  },
  {
    id: 'H11',
    says: 'overload is 503, and a quota 429, with Retry-After in seconds',
    async check(run) {
      await whileFull(run, async () => {
        const busy = await call(run);
        assertStatus(run, busy, 503);
        assert.ok(isSeconds(busy.headers['retry-after']), busy.headers['retry-after']);
      });
      const over = await call(run, { body: judged(run, 'quota') });
      assertStatus(run, over, 429);
      assert.ok(isSeconds(over.headers['retry-after']), over.headers['retry-after']);
      assert.equal((await call(run)).status, 200);
    },
  },
  {
    id: 'H12',
    says: 'while the database is away, requests are told to come again',
    async check(run) {
      const away = await run.gateway.whileAway(() => call(run));
      assertStatus(run, away, 503);
      assert.ok(isSeconds(away.headers['retry-after']), away.headers['retry-after']);
      assert.equal((await call(run)).status, 200);
      assert.equal((await run.rows()).length, 1);
    },
  },
  {
    id: 'H13',
    says: 'other types, methods, paths and compressions are refused by their own codes',
    async check(run) {
      for (const type of ['text/plain', 'application/grpc', 'application/x-protobufs', 'json']) {
        assertUntyped(await call(run, { headers: { 'content-type': type } }), 415);
      }
      assertUntyped(await bare(run, { authorization: ownHeaders(run).authorization }), 415);
      for (const method of ['GET', 'PUT', 'DELETE', 'PATCH']) {
        const reply = await call(run, { method });
        assertStatus(run, reply, 405);
        assert.equal(reply.headers['allow'], 'POST');
      }
      assertStatus(run, await call(run, { to: '/v1/other' }), 404);
      const unknown = await call(run, { headers: { 'content-encoding': 'snappy' } });
      assertStatus(run, unknown, 415);
      assert.match(String(unknown.headers['accept-encoding']), /gzip/);
    },
  },
  {
    id: 'H14',
    says: 'what is not the compression that it says is 400',
    async check(run) {
      for (const encoding of ['gzip', 'deflate', 'zstd']) {
        const reply = await call(run, { headers: { 'content-encoding': encoding } });
        assertStatus(run, reply, 400);
        assert.equal(readStatus(reply.body, typeOf(run)).code, 3);
      }
      const { authorization } = ownHeaders(run);
      const untyped = await bare(run, { authorization, 'content-encoding': 'gzip' });
      assertUntyped(untyped, 415);
    },
  },
  {
    id: 'H15',
    says: 'kinds of failure have the same codes on both transports',
    wires: ['http/protobuf', 'http/json', 'grpc'],
    async check(run) {
      const expected = { quota: [8, 429], permanent: [13, 500], retryable: [14, 503], unknown: [14, 503] };
      for (const [verdict, [code, status]] of Object.entries(expected)) {
        const reply = await run.sendBytes(judged(run, verdict));
        assert.deepEqual([reply.code, reply.status ?? status], [code, status], verdict);
      }
      const invalid = await run.sendBytes('<html>');
      assert.deepEqual([invalid.code, invalid.status ?? 400], [3, 400]);
      const { token } = await run.gateway.issueToken({ scopes: ['scans:read'] });
      const forbidden = await run.send(request([record(run.signal)]), withToken(token));
      assert.deepEqual([forbidden.code, forbidden.status ?? 403], [7, 403]);
    },
  },
  {
    id: 'H16',
    says: 'connections are kept longer than load balancers do',
    async check(run) {
      const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
      try {
        const first = await call(run, { agent });
        const refused = await call(run, { agent, body: Buffer.from('\0') });
        const third = await call(run, { agent });
        assert.deepEqual(
          [first, refused, third].map(({ status }) => status),
          [200, 400, 200],
        );
        assert.deepEqual([refused.reusedSocket, third.reusedSocket], [true, true]);
        const [, seconds] = /timeout=(\d+)/.exec(String(first.headers['keep-alive'])) ?? [];
        assert.ok(Number(seconds) >= 65, String(first.headers['keep-alive']));
      } finally {
        agent.destroy();
      }
    },
  },
  {
    id: 'H17',
    says: 'pages of configured origins may send, and read answers and refusals',
    async check(run) {
      await assertPreflight(run);
      const good = await call(run, { headers: { origin: ORIGIN } });
      const bad = await call(run, { headers: { origin: ORIGIN }, body: Buffer.from('\0') });
      const nobody = await call(run, { headers: { origin: ORIGIN, ...withAuthorization('') } });
      assert.deepEqual(
        [good, bad, nobody].map(({ status }) => status),
        [200, 400, 401],
      );
      for (const { headers } of [good, bad, nobody]) {
        assert.equal(headers['access-control-allow-origin'], ORIGIN);
        assert.equal(headers['access-control-allow-credentials'], 'true');
        assert.match(String(headers['access-control-expose-headers']), /Retry-After/);
        assert.match(String(headers['vary']), /Origin/);
      }
      const stranger = await call(run, { headers: { origin: 'https://evil.example.com' } });
      assert.equal(stranger.headers['access-control-allow-origin'], undefined);
    },
  },
]);

export const withToken = (token: string) => ({ headers: { authorization: `Bearer ${token}` } });

const withAuthorization = (authorization: string): http.OutgoingHttpHeaders => ({ authorization });

/** With these headers and no others. */
const bare = (run: Run, headers: http.OutgoingHttpHeaders): Promise<HttpReply> =>
  httpRequest(`${run.gateway.url}/v1/${run.signal}`, { body: valid(run), headers });

/** Where the request's encoding is unknown, the Status is JSON. */
function assertUntyped({ status, headers, body }: HttpReply, expected: number): void {
  assert.deepEqual([status, headers['content-type']], [expected, 'application/json']);
  assert.ok(readStatus(body, 'application/json').message.length > 10);
}

export async function assertPreflight(run: Run): Promise<void> {
  const { status, headers, body } = await httpRequest(`${run.gateway.url}/v1/${run.signal}`, {
    method: 'OPTIONS',
    headers: {
      origin: ORIGIN,
      'access-control-request-method': 'POST',
      'access-control-request-headers': 'authorization,content-type',
    },
  });
  assert.deepEqual([status, body.length], [204, 0]);
  assert.equal(headers['access-control-allow-origin'], ORIGIN);
  assert.equal(headers['access-control-allow-credentials'], 'true');
  assert.equal(headers['access-control-allow-methods'], 'POST, OPTIONS');
  assert.equal(headers['access-control-max-age'], '600');
  assert.match(String(headers['vary']), /Origin/);
  const allowed = String(headers['access-control-allow-headers']);
  for (const name of ['content-type', 'content-encoding', 'authorization', 'traceparent', 'tracestate', 'baggage']) {
    assert.ok(allowed.split(', ').includes(name), `${name} in ${allowed}`);
  }
}
