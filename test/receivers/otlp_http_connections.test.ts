import assert from 'node:assert/strict';
import { once } from 'node:events';
import { Agent, request as httpRequest, type IncomingMessage } from 'node:http';
import { connect, createServer, type Socket } from 'node:net';
import { text } from 'node:stream/consumers';
import { suite } from 'uvu';
import { startGateway } from '../../src/cli/gateway.ts';
import { countRows, GATEWAY_YAML, post, testGateway, withConfigFile, type TestGateway } from '../support/gateway.ts';
import { testDatabase } from '../support/postgres.ts';
import { tcpProxy } from '../support/tcp_proxy.ts';
import { LOGS, PROTOBUF, receiverUnderTest, SPANS, SPANS_JSON } from './otlp_requests.ts';
import { readStatus } from './rpc_status.ts';

const receiver = receiverUnderTest();
const transport = receiver.suite('otlp http connections');

interface Sent {
  readonly status: number;
  readonly body: string;
  readonly localPort: number;
}

/** Through Node's client, which can hold a body back and keep a connection. */
function send(
  url: string,
  body: readonly Uint8Array[],
  { agent, headers = {} }: { agent?: Agent; headers?: Record<string, string> } = {},
): Promise<Sent> {
  return new Promise((resolve, reject) => {
    const sent = httpRequest(url, {
      method: 'POST',
      headers: { 'content-type': PROTOBUF, ...headers },
      ...(agent !== undefined && { agent }),
    });
    sent.on('error', reject);
    sent.on('response', (response: IncomingMessage) => {
      const { localPort = 0 } = response.socket;
      text(response).then((answer) => resolve({ status: response.statusCode ?? 0, body: answer, localPort }), reject);
    });
    for (const part of body) sent.write(part);
    sent.end();
  });
}

/** Opens a connection, writes bytes and leaves it open. */
async function open(...parts: readonly (string | Uint8Array)[]): Promise<Socket> {
  const socket = connect(receiver.gateway().port, '127.0.0.1');
  await once(socket, 'connect');
  for (const part of parts) socket.write(part);
  return socket;
}

/** What arrives on the socket until it matches. */
async function received(socket: Socket, pattern: RegExp): Promise<string> {
  let got = '';
  for await (const chunk of socket.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
    got += chunk.toString('latin1');
    if (pattern.test(got)) return got;
  }
  throw new Error(`the connection was closed after ${JSON.stringify(got)}`);
}

const head = (...lines: readonly string[]): string =>
  ['POST /v1/traces HTTP/1.1', 'Host: gateway', `Content-Type: ${PROTOBUF}`, ...lines, '', ''].join('\r\n');

transport('a chunked body, however it is cut', async () => {
  const parts = [...SPANS].map((byte) => Uint8Array.of(byte));
  assert.equal((await send(receiver.traces(), parts)).status, 200);
  assert.equal(await receiver.spanCount(), 1);
});

transport('two requests on one connection, also after a refusal', async () => {
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  const sent = [
    await send(receiver.traces(), [SPANS], { agent }),
    await send(`${receiver.gateway().url}/nowhere`, [SPANS], { agent }),
    await send(receiver.traces(), [SPANS], { agent }),
    await send(receiver.traces(), [SPANS], { agent, headers: { 'content-encoding': 'br' } }),
    await send(receiver.traces(), [SPANS], { agent }),
  ];
  agent.destroy();
  assert.deepEqual(
    sent.map(({ status }) => status),
    [200, 404, 200, 415, 200],
  );
  assert.equal(new Set(sent.map(({ localPort }) => localPort)).size, 1);
});

transport('requests written one behind the other are answered in order', async () => {
  const lines = `Content-Length: ${SPANS.length}`;
  const socket = await open(head(lines), SPANS, head(lines).replace('traces', 'nowhere'), SPANS, head(lines), SPANS);
  const got = await received(socket, /(?:HTTP\/1\.1[\s\S]*){3}\r\n\r\n$/);
  assert.deepEqual(got.match(/HTTP\/1\.1 \d+/g), ['HTTP/1.1 200', 'HTTP/1.1 404', 'HTTP/1.1 200']);
  socket.destroy();
});

transport('a client that waits for 100 Continue is told to go on', async () => {
  const socket = await open(head('Expect: 100-continue', `Content-Length: ${SPANS.length}`));
  await received(socket, /^HTTP\/1\.1 100 Continue\r\n\r\n$/);
  socket.write(SPANS);
  assert.match(await received(socket, /\r\n\r\n$/), /^HTTP\/1\.1 200 OK\r\n/);
  socket.destroy();
  assert.equal(await receiver.spanCount(), 1);
});

transport('413 as soon as too much is announced', async () => {
  const socket = await open(head('Content-Length: 10000000000'));
  assert.match(await received(socket, /smaller batches/), /^HTTP\/1\.1 413 /);
  socket.destroy();
});

transport('413 as soon as too much has come, however much follows', async () => {
  const socket = await open(head('Transfer-Encoding: chunked'));
  socket.on('error', () => {});
  const chunk = `4000\r\n${'x'.repeat(0x4000)}\r\n`;
  const writing = new AbortController();
  const write = (): void => {
    if (!writing.signal.aborted) socket.write(chunk, () => setImmediate(write));
  };
  write();
  assert.match(await received(socket, /smaller batches/), /^HTTP\/1\.1 413 /);
  // It goes on sending, so it is cut off in the end, by a reset as like as not.
  await new Promise((resolve) => socket.once('close', resolve));
  writing.abort();
});

