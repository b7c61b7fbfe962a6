import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { Agent, request as httpRequest } from 'node:http';
import { text } from 'node:stream/consumers';
import { suite } from 'uvu';
import { ingestTokens } from '../../src/extensions/ingest_tokens.ts';
import { SCOPES } from '../../src/model/identity.ts';
import { generateToken } from '../../src/model/token.ts';
import { post } from '../support/gateway.ts';
import { testSettings } from '../support/settings.ts';
import { PROTOBUF, SPANS, SPANS_JSON } from './otlp_requests.ts';
import { readStatus } from './rpc_status.ts';
import { head, openSocket, received, runningOtlp, type Running } from './served.ts';

const token = (): string => randomBytes(16).toString('hex');
const GOOD = token();
const READER = token();
const PERCENT = `100%25${token()}`;

const auth = suite<{ gateway: Running }>('otlp http authentication');

auth.before.each(async (context) => {
  const tokens = [
    { token: GOOD, org: 'acme' },
    { token: PERCENT, org: 'percent' },
    { token: READER, org: 'acme', scopes: SCOPES.filter((scope) => scope !== 'ingest' && scope !== 'admin') },
  ];
  const settings = { auth: { authenticator: 'static_tokens' }, max_request_body_size: '64KiB' };
  context.gateway = await runningOtlp(settings, { tokens });
});
auth.after.each(({ gateway }) => gateway.stop());

for (const [what, authorization, org] of [
  ['a token', `Bearer ${GOOD}`, 'acme'],
  ['a scheme in lower case', `bearer ${GOOD}`, 'acme'],
  ['a scheme in capitals', `BEARER ${GOOD}`, 'acme'],
  ['several spaces', ` Bearer   ${GOOD}  `, 'acme'],
  ['a space that was left percent-encoded', `Bearer%20${GOOD}`, 'acme'],
  ['a token with a percent sign of its own', `Bearer ${PERCENT}`, 'percent'],
] as const) {
  auth(`${what}: the data is of the token's tenant`, async ({ gateway }) => {
    const headers = { authorization, 'x-scope-orgid': 'evil', baggage: 'org_id=evil' };
    assert.equal((await post(`${gateway.url}/v1/traces`, SPANS, headers)).status, 200);
    assert.deepEqual(
      gateway.batches.map(({ tenant }) => tenant),
      [{ orgId: org, workspaceId: 'w', targetId: undefined }],
    );
  });
}

const CHALLENGE = 'Bearer realm="sluice"';
const INVALID = `${CHALLENGE}, error="invalid_token"`;

const refused: readonly (readonly [string, string | undefined, number, number, string | null])[] = [
  ['no token', undefined, 401, 16, CHALLENGE],
  ['an empty header', '', 401, 16, CHALLENGE],
  ['another scheme', 'Basic dXNlcjpwYXNzd29yZA==', 401, 16, CHALLENGE],
  ['a token without a scheme', GOOD, 401, 16, CHALLENGE],
  ['a scheme without a token', 'Bearer', 401, 16, INVALID],
  ['two tokens', `Bearer ${GOOD} ${GOOD}`, 401, 16, INVALID],
  ['an unknown token', `Bearer ${token()}`, 401, 16, INVALID],
  ['a token with something behind', `Bearer ${GOOD}x`, 401, 16, INVALID],
  ['a token in other letters', `Bearer ${GOOD.toUpperCase()}`, 401, 16, INVALID],
  ['a long token', `Bearer ${'x'.repeat(4000)}`, 401, 16, INVALID],
  ['a broken percent-encoding', `Bearer%20${GOOD}%`, 401, 16, CHALLENGE],
  ['a token without the scope', `Bearer ${READER}`, 403, 7, `${CHALLENGE}, error="insufficient_scope"`],
];

for (const [what, authorization, status, code, challenge] of refused) {
  auth(`${status} for ${what}, in the encoding of the request`, async ({ gateway }) => {
    for (const body of [SPANS, SPANS_JSON]) {
      const headers = authorization === undefined ? undefined : { authorization };
      const answer = await post(`${gateway.url}/v1/traces`, body, headers);
      assert.equal(answer.status, status);
      assert.equal(readStatus(answer.body, answer.headers.get('content-type')).code, code);
      assert.equal(answer.headers.get('www-authenticate'), challenge);
      assert.equal(answer.headers.get('retry-after'), null);
      assert.ok(!answer.body.includes(GOOD), 'the answer tells no token');
    }
    assert.equal(gateway.batches.length, 0);
  });
}

auth('several Authorization headers are 400, even equal and good ones', async ({ gateway }) => {
  const line = `Authorization: Bearer ${GOOD}`;
  const request = head('/v1/traces', line, line.toLowerCase().replace('bearer', 'Bearer'), 'Content-Length: 0');
  const socket = await openSocket(gateway.port, request);
  assert.match(await received(socket, /Authorization headers/), /^HTTP\/1\.1 400 .*"code":3.*BadRequest/s);
  socket.destroy();
});

