import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { connect } from 'node:http2';
import { suite } from 'uvu';
import type { Authenticator, Component, Settings } from '../../src/component.ts';
import { ingestTokens } from '../../src/extensions/ingest_tokens.ts';
import { staticTokens } from '../../src/extensions/static_tokens.ts';
import { generateToken } from '../../src/model/token.ts';
import { freePort } from '../support/gateway.ts';
import { testSettings } from '../support/settings.ts';
import { grpcClient, grpcReceiver, TRACES, type GrpcClient, type GrpcReceiver } from './otlp_grpc_server.ts';
import { SPANS } from './otlp_requests.ts';

const tenant = { org_id: 'acme', workspace_id: 'main' };
const good = randomBytes(16).toString('hex');
const reader = randomBytes(16).toString('hex');
const bad = randomBytes(16).toString('hex');

const section = { auth: { authenticator: 'static_tokens' } };

function settingsWith(authenticator: Authenticator): Partial<Settings> {
  return { authenticator: () => authenticator };
}

function tokens(): Authenticator {
  const config = {
    tokens: [
      { token: good, ...tenant },
      { token: reader, ...tenant, scopes: ['scans:read'] },
    ],
  };
  return asAuthenticator(staticTokens.create(staticTokens.config.parse(config), testSettings('static_tokens')));
}

function asAuthenticator(component: Component): Authenticator {
  assert(isAuthenticator(component));
  return component;
}

function isAuthenticator(component: Component): component is Authenticator {
  return 'authenticate' in component && 'isKnown' in component;
}

const Auth = suite('OTLP/gRPC authentication');
let receiver: GrpcReceiver;
let client: GrpcClient;

Auth.before.each(async () => {
  receiver = await grpcReceiver({ section, settings: settingsWith(tokens()) });
  client = grpcClient(receiver.address);
});
Auth.after.each(async () => {
  client.close();
  await receiver.stop();
});

for (const authorization of [`Bearer ${good}`, `bearer   ${good}`, `Bearer%20${good}`]) {
  Auth(`lets in who sends ${authorization.replace(good, '…')}, as the tenant of the token`, async () => {
    assert.equal((await client.call(TRACES, SPANS, { authorization, 'x-scope-orgid': 'other' })).code, 0);
    const [batch] = receiver.batches;
    assert.deepEqual(batch?.tenant, { orgId: 'acme', workspaceId: 'main', targetId: undefined });
  });
}

const refusals: { name: string; headers: Record<string, string>; code: number; says: RegExp }[] = [
  { name: 'no token', headers: {}, code: 16, says: /there is no token; send/ },
  { name: 'another scheme', headers: { authorization: `Basic ${good}` }, code: 16, says: /not of the form/ },
  { name: 'no text behind the scheme', headers: { authorization: 'Bearer' }, code: 16, says: /not of the form/ },
  { name: 'two tokens', headers: { authorization: `Bearer ${good} ${good}` }, code: 16, says: /not of the form/ },
  { name: 'two values in one', headers: { authorization: `Bearer ${good}, Bearer ${bad}` }, code: 16, says: /form/ },
  { name: 'a wrong token', headers: { authorization: `Bearer ${bad}` }, code: 16, says: /unknown/ },
  { name: 'a token of another scope', headers: { authorization: `Bearer ${reader}` }, code: 7, says: /scope "?ingest/ },
];

for (const { name, headers, code, says } of refusals) {
  Auth(`refuses ${name}`, async () => {
    const reply = await client.call(TRACES, SPANS, headers);
    assert.equal(reply.code, code);
    assert.match(reply.message, says);
    assert.deepEqual(reply.status, { code, message: reply.message, details: [] });
    assert(!reply.message.includes(good) && !reply.message.includes(bad));
    assert.deepEqual(receiver.batches, []);
  });
}

/** As raw headers, since clients that know the header send it once. */
async function statusOfSeveral(values: readonly string[]): Promise<string | undefined> {
  const session = connect(`http://${receiver.address}`, UNCHECKED);
  const headers = [':method', 'POST', ':path', TRACES, 'content-type', 'application/grpc'];
  const stream = session.request([...headers, ...values.flatMap((value) => ['authorization', value])]);
  stream.end(Buffer.of(0, 0, 0, 0, 0));
  const [answer]: Record<string, string>[] = await once(stream, 'response');
  stream.resume();
  session.close();
  return answer?.['grpc-status'];
}

/** Node's types do not know the option yet. */
const UNCHECKED: object = { strictSingleValueFields: false };

Auth('refuses several values, of which proxies might have checked another one', async () => {
  assert.equal(await statusOfSeveral([`Bearer ${good}`, `Bearer ${bad}`]), '3');
  assert.equal(await statusOfSeveral([`Bearer ${good}`, `Bearer ${good}`]), '3');
});

Auth('refuses before the message is sent', async () => {
  const session = connect(`http://${receiver.address}`);
  const headers = { ':method': 'POST', ':path': TRACES, 'content-type': 'application/grpc' };
  const stream = session.request(headers, { endStream: false });
  const [answer]: Record<string, string>[] = await once(stream, 'response');
  assert.equal(answer?.['grpc-status'], '16');
  session.destroy();
});

Auth('slows who tries tokens, and nobody with a good one', async () => {
  const attempt = (token: string) => client.call(TRACES, SPANS, { authorization: `Bearer ${token}` });
  for (let tries = 0; tries < 20; tries++) assert.equal((await attempt(bad)).code, 16);
  const reply = await attempt(bad);
  assert.equal(reply.code, 8);
  assert.deepEqual(reply.status?.details, [{ type: 'RetryInfo', retryDelay: { seconds: 3, nanos: 0 } }]);
  assert.equal((await attempt(good)).code, 0);
  assert.equal((await client.call(TRACES, SPANS)).code, 16);
});

Auth('never calls a token bad that cannot be checked now', async () => {
  const config = ingestTokens.config.parse({ database_url: `postgres://nobody@127.0.0.1:${await freePort()}/none` });
  const component = ingestTokens.create(config, testSettings('ingest_tokens'));
  const away = await grpcReceiver({ section, settings: settingsWith(asAuthenticator(component)) });
  const sender = grpcClient(away.address);
  const reply = await sender.call(TRACES, SPANS, { authorization: `Bearer ${generateToken('in')}` });
  assert.equal(reply.code, 14);
  assert.match(JSON.stringify(reply.status?.details), /RetryInfo/);
  sender.close();
  await away.stop();
  await component.shutdown?.(AbortSignal.abort());
});

Auth.run();
