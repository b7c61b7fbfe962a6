import assert from 'node:assert/strict';
import { connect, type ClientHttp2Session, type ClientHttp2Stream } from 'node:http2';
import { setImmediate } from 'node:timers/promises';
import { gzipSync } from 'node:zlib';
import { suite } from 'uvu';
import { createMemoryLimiter, memoryLimiter, type MemoryLimiter } from '../../src/extensions/memory_limiter.ts';
import { any, attribute, request, spanIds } from '../support/otlp_messages.ts';
import { testSettings } from '../support/settings.ts';
import { grpcClient, grpcReceiver, TRACES, type GrpcReceiver } from './otlp_grpc_server.ts';

const CALLS = 10;
const BODY = request([Buffer.concat([spanIds(1), attribute(9, 'text', any.string('x'.repeat(1_000_000)))])]);
/** Room for three calls, and not for a fourth. */
const LIMIT_BYTES = 3_500_000;
const UNAVAILABLE = '14';

const Memory = suite('memory of OTLP/gRPC messages');

interface Fixture {
  readonly limiter: MemoryLimiter;
  readonly receiver: GrpcReceiver;
  readonly session: ClientHttp2Session;
  stop(): Promise<void>;
}

async function fixture(section: Readonly<Record<string, unknown>> = {}): Promise<Fixture> {
  const config = memoryLimiter.config.parse({ max_request_bytes_in_flight: LIMIT_BYTES });
  const limiter = createMemoryLimiter(config, testSettings('memory_limiter'));
  const receiver = await grpcReceiver({ section, settings: { admission: limiter } });
  const session = connect(`http://${receiver.address}`);
  return {
    limiter,
    receiver,
    session,
    async stop() {
      session.destroy();
      await receiver.stop();
    },
  };
}

const framed = (body: Uint8Array, isCompressed = 0): Buffer => {
  const head = Buffer.of(isCompressed, 0, 0, 0, 0);
  head.writeUInt32BE(body.length, 1);
  return Buffer.concat([head, body]);
};

interface Call {
  readonly stream: ClientHttp2Stream;
  /** Of google.rpc.Code, or `none`. */
  readonly status: Promise<string>;
  hasEnded: boolean;
}

/** Sends all of a message but its last byte. */
function beginCall(session: ClientHttp2Session): Call {
  const stream = session.request({ ':method': 'POST', ':path': TRACES, 'content-type': 'application/grpc' });
  const { promise, resolve } = Promise.withResolvers<string>();
  const call = { stream, status: promise, hasEnded: false };
  let status = 'none';
  const note = (fields: object): void => {
    if ('grpc-status' in fields) status = String(fields['grpc-status']);
  };
  stream.on('response', note).on('trailers', note).resume();
  stream.on('error', () => undefined);
  stream.on('close', () => {
    call.hasEnded = true;
    resolve(status);
  });
  stream.write(framed(BODY).subarray(0, -1));
  return call;
}

/** Resolves once all that can come of unfinished calls has come; returns the most that was held meanwhile. */
async function untilFull({ limiter }: Fixture, calls: readonly Call[]): Promise<number> {
  let most = 0;
  const held = () => calls.filter(({ hasEnded }) => !hasEnded).length * (BODY.length - 1);
  do {
    await setImmediate();
    most = Math.max(most, limiter.requestBytes);
  } while (limiter.requestBytes !== held());
  return most;
}

async function untilFree({ limiter }: Fixture): Promise<void> {
  while (limiter.requestBytes > 0) await setImmediate();
}

Memory(
  'unfinished calls stay within the bound together: some are refused, the others are taken once finished',
  async () => {
    const world = await fixture();
    const calls = Array.from({ length: CALLS }, () => beginCall(world.session));
    const most = await untilFull(world, calls);
    assert.ok(most <= LIMIT_BYTES, `${most} bytes were held`);
    const [refused, others] = [true, false].map((ended) => calls.filter(({ hasEnded }) => hasEnded === ended));
    assert.ok(refused && refused.length >= CALLS - 3 && others && others.length > 0);
    for (const { stream } of others) stream.end(BODY.subarray(-1));
    assert.deepEqual(new Set(await Promise.all(refused.map(({ status }) => status))), new Set([UNAVAILABLE]));
    assert.deepEqual(new Set(await Promise.all(others.map(({ status }) => status))), new Set(['0']));
    assert.equal(world.receiver.batches.length, others.length);
    await untilFree(world);
    await world.stop();
  },
);

Memory('clients that cancel, and those that vanish, let go what came of their messages', async () => {
  const world = await fixture();
  const calls = [beginCall(world.session), beginCall(world.session)];
  await untilFull(world, calls);
  for (const { stream } of calls) stream.close();
  await untilFree(world);
  await untilFull(world, [beginCall(world.session)]);
  world.session.destroy();
  await untilFree(world);
  await world.stop();
});

Memory('a client that goes on after its refusal is cut off, so that nothing of its message stays', async () => {
  const world = await fixture({ read_timeout: '200ms' });
  const call = beginCall(world.session);
  assert.equal(await call.status, '4');
  await untilFree(world);
  await world.stop();
});

Memory('a client is told when to come again', async () => {
  const world = await fixture();
  const other = world.limiter.admit();
  other.grow(LIMIT_BYTES - 1);
  const client = grpcClient(world.receiver.address);
  const { code, status } = await client.call(TRACES, BODY);
  assert.equal(code, Number(UNAVAILABLE));
  assert.deepEqual(status?.details, [{ type: 'RetryInfo', retryDelay: { seconds: 1, nanos: 0 } }]);
  other.release();
  assert.equal((await client.call(TRACES, BODY)).code, 0);
  client.close();
  await world.stop();
});

Memory('what a message becomes when it is decompressed counts too', async () => {
  const world = await fixture();
  const other = world.limiter.admit();
  other.grow(LIMIT_BYTES - 100_000);
  const headers = { ':method': 'POST', ':path': TRACES, 'content-type': 'application/grpc', 'grpc-encoding': 'gzip' };
  const stream = world.session.request(headers);
  const answer = Promise.withResolvers<unknown>();
  stream.on('response', (fields) => answer.resolve(fields['grpc-status'])).resume();
  stream.end(framed(gzipSync(BODY), 1));
  assert.equal(await answer.promise, UNAVAILABLE);
  assert.equal(world.limiter.requestBytes, LIMIT_BYTES - 100_000);
  other.release();
  await world.stop();
});

Memory.run();