auth('nobody learns anything without a token: paths, methods and types come after it', async ({ gateway }) => {
  for (const path of ['/v1/traces', '/nowhere']) {
    assert.equal((await fetch(`${gateway.url}${path}`)).status, 401);
    assert.equal((await post(`${gateway.url}${path}`, SPANS, { 'content-type': 'text/plain' })).status, 401);
  }
  assert.equal((await post(`${gateway.url}/nowhere`, SPANS, { authorization: `Bearer ${GOOD}` })).status, 404);
});

auth('the answer comes before the body', async ({ gateway }) => {
  const socket = await openSocket(
    gateway.port,
    head('/v1/traces', `Content-Type: ${PROTOBUF}`, 'Content-Length: 60000'),
  );
  assert.match(await received(socket, /there is no token/), /^HTTP\/1\.1 401 /);
  socket.destroy();
});

auth('a client that waits to be told to go on is refused without its body', async ({ gateway }) => {
  const lines = [`Content-Type: ${PROTOBUF}`, 'Expect: 100-continue', 'Content-Length: 60000'];
  const socket = await openSocket(gateway.port, head('/v1/traces', ...lines));
  const got = await received(socket, /there is no token/);
  assert.match(got, /^HTTP\/1\.1 401 /);
  assert.match(got, /\r\nConnection: close\r\n/);
  socket.destroy();
});

auth('a connection serves on after 401 and 403, whatever bodies came with them', async ({ gateway }) => {
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  const ports = new Set<number>();
  const send = async (authorization: string): Promise<number> =>
    new Promise((resolve, reject) => {
      const headers = { 'content-type': PROTOBUF, authorization };
      const sent = httpRequest(`${gateway.url}/v1/traces`, { method: 'POST', headers, agent }, (answer) => {
        ports.add(answer.socket.localPort ?? 0);
        text(answer).then(() => resolve(answer.statusCode ?? 0), reject);
      });
      sent.on('error', reject).end(SPANS);
    });
  const statuses: number[] = [];
  for (const authorization of [`Bearer ${GOOD}`, 'Bearer no', `Bearer ${GOOD}`, `Bearer ${READER}`, `Bearer ${GOOD}`]) {
    statuses.push(await send(authorization));
  }
  agent.destroy();
  assert.deepEqual(statuses, [200, 401, 200, 403, 200]);
  assert.equal(ports.size, 1);
});

auth('an address with many bad tokens waits, good tokens from there do not', async ({ gateway }) => {
  const url = `${gateway.url}/v1/traces`;
  const statuses: number[] = [];
  for (let attempt = 0; attempt < 25; attempt++) {
    statuses.push((await post(url, SPANS, { authorization: `Bearer ${token()}` })).status);
  }
  assert.deepEqual(statuses, [...Array.from({ length: 20 }, () => 401), ...Array.from({ length: 5 }, () => 429)]);
  const slowed = await post(url, SPANS_JSON, { authorization: `Bearer ${token()}` });
  assert.match(slowed.headers.get('retry-after') ?? '', /^[123]$/);
  const { code, details } = readStatus(slowed.body, slowed.headers.get('content-type'));
  assert.equal(code, 8);
  assert.equal(details[0]?.['@type'], 'type.googleapis.com/google.rpc.RetryInfo');
  assert.equal((await post(url, SPANS, { authorization: `Bearer ${GOOD}` })).status, 200);
  assert.equal((await post(url, SPANS)).status, 401, 'a request without a token is told that');
});

auth('503 while it cannot be found out whether a token is good', async () => {
  const config = ingestTokens.config.parse({ database_url: 'postgres://127.0.0.1:1/none' });
  const authenticator = ingestTokens.create(config, testSettings('ingest_tokens'));
  const gateway = await runningOtlp({ auth: { authenticator: 'static_tokens' } }, { authenticator });
  try {
    for (const body of [SPANS, SPANS_JSON]) {
      const headers = { authorization: `Bearer ${generateToken('in')}` };
      const answer = await post(`${gateway.url}/v1/traces`, body, headers);
      assert.equal(answer.status, 503);
      assert.equal(answer.headers.get('retry-after'), '1');
      const { code, details } = readStatus(answer.body, answer.headers.get('content-type'));
      assert.equal(code, 14);
      assert.deepEqual(details, [{ '@type': 'type.googleapis.com/google.rpc.RetryInfo', retryDelay: '1s' }]);
    }
    const garbage = await post(`${gateway.url}/v1/traces`, SPANS, { authorization: 'Bearer garbage' });
    assert.equal(garbage.status, 401, 'what is no token needs no database');
  } finally {
    await gateway.stop();
    await authenticator.shutdown?.(AbortSignal.timeout(5000));
  }
});

auth.run();
