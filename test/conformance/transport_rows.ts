/** Section 6, transport: faults of servers and clients that were seen in the wild. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import http from 'node:http';
import http2 from 'node:http2';
import { deflateRawSync, deflateSync, gzipSync, zstdCompressSync } from 'node:zlib';
import { grpcClient } from '../receivers/otlp_grpc_server.ts';
import { LOG_THAT_LOOKS_LIKE_A_SPAN } from '../otlp/golden_vectors.ts';
import { any, request } from '../support/otlp_messages.ts';
import { conformanceGateway, MAX_BODY_BYTES, ORIGIN } from './conformance_gateway.ts';
import { answerOf, httpRequest, type HttpReply } from './http_client.ts';
import { assertPreflight, call, ownHeaders, typeOf, valid } from './http_rows.ts';
import { record, untimed } from './requests.ts';
import { rowsFor, type Row, type Run } from './rows.ts';
import { assertTaken, jsonRecord, jsonRequest } from './stored.ts';
import { encoded, fromHttp, HTTP, METHODS, send, WIRES } from './wires.ts';

async function statusWith(run: Run, contentEncoding: string, body: Uint8Array): Promise<number> {
  return (await call(run, { body, headers: { 'content-encoding': contentEncoding } })).status;
}

const message = ({ signal }: Run, reply: HttpReply): string => fromHttp(signal, reply).message;

/** What `Expect: 100-continue` leads to: whether the client was told to go on, and the answer. */
async function expecting(run: Run, body: Uint8Array, announced: number) {
  const headers = { ...ownHeaders(run), 'content-length': announced, expect: '100-continue' };
  const sent = http.request(`${run.gateway.url}/v1/${run.signal}`, { method: 'POST', headers, agent: false });
  let wasTold = false;
  sent.once('continue', () => {
    wasTold = true;
    sent.end(body);
  });
  const answered = answerOf(sent);
  sent.flushHeaders();
  const { status } = await answered;
  sent.destroy();
  return { wasTold, status };
}

/** A session on which a client asks many times whether the server lives, and then calls. */
async function callAfterPings({ gateway, signal }: Run, pings: number): Promise<{ status: number; wentAway: boolean }> {
  const session = http2.connect(`http://${gateway.grpcAddress}`);
  let wentAway = false;
  session.once('goaway', () => {
    wentAway = true;
  });
  try {
    await once(session, 'connect');
    for (let ping = 0; ping < pings; ping++) {
      await new Promise<void>((resolve, reject) => {
        session.ping((error) => (error === null ? resolve() : reject(error)));
      });
    }
    const headers = { ':method': 'POST', ':path': METHODS[signal], 'content-type': 'application/grpc', te: 'trailers' };
    const stream = session.request({ ...headers, authorization: `Bearer ${gateway.token}` });
    stream.resume().end(Buffer.alloc(5));
    const [trailers]: http2.IncomingHttpHeaders[] = await once(stream, 'trailers');
    return { status: Number(trailers?.['grpc-status']), wentAway };
  } finally {
    session.destroy();
  }
}

/** Larger than what gRPC servers take by default, of random bytes. */
const LARGE_BYTES = 5 * 1_048_576;

/** Stored each time it comes. */
const repeatable = ({ wire, signal }: Run): Buffer => encoded(wire, signal, request([untimed(signal)]));

