import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { suite } from 'uvu';
import { PermanentError, RetryableError } from '../../src/errors.ts';
import type { QueueRecord } from '../../src/model/record.ts';
import { createPool } from '../../src/store/connection.ts';
import { deliver, type Delivered } from '../../src/store/deliver.ts';
import { testDatabase, type TestDatabase } from '../support/postgres.ts';
import { tcpProxy } from '../support/tcp_proxy.ts';
import { refuseBad } from './poison.ts';
import { lockSpans, spanRecord, storedNames, waitingSends } from './span_records.ts';

const Deliver = suite('deliver');
let database: TestDatabase;

Deliver.before.each(async () => {
  database = await testDatabase();
});
Deliver.after.each(() => database.close());

function send(...records: readonly QueueRecord[]): Promise<Delivered> {
  return deliver(database.pool, { records, exporter: 'postgres' });
}

const names = () => storedNames(database.pool);

Deliver('records of several requests are stored by one transaction', async () => {
  await send(await spanRecord(['a', 'b']), await spanRecord(['c']), await spanRecord([]));
  assert.deepEqual(await names(), ['a', 'b', 'c']);
  const { rows } = await database.pool.query('SELECT DISTINCT xmin::text FROM otel_spans');
  assert.equal(rows.length, 1);
});

Deliver('no records are no failure', async () => {
  assert.deepEqual(await send(), { duplicates: 0, deadLettered: 0 });
});

Deliver('a database that is not migrated is no fault of the data, and the message says what to do', async () => {
  await database.pool.query('DROP TABLE otel_spans');
  await assert.rejects(send(await spanRecord(['a'])), (error) => {
    assert.ok(error instanceof RetryableError);
    assert.match(error.message, /SQLSTATE 42P01.*run `sluice migrate`/);
    return true;
  });
});

Deliver('a connection that breaks during a COPY: nothing is stored, and the next has another connection', async () => {
  const unlock = await lockSpans(database.pool);
  const record = await spanRecord(['a'], { receipt: randomBytes(32) });
  const refused = assert.rejects(send(record), RetryableError);
  const [pid] = await waitingSends(database.pool, 1);
  await database.pool.query('SELECT pg_terminate_backend($1)', [pid]);
  await refused;
  await unlock();
  assert.deepEqual(await names(), []);
  assert.deepEqual(await send(record), { duplicates: 0, deadLettered: 0 });
  assert.deepEqual(await names(), ['a']);
});

Deliver('a send that waits for a lock for too long is given up whole and may be repeated', async () => {
  const pool = createPool({ url: database.url, max: 1, applicationName: 'test', statementTimeoutMs: 50 });
  const unlock = await lockSpans(database.pool);
  const record = await spanRecord(['a', 'b', 'c']);
  await assert.rejects(deliver(pool, { records: [record], exporter: 'postgres' }), (error) => {
    assert.ok(error instanceof RetryableError);
    assert.match(error.message, /SQLSTATE 57014/);
    return true;
  });
  await unlock();
  await deliver(pool, { records: [record], exporter: 'postgres' });
  assert.deepEqual(await names(), ['a', 'b', 'c']);
  await pool.end();
});

Deliver(
  'a send that waits for another with the same request for too long is given up and may be repeated',
  async () => {
    const pool = createPool({ url: database.url, max: 1, applicationName: 'test', statementTimeoutMs: 50 });
    const unlock = await lockSpans(database.pool);
    const record = await spanRecord(['a'], { receipt: randomBytes(32) });
    const first = send(record);
    await waitingSends(database.pool, 1);
    await assert.rejects(deliver(pool, { records: [record], exporter: 'postgres' }), /SQLSTATE 57014/);
    await unlock();
    await first;
    assert.deepEqual(await deliver(pool, { records: [record], exporter: 'postgres' }), {
      duplicates: 1,
      deadLettered: 0,
    });
    await pool.end();
  },
);

