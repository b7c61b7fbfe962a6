import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type Server, type Socket } from 'node:net';
import { inspect } from 'node:util';
import { suite } from 'uvu';
import type { Exporter } from '../../src/component.ts';
import { RetryableError } from '../../src/errors.ts';
import { certificateAuthority, testFiles } from '../support/certificates.ts';
import { freePort } from '../support/gateway.ts';
import { FULL_TRACE } from '../otlp/golden_vectors.ts';
import { batchOf, NEVER, otlpExporter, recordOf } from './records.ts';
import { accept, scriptedServer } from './scripted_server.ts';

const Connections = suite('connections of otlp_http');

const sendTo = async (exporter: Exporter, stop = NEVER) =>
  exporter.send([await recordOf(exporter, batchOf('traces', FULL_TRACE))], stop);

/** What a send fails with, which must be worth another try. */
async function faultOf(exporter: Exporter, stop = NEVER): Promise<string> {
  try {
    await sendTo(exporter, stop);
  } catch (error) {
    assert.ok(error instanceof RetryableError, inspect(error));
    assert.equal(error.retryAfterMs, undefined);
    return error.message;
  }
  throw new Error('it was delivered');
}

/** Speaks TCP only: `onData` gets the socket once something came. */
async function rawServer(onData: (socket: Socket, count: number) => void): Promise<{ url: string; server: Server }> {
  let count = 0;
  const server = createServer((socket) => {
    socket.on('error', () => undefined);
    socket.once('data', () => onData(socket, ++count));
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  assert(typeof address === 'object' && address !== null);
  return { url: `http://127.0.0.1:${address.port}`, server };
}

Connections('are kept and used again', async () => {
  const server = await scriptedServer();
  const exporter = otlpExporter({ endpoint: server.url });
  for (let i = 0; i < 5; i++) await sendTo(exporter);
  assert.deepEqual([server.received.length, server.connections()], [5, 1]);
  await exporter.shutdown?.(NEVER);
  await server.close();
});

Connections('are as many as there are consumers', async () => {
  const both = Promise.withResolvers<void>();
  let waiting = 0;
  const server = await scriptedServer(async (response, request) => {
    if (++waiting === 2) both.resolve();
    await both.promise;
    accept(response, request);
  });
  const exporter = otlpExporter({ endpoint: server.url, sending_queue: { num_consumers: 2 } });
  await Promise.all(Array.from({ length: 6 }, () => sendTo(exporter)));
  assert.deepEqual([server.received.length, server.connections()], [6, 2]);
  await exporter.shutdown?.(NEVER);
  await server.close();
});

Connections('that the server closed while they were idle cost no failure', async () => {
  const answer = 'HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n';
  let requests = 0;
  // Answers the first request of each connection, and meets the second with a reset.
  const { url, server } = await rawServer((socket) => {
    requests += 1;
    socket.write(answer);
    socket.once('data', () => socket.resetAndDestroy());
  });
  const exporter = otlpExporter({ endpoint: url });
  await sendTo(exporter);
  await sendTo(exporter);
  assert.equal(requests, 2);
  await exporter.shutdown?.(NEVER);
  server.close();
});

Connections('nobody listens', async () => {
  const port = await freePort();
  const message = await faultOf(otlpExporter({ endpoint: `http://127.0.0.1:${port}/a?token=b` }));
  assert.equal(message, `http://127.0.0.1:${port}/a/v1/traces: ECONNREFUSED`);
});

Connections('the host does not exist', async () => {
  assert.match(await faultOf(otlpExporter({ endpoint: 'http://nowhere.invalid' })), /: (?:ENOTFOUND|EAI_AGAIN)$/);
});

const RAW: readonly (readonly [name: string, answer: (socket: Socket) => void, fault: RegExp])[] = [
  ['closes without an answer', (socket) => socket.end(), /: ECONNRESET$/],
  ['resets in the middle of the request', (socket) => socket.resetAndDestroy(), /: ECONNRESET$/],
  ['closes in the middle of the status line', (socket) => socket.end('HTTP/1.1 2'), /: (?:ECONNRESET|HPE_\w+)$/],
  ['speaks another protocol', (socket) => socket.end('SSH-2.0-secret\r\n'), /: HPE_\w+$/],
  [
    'wants another protocol',
    (socket) => socket.end('HTTP/1.1 101 X\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n'),
    /./,
  ],
];

for (const [name, answer, fault] of RAW) {
  Connections(`the server ${name}`, async () => {
    const { url, server } = await rawServer(answer);
    assert.match(await faultOf(otlpExporter({ endpoint: url })), fault);
    server.close();
  });
}

Connections('the server never answers', async () => {
  const { url, server } = await rawServer(() => undefined);
  const exporter = otlpExporter({ endpoint: url, timeout: '150ms' });
  assert.equal(await faultOf(exporter), `${url}/v1/traces: no answer in time`);
  server.close();
});

Connections('the wait for a free connection counts, too', async () => {
  const { url, server } = await rawServer(() => undefined);
  const exporter = otlpExporter({ endpoint: url, timeout: '150ms', sending_queue: { num_consumers: 1 } });
  const faults = await Promise.all([faultOf(exporter), faultOf(exporter)]);
  assert.deepEqual(faults, Array(2).fill(`${url}/v1/traces: no answer in time`));
  server.close();
});

Connections('the gateway stops', async () => {
  const stop = new AbortController();
  const { url, server } = await rawServer(() => stop.abort());
  const exporter = otlpExporter({ endpoint: url });
  assert.match(await faultOf(exporter, stop.signal), /the gateway stops$/);
  assert.match(await faultOf(exporter, stop.signal), /the gateway stops$/);
  server.close();
});

Connections('an answer to the first part of a large request ends it', async () => {
  const { url, server } = await rawServer((socket) => {
    socket.pause();
    socket.end('HTTP/1.1 401 No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n');
  });
  const exporter = otlpExporter({ endpoint: url, compression: 'none' });
  const record = await recordOf(exporter, batchOf('traces', FULL_TRACE));
  const large = { ...record, bytes: Buffer.alloc(20 << 20) };
  await assert.rejects(exporter.send([large], NEVER), /answered 401/);
  server.close();
});

Connections.run();

const Tls = suite('TLS of otlp_http');

const authority = certificateAuthority('Test authority');
const other = certificateAuthority('Another authority');
const server = authority.issue('collector', ['collector.test', '127.0.0.1']);

Tls('believes the authorities in ca_file, and no others', async () => {
  const files = await testFiles();
  const served = await scriptedServer(accept, server);
  const ca_file = await files.write('ca.pem', authority.cert);
  const trusting = otlpExporter({ endpoint: served.url, tls: { ca_file } });
  await trusting.start?.();
  await sendTo(trusting);
  assert.equal(served.received.length, 1);
  const ordinary = otlpExporter({ endpoint: served.url });
  assert.match(await faultOf(ordinary), /: UNABLE_TO_VERIFY_LEAF_SIGNATURE$/);
  const careless = otlpExporter({ endpoint: served.url, tls: { insecure_skip_verify: true, insecure: true } });
  await sendTo(careless);
  assert.equal(served.received.length, 2);
  for (const exporter of [trusting, ordinary, careless]) await exporter.shutdown?.(NEVER);
  await served.close();
  await files.remove();
});

Tls('wants the name of the URL, or the one that is given instead', async () => {
  const files = await testFiles();
  const named = await scriptedServer(accept, authority.issue('collector', ['collector.test']));
  const ca_file = await files.write('ca.pem', authority.cert);
  const strict = otlpExporter({ endpoint: named.url, tls: { ca_file } });
  assert.match(await faultOf(strict), /: ERR_TLS_CERT_ALTNAME_INVALID$/);
  const told = otlpExporter({ endpoint: named.url, tls: { ca_file, server_name_override: 'collector.test' } });
  await sendTo(told);
  for (const exporter of [strict, told]) await exporter.shutdown?.(NEVER);
  await named.close();
  await files.remove();
});

Tls('shows its certificate, and a renewed one without a restart', async () => {
  const files = await testFiles();
  const options = { ...server, ca: authority.cert, requestCert: true, rejectUnauthorized: true };
  const mutual = await scriptedServer(accept, options);
  const ca_file = await files.write('ca.pem', authority.cert);
  const write = async ({ cert, key }: { cert: string; key: string }) => ({
    cert_file: await files.write('client.pem', cert),
    key_file: await files.write('client.key', key),
  });
  const own = await write(other.issue('stranger'));
  const exporter = otlpExporter({ endpoint: mutual.url, tls: { ca_file, ...own } });
  await exporter.start?.();
  await faultOf(exporter);
  await write(authority.issue('gateway'));
  await sendTo(exporter);
  assert.equal(mutual.received.length, 1);
  await exporter.shutdown?.(NEVER);
  await mutual.close();
  await files.remove();
});

Tls('does not start with files that it cannot use', async () => {
  const files = await testFiles();
  const endpoint = 'https://127.0.0.1:1';
  const missing = otlpExporter({ endpoint, tls: { ca_file: files.path('none.pem') } });
  await assert.rejects(async () => missing.start?.(), /^RetryableError: tls\.ca_file: ENOENT/);
  const pair = { cert_file: await files.write('a.pem', server.cert), key_file: await files.write('a.key', 'no key') };
  const broken = otlpExporter({ endpoint, tls: pair });
  await assert.rejects(async () => broken.start?.(), /^RetryableError: tls: the files cannot be used/);
  await files.remove();
});

Tls.run();
