import assert from 'node:assert/strict';
import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { connect, createServer, type ConnectionOptions, type PeerCertificate, type Server } from 'node:tls';
import { suite } from 'uvu';
import type { Logger } from '../../src/component.ts';
import { tlsServer } from '../../src/config/tls.ts';
import { certificatesFor, loadTls, tlsServerOptions, type Certificates } from '../../src/receivers/tls.ts';
import { certificateAuthority, testFiles, type TestFiles } from '../support/certificates.ts';
import { SILENT } from '../support/settings.ts';

const Tls = suite('certificates of listeners');
const authority = certificateAuthority('Sluice test authority');
const server = authority.issue('first', ['127.0.0.1', 'localhost']);
let files: TestFiles;
let pair: { cert_file: string; key_file: string };

Tls.before.each(async () => {
  files = await testFiles();
  pair = { cert_file: await files.write('cert.pem', server.cert), key_file: await files.write('key.pem', server.key) };
});
Tls.after.each(() => files.remove());

const DAY_MS = 86_400_000;
const encrypted = (): string =>
  generateKeyPairSync('ec', { namedCurve: 'P-256' })
    .privateKey.export({
      type: 'pkcs8',
      format: 'pem',
      cipher: 'aes-256-cbc',
      passphrase: randomBytes(8).toString('hex'),
    })
    .toString();

const faults: { name: string; spoil: () => Promise<object> | object; says: RegExp }[] = [
  {
    name: 'a missing certificate',
    spoil: () => ({ cert_file: '/nowhere/a.pem' }),
    says: /^s\.tls\.cert_file: cannot read \/nowhere\/a\.pem: there is no such file$/,
  },
  {
    name: 'a directory',
    spoil: () => ({ key_file: '/' }),
    says: /^s\.tls\.key_file: cannot read \/: it is a directory$/,
  },
  {
    name: 'a file without end',
    spoil: async () => ({ key_file: await files.write('big', 'x'.repeat(1_048_577)) }),
    says: /^s\.tls\.key_file: cannot read .*more than 1048576 bytes$/,
  },
  {
    name: 'a certificate that is none',
    spoil: async () => ({ cert_file: await files.write('cert.pem', 'x') }),
    says: /^s\.tls\.cert_file: this is no certificate in PEM form$/,
  },
  {
    name: 'a key that is none',
    spoil: async () => ({ key_file: await files.write('key.pem', server.cert) }),
    says: /^s\.tls\.key_file: this is no private key in PEM form$/,
  },
  {
    name: 'an encrypted key',
    spoil: async () => ({ key_file: await files.write('key.pem', encrypted()) }),
    says: /^s\.tls\.key_file: the key is encrypted/,
  },
  {
    name: 'the key of another certificate',
    spoil: async () => ({ key_file: await files.write('key.pem', authority.issue('b').key) }),
    says: /^s\.tls\.key_file: the key is not that of the certificate$/,
  },
  {
    name: 'a missing client authority',
    spoil: () => ({ client_ca_file: '/nowhere/ca.pem' }),
    says: /^s\.tls\.client_ca_file: cannot read/,
  },
  {
    name: 'a client authority that is none',
    spoil: async () => ({ client_ca_file: await files.write('ca.pem', server.key) }),
    says: /^s\.tls\.client_ca_file: this is no certificate/,
  },
];

for (const { name, spoil, says } of faults) {
  Tls(`names ${name}`, async () => {
    const tls = tlsServer().parse({ ...pair, ...(await spoil()) });
    await assert.rejects(loadTls(tls, 's.tls'), (error: Error) => says.test(error.message));
  });
}

Tls('takes certificate and key in place, and names those keys', async () => {
  const tls = tlsServer().parse({ cert_pem: server.cert, key_pem: server.key });
  assert.deepEqual((await loadTls(tls, 's.tls')).options.cert, Buffer.from(server.cert));
  const wrong = tlsServer().parse({ cert_pem: server.cert, key_pem: authority.issue('b').key });
  await assert.rejects(loadTls(wrong, 's.tls'), { message: 's.tls.key_pem: the key is not that of the certificate' });
});

interface Running {
  readonly server: Server;
  readonly certificates: Certificates;
  readonly log: string[];
  /** The next sentence that is logged. */
  logged(): Promise<string>;
  /** Connects as a client, and says whose certificate the server showed; rejects when it is not let in. */
  connect(options?: ConnectionOptions): Promise<string>;
  stop(): Promise<void>;
}

