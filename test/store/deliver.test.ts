import assert from 'node:assert/strict';
import { randomBytes, randomUUID } from 'node:crypto';
import { suite } from 'uvu';
import { PermanentError, RetryableError } from '../../src/errors.ts';
import type { QueueRecord } from '../../src/model/record.ts';
import { forgetPositions } from '../../src/store/claims.ts';
import { createPool } from '../../src/store/connection.ts';
import { deliver, type Delivered } from '../../src/store/deliver.ts';
import { ensurePartitions } from '../../src/store/partitions.ts';
import { testDatabase, type TestDatabase } from '../support/postgres.ts';
import { tcpProxy } from '../support/tcp_proxy.ts';
import { spanRecord, storedNames } from './span_records.ts';

const Deliver = suite('deliver');
let database: TestDatabase;

Deliver.before.each(async () => {
  database = await testDatabase();
});
Deliver.after.each(() => database.close());

const HOUR_MS = 3_600_000;
const NOON_MS = Date.UTC(2026, 10, 20, 12);

function send(...records: readonly QueueRecord[]): Promise<Delivered> {
  return deliver(database.pool, { records, exporter: 'postgres' });
}

const names = () => storedNames(database.pool);

/** Keeps every COPY into the table waiting until the returned function is called. */
async function lockSpans(): Promise<() => Promise<void>> {
  const client = await database.pool.connect();
  await client.query('BEGIN; LOCK TABLE otel_spans IN ACCESS EXCLUSIVE MODE');
  return async () => {
    await client.query('COMMIT');
    client.release();
  };
}

/** Resolves to the processes that run a send, once so many of them wait for a lock. */
async function waitingSends(count: number): Promise<number[]> {
  for (let attempt = 0; attempt < 10_000; attempt++) {
    const { rows } = await database.pool.query<{ pid: number }>(
      `SELECT pid FROM pg_stat_activity
       WHERE datname = current_database() AND query LIKE '%COPY%' AND wait_event_type = 'Lock'`,
    );
    if (rows.length >= count) return rows.map(({ pid }) => pid);
  }
  throw new Error(`there are no ${count} sends that wait for a lock`);
}

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
  const unlock = await lockSpans();
  const record = await spanRecord(['a'], { receipt: randomBytes(32) });
  const refused = assert.rejects(send(record), RetryableError);
  const [pid] = await waitingSends(1);
  await database.pool.query('SELECT pg_terminate_backend($1)', [pid]);
  await refused;
  await unlock();
  assert.deepEqual(await names(), []);
  assert.deepEqual(await send(record), { duplicates: 0, deadLettered: 0 });
  assert.deepEqual(await names(), ['a']);
});

Deliver('a send that waits for a lock for too long is given up whole and may be repeated', async () => {
  const pool = createPool({ url: database.url, max: 1, applicationName: 'test', statementTimeoutMs: 50 });
  const unlock = await lockSpans();
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
    const unlock = await lockSpans();
    const record = await spanRecord(['a'], { receipt: randomBytes(32) });
    const first = send(record);
    await waitingSends(1);
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
  await waitingSends(1);
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
  await waitingSends(1);
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
  const unlock = await lockSpans();
  const stop = new AbortController();
  const records = [await spanRecord(['a'])];
  const refused = assert.rejects(
    deliver(database.pool, { records, exporter: 'postgres', signal: stop.signal }),
    RetryableError,
  );
  await waitingSends(1);
  stop.abort();
  await refused;
  await assert.rejects(deliver(database.pool, { records, exporter: 'postgres', signal: stop.signal }), RetryableError);
  await unlock();
});

Deliver('a format of a later program is refused for good', async () => {
  await assert.rejects(send({ ...(await spanRecord(['a'])), format: 'spans/99' }), PermanentError);
});

Deliver.run();

const Once = suite('deliver once');

Once.before(async () => {
  database = await testDatabase();
});
Once.before.each(async () => {
  await database.pool.query(
    'DELETE FROM otel_spans; DELETE FROM receipts; DELETE FROM queue_positions; DELETE FROM queue_marks',
  );
});
Once.after(() => database.close());

Once('a record that is sent again is stored once, and is no duplicate', async () => {
  const [first, second] = [1, 2].map((seq) => ({ queueId: randomUUID(), seq }));
  const records = [await spanRecord(['a'], { id: first }), await spanRecord(['b'], { id: second })];
  assert.deepEqual(await send(...records), { duplicates: 0, deadLettered: 0 });
  const more = await spanRecord(['c'], { id: { ...second, seq: 3 } });
  assert.deepEqual(await send(...records, more), { duplicates: 0, deadLettered: 0 });
  assert.deepEqual(await names(), ['a', 'b', 'c']);
});