transport('a whole body that is too large arrives at the answer, not at a broken connection', async () => {
  const body = Buffer.alloc(20_000_000);
  for (let attempt = 0; attempt < 5; attempt++) {
    assert.equal((await send(receiver.traces(), [body])).status, 413);
    assert.equal(
      (await send(receiver.traces(), [body], { headers: { 'content-length': String(body.length) } })).status,
      413,
    );
  }
});

transport('a client that goes away in the middle leaves nothing behind', async () => {
  const socket = await open(head(`Content-Length: ${SPANS.length}`), SPANS.subarray(0, -1));
  socket.end();
  await once(socket.resume(), 'close');
  const reset = await open(head('Transfer-Encoding: chunked'), '5\r\nab');
  reset.resetAndDestroy();
  assert.equal((await post(receiver.traces(), SPANS)).status, 200);
  assert.equal(await receiver.spanCount(), 1);
});

transport('a client that does not speak HTTP is told so', async () => {
  const socket = await open('\x16\x03\x01 this is TLS\r\n\r\n');
  assert.match(await received(socket, /\r\n\r\n/), /^HTTP\/1\.1 400 Bad Request/);
});

transport.run();

const life = suite('otlp http life');

life('a signal that no pipeline takes is 404', async () => {
  const config = GATEWAY_YAML.replaceAll(/^ +(?:logs|metrics): \{ receivers.*\n/gm, '');
  const own = await testGateway({ config });
  try {
    const answer = await post(`${own.url}/v1/logs`, LOGS);
    assert.equal(answer.status, 404);
    assert.match(readStatus(answer.body, PROTOBUF).message, /no pipeline takes logs/);
    assert.equal((await post(`${own.url}/v1/traces`, SPANS)).status, 200);
  } finally {
    await own.close();
  }
});

life('503 with Retry-After while the database is away, and success when it is back', async () => {
  const database = await testDatabase();
  const way = await tcpProxy(database.url);
  const own = await testGateway({ sets: [`exporters.postgres.database_url=${way.url}`] });
  try {
    assert.equal((await post(`${own.url}/v1/traces`, SPANS)).status, 200);
    way.cut();
    for (const body of [SPANS, SPANS_JSON]) {
      const answer = await post(`${own.url}/v1/traces`, body);
      assert.equal(answer.status, 503);
      assert.match(answer.headers.get('retry-after') ?? '', /^[123]$/);
      assert.equal(readStatus(answer.body, answer.headers.get('content-type')).code, 14);
    }
    way.mend();
    assert.equal((await post(`${own.url}/v1/traces`, SPANS)).status, 200);
    assert.equal(await countRows(database.pool, 'otel_spans'), 2);
  } finally {
    await own.close();
    await way.close();
    await database.close();
  }
});

life('a taken port is one line that names the setting', async () => {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  assert.ok(typeof address === 'object' && address !== null);
  const endpoint = `127.0.0.1:${address.port}`;
  const env = { SLUICE_OTLP_HTTP_ENDPOINT: endpoint, DATABASE_URL: 'postgres://127.0.0.1:1/none' };
  await withConfigFile(GATEWAY_YAML, async (file) => {
    await assert.rejects(startGateway({ files: [file], sets: [], env }), {
      message: `receiver otlp: cannot listen on ${endpoint}: address in use (receivers.otlp.protocols.http.endpoint)`,
    });
  });
  server.close();
});

life('a shutdown waits for the answer under way, takes no more and does not wait for idle connections', async () => {
  const gateway = await testGateway();
  const url = `${gateway.url}/v1/traces`;
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  const idle = new Agent({ keepAlive: true });
  try {
    await send(url, [SPANS], { agent: idle });
    const lock = await gateway.pool.connect();
    await lock.query('BEGIN; LOCK TABLE otel_spans IN ACCESS EXCLUSIVE MODE');
    const answer = send(url, [SPANS], { agent });
    await waitingForLock(gateway.pool);
    let isStopped = false;
    const stopping = gateway.stop().then(() => (isStopped = true));
    await assert.rejects(send(url, [SPANS], { agent: new Agent() }), { code: 'ECONNREFUSED' });
    assert.equal(isStopped, false);
    await lock.query('COMMIT');
    lock.release();
    const startedAtMs = performance.now();
    assert.equal((await answer).status, 200);
    await stopping;
    assert.ok(performance.now() - startedAtMs < 3000, 'waited for a kept connection');
    assert.equal(await countRows(gateway.pool, 'otel_spans'), 2);
  } finally {
    agent.destroy();
    idle.destroy();
    await gateway.close();
  }
});

async function waitingForLock(pool: TestGateway['pool']): Promise<void> {
  for (let attempt = 0; attempt < 10_000; attempt++) {
    const { rowCount } = await pool.query(
      "SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'",
    );
    if (rowCount !== 0) return;
  }
  throw new Error('nothing waits for a lock');
}

life.run();
