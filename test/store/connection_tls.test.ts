import assert from 'node:assert/strict';
import { Client, type Pool } from 'pg';
import { suite } from 'uvu';
import { createPool, describeConnectionError, publicUrl } from '../../src/store/connection.ts';
import { connectionSettings, tlsFault } from '../../src/store/connection_tls.ts';
import { certificateAuthority, testFiles, type KeyAndCertificate, type TestFiles } from '../support/certificates.ts';
import { testServer, type TestServer } from '../support/postgres.ts';

const Parameters = suite('TLS parameters of a database URL');
const URL_START = 'postgres://me@db.example/app';

Parameters('are left to pg where there are none', () => {
  for (const url of [
    URL_START,
    `${URL_START}?application_name=a%20b`,
    `${URL_START}?ssl=true`,
    '/run/postgresql app',
    'not a url',
  ]) {
    assert.deepEqual(connectionSettings(url), { connectionString: url });
    assert.equal(tlsFault(url), undefined);
  }
});

Parameters('are taken out of the URL, and the others stay', () => {
  const url = `${URL_START}?sslmode=disable&application_name=a+b&uselibpqcompat=true&ssl=true`;
  const connectionString = `${URL_START}?application_name=a+b`;
  assert.deepEqual(connectionSettings(url), { connectionString, ssl: false });
  assert.deepEqual(connectionSettings(`${URL_START}?sslmode=require#x`), {
    connectionString: URL_START,
    ssl: { rejectUnauthorized: false },
  });
});

Parameters('mean nothing on a Unix domain socket', () => {
  const url = 'postgres:///app?host=/run/postgresql&sslmode=verify-full';
  assert.deepEqual(connectionSettings(url), { connectionString: 'postgres:///app?host=%2Frun%2Fpostgresql' });
});

const modes: { query: string; ssl: object | false }[] = [
  { query: 'sslmode=allow', ssl: { rejectUnauthorized: false } },
  { query: 'sslmode=prefer', ssl: { rejectUnauthorized: false } },
  { query: 'sslmode=require', ssl: { rejectUnauthorized: false } },
  { query: 'sslmode=no-verify', ssl: { rejectUnauthorized: false } },
  { query: 'sslmode=verify-full', ssl: {} },
];

for (const { query, ssl } of modes) {
  Parameters(`${query} is ${JSON.stringify(ssl)} to Node`, () => {
    assert.deepEqual(connectionSettings(`${URL_START}?${query}`).ssl, ssl);
  });
}

Parameters('say that TLS comes first on the wire', () => {
  const url = `${URL_START}?sslmode=verify-full&sslnegotiation=direct`;
  assert.equal(connectionSettings(url).sslnegotiation, 'direct');
  assert.equal(new Client(connectionSettings(url)).host, 'db.example');
});

const faults: { query: string; says: RegExp }[] = [
  { query: 'sslmode=verify_full', says: /^sslmode is "verify_full"; allowed: disable, .*verify-full/ },
  { query: 'sslmode=verify-ca', says: /^sslmode=verify-ca needs the authority/ },
  { query: 'sslmode=require&sslrootcert=system', says: /sslrootcert=system needs verify-full$/ },
  {
    query: 'sslmode=verify-full&sslrootcert=/nowhere/ca.pem',
    says: /^sslrootcert: cannot read \/nowhere\/ca\.pem: there is no such file$/,
  },
  { query: 'sslmode=require&sslcert=/', says: /^sslcert: cannot read \/: it is a directory$/ },
  { query: 'sslmode=prefer&sslnegotiation=direct', says: /^sslnegotiation=direct needs sslmode=require/ },
  { query: 'sslmode=require&sslnegotiation=other', says: /^sslnegotiation is "other"/ },
];

for (const { query, says } of faults) {
  Parameters(`${query} is a fault, with which nothing connects`, () => {
    const url = `${URL_START}?${query}`;
    const line = describeConnectionError(new Error('any'), url);
    assert.match(line.replace('the database cannot be used: ', ''), says);
    assert.deepEqual(connectionSettings(url), { connectionString: URL_START, ssl: { ca: [] } });
    assert.equal(publicUrl(url), 'postgres://me@db.example:5432/app');
  });
}

Parameters.run();

const Tls = suite('TLS to PostgreSQL');
const authority = certificateAuthority('databases');
const stranger = certificateAuthority('strangers');
let server: TestServer;
let files: TestFiles;
/** Paths of the authorities' certificates. */
let trusted: string;
let untrusted: string;

Tls.before(async () => {
  files = await testFiles();
  trusted = await files.write('trusted.pem', authority.cert);
  untrusted = await files.write('untrusted.pem', stranger.cert);
  server = await testServer();
  await serveTls(server.url, authority.issue('database', ['localhost']));
});
Tls.after(async () => {
  await server.stop();
  await files.remove();
});

