import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { suite } from 'uvu';
import { endpoint, parseEndpoint, type Endpoint } from '../../src/config/endpoint.ts';

const test = suite('endpoint');

const READ: [text: string, parsed: Endpoint][] = [
  ['127.0.0.1:4318', { host: '127.0.0.1', port: 4318 }],
  ['localhost:0', { host: 'localhost', port: 0 }],
  ['my-host.example.org:65535', { host: 'my-host.example.org', port: 65_535 }],
  ['[::1]:4318', { host: '::1', port: 4318 }],
  ['[::]:4318', { host: '::', port: 4318 }],
  [':4318', { host: '', port: 4318 }],
];
for (const [text, parsed] of READ) {
  test(`reads ${text}`, () => assert.deepEqual(endpoint().parse(text), parsed));
}

const REFUSED = [
  '',
  ':',
  '4318',
  'localhost',
  'localhost:',
  'localhost:65536',
  'localhost:-1',
  'localhost:http',
  '::1:4318',
  '[nonsense]:4318',
  'http://localhost:4318',
  'local host:4318',
  'localhost:4318/v1',
];
for (const text of REFUSED) {
  test(`refuses ${JSON.stringify(text)}`, () => assert.equal(parseEndpoint(text), undefined));
}

test('an empty host listens on all interfaces', async () => {
  const server = createServer();
  server.listen({ ...endpoint().parse(':0') });
  await once(server, 'listening');
  const address = server.address();
  server.close();
  assert.ok(typeof address === 'object' && address !== null && ['::', '0.0.0.0'].includes(address.address));
});

test.run();
