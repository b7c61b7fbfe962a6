import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { connect as connectHttp2, type ClientHttp2Session } from 'node:http2';
import { connect, type Socket } from 'node:net';
import { suite } from 'uvu';
import { ACCEPTED } from '../../src/component.ts';
import { grpcClient, grpcReceiver, TRACES } from './otlp_grpc_server.ts';
import { SPANS } from './otlp_requests.ts';

const Connections = suite('OTLP/gRPC connections');

function socketTo(address: string): Socket {
  const [host, port] = address.split(':');
  return connect(Number(port), host).on('error', () => undefined);
}

/** Resolves when the server has closed the connection. */
async function untilClosed(socket: Socket): Promise<void> {
  socket.resume();
  await once(socket, 'close');
}

const HEADERS = { ':method': 'POST', ':path': TRACES, 'content-type': 'application/grpc' };

/** The status of a call with these bytes on the wire, or how its stream ended without one. */
async function statusOf(session: ClientHttp2Session, wire: Uint8Array, headers: object = {}): Promise<string> {
  const stream = session.request({ ...HEADERS, ...headers });
  let status = 'none';
  const note = (fields: object): void => {
    if ('grpc-status' in fields) status = String(fields['grpc-status']);
    else if (':status' in fields && fields[':status'] !== 200) status = `HTTP ${String(fields[':status'])}`;
  };
  stream
    .on('response', note)
    .on('trailers', note)
    .on('error', () => undefined)
    .resume();
  stream.end(wire);
  await once(stream, 'close');
  return status;
}

/** A message as gRPC frames it. */
const framed = (flag: number, length: number, body: Uint8Array): Buffer => {
  const head = Buffer.alloc(5);
  head.writeUInt8(flag);
  head.writeUInt32BE(length, 1);
  return Buffer.concat([head, body]);
};