Once('records of equal numbers in two queues are two', async () => {
  for (const name of ['a', 'b']) await send(await spanRecord([name], { id: { queueId: randomUUID(), seq: 0 } }));
  assert.deepEqual(await names(), ['a', 'b']);
});

Once('a repeated request is stored once, whichever queue it came through', async () => {
  const receipt = randomBytes(32);
  const first = await spanRecord(['a', 'b'], { receipt, id: { queueId: randomUUID(), seq: 1 } });
  const repeat = { ...first, id: { queueId: randomUUID(), seq: 1 } };
  assert.deepEqual(await send(first), { duplicates: 0, deadLettered: 0 });
  assert.deepEqual(await send(repeat), { duplicates: 2, deadLettered: 0 });
  assert.deepEqual(await send({ ...first, id: undefined }), { duplicates: 2, deadLettered: 0 });
  assert.deepEqual(await send(first, repeat), { duplicates: 0, deadLettered: 0 }, 'both places are known by now');
  assert.deepEqual(await names(), ['a', 'b']);
});

Once('the same request twice in one send', async () => {
  const receipt = randomBytes(32);
  const record = await spanRecord(['a', 'b'], { receipt });
  const other = await spanRecord(['c'], { receipt: randomBytes(32) });
  assert.deepEqual(await send(record, other, record, record), { duplicates: 4, deadLettered: 0 });
  assert.deepEqual(await names(), ['a', 'b', 'c']);
});

Once('the same record twice in one send', async () => {
  const record = await spanRecord(['a'], { id: { queueId: randomUUID(), seq: 7 } });
  assert.deepEqual(await send(record, record), { duplicates: 0, deadLettered: 0 });
  assert.deepEqual(await names(), ['a']);
});

Once('records that have neither place nor receipt are stored as often as they come', async () => {
  const record = await spanRecord(['a']);
  await send(record, record);
  await send(record);
  assert.deepEqual(await names(), ['a', 'a', 'a']);
});

Once('two exporters of one database have different receipts, so each stores the request', async () => {
  for (const receipt of [randomBytes(32), randomBytes(32)]) await send(await spanRecord(['a'], { receipt }));
  assert.deepEqual(await names(), ['a', 'a']);
});

const repeats: readonly (readonly [name: string, firstMs: number, laterMs: number, duplicates: number])[] = [
  ['a millisecond later across midnight', Date.UTC(2026, 10, 21) - 1, Date.UTC(2026, 10, 21), 1],
  ['23 hours later across midnight', NOON_MS, NOON_MS + 23 * HOUR_MS, 1],
  ['24 hours later', NOON_MS, NOON_MS + 24 * HOUR_MS, 1],
  ['by a clock that is slow, across midnight', Date.UTC(2026, 10, 21), Date.UTC(2026, 10, 21) - 1, 1],
  ['two days later', NOON_MS, NOON_MS + 48 * HOUR_MS, 0],
  ['25 hours later, with a whole day between', Date.UTC(2026, 10, 20, 23, 30), Date.UTC(2026, 10, 22, 0, 30), 0],
];
for (const [when, firstMs, laterMs, duplicates] of repeats) {
  Once(`a repeat ${when} is ${duplicates > 0 ? 'known' : 'stored'}, in one send or in two`, async () => {
    for (const together of [false, true]) {
      const receipt = randomBytes(32);
      const first = await spanRecord(['a'], { receipt, receivedAtMs: firstMs });
      const later = await spanRecord(['a'], { receipt, receivedAtMs: laterMs });
      if (!together) await send(first);
      assert.equal((await send(...(together ? [first, later] : [later]))).duplicates, duplicates);
    }
    assert.equal((await names()).length, duplicates > 0 ? 2 : 4);
  });
}

Once('after the partitions of its days were made, a receipt still counts', async () => {
  const record = await spanRecord(['a'], { receipt: randomBytes(32), receivedAtMs: NOON_MS });
  await send(record);
  await ensurePartitions(database.pool, { today: new Date(NOON_MS) });
  assert.equal((await send(record)).duplicates, 1);
  assert.equal((await send({ ...record, receivedAtMs: NOON_MS + 20 * HOUR_MS })).duplicates, 1);
});

Once(
  'two senders with one request at the same time: one stores it, the other waits and counts duplicates',
  async () => {
    const unlock = await lockSpans();
    const receipt = randomBytes(32);
    const others = await Promise.all(['x', 'y'].map((name) => spanRecord([name], { receipt: randomBytes(32) })));
    const record = await spanRecord(['a', 'b'], { receipt });
    const sends = others.map((other) => send(other, record));
    await waitingSends(2);
    await unlock();
    const outcomes = await Promise.all(sends);
    assert.deepEqual(
      outcomes.map(({ duplicates }) => duplicates).toSorted((a, b) => a - b),
      [0, 2],
    );
    assert.deepEqual(await names(), ['a', 'b', 'x', 'y']);
  },
);

