/** Section 1C: what OTLP over gRPC demands. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import http2 from 'node:http2';
import { Client, credentials, Metadata, type ClientWritableStream } from '@grpc/grpc-js';
import { any, attribute, request } from '../support/otlp_messages.ts';
import { grpcClient } from '../receivers/otlp_grpc_server.ts';
import { MAX_BODY_BYTES, MAX_CONCURRENT } from './conformance_gateway.ts';
import { withToken } from './http_rows.ts';
import { record } from './requests.ts';
import { rowsFor, type Run } from './rows.ts';
import { GRPC, METHODS } from './wires.ts';

const INVALID_ARGUMENT = 3;
const RESOURCE_EXHAUSTED = 8;
const UNIMPLEMENTED = 12;
const UNAVAILABLE = 14;

const BOMB = request([record('traces', { attributes: [['a', any.string(Buffer.alloc(MAX_BODY_BYTES * 2, 'a'))]] })]);

const asItIs = (bytes: Buffer): Buffer => bytes;

/** Calls that were let in and whose messages never end, as many as may be. */
async function whileFull({ gateway, signal }: Run, use: () => Promise<void>): Promise<void> {
  const client = new Client(gateway.grpcAddress, credentials.createInsecure(), { 'grpc.use_local_subchannel_pool': 1 });
  const metadata = new Metadata();
  metadata.set('authorization', `Bearer ${gateway.token}`);
  const begin = (): { call: ClientWritableStream<Buffer>; ended: Promise<number> } => {
    const { promise, resolve } = Promise.withResolvers<number>();
    const call = client.makeClientStreamRequest(METHODS[signal], asItIs, asItIs, metadata, (error) =>
      resolve(error?.code ?? 0),
    );
    return { call, ended: promise };
  };
  const calls = Array.from({ length: MAX_CONCURRENT }, begin);
  try {
    await use();
  } finally {
    for (const { call } of calls) call.end();
    await Promise.all(calls.map(({ ended }) => ended));
    client.close();
  }
}

/** Sends one message by hand; resolves to `grpc-status`. */
async function rawCall({ gateway, signal }: Run, headers: http2.OutgoingHttpHeaders, message: Buffer): Promise<number> {
  const session = http2.connect(`http://${gateway.grpcAddress}`);
  try {
    const stream = session.request({
      ':method': 'POST',
      ':path': METHODS[signal],
      'content-type': 'application/grpc',
      te: 'trailers',
      authorization: `Bearer ${gateway.token}`,
      ...headers,
    });
    const status = new Promise<number>((resolve, reject) => {
      const read = (found: http2.IncomingHttpHeaders): void => {
        if (found['grpc-status'] !== undefined) resolve(Number(found['grpc-status']));
      };
      stream.on('response', read).on('trailers', read).on('error', reject);
    });
    stream.resume().end(message);
    return await status;
  } finally {
    const closed = once(session, 'close');
    session.destroy();
    await closed;
  }
}

/** The prefix of a message: whether it is compressed, and its length. */
function framed(body: Buffer, isCompressed: boolean): Buffer {
  const prefix = Buffer.alloc(5);
  prefix.writeUInt8(Number(isCompressed));
  prefix.writeUInt32BE(body.length, 1);
  return Buffer.concat([prefix, body]);
}

