import assert from 'node:assert/strict';
import type { Socket } from 'node:net';
import { setImmediate } from 'node:timers/promises';
import { gzipSync, zstdCompressSync } from 'node:zlib';
import { suite } from 'uvu';
import { ACCEPTED } from '../../src/component.ts';
import { createMemoryLimiter, memoryLimiter, type MemoryLimiter } from '../../src/extensions/memory_limiter.ts';
import { attribute, any, request, spanIds } from '../support/otlp_messages.ts';
import { testSettings } from '../support/settings.ts';
import { grpcClient, grpcReceiver, TRACES } from './otlp_grpc_server.ts';
import { head, openSocket, received, runningOtlp, stopAll, testService } from './served.ts';

const TYPE = 'Content-Type: application/x-protobuf';
const LIMIT_BYTES = 100_000;
/** A valid request of 60,000 bytes and a little; two of them are above the limit. */
const LARGE = request([Buffer.concat([spanIds(1), attribute(9, 'text', any.string('x'.repeat(60_000)))])]);
const SMALL = request([spanIds(1)]);

const limiterOf = (config: object): MemoryLimiter =>
  createMemoryLimiter(memoryLimiter.config.parse(config), testSettings('memory_limiter'));

const small = (): MemoryLimiter => limiterOf({ max_request_bytes_in_flight: LIMIT_BYTES });

/** Resolves once the bodies under way take so many bytes. */
async function untilHeld(limiter: MemoryLimiter, isEnough: (bytes: number) => boolean): Promise<void> {
  while (!isEnough(limiter.requestBytes)) await setImmediate();
}

const send = (url: string, body: Uint8Array, headers: Record<string, string> = {}): Promise<Response> =>
  fetch(`${url}/v1/traces`, {
    method: 'POST',
    body: Buffer.from(body),
    headers: { 'content-type': 'application/x-protobuf', ...headers },
  });

async function assertRefused(response: Response): Promise<void> {
  assert.equal(response.status, 503);
  assert.equal(response.headers.get('retry-after'), '1');
  await response.arrayBuffer();
}

/** Sends all but the last byte of a large body. */
async function slowSender(port: number): Promise<Socket> {
  const socket = await openSocket(
    port,
    head('/v1/traces', TYPE, `Content-Length: ${LARGE.length}`),
    LARGE.subarray(0, -1),
  );
  return socket.on('error', () => undefined);
}

const http = suite('admission over HTTP');
http.after.each(stopAll);

http('a slow body holds what came of it; others are refused, and taken once it is done', async () => {
  const admission = small();
  const gateway = await runningOtlp({}, { settings: { admission } });
  const slow = await slowSender(gateway.port);
  await untilHeld(admission, (bytes) => bytes === LARGE.length - 1);
  await assertRefused(await send(gateway.url, LARGE));
  assert.equal((await send(gateway.url, SMALL)).status, 200);
  slow.write(LARGE.subarray(-1));
  assert.match(await received(slow, /\r\n\r\n/), /^HTTP\/1\.1 200 /);
  slow.destroy();
  assert.equal((await send(gateway.url, LARGE)).status, 200);
  assert.equal(gateway.batches.length, 3);
  assert.equal(admission.requestBytes, 0);
});

http('a body is only announced: nothing is held for it', async () => {
  const admission = small();
  const gateway = await runningOtlp({}, { settings: { admission } });
  const sockets = await Promise.all(
    Array.from({ length: 20 }, () =>
      openSocket(gateway.port, head('/v1/traces', TYPE, 'Content-Length: 60000000'), 'x'),
    ),
  );
  await untilHeld(admission, (bytes) => bytes === sockets.length);
  assert.equal((await send(gateway.url, LARGE)).status, 200);
  for (const socket of sockets) socket.on('error', () => undefined).destroy();
  await untilHeld(admission, (bytes) => bytes === 0);
});