Connections('survives everything that is no gRPC', async () => {
  const receiver = await grpcReceiver();
  const garbage = [
    Buffer.from('POST /v1/traces HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n'),
    randomBytes(4096),
    Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'),
    Buffer.concat([Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'), randomBytes(512)]),
    Buffer.of(0x16, 0x03, 0x01, 0x02, 0x00, 0x01),
  ];
  for (const bytes of garbage) {
    const socket = socketTo(receiver.address);
    socket.end(bytes);
    await untilClosed(socket);
  }
  const client = grpcClient(receiver.address);
  assert.equal((await client.call(TRACES, SPANS)).code, 0);
  client.close();
  await receiver.stop();
});

const oddCalls: { name: string; wire: Buffer; headers?: Record<string, string>; status: string }[] = [
  { name: 'no message', wire: Buffer.alloc(0), status: '12' },
  {
    name: 'two messages',
    wire: Buffer.concat([framed(0, 0, SPANS.subarray(0, 0)), framed(0, 0, Buffer.alloc(0))]),
    status: '12',
  },
  { name: 'a message without its end', wire: framed(0, 100, Buffer.alloc(10)), status: '12' },
  { name: 'a length beyond the limit', wire: framed(0, 0xffff_ffff, Buffer.alloc(10)), status: '8' },
  { name: 'random bytes as message', wire: framed(0, 64, Buffer.alloc(64, 0xff)), status: '3' },
  {
    name: 'gzip that is none',
    wire: framed(1, 4, Buffer.from('none')),
    headers: { 'grpc-encoding': 'gzip' },
    status: '13',
  },
  { name: 'zstd', wire: framed(1, 4, Buffer.from('none')), headers: { 'grpc-encoding': 'zstd' }, status: '12' },
  {
    name: 'a method with odd letters',
    wire: framed(0, 0, Buffer.alloc(0)),
    headers: { ':path': '/caf\u00e9/%zz"\\' },
    status: '12',
  },
  {
    name: 'a time-out that is none',
    wire: framed(0, 0, Buffer.alloc(0)),
    headers: { 'grpc-timeout': 'soon' },
    status: '13',
  },
  { name: 'JSON', wire: Buffer.from('{}'), headers: { 'content-type': 'application/json' }, status: 'HTTP 415' },
];

for (const { name, wire, headers, status } of oddCalls) {
  Connections(`answers ${name}, and the next call`, async () => {
    const receiver = await grpcReceiver();
    const session = connectHttp2(`http://${receiver.address}`);
    assert.equal(await statusOf(session, wire, headers), status);
    assert.equal(await statusOf(session, framed(0, SPANS.length, SPANS)), '0');
    session.destroy();
    await receiver.stop();
  });
}

Connections('does not print what it cannot read', async () => {
  const receiver = await grpcReceiver();
  const printed: unknown[] = [];
  const { error } = console;
  console.error = (...words: unknown[]) => printed.push(words);
  try {
    const session = connectHttp2(`http://${receiver.address}`);
    const headers = { authorization: 'Bearer caf\u00e9' };
    assert.equal(await statusOf(session, framed(0, SPANS.length, SPANS), headers), '0');
    session.destroy();
  } finally {
    console.error = error;
  }
  assert.deepEqual(printed, []);
  await receiver.stop();
});

Connections('does not wait for ever for a message', async () => {
  const receiver = await grpcReceiver({ section: { read_timeout: '30ms' } });
  const session = connectHttp2(`http://${receiver.address}`);
  const stream = session.request(HEADERS, { endStream: false });
  stream.write(framed(0, 100, Buffer.alloc(50)));
  const [answer]: Record<string, string>[] = await once(stream, 'response');
  assert.equal(answer?.['grpc-status'], '4');
  session.destroy();
  await receiver.stop();
});

Connections('cuts off who does not answer a ping, and nobody who does', async () => {
  const server_parameters = { time: '20ms', timeout: '500ms' };
  const receiver = await grpcReceiver({ section: { keepalive: { server_parameters } } });
  const session = connectHttp2(`http://${receiver.address}`);
  await untilClosed(socketTo(receiver.address));
  assert.equal(await statusOf(session, framed(0, SPANS.length, SPANS)), '0');
  session.destroy();
  await receiver.stop();
});

Connections('bears any number of pings', async () => {
  const receiver = await grpcReceiver();
  const session = connectHttp2(`http://${receiver.address}`);
  session.on('goaway', () => assert.fail('the server sent GOAWAY'));
  await once(session, 'connect');
  for (let pings = 0; pings < 200; pings++) {
    await new Promise<void>((resolve, reject) => {
      session.ping((error) => (error === null ? resolve() : reject(error)));
    });
  }
  assert.equal(await statusOf(session, framed(0, SPANS.length, SPANS)), '0');
  session.destroy();
  await receiver.stop();
});

Connections('closes connections above its limit', async () => {
  const receiver = await grpcReceiver({ section: { max_connections: 1 } });
  const session = connectHttp2(`http://${receiver.address}`);
  assert.equal(await statusOf(session, framed(0, SPANS.length, SPANS)), '0');
  await untilClosed(socketTo(receiver.address));
  session.destroy();
  await receiver.stop();
});

Connections('finishes its calls when it shuts down, and takes no new ones', async () => {
  const gate = Promise.withResolvers<void>();
  const entered = Promise.withResolvers<void>();
  let calls = 0;
  const receiver = await grpcReceiver({
    consume: async () => {
      if (++calls === 50) entered.resolve();
      await gate.promise;
      return ACCEPTED;
    },
  });
  const client = grpcClient(receiver.address);
  const idle = connectHttp2(`http://${receiver.address}`);
  await once(idle, 'connect');
  const replies = Array.from({ length: 50 }, () => client.call(TRACES, SPANS));
  await entered.promise;
  const stopped = receiver.stop(new AbortController().signal);
  await once(idle, 'close');
  assert.equal((await client.call(TRACES, SPANS)).code, 14);
  gate.resolve();
  assert.deepEqual(
    (await Promise.all(replies)).map(({ code }) => code),
    replies.map(() => 0),
  );
  await stopped;
  client.close();
});

Connections('tells the truth to every caller while it shuts down under load', async () => {
  const busy = Promise.withResolvers<void>();
  const receiver = await grpcReceiver({
    consume: async () => {
      if (receiver.batches.length === 200) busy.resolve();
      return ACCEPTED;
    },
  });
  const codes: number[] = [];
  const callUntilRefused = async (): Promise<void> => {
    const client = grpcClient(receiver.address);
    for (let code = 0; code === 0; codes.push(code)) ({ code } = await client.call(TRACES, SPANS));
    client.close();
  };
  const callers = Array.from({ length: 20 }, callUntilRefused);
  await busy.promise;
  await receiver.stop(new AbortController().signal);
  await Promise.all(callers);
  assert.equal(codes.filter((code) => code === 0).length, receiver.batches.length);
  assert.equal(codes.filter((code) => code === 14).length, callers.length);
});

Connections('cuts off what is not finished at the deadline', async () => {
  const entered = Promise.withResolvers<void>();
  const gate = Promise.withResolvers<void>();
  const receiver = await grpcReceiver({
    consume: async () => {
      entered.resolve();
      await gate.promise;
      return ACCEPTED;
    },
  });
  const client = grpcClient(receiver.address);
  const reply = client.call(TRACES, SPANS);
  await entered.promise;
  const deadline = new AbortController();
  const stopped = receiver.stop(deadline.signal);
  deadline.abort();
  await stopped;
  assert.equal((await reply).code, 14);
  gate.resolve();
  client.close();
});

Connections('counts a call as unfinished until its work is done, even when its client has gone', async () => {
  const gate = Promise.withResolvers<void>();
  let entered = Promise.withResolvers<void>();
  const receiver = await grpcReceiver({
    section: { max_concurrent_requests: 2 },
    consume: async () => {
      entered.resolve();
      await gate.promise;
      return ACCEPTED;
    },
  });
  const client = grpcClient(receiver.address);
  for (let calls = 0; calls < 2; calls++) {
    entered = Promise.withResolvers<void>();
    const cancel = client.begin(TRACES, SPANS);
    await entered.promise;
    cancel();
  }
  assert.equal((await client.call(TRACES, SPANS)).code, 14);
  gate.resolve();
  await gate.promise;
  assert.equal((await client.call(TRACES, SPANS)).code, 0);
  client.close();
  await receiver.stop();
});

Connections.run();