Once(
  'many senders that have their requests in common in any order neither wait for one another nor double',
  async () => {
    const records = await Promise.all(
      Array.from({ length: 12 }, (_, i) => spanRecord([`span ${i}`], { receipt: randomBytes(32) })),
    );
    const orders = [records, records.toReversed(), [...records.slice(5), ...records.slice(0, 5)]];
    const outcomes = await Promise.all([...orders, ...orders].map((order) => send(...order)));
    const duplicates = outcomes.reduce((sum, outcome) => sum + outcome.duplicates, 0);
    assert.equal(duplicates, 5 * records.length);
    assert.equal((await names()).length, records.length);
  },
);

Once('given a COMMIT whose answer was lost, sending again stores nothing more', async () => {
  const way = await tcpProxy(database.url);
  const pool = createPool({ url: way.url, max: 2, applicationName: 'test', statementTimeoutMs: 5_000 });
  const records = [
    await spanRecord(['a', 'b'], { receipt: randomBytes(32), id: { queueId: randomUUID(), seq: 1 } }),
    await spanRecord(['c'], { id: { queueId: randomUUID(), seq: 1 } }),
    await spanRecord(['d'], { receipt: randomBytes(32) }),
  ];
  let cuts = 0;
  // The server reports the COPY once the transaction is committed.
  way.inspect((chunk) => {
    if (!chunk.includes('COPY 4')) return 'pass';
    cuts += 1;
    return 'cut';
  });
  await assert.rejects(deliver(pool, { records, exporter: 'postgres' }), RetryableError);
  way.inspect(undefined);
  assert.equal(cuts, 1);
  assert.deepEqual(await names(), ['a', 'b', 'c', 'd']);
  assert.deepEqual(await deliver(pool, { records, exporter: 'postgres' }), { duplicates: 1, deadLettered: 0 });
  assert.deepEqual(await names(), ['a', 'b', 'c', 'd']);
  await pool.end();
  await way.close();
});

Once('given a try that is still under way, sending again waits for its end', async () => {
  const unlock = await lockSpans();
  const record = await spanRecord(['a'], { id: { queueId: randomUUID(), seq: 1 } });
  const tries = [send(record)];
  await waitingSends(1);
  tries.push(send(record));
  await waitingSends(2);
  await unlock();
  await Promise.all(tries);
  assert.deepEqual(await names(), ['a']);
});

Once('what was forgotten is stored, whoever sends it', async () => {
  const queueId = randomUUID();
  const recordAt = async (seq: number) => spanRecord([`span ${seq}`], { id: { queueId, seq } });
  for (const seq of [0, 1, 2, 3]) await send(await recordAt(seq));
  await forgetPositions(database.pool, { queueId, seq: 2 });
  await forgetPositions(database.pool, { queueId, seq: 1 });
  const { rows } = await database.pool.query('SELECT seq::int FROM queue_positions ORDER BY seq');
  assert.deepEqual(rows, [{ seq: 2 }, { seq: 3 }]);
  await send(await recordAt(0), await recordAt(1), await recordAt(2), await recordAt(4));
  assert.deepEqual(
    await names(),
    [0, 1, 2, 3, 4].map((seq) => `span ${seq}`),
  );
  await forgetPositions(database.pool, { queueId: randomUUID(), seq: 100 });
  await send(await recordAt(5));
  assert.equal((await names()).length, 6);
});

Once('a position that is forgotten while a late try waits for it is still known', async () => {
  const id = { queueId: randomUUID(), seq: 1 };
  const record = await spanRecord(['a'], { id });
  await send(record);
  const forgetting = await database.pool.connect();
  await forgetting.query('BEGIN');
  await forgetting.query(`INSERT INTO queue_marks (queue_id, below) VALUES ($1, 2)`, [id.queueId]);
  await forgetting.query('DELETE FROM queue_positions WHERE queue_id = $1 AND seq < 2', [id.queueId]);
  const late = send(record);
  await waitingSends(1);
  await forgetting.query('COMMIT');
  forgetting.release();
  await late;
  assert.deepEqual(await names(), ['a']);
});

Once('an id that is no UUID never reaches a statement', async () => {
  const id = { queueId: `'); DROP TABLE otel_spans; --`, seq: 1 };
  await assert.rejects(send(await spanRecord(['a'], { id })), { code: 'ERR_ASSERTION' });
  await assert.rejects(send(await spanRecord(['a'], { id: { queueId: randomUUID(), seq: 0.5 } })));
  assert.deepEqual(await names(), []);
});

Once.run();