Deliver('the server finds out soon that a gateway is gone', async () => {
  const record = await spanRecord(['a']);
  await database.pool.query(`
    CREATE TABLE seen AS SELECT ''::text AS keepalives;
    CREATE FUNCTION look() RETURNS trigger LANGUAGE plpgsql AS $$
      BEGIN
        UPDATE seen SET keepalives = concat_ws(' ', current_setting('tcp_keepalives_idle'),
          current_setting('tcp_keepalives_interval'), current_setting('tcp_keepalives_count'));
        RETURN NULL;
      END $$;
    CREATE TRIGGER looks AFTER INSERT ON otel_spans EXECUTE FUNCTION look()`);
  await send(record);
  assert.deepEqual((await database.pool.query('SELECT keepalives FROM seen')).rows, [{ keepalives: '30 10 3' }]);
});

Deliver(
  'a gateway that is frozen in the middle of its COPY holds up the same request no longer than a lock may',
  async () => {
    const way = await tcpProxy(database.url);
    const pool = createPool({ url: way.url, max: 1, applicationName: 'test', statementTimeoutMs: 60_000 });
    const record = await spanRecord(['a'], { receipt: randomBytes(32) });
    const copying = new Promise<void>((resolve) => {
      way.inspect((chunk) => {
        if (!isCopyInResponse(chunk)) return 'pass';
        way.freeze();
        resolve();
        return 'pass';
      });
    });
    const stop = new AbortController();
    const frozen = assert.rejects(
      deliver(pool, { records: [record], exporter: 'postgres', signal: stop.signal }),
      RetryableError,
    );
    await copying;
    await assert.rejects(send(record), /SQLSTATE 55P03/);
    assert.deepEqual(await send(await spanRecord(['b'])), { duplicates: 0, deadLettered: 0 });
    stop.abort();
    await frozen;
    await pool.end();
    await way.close();
    assert.deepEqual(await send(record), { duplicates: 0, deadLettered: 0 });
  },
);

/** Whether one of these messages of the server asks for the data of a COPY. */
function isCopyInResponse(chunk: Buffer): boolean {
  for (let at = 0; at + 5 <= chunk.length; at += 1 + chunk.readInt32BE(at + 1)) {
    if (chunk[at] === 0x47) return true;
  }
  return false;
}

Deliver('no send leaves its transaction idle for long, nor waits long for a lock', async () => {
  await database.pool.query(`
    CREATE TABLE seen (limits text);
    CREATE FUNCTION look() RETURNS trigger LANGUAGE plpgsql AS $$
      BEGIN
        INSERT INTO seen VALUES (concat_ws(' ', current_setting('lock_timeout'),
          current_setting('idle_in_transaction_session_timeout')));
        RETURN NULL;
      END $$;
    CREATE TRIGGER looks AFTER INSERT ON otel_spans EXECUTE FUNCTION look()`);
  const limits = async () => {
    const { rows } = await database.pool.query<{ limits: string }>('DELETE FROM seen RETURNING limits');
    return new Set(rows.map((row) => row.limits));
  };
  await send(await spanRecord(['good']));
  assert.deepEqual(await limits(), new Set(['3s 0']), 'one message is never idle');
  await refuseBad(database.pool);
  await send(await spanRecord(['good', 'bad']));
  assert.deepEqual(await limits(), new Set(['3s 10s']));
});

Deliver('a database whose transactions are serializable by default stores as any other', async () => {
  const name = new URL(database.url).pathname.slice(1);
  await database.pool.query(`ALTER DATABASE ${name} SET default_transaction_isolation = 'serializable'`);
  const pool = createPool({ url: database.url, max: 4, applicationName: 'test', statementTimeoutMs: 5_000 });
  const record = await spanRecord(['a'], { receipt: randomBytes(32) });
  const sends = [1, 2, 3, 4].map(() => deliver(pool, { records: [record], exporter: 'postgres' }));
  const duplicates = (await Promise.all(sends)).map((outcome) => outcome.duplicates);
  assert.deepEqual(
    duplicates.toSorted((a, b) => a - b),
    [0, 1, 1, 1],
  );
  assert.deepEqual(await names(), ['a']);
  await pool.end();
});