http('a client that goes away in the middle lets its bytes go', async () => {
  const admission = small();
  const gateway = await runningOtlp({}, { settings: { admission } });
  const slow = await slowSender(gateway.port);
  await untilHeld(admission, (bytes) => bytes > 0);
  slow.destroy();
  await untilHeld(admission, (bytes) => bytes === 0);
  assert.equal((await send(gateway.url, LARGE)).status, 200);
});

http('while there is no room a body that waits for 100 Continue is never asked for', async () => {
  const admission = limiterOf({ max_request_bytes_in_flight: LARGE.length - 1 });
  const gateway = await runningOtlp({}, { settings: { admission } });
  const slow = await slowSender(gateway.port);
  await untilHeld(admission, (bytes) => bytes === LARGE.length - 1);
  const waiting = await openSocket(
    gateway.port,
    head('/v1/traces', TYPE, `Content-Length: ${SMALL.length}`, 'Expect: 100-continue'),
  );
  assert.match(await received(waiting, /\r\n\r\n/), /^HTTP\/1\.1 503 /);
  waiting.destroy();
  slow.destroy();
  await untilHeld(admission, (bytes) => bytes === 0);
});

for (const [encoding, packed] of [
  ['gzip', gzipSync(LARGE)],
  ['zstd', zstdCompressSync(LARGE)],
] as const) {
  http(`what ${encoding} makes of a body is held too`, async () => {
    const admission = small();
    const gateway = await runningOtlp({}, { settings: { admission } });
    assert.equal((await send(gateway.url, packed, { 'content-encoding': encoding })).status, 200);
    const slow = await slowSender(gateway.port);
    await untilHeld(admission, (bytes) => bytes > 0);
    await assertRefused(await send(gateway.url, packed, { 'content-encoding': encoding }));
    slow.destroy();
    await untilHeld(admission, (bytes) => bytes === 0);
  });
}

http('who sends is asked before there is room', async () => {
  const admission = limiterOf({ max_request_bytes_in_flight: 1 });
  const gateway = await runningOtlp(
    { auth: { authenticator: 'static_tokens' } },
    { settings: { admission }, tokens: [{ token: 'known'.repeat(5), org: 'o' }] },
  );
  const held = admission.admit();
  held.grow(1);
  assert.equal((await send(gateway.url, SMALL)).status, 401);
  await assertRefused(await send(gateway.url, SMALL, { authorization: `Bearer ${'known'.repeat(5)}` }));
  held.release();
});

http('whatever becomes of requests, nothing stays held', async () => {
  const admission = small();
  const gateway = await runningOtlp(
    { max_request_body_size: 70_000 },
    { settings: { admission }, consume: () => Promise.reject(new Error('the pipeline fails')) },
  );
  const bodies: readonly (readonly [number, Uint8Array, Record<string, string>])[] = [
    [503, SMALL, {}],
    [400, Buffer.from('nonsense'), {}],
    [400, Buffer.from('no gzip'), { 'content-encoding': 'gzip' }],
    [413, Buffer.alloc(80_000), {}],
    [413, gzipSync(Buffer.alloc(80_000)), { 'content-encoding': 'gzip' }],
    [415, SMALL, { 'content-type': 'text/plain' }],
  ];
  for (const [status, body, headers] of bodies) assert.equal((await send(gateway.url, body, headers)).status, status);
  assert.equal(admission.requestBytes, 0);
});

http.run();

const grpc = suite('admission over gRPC');

grpc('a message is held until its call is done; what is above the bound is told to come again', async () => {
  const admission = small();
  const taken = Promise.withResolvers<void>();
  const consumed = Promise.withResolvers<void>();
  const receiver = await grpcReceiver({
    settings: { admission },
    consume: async () => {
      consumed.resolve();
      await taken.promise;
      return ACCEPTED;
    },
  });
  const client = grpcClient(receiver.address);
  const first = client.call(TRACES, LARGE);
  await consumed.promise;
  assert.equal(admission.requestBytes, LARGE.length);
  const refused = await client.call(TRACES, LARGE);
  assert.equal(refused.code, 14);
  assert.deepEqual(refused.status?.details, [{ type: 'RetryInfo', retryDelay: { seconds: 1, nanos: 0 } }]);
  taken.resolve();
  assert.equal((await first).code, 0);
  assert.equal(receiver.batches.length, 1);
  assert.equal(admission.requestBytes, 0);
  client.close();
  await receiver.stop();
});