async function running(section: object): Promise<Running> {
  const tls = tlsServer().parse({ ...pair, ...section });
  const log: string[] = [];
  let next = Promise.withResolvers<string>();
  const write = (_fields: object, sentence: string): void => {
    log.push(sentence);
    next.resolve(sentence);
    next = Promise.withResolvers();
  };
  const logger: Logger = { ...SILENT, info: write, warn: write };
  const listener = createServer(tlsServerOptions(tls), (socket) => {
    socket
      .on('error', () => undefined)
      .resume()
      .end('hello');
  });
  listener.on('tlsClientError', () => undefined);
  const certificates = certificatesFor(listener, { tls, setting: 's.tls', logger });
  await certificates.start();
  listener.listen(0, '127.0.0.1');
  await once(listener, 'listening');
  return {
    server: listener,
    certificates,
    log,
    logged: () => next.promise,
    connect: (options = {}) => greet(listener, options),
    async stop() {
      certificates.stop();
      listener.close();
      await once(listener, 'close');
    },
  };
}

async function greet(listener: Server, options: ConnectionOptions): Promise<string> {
  const address = listener.address();
  assert(typeof address === 'object' && address !== null);
  const socket = connect({ port: address.port, host: '127.0.0.1', ca: authority.cert, ...options });
  const { promise, resolve, reject } = Promise.withResolvers<unknown>();
  // In TLS 1.3 a client learns only when it reads whether its certificate was taken.
  socket.once('data', resolve).once('error', reject);
  socket.once('close', () => reject(new Error('the server closed the connection')));
  try {
    assert.equal(String(await promise), 'hello');
    const { subject }: PeerCertificate = socket.getPeerCertificate();
    return String(subject.CN);
  } finally {
    socket.destroy();
  }
}

Tls('serves the certificate, and the versions that were asked for', async () => {
  const both = await running({});
  assert.equal(await both.connect({ maxVersion: 'TLSv1.2' }), 'first');
  assert.equal(await both.connect({ minVersion: 'TLSv1.3' }), 'first');
  await assert.rejects(both.connect({ ca: certificateAuthority('other').cert }), {
    code: 'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
  });
  await both.stop();
  const newest = await running({ min_version: '1.3' });
  await assert.rejects(newest.connect({ maxVersion: 'TLSv1.2' }));
  await newest.stop();
  const older = await running({ max_version: '1.2' });
  await assert.rejects(older.connect({ minVersion: 'TLSv1.3' }));
  await older.stop();
});

Tls('lets in only clients with a certificate of the authority, when there is one', async () => {
  const clients = certificateAuthority('clients');
  const mutual = await running({ client_ca_file: await files.write('ca.pem', clients.cert) });
  assert.equal(await mutual.connect(clients.issue('agent')), 'first');
  await assert.rejects(mutual.connect());
  await assert.rejects(mutual.connect(certificateAuthority('clients').issue('agent')));
  const past = { from: new Date(Date.now() - 3 * DAY_MS), to: new Date(Date.now() - DAY_MS) };
  await assert.rejects(mutual.connect(clients.issue('agent', [], past)));
  await mutual.stop();
});

Tls('uses new files for new connections, and keeps the old ones while those do not fit', async () => {
  const renewed = authority.issue('second', ['127.0.0.1']);
  const one = await running({ reload_interval: '5ms' });
  const complaint = one.logged();
  await files.write('cert.pem', renewed.cert);
  assert.match(await complaint, /cannot be used; those before them stay/);
  assert.equal(await one.connect(), 'first');
  const success = one.logged();
  await files.write('key.pem', renewed.key);
  assert.match(await success, /new TLS certificates are in use/);
  assert.equal(await one.connect(), 'second');
  assert.equal(one.log.length, 2);
  await one.stop();
});

Tls('reads the client authorities again only when told to', async () => {
  const before = certificateAuthority('before');
  const after = certificateAuthority('after');
  for (const client_ca_file_reload of [true, false]) {
    const client_ca_file = await files.write('ca.pem', before.cert);
    const mutual = await running({ client_ca_file, client_ca_file_reload, reload_interval: '5ms' });
    assert.equal(await mutual.connect(before.issue('agent')), 'first');
    const change = mutual.logged();
    await files.write('ca.pem', after.cert);
    if (!client_ca_file_reload) {
      const renewed = authority.issue('first', ['127.0.0.1']);
      await files.write('cert.pem', renewed.cert);
      await files.write('key.pem', renewed.key);
    }
    await change;
    const [taken, refused] = client_ca_file_reload ? [after, before] : [before, after];
    assert.equal(await mutual.connect(taken.issue('agent')), 'first');
    await assert.rejects(mutual.connect(refused.issue('agent')));
    await mutual.stop();
  }
});

Tls('warns of a certificate that has expired', async () => {
  const past = authority.issue('old', ['127.0.0.1'], {
    from: new Date(Date.now() - 3 * DAY_MS),
    to: new Date(Date.now() - DAY_MS),
  });
  await files.write('cert.pem', past.cert);
  await files.write('key.pem', past.key);
  const old = await running({});
  assert.deepEqual(old.log, ['the TLS certificate has expired']);
  await old.stop();
});

Tls.run();