const LOOKS = 1000;

/** The server writes the files itself, since it wants them to be its own. */
async function serveTls(url: string, { cert, key }: KeyAndCertificate): Promise<void> {
  const client = new Client({ connectionString: url });
  await client.connect();
  const store = async (file: string, pem: string): Promise<void> => {
    const lines = client.escapeLiteral(pem.trim());
    await client.query(
      `COPY (SELECT regexp_split_to_table(${lines}, E'\\n')) TO PROGRAM ${client.escapeLiteral(`umask 077; cat > ${file}`)}`,
    );
  };
  await store('server.crt', cert);
  await store('server.key', key);
  await client.query('ALTER SYSTEM SET ssl = on');
  await client.query('SELECT pg_reload_conf()');
  await client.end();
  for (let looks = 0; looks < LOOKS; looks++) if (await speaksTls(url)) return;
  throw new Error('the server does not speak TLS');
}

async function speaksTls(url: string): Promise<boolean> {
  const client = new Client({ connectionString: url });
  await client.connect();
  const { rows } = await client.query<{ ssl: string }>('SHOW ssl');
  await client.end();
  return rows[0]?.ssl === 'on';
}

/** Whether a connection is encrypted, or why there is none. */
async function connection(host: string, query: string): Promise<string> {
  const url = new URL(server.url);
  url.hostname = host;
  url.search = query;
  const pool = createPool({ url: url.href, max: 1, applicationName: 'test', statementTimeoutMs: 5_000 });
  try {
    return (await isEncrypted(pool)) ? 'TLS' : 'plain text';
  } catch (error) {
    return describeConnectionError(error, url.href)
      .replace(/^the database cannot be used: /, '')
      .replace(/:\d+/, '');
  } finally {
    await pool.end();
  }
}

async function isEncrypted(pool: Pool): Promise<boolean> {
  const { rows } = await pool.query<{ ssl: boolean }>('SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()');
  return rows[0]?.ssl ?? false;
}

const untrustedLine = (host: string): string =>
  `the TLS certificate of ${host} is signed by nobody we trust: name its authority with sslrootcert in the URL`;

const connections: { name: string; host?: string; query: () => string; is: string }[] = [
  { name: 'nothing', query: () => '', is: 'plain text' },
  { name: 'disable', query: () => 'sslmode=disable', is: 'plain text' },
  { name: 'require', query: () => 'sslmode=require', is: 'TLS' },
  { name: 'require, direct', query: () => 'sslmode=require&sslnegotiation=direct', is: 'TLS' },
  { name: 'require with the authority', query: () => `sslmode=require&sslrootcert=${trusted}`, is: 'TLS' },
  {
    name: 'require with another authority',
    query: () => `sslmode=require&sslrootcert=${untrusted}`,
    is: untrustedLine('127.0.0.1'),
  },
  { name: 'verify-ca', query: () => `sslmode=verify-ca&sslrootcert=${trusted}`, is: 'TLS' },
  {
    name: 'verify-ca with another authority',
    query: () => `sslmode=verify-ca&sslrootcert=${untrusted}`,
    is: untrustedLine('127.0.0.1'),
  },
  { name: 'verify-full', host: 'localhost', query: () => `sslmode=verify-full&sslrootcert=${trusted}`, is: 'TLS' },
  {
    name: 'verify-full for another host',
    query: () => `sslmode=verify-full&sslrootcert=${trusted}`,
    is: 'the TLS certificate of 127.0.0.1 is for another host',
  },
  {
    name: 'verify-full with another authority',
    host: 'localhost',
    query: () => `sslmode=verify-full&sslrootcert=${untrusted}`,
    is: untrustedLine('localhost'),
  },
  {
    name: 'verify-full with the authorities of the world',
    host: 'localhost',
    query: () => 'sslmode=verify-full',
    is: untrustedLine('localhost'),
  },
  {
    name: 'verify-full with those of the system',
    host: 'localhost',
    query: () => 'sslmode=verify-full&sslrootcert=system',
    is: untrustedLine('localhost'),
  },
  {
    name: 'a root certificate alone',
    query: () => `sslrootcert=${trusted}`,
    is: 'the TLS certificate of 127.0.0.1 is for another host',
  },
  {
    name: 'a mode that does not exist',
    query: () => 'sslmode=required',
    is: 'sslmode is "required"; allowed: disable, allow, prefer, require, verify-ca, verify-full, no-verify',
  },
];

for (const { name, host = '127.0.0.1', query, is } of connections) {
  Tls(`${name}: ${is}`, async () => {
    assert.equal(await connection(host, query()), is);
  });
}

Tls.run();
