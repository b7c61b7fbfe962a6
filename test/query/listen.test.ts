import assert from 'node:assert/strict';
import { once } from 'node:events';
import { request } from 'node:http';
import { connect } from 'node:net';
import { Hono } from 'hono';
import { suite } from 'uvu';
import { listen } from '../../src/query/listen.ts';

const listening = suite('query listen');

function answering(): Hono {
  const app = new Hono();
  app.get('/', () => new Response('here'));
  return app;
}

listening('tells the port it was given, and is gone after it closed', async () => {
  const server = await listen(answering(), '127.0.0.1', 0);
  assert.match(server.address, /^127\.0\.0\.1:[1-9]\d*$/);
  assert.equal(await (await fetch(`http://${server.address}/`)).text(), 'here');
  await server.close();
  await assert.rejects(fetch(`http://${server.address}/`));
});

listening('says in one line that its port is taken', async () => {
  const server = await listen(answering(), '127.0.0.1', 0);
  await assert.rejects(listen(answering(), '127.0.0.1', Number(server.address.split(':')[1])), (error: unknown) => {
    assert.ok(error instanceof Error);
    assert.equal(error.message, `cannot listen on ${server.address}: address in use (query.endpoint)`);
    return true;
  });
  await server.close();
});

listening('says in one line that it cannot listen there', async () => {
  await assert.rejects(
    listen(answering(), '192.0.2.1', 0),
    /^Error: cannot listen on 192\.0\.2\.1:0: this machine does not have that address \(query\.endpoint\)$/,
  );
});

listening('lets an answer that is under way end before it closes', async () => {
  const app = new Hono();
  const started = Promise.withResolvers<void>();
  const finish = Promise.withResolvers<Response>();
  app.get('/', () => {
    started.resolve();
    return finish.promise;
  });
  const server = await listen(app, '127.0.0.1', 0);
  const answer = fetch(`http://${server.address}/`);
  await started.promise;
  const closed = server.close();
  finish.resolve(new Response('late'));
  assert.equal(await (await answer).text(), 'late');
  await closed;
});

listening('answers a Host header that is none with a problem', async () => {
  const server = await listen(answering(), '127.0.0.1', 0);
  const call = request({ host: '127.0.0.1', port: server.address.split(':')[1], headers: { host: 'a b' } });
  call.end();
  const [response] = await once(call, 'response');
  assert.equal(response.statusCode, 400);
  assert.equal(response.headers['content-type'], 'application/problem+json');
  response.resume();
  await server.close();
});

listening('survives a reader that leaves in the middle of an answer', async () => {
  const app = answering();
  const cancelled = Promise.withResolvers<void>();
  const piece = new Uint8Array(64 * 1024);
  const endless = new ReadableStream({
    pull: (controller) => controller.enqueue(piece),
    cancel: () => cancelled.resolve(),
  });
  app.get('/endless', () => new Response(endless));
  const server = await listen(app, '127.0.0.1', 0);
  const socket = connect(Number(server.address.split(':')[1]), '127.0.0.1');
  socket.write('GET /endless HTTP/1.1\r\nHost: a\r\n\r\n');
  await once(socket, 'data');
  socket.destroy();
  await cancelled.promise;
  assert.equal(await (await fetch(`http://${server.address}/`)).text(), 'here');
  await server.close();
});

listening.run();
