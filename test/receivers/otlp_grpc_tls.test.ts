import assert from 'node:assert/strict';
import { credentials } from '@grpc/grpc-js';
import { suite } from 'uvu';
import { certificateAuthority, testFiles, type TestFiles } from '../support/certificates.ts';
import { grpcClient, grpcReceiver, TRACES } from './otlp_grpc_server.ts';
import { SPANS } from './otlp_requests.ts';

const Tls = suite('OTLP/gRPC over TLS');
const authority = certificateAuthority('servers');
const clients = certificateAuthority('clients');
let files: TestFiles;
let tls: { cert_file: string; key_file: string };

Tls.before.each(async () => {
  files = await testFiles();
  const { cert, key } = authority.issue('gateway', ['127.0.0.1']);
  tls = { cert_file: await files.write('cert.pem', cert), key_file: await files.write('key.pem', key) };
});
Tls.after.each(() => files.remove());

/** How a call ends, from a client that trusts this authority and may have a certificate of its own. */
async function callFrom(address: string, trusted: string, own?: { cert: string; key: string }): Promise<number> {
  const channel =
    own === undefined
      ? credentials.createSsl(Buffer.from(trusted))
      : credentials.createSsl(Buffer.from(trusted), Buffer.from(own.key), Buffer.from(own.cert));
  const client = grpcClient(address, channel);
  const { code } = await client.call(TRACES, SPANS);
  client.close();
  return code;
}

Tls('serves who trusts its certificate, and nobody in plain text', async () => {
  const receiver = await grpcReceiver({ section: { tls } });
  assert.deepEqual(receiver.log, [`info: OTLP/gRPC on https://${receiver.address}`]);
  assert.equal(await callFrom(receiver.address, authority.cert), 0);
  assert.equal(await callFrom(receiver.address, clients.cert), 14);
  const plain = grpcClient(receiver.address);
  assert.equal((await plain.call(TRACES, SPANS)).code, 14);
  plain.close();
  assert.equal(receiver.batches.length, 1);
  await receiver.stop();
});

Tls('demands a certificate of clients when it has an authority for them', async () => {
  const client_ca_file = await files.write('ca.pem', clients.cert);
  const receiver = await grpcReceiver({ section: { tls: { ...tls, client_ca_file } } });
  assert.equal(await callFrom(receiver.address, authority.cert, clients.issue('agent')), 0);
  assert.equal(await callFrom(receiver.address, authority.cert, authority.issue('agent')), 14);
  assert.equal(await callFrom(receiver.address, authority.cert), 14);
  await receiver.stop();
});

Tls('uses a renewed certificate without a restart', async () => {
  const reloaded = Promise.withResolvers<void>();
  const receiver = await grpcReceiver({
    section: { tls: { ...tls, reload_interval: '5ms' } },
    onLog: (sentence) => {
      if (sentence.startsWith('new TLS')) reloaded.resolve();
    },
  });
  const replacement = certificateAuthority('servers, next year');
  const { cert, key } = replacement.issue('gateway', ['127.0.0.1']);
  assert.equal(await callFrom(receiver.address, replacement.cert), 14);
  await files.write('cert.pem', cert);
  await files.write('key.pem', key);
  await reloaded.promise;
  assert.equal(await callFrom(receiver.address, replacement.cert), 0);
  await receiver.stop();
});

Tls('does not start without its certificate, and says which setting is at fault', async () => {
  const section = { tls: { ...tls, cert_file: files.path('none.pem') } };
  await assert.rejects(grpcReceiver({ section }), {
    message: `receivers.otlp.protocols.grpc.tls.cert_file: cannot read ${files.path('none.pem')}: there is no such file`,
  });
});

Tls.run();
