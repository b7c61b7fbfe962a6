import assert from 'node:assert/strict';
import { suite } from 'uvu';
import { DatabaseError } from 'pg';
import { PermanentError, RetryableError } from '../../src/errors.ts';
import { createPool } from '../../src/store/connection.ts';
import { copyRows } from '../../src/store/copy.ts';
import { SPAN_ROWS } from '../../src/store/span_rows.ts';
import { storeError } from '../../src/store/sqlstate.ts';
import { any, attribute, field, request, spanIds } from '../support/otlp_messages.ts';
import { countRows } from '../support/gateway.ts';
import { testDatabase, type TestDatabase } from '../support/postgres.ts';
import { encodeRows } from './row_store.ts';

const Copy = suite('copy');
let database: TestDatabase;

Copy.before.each(async () => {
  database = await testDatabase();
});
Copy.after.each(() => database.close());

const FORMAT = SPAN_ROWS.format;

/** Rows of spans with these names. */
async function rowsOf(...names: readonly string[]): Promise<Uint8Array> {
  const spans = names.map((name, i) => Buffer.concat([spanIds(i), field(5, name)]));
  return (await encodeRows('traces', request(spans))).bytes;
}

async function storedNames(): Promise<string[]> {
  const { rows } = await database.pool.query<{ name: string }>('SELECT name FROM otel_spans ORDER BY name');
  return rows.map(({ name }) => name);
}

async function refuseNamesLike(pattern: string): Promise<void> {
  await database.pool.query(`ALTER TABLE otel_spans ADD CONSTRAINT poison CHECK (name NOT LIKE '${pattern}')`);
}

/** Keeps every COPY into the table waiting until the returned function is called. */
async function lockSpans(): Promise<() => Promise<void>> {
  const client = await database.pool.connect();
  await client.query('BEGIN; LOCK TABLE otel_spans IN ACCESS EXCLUSIVE MODE');
  return async () => {
    await client.query('COMMIT');
    client.release();
  };
}

const WAITING_COPY = `
  SELECT pid FROM pg_stat_activity
  WHERE datname = current_database() AND query LIKE '%COPY%' AND wait_event_type = 'Lock'`;

/** Resolves to the process that runs a COPY, once it waits for the lock. */
async function waitingCopy(): Promise<number> {
  for (let attempt = 0; attempt < 10_000; attempt++) {
    const { rows } = await database.pool.query<{ pid: number }>(WAITING_COPY);
    if (rows[0] !== undefined) return rows[0].pid;
  }
  throw new Error('no COPY waits for the lock');
}

Copy('rows of several batches are stored by one COPY', async () => {
  await copyRows(database.pool, FORMAT, [await rowsOf('a', 'b'), await rowsOf('c'), await rowsOf()]);
  assert.deepEqual(await storedNames(), ['a', 'b', 'c']);
  const { rows } = await database.pool.query('SELECT DISTINCT xmin::text FROM otel_spans');
  assert.equal(rows.length, 1);
});

Copy('no rows are no failure', async () => {
  await copyRows(database.pool, FORMAT, []);
  assert.deepEqual(await storedNames(), []);
});

Copy('one row that breaks a constraint keeps all the others out, for good', async () => {
  await refuseNamesLike('bad');
  await assert.rejects(copyRows(database.pool, FORMAT, [await rowsOf('a', 'bad'), await rowsOf('b')]), (error) => {
    assert.ok(error instanceof PermanentError);
    assert.match(error.message, /SQLSTATE 23514/);
    assert.ok(error.cause instanceof DatabaseError);
    return true;
  });
  assert.deepEqual(await storedNames(), []);
  await copyRows(database.pool, FORMAT, [await rowsOf('b')]);
  assert.deepEqual(await storedNames(), ['b']);
});

Copy('a row refused while megabytes are still on their way', async () => {
  await refuseNamesLike('bad');
  const filler = attribute(9, 'v', any.string('x'.repeat(4_000_000)));
  const big = (await encodeRows('traces', request([Buffer.concat([spanIds(1), filler])]))).bytes;
  const chunks = [await rowsOf('bad'), ...Array.from({ length: 8 }, () => big)];
  for (let attempt = 0; attempt < 3; attempt++)
    await assert.rejects(copyRows(database.pool, FORMAT, chunks), PermanentError);
  await copyRows(database.pool, FORMAT, chunks.slice(1));
  assert.equal(await countRows(database.pool, 'otel_spans'), 8);
});

