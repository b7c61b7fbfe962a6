import assert from 'node:assert/strict';
import { once } from 'node:events';
import { request } from 'node:https';
import { connect } from 'node:net';
import { text } from 'node:stream/consumers';
import { suite } from 'uvu';
import { tlsServer, type TlsServerConfig } from '../../../src/config/tls.ts';
import { disabledServer } from '../../../src/receivers/http/disabled.ts';
import { certificateAuthority } from '../../support/certificates.ts';
import { freePort } from '../../support/gateway.ts';
import { SILENT } from '../../support/settings.ts';
import { readStatus } from '../rpc_status.ts';

const Disabled = suite('disabled receiver');

async function withServer(use: (port: number) => Promise<void>, tls?: TlsServerConfig): Promise<void> {
  const endpoint = { host: '127.0.0.1', port: await freePort() };
  const server = disabledServer({ endpoint, tls, path: 'receivers.otlp.protocols.http', logger: SILENT });
  await server.start?.();
  try {
    await use(endpoint.port);
  } finally {
    await server.shutdown?.(AbortSignal.timeout(1000));
  }
}

const REQUESTS: readonly (readonly [contentType: string, answered: string])[] = [
  ['application/x-protobuf', 'application/x-protobuf'],
  ['Application/Protobuf; v=1', 'application/x-protobuf'],
  ['application/json', 'application/json'],
  ['text/plain', 'application/json'],
];

for (const [contentType, answered] of REQUESTS) {
  Disabled(`answers ${contentType} with 503 and a Status as ${answered}`, () =>
    withServer(async (port) => {
      const init = { method: 'POST', headers: { 'content-type': contentType }, body: Buffer.alloc(1_000_000) };
      const response = await fetch(`http://127.0.0.1:${port}/v1/traces`, init);
      assert.deepEqual([response.status, response.headers.get('retry-after')], [503, '5']);
      const status = readStatus(Buffer.from(await response.arrayBuffer()), response.headers.get('content-type'));
      assert.equal(response.headers.get('content-type'), answered);
      assert.deepEqual(
        [status.code, status.details[0]],
        [14, { '@type': 'type.googleapis.com/google.rpc.RetryInfo', retryDelay: '5s' }],
      );
      assert.match(status.message, /service\.enabled is false/);
    }),
  );
}

Disabled('does not ask for a body that a client holds back', () =>
  withServer(async (port) => {
    const client = connect(port, '127.0.0.1');
    client.write('POST /v1/logs HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\nExpect: 100-continue\r\n\r\n');
    const [answer] = await once(client, 'data');
    assert.match(String(answer), /^HTTP\/1\.1 503 /);
    client.destroy();
  }),
);

Disabled('speaks TLS where the receiver does', async () => {
  const authority = certificateAuthority('test authority');
  const { cert, key } = authority.issue('gateway', ['127.0.0.1']);
  const tls = tlsServer().parse({ cert_pem: cert, key_pem: key });
  await withServer(async (port) => {
    const call = request({ host: '127.0.0.1', port, path: '/v1/traces', ca: authority.cert, agent: false });
    const [response] = await once(call.end(), 'response');
    assert.equal(response.statusCode, 503);
    assert.match(await text(response), /disabled/);
  }, tls);
});

Disabled.run();