export const TRANSPORT_ROWS: readonly Row[] = [
  {
    id: 'T-1',
    says: 'what is compressed is inflated before it is read',
    async check(run) {
      assertTaken(await run.send(request([record(run.signal)]), { compression: 'gzip' }));
      assert.equal((await run.rows()).length, 1);
    },
  },
  ...rowsFor(HTTP, [
    {
      id: 'T-2',
      says: 'gzip may have several members and names; what is cut off, or followed by more, is refused',
      async check(run) {
        const body = repeatable(run);
        const halves = [gzipSync(body.subarray(0, 9)), gzipSync(body.subarray(9))];
        assert.equal(await statusWith(run, 'gzip', Buffer.concat(halves)), 200);
        for (const name of ['x-gzip', 'GZIP', ' gzip'])
          assert.equal(await statusWith(run, name, gzipSync(body)), 200, name);
        for (const name of ['identity', '']) assert.equal(await statusWith(run, name, body), 200, name);
        assert.equal(await statusWith(run, 'gzip, gzip', gzipSync(gzipSync(body))), 415);
        assert.equal(await statusWith(run, 'gzip', gzipSync(body).subarray(0, -1)), 400);
        assert.equal(
          await statusWith(run, 'gzip', Buffer.concat([gzipSync(body), Buffer.from('trailing garbage')])),
          400,
        );
        assert.equal(await statusWith(run, 'deflate', Buffer.concat([deflateSync(body), Buffer.from('more')])), 400);
        assert.equal((await run.rows()).length, 6);
      },
    },
    {
      id: 'T-4',
      says: 'deflate is read with and without its header, and zstd is read',
      async check(run) {
        const body = repeatable(run);
        assert.equal(await statusWith(run, 'deflate', deflateSync(body)), 200);
        assert.equal(await statusWith(run, 'deflate', deflateRawSync(body)), 200);
        assert.equal(await statusWith(run, 'zstd', zstdCompressSync(body)), 200);
        assert.equal((await run.rows()).length, 3);
      },
    },
    {
      id: 'T-5',
      says: 'a body may come in chunks, without a length, and is limited all the same',
      async check(run) {
        const body = repeatable(run);
        assert.equal((await call(run, { body, chunkBytes: 7 })).status, 200);
        const zipped = { body: gzipSync(body), chunkBytes: 7, headers: { 'content-encoding': 'gzip' } };
        assert.equal((await call(run, zipped)).status, 200);
        const large = { body: Buffer.alloc(MAX_BODY_BYTES + 1, ' '), chunkBytes: 65_536 };
        assert.equal((await call(run, large)).status, 413);
        assert.equal((await run.rows()).length, 2);
      },
    },
    {
      id: 'T-6',
      says: 'types have parameters, any case and an alias; others are refused',
      async check(run) {
        const type = typeOf(run);
        const aliases = run.wire === 'http/protobuf' ? ['application/protobuf'] : [];
        for (const spelt of [`${type}; charset=utf-8`, type.toUpperCase(), ...aliases]) {
          const reply = await call(run, { headers: { 'content-type': spelt } });
          assert.deepEqual([reply.status, reply.headers['content-type']], [200, type], spelt);
        }
        assert.equal((await call(run, { headers: { 'content-type': 'text/plain;charset=UTF-8' } })).status, 415);
      },
    },
    {
      id: 'T-7',
      says: 'no answer is in another encoding than its request',
      async check(run) {
        const { headers, body } = await call(run);
        assert.deepEqual(
          [headers['content-type'], body.toString()],
          [typeOf(run), run.wire === 'http/json' ? '{}' : ''],
        );
        const refused = await call(run, { headers: { authorization: '' } });
        assert.equal(refused.headers['content-type'], typeOf(run));
        assert.equal(fromHttp(run.signal, refused).code, 16);
      },
    },
    {
      id: 'T-8',
      says: 'a slash at the end does no harm; the usual mistakes with paths are told',
      async check(run) {
        const path = `/v1/${run.signal}`;
        assert.equal((await call(run, { path: `${path}/` })).status, 200);
        for (const wrong of [`/v1${path}`, `${path}${path}`, `/${path}`, '/', path.toUpperCase(), '/api/v2/spans']) {
          const reply = await call(run, { path: wrong });
          assert.equal(reply.status, 404, wrong);
          assert.match(message(run, reply), /OTLP is received at \/v1\//, wrong);
        }
        assert.match(message(run, await call(run, { path: `/v1${path}` })), /leave it out/);
        assert.match(message(run, await call(run, { path: '/' })), /OTEL_EXPORTER_OTLP_ENDPOINT/);
        assert.equal((await run.rows()).length, 1);
      },
    },
    {
      id: 'T-10',
      says: 'a page asks beforehand, and may read the answer to what it then posts',
      async check(run) {
        await assertPreflight(run);
        const { status, headers } = await call(run, { headers: { origin: ORIGIN } });
        assert.deepEqual([status, headers['access-control-allow-origin']], [200, ORIGIN]);
      },
    },
    {
      id: 'T-16',
      says: 'who asks whether to go on is told so, or why not',
      async check(run) {
        const body = valid(run);
        assert.deepEqual(await expecting(run, body, body.length), { wasTold: true, status: 200 });
        assert.deepEqual(await expecting(run, body, MAX_BODY_BYTES + 1), { wasTold: false, status: 413 });
        assert.equal((await run.rows()).length, 1);
      },
    },
  ]),
  {
    id: 'T-3',
    says: 'what inflates beyond the limit is refused, and never made',
    async check(run) {
      const bomb = Buffer.alloc(MAX_BODY_BYTES * 32);
      const { code, status, details } = await run.sendBytes(bomb, { compression: 'gzip' });
      assert.deepEqual([code, status ?? 413, details], [8, 413, []]);
    },
  },
  {
    id: 'T-9',
    says: 'what is sent to the path of another signal is left out with a hint',
    signals: ['traces'],
    async check(run) {
      if (run.wire === 'http/json') {
        const { code, partial } = await run.sendBytes(jsonRequest('logs', jsonRecord('logs')));
        assert.deepEqual([code, partial.isSet, partial.rejected], [0, true, 0]);
        assert.match(partial.message, /"resourceLogs" left out: logs have a path of their own/);
      } else {
        const { partial } = await run.sendBytes(LOG_THAT_LOOKS_LIKE_A_SPAN);
        assert.equal(partial.rejected, 1);
        assert.match(partial.message, /are these logs or metrics, sent to the path of traces\?/);
      }
      assert.deepEqual(await run.rows(), []);
    },
  },
  {
    id: 'T-11',
    says: 'a client at the other transport’s port fails at once and does no harm',
    wires: ['grpc', 'http/protobuf'],
    async check(run) {
      const { url, grpcAddress } = run.gateway;
      if (run.wire === 'grpc') {
        const client = grpcClient(url.slice('http://'.length));
        const { code } = await client.call(METHODS[run.signal], request([record(run.signal)]));
        client.close();
        assert.notEqual(code, 0);
      } else {
        await assert.rejects(httpRequest(`http://${grpcAddress}/v1/${run.signal}`, { body: valid(run) }));
      }
      assertTaken(await run.send(request([record(run.signal)])));
    },
  },
  {
    id: 'T-12',
    says: 'by default messages of more than 4 MiB are taken',
    wires: ['grpc'],
    signals: ['logs'],
    async check({ signal }) {
      const gateway = await conformanceGateway({ sets: [] });
      try {
        const text = Buffer.alloc(LARGE_BYTES, 'large ');
        const body = request([record(signal, { attributes: [['text', any.string(text)]] })]);
        for (const wire of WIRES) {
          const headers = { authorization: `Bearer ${gateway.token}` };
          assertTaken(await send(gateway, wire, signal, encoded(wire, signal, body), { headers }));
        }
      } finally {
        await gateway.close();
      }
    },
  },
  {
    id: 'T-13',
    says: 'clients may ping as often as they like',
    wires: ['grpc'],
    async check(run) {
      assert.deepEqual(await callAfterPings(run, 50), { status: 0, wentAway: false });
    },
  },
  {
    id: 'T-14',
    says: 'what is malformed is final, what is for now is not',
    async check(run) {
      const malformed = await run.sendBytes(run.wire === 'http/json' ? '{' : '<html>');
      assert.deepEqual([malformed.code, malformed.status ?? 400], [3, 400]);
      const away = await run.gateway.whileAway(() => run.send(request([record(run.signal)])));
      assert.deepEqual([away.code, away.status ?? 503, away.details], [14, 503, ['RetryInfo']]);
    },
  },
  {
    id: 'T-15',
    says: 'a request that is sent again is a success again and stored once, and what was refused was not stored',
    async check(run) {
      const body = request([record(run.signal)]);
      assert.equal((await run.gateway.whileAway(() => run.send(body))).code, 14);
      assertTaken(await run.send(body));
      assertTaken(await run.send(body));
      assert.equal((await run.rows()).length, 1);
    },
  },
];