Copy('a database that is not migrated is no fault of the data', async () => {
  await database.pool.query('DROP TABLE otel_spans');
  await assert.rejects(copyRows(database.pool, FORMAT, [await rowsOf('a')]), (error) => {
    assert.ok(error instanceof RetryableError);
    assert.match(error.message, /SQLSTATE 42P01/);
    return true;
  });
});

Copy(
  'a connection that breaks during a COPY: nothing is stored, and the next COPY has another connection',
  async () => {
    const unlock = await lockSpans();
    const copying = copyRows(database.pool, FORMAT, [await rowsOf('a')]);
    const refused = assert.rejects(copying, RetryableError);
    await database.pool.query('SELECT pg_terminate_backend($1)', [await waitingCopy()]);
    await refused;
    await unlock();
    assert.deepEqual(await storedNames(), []);
    await copyRows(database.pool, FORMAT, [await rowsOf('a')]);
    assert.deepEqual(await storedNames(), ['a']);
  },
);

Copy('a COPY that takes too long is given up and may be sent again', async () => {
  const pool = createPool({ url: database.url, max: 1, applicationName: 'test', statementTimeoutMs: 50 });
  const unlock = await lockSpans();
  await assert.rejects(copyRows(pool, FORMAT, [await rowsOf('a')]), (error) => {
    assert.ok(error instanceof RetryableError);
    assert.match(error.message, /SQLSTATE 57014/);
    return true;
  });
  await unlock();
  await copyRows(pool, FORMAT, [await rowsOf('a')]);
  assert.deepEqual(await storedNames(), ['a']);
  await pool.end();
});

Copy('nothing listens where the database was', async () => {
  const url = new URL(database.url);
  url.port = '1';
  const pool = createPool({ url: url.href, max: 1, applicationName: 'test', statementTimeoutMs: 1000 });
  await assert.rejects(copyRows(pool, FORMAT, [await rowsOf('a')]), (error) => {
    assert.ok(error instanceof RetryableError);
    assert.equal(error.message, 'the database is away');
    return true;
  });
  await pool.end();
});

Copy('bytes that are no rows are refused for good', async () => {
  await assert.rejects(copyRows(database.pool, FORMAT, [Buffer.from('no rows at all')]), PermanentError);
  const whole = await rowsOf('a');
  await assert.rejects(copyRows(database.pool, FORMAT, [whole.subarray(0, -9)]), PermanentError);
  assert.deepEqual(await storedNames(), []);
});

Copy('a format that nobody wrote is a mistake of ours', async () => {
  await assert.rejects(copyRows(database.pool, 'spans/0', []), TypeError);
});

Copy.run();

const Codes = suite('sqlstate');

function databaseError(code: string, severity: string): DatabaseError {
  const error = new DatabaseError('message', 7, 'error');
  return Object.assign(error, { code, severity });
}

const codes: readonly (readonly [
  code: string,
  severity: string,
  kind: typeof PermanentError | typeof RetryableError,
])[] = [
  ['22021', 'ERROR', PermanentError],
  ['22P03', 'ERROR', PermanentError],
  ['23514', 'ERROR', PermanentError],
  ['54000', 'ERROR', PermanentError],
  ['08P01', 'ERROR', PermanentError],
  ['08P01', 'FATAL', RetryableError],
  ['57P01', 'FATAL', RetryableError],
  ['53100', 'ERROR', RetryableError],
  ['40001', 'ERROR', RetryableError],
  ['25006', 'ERROR', RetryableError],
  ['XX000', 'ERROR', RetryableError],
];
for (const [code, severity, kind] of codes) {
  Codes(`${severity} ${code} is ${kind === PermanentError ? 'permanent' : 'retryable'}`, () => {
    const cause = databaseError(code, severity);
    const error = storeError(cause);
    assert.ok(error instanceof kind);
    assert.equal(error.cause, cause);
    assert.match(error.message, new RegExp(code));
  });
}

Codes('what is no answer of the server is retryable', () => {
  for (const thrown of [new Error('Connection terminated unexpectedly'), 'text', undefined]) {
    assert.ok(storeError(thrown) instanceof RetryableError);
  }
});

Codes.run();