export const GRPC_ROWS = rowsFor(GRPC, [
  {
    id: 'G1',
    says: 'each signal has the unary method Export; profiles have none',
    async check(run) {
      const { code, body } = await run.send(request([record(run.signal)]));
      assert.deepEqual([code, body.length, (await run.rows()).length], [0, 0, 1]);
      const profiles = '/opentelemetry.proto.collector.profiles.v1development.ProfilesService/Export';
      assert.equal((await callMethod(run, profiles)).code, UNIMPLEMENTED);
    },
  },
  {
    id: 'G2',
    says: 'a message that is too large, inflated too, is refused for good',
    async check(run) {
      for (const compression of ['identity', 'gzip', 'deflate'] as const) {
        const { code, details } = await run.sendBytes(BOMB, { compression });
        assert.deepEqual([code, details], [RESOURCE_EXHAUSTED, []], compression);
      }
    },
  },
  {
    id: 'G3',
    says: 'what may be sent again says so with RetryInfo, what may not with BadRequest',
    async check(run) {
      const invalid = await run.sendBytes('<html>');
      assert.deepEqual([invalid.code, invalid.details], [INVALID_ARGUMENT, ['BadRequest']]);
      const away = await run.gateway.whileAway(() => run.send(request([record(run.signal)])));
      assert.deepEqual([away.code, away.details], [UNAVAILABLE, ['RetryInfo']]);
      assert.equal((await run.send(request([record(run.signal)]))).code, 0);
    },
  },
  {
    id: 'G4',
    says: 'overload is UNAVAILABLE with RetryInfo; a quota is RESOURCE_EXHAUSTED with it',
    async check(run) {
      await whileFull(run, async () => {
        const reply = await firstRefusal(run);
        assert.deepEqual([reply.code, reply.details], [UNAVAILABLE, ['RetryInfo']]);
      });
      assert.equal((await run.send(request([record(run.signal)]))).code, 0);
      const over = await run.send(
        request([record(run.signal)], { resource: attribute(1, 'verdict', any.string('quota')) }),
      );
      assert.deepEqual([over.code, over.details], [RESOURCE_EXHAUSTED, ['RetryInfo']]);
    },
  },
  {
    id: 'G5',
    says: 'no token, the wrong scope and an unknown method have codes of their own',
    async check(run) {
      const body = request([record(run.signal)]);
      assert.equal((await run.send(body, { headers: { authorization: '' } })).code, 16);
      const { token } = await run.gateway.issueToken({ scopes: ['scans:read'] });
      assert.equal((await run.send(body, withToken(token))).code, 7);
      assert.equal((await callMethod(run, '/opentelemetry.Unknown/Export')).code, UNIMPLEMENTED);
      assert.equal((await callMethod(run, METHODS[run.signal].replace('Export', 'Import'))).code, UNIMPLEMENTED);
      assert.deepEqual(await run.rows(), []);
    },
  },
  {
    id: 'G6',
    says: 'identity, gzip and deflate are read, zstd is not; metadata may have any case',
    async check(run) {
      const body = request([record(run.signal)]);
      for (const compression of ['identity', 'gzip', 'deflate'] as const) {
        const { code, body: answer } = await run.send(body, { compression });
        assert.deepEqual([code, answer.length], [0, 0], compression);
      }
      assert.equal((await run.send(body, { headers: { Authorization: `Bearer ${run.gateway.token}` } })).code, 0);
      assert.equal(await rawCall(run, {}, framed(body, false)), 0);
      assert.equal(await rawCall(run, { 'grpc-encoding': 'zstd' }, framed(body, true)), UNIMPLEMENTED);
    },
  },
  {
    id: 'G7',
    says: 'a failure has its Status in grpc-status-details-bin',
    async check(run) {
      const { code, status } = await callMethod(run, METHODS[run.signal], Buffer.from('<html>'));
      assert.deepEqual([code, status?.code], [INVALID_ARGUMENT, INVALID_ARGUMENT]);
      assert.match(status?.message ?? '', /not a valid OTLP/);
    },
  },
]);

async function callMethod({ gateway }: Run, method: string, body: Uint8Array = Buffer.alloc(0)) {
  const client = grpcClient(gateway.grpcAddress);
  try {
    return await client.call(method, body, { authorization: `Bearer ${gateway.token}` });
  } finally {
    client.close();
  }
}

/** The held calls are on a connection of their own, so it is not known when the last of them was let in. */
async function firstRefusal(run: Run) {
  for (;;) {
    const reply = await run.send(request([record(run.signal)]));
    if (reply.code !== 0) return reply;
  }
}