grpc('while there is no room no message is read', async () => {
  const admission = limiterOf({ max_request_bytes_in_flight: 1 });
  const receiver = await grpcReceiver({ settings: { admission } });
  const client = grpcClient(receiver.address);
  const held = admission.admit();
  held.grow(1);
  const { code, message } = await client.call(TRACES, SMALL);
  assert.equal(code, 14);
  assert.match(message, /max_request_bytes_in_flight/);
  held.release();
  assert.equal((await client.call(TRACES, SMALL)).code, 0);
  client.close();
  await receiver.stop();
});

grpc('a call whose client goes away is held until its work is done', async () => {
  const admission = small();
  const taken = Promise.withResolvers<void>();
  const consumed = Promise.withResolvers<void>();
  const receiver = await grpcReceiver({
    settings: { admission },
    consume: async () => {
      consumed.resolve();
      await taken.promise;
      return ACCEPTED;
    },
  });
  const client = grpcClient(receiver.address);
  const cancel = client.begin(TRACES, LARGE);
  await consumed.promise;
  cancel();
  assert.equal((await client.call('/nothing/There', SMALL)).code, 12);
  assert.equal(admission.requestBytes, LARGE.length);
  taken.resolve();
  await untilHeld(admission, (bytes) => bytes === 0);
  client.close();
  await receiver.stop();
});

grpc.run();

const hops = suite('hops between gateways');
hops.after.each(stopAll);

const CASES: readonly (readonly [string | undefined, number | undefined])[] = [
  [undefined, 0],
  ['0', 0],
  ['3', 3],
  ['4', undefined],
  ['99999999999999999999', undefined],
  ['-1', undefined],
  ['1.5', undefined],
  ['many', undefined],
  ['1, 2', undefined],
];

for (const [value, expected] of CASES) {
  const headers: Record<string, string> = value === undefined ? {} : { 'x-sluice-hops': value };
  const verdict = expected === undefined ? 'is refused' : `arrives as ${expected}`;

  hops(`HTTP: ${value ?? 'nothing'} ${verdict}`, async () => {
    const gateway = await runningOtlp();
    const response = await send(gateway.url, SMALL, headers);
    assert.equal(response.status, expected === undefined ? 400 : 200);
    assert.deepEqual(
      gateway.batches.map((batch) => batch.hops),
      expected === undefined ? [] : [expected],
    );
  });

  hops(`gRPC: ${value ?? 'nothing'} ${verdict}`, async () => {
    const receiver = await grpcReceiver();
    const client = grpcClient(receiver.address);
    assert.equal((await client.call(TRACES, SMALL, headers)).code, expected === undefined ? 3 : 0);
    assert.deepEqual(
      receiver.batches.map((batch) => batch.hops),
      expected === undefined ? [] : [expected],
    );
    client.close();
    await receiver.stop();
  });
}

hops('the answer names the loop', async () => {
  const gateway = await runningOtlp();
  const response = await send(gateway.url, SMALL, { 'x-sluice-hops': '4' });
  assert.match(await response.text(), /4 gateways have forwarded the request.*loop/);
});

hops('SDK span JSON carries them too', async () => {
  const service = testService();
  const receiver = service.build('sdk_spans', { endpoint: '127.0.0.1:0' });
  await receiver.start?.();
  const body = JSON.stringify({ trace_id: 't', spans: [{ span_id: 's', name: 'n', kind: 'tool' }] });
  const response = await fetch(`http://${service.addresses[0]}/v1/traces`, {
    method: 'POST',
    body,
    headers: { 'content-type': 'application/json', 'x-sluice-hops': '2' },
  });
  assert.equal(response.status, 202);
  assert.deepEqual(
    service.batches.map((batch) => batch.hops),
    [2],
  );
  await receiver.shutdown?.(AbortSignal.timeout(5000));
});

hops.run();