Deliver('rows whose partition is attached while they wait for that of all other days are stored in it', async () => {
  const client = await database.pool.connect();
  await client.query('BEGIN');
  await client.query('CREATE TABLE first_day (LIKE otel_spans INCLUDING ALL)');
  await client.query('LOCK TABLE otel_spans_default IN ACCESS EXCLUSIVE MODE');
  await client.query(
    `ALTER TABLE otel_spans ATTACH PARTITION first_day FOR VALUES FROM ('1970-01-01') TO ('2100-01-01')`,
  );
  const early = send(await spanRecord(['a'], { receipt: randomBytes(32) }));
  await waitingSends(database.pool, 1);
  await client.query('COMMIT');
  client.release();
  assert.deepEqual(await early, { duplicates: 0, deadLettered: 0 });
  const { rows } = await database.pool.query('SELECT name FROM first_day');
  assert.deepEqual(rows, [{ name: 'a' }]);
});

Deliver('so are receipts', async () => {
  const client = await database.pool.connect();
  await client.query('BEGIN');
  await client.query('CREATE TABLE all_days (LIKE receipts INCLUDING ALL)');
  await client.query('LOCK TABLE receipts_default IN ACCESS EXCLUSIVE MODE');
  await client.query(`ALTER TABLE receipts ATTACH PARTITION all_days FOR VALUES FROM ('1970-01-01') TO ('2100-01-01')`);
  const early = send(await spanRecord(['a'], { receipt: randomBytes(32) }));
  await waitingSends(database.pool, 1);
  await client.query('COMMIT');
  client.release();
  assert.deepEqual(await early, { duplicates: 0, deadLettered: 0 });
  assert.equal((await database.pool.query('SELECT FROM all_days')).rowCount, 2);
});

Deliver('a send of too many rows for the time there is goes in parts, all in one transaction', async () => {
  const pool = createPool({ url: database.url, max: 1, applicationName: 'test', statementTimeoutMs: 400 });
  await database.pool.query(`
    CREATE FUNCTION be_slow() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(0.005); RETURN NEW; END';
    CREATE TRIGGER slow BEFORE INSERT ON otel_spans FOR EACH ROW EXECUTE FUNCTION be_slow()`);
  const wanted = Array.from({ length: 200 }, (_, i) => `span ${String(i).padStart(3, '0')}`);
  const records = [await spanRecord(wanted.slice(0, 150)), await spanRecord(wanted.slice(150))];
  const outcome = await deliver(pool, { records, exporter: 'postgres' });
  assert.deepEqual(outcome, { duplicates: 0, deadLettered: 0 });
  assert.deepEqual(await names(), wanted);
  const { rows } = await database.pool.query('SELECT FROM dead_letters');
  assert.equal(rows.length, 0);
  await pool.end();
});

Deliver('nothing listens where the database was', async () => {
  const url = new URL(database.url);
  url.port = '1';
  const pool = createPool({ url: url.href, max: 1, applicationName: 'test', statementTimeoutMs: 1000 });
  await assert.rejects(deliver(pool, { records: [await spanRecord(['a'])], exporter: 'postgres' }), (error) => {
    assert.ok(error instanceof RetryableError);
    assert.equal(error.message, 'the database is away');
    return true;
  });
  await pool.end();
});

Deliver('a gateway that stops gives up what is under way', async () => {
  const unlock = await lockSpans(database.pool);
  const stop = new AbortController();
  const records = [await spanRecord(['a'])];
  const refused = assert.rejects(
    deliver(database.pool, { records, exporter: 'postgres', signal: stop.signal }),
    RetryableError,
  );
  await waitingSends(database.pool, 1);
  stop.abort();
  await refused;
  await assert.rejects(deliver(database.pool, { records, exporter: 'postgres', signal: stop.signal }), RetryableError);
  await unlock();
});

Deliver('a format of a later program is refused for good', async () => {
  await assert.rejects(send({ ...(await spanRecord(['a'])), format: 'spans/99' }), PermanentError);
});

Deliver.run();
