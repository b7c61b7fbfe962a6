import assert from 'node:assert/strict';
import { suite } from 'uvu';
import { RetryableError } from '../../src/errors.ts';
import { DEFAULT_TENANT } from '../../src/model/tenant.ts';
import { createPool } from '../../src/store/connection.ts';
import { READ_LIMITS, spanReader } from '../../src/store/span_tree.ts';
import type { StoredSpan } from '../../src/store/span_tree.ts';
import { testDatabase } from '../support/postgres.ts';
import type { SpanRow } from './insert_spans.ts';
import { insertSpans } from './insert_spans.ts';

const spanTree = suite('span tree');
const database = await testDatabase();
const { pool } = database;

spanTree.before.each(async () => {
  await pool.query('TRUNCATE otel_spans');
});
spanTree.after(() => database.close());

async function read(scanId = 's', limits = READ_LIMITS): Promise<readonly StoredSpan[]> {
  return (await spanReader(pool, limits).scanSpans(DEFAULT_TENANT, scanId)).spans;
}

const ids = (spans: readonly StoredSpan[]): string => spans.map(({ spanId }) => spanId).join(' ');

/** Stores one span of the scan and reads it back. */
async function roundTrip(row: Omit<SpanRow, 'span_id'>): Promise<StoredSpan> {
  await insertSpans(pool, [{ span_id: 'a', scan_id: 's', ...row }]);
  const [span] = await read();
  assert.ok(span !== undefined);
  return span;
}

spanTree('reads every trace of the scan whole, and no other', async () => {
  await insertSpans(pool, [
    { trace_id: 'x', span_id: 'x1', scan_id: 's' },
    { trace_id: 'x', span_id: 'x2' },
    { trace_id: 'x', span_id: 'x3', scan_id: 'another' },
    { trace_id: 'y', span_id: 'y1' },
    { trace_id: 'y', span_id: 'y2', scan_id: 's' },
    { trace_id: 'z', span_id: 'z1', scan_id: 'another' },
    { trace_id: 'w', span_id: 'w1' },
  ]);
  assert.equal(ids(await read()), 'x1 x2 x3 y1 y2');
});

spanTree('finds a trace on both sides of midnight', async () => {
  await insertSpans(pool, [
    { span_id: 'after', started_at: '2026-05-09 00:00:01Z' },
    { span_id: 'before', started_at: '2026-05-08 23:59:59Z', scan_id: 's' },
  ]);
  assert.equal(ids(await read()), 'before after');
});

spanTree('shows a tenant nothing of another with equal scan, trace and span ids', async () => {
  await insertSpans(pool, [
    { span_id: 'a', scan_id: 's', name: 'ours' },
    { span_id: 'a', scan_id: 's', name: 'theirs', org_id: 'other' },
    { span_id: 'b', scan_id: 's', name: 'theirs', workspace_id: 'other' },
    { span_id: 'c', name: 'theirs', org_id: 'other' },
    { trace_id: 'only theirs', span_id: 'd', scan_id: 's', org_id: 'other' },
    { trace_id: 'only theirs', span_id: 'e', name: 'ours, of a trace that is no scan of ours' },
  ]);
  const spans = await read();
  assert.deepEqual(
    spans.map(({ name }) => name),
    ['ours'],
  );
  const other = { orgId: 'other', workspaceId: 'default', targetId: undefined };
  const { spans: theirs } = await spanReader(pool).scanSpans(other, 's');
  assert.equal(ids(theirs), 'a c d');
});

spanTree('orders by nanoseconds, then span id by code points, then trace id', async () => {
  const late = { scan_id: 's', started_at: '2026-05-08 03:00:00.000001Z' };
  await insertSpans(pool, [
    { ...late, span_id: 'e', started_ns_rest: 2 },
    { ...late, span_id: 'f', started_ns_rest: 1 },
    { ...late, span_id: 'é' },
    { ...late, span_id: 'b' },
    { ...late, span_id: 'B' },
    { ...late, span_id: 'a', trace_id: 't2' },
    { ...late, span_id: 'a', trace_id: 't1' },
    { scan_id: 's', span_id: 'z' },
  ]);
  const spans = await read();
  assert.equal(ids(spans), 'z B a a b é f e');
  assert.deepEqual([spans[2]?.traceId, spans[3]?.traceId], ['t1', 't2']);
});

const TIMES: readonly (readonly [row: Partial<SpanRow>, startedAt: string, endedAt: string | null])[] = [
  [{ ended_at: '2026-05-08 03:00:01Z', duration_ns: '1000000000' }, '03:00:00.000Z', '03:00:01.000Z'],
  [{ started_at: '2026-05-08 03:00:00.12Z' }, '03:00:00.120Z', null],
  [{ started_at: '2026-05-08 03:00:00.1234Z' }, '03:00:00.123400Z', null],
  [{ started_at: '2026-05-08 03:00:00.123456Z', started_ns_rest: 7 }, '03:00:00.123456007Z', null],
  [{ started_at: '2026-05-08 05:00:00.5+02', started_ns_rest: 70 }, '03:00:00.500000070Z', null],
  [
    { started_ns_rest: 999, ended_at: '2026-05-08 03:00:00.000001Z', duration_ns: '1' },
    '03:00:00.000000999Z',
    '03:00:00.000001Z',
  ],
  [
    { started_ns_rest: 1, ended_at: '2026-05-08 03:00:00.000002Z', duration_ns: '2041' },
    '03:00:00.000000001Z',
    '03:00:00.000002042Z',
  ],
  [
    { started_ns_rest: 1, ended_at: '2026-05-08 02:59:59.999999Z', duration_ns: '-2' },
    '03:00:00.000000001Z',
    '02:59:59.999999999Z',
  ],
  [
    { started_ns_rest: 1, ended_at: '2026-05-08 02:59:59.999999Z', duration_ns: '0' },
    '03:00:00.000000001Z',
    '02:59:59.999999Z',
  ],
  [{ started_ns_rest: 5, ended_at: '2026-05-08 03:00:00.5Z' }, '03:00:00.000000005Z', '03:00:00.500Z'],
];

for (const [row, startedAt, endedAt] of TIMES) {
  spanTree(`prints ${startedAt} to ${endedAt ?? 'no end'} as precisely as it is known`, async () => {
    const span = await roundTrip(row);
    assert.equal(span.startedAt, `2026-05-08T${startedAt}`);
    assert.equal(span.endedAt, endedAt === null ? null : `2026-05-08T${endedAt}`);
  });
}

spanTree('prints the first and the last time that OTLP can say', async () => {
  assert.equal((await roundTrip({ started_at: '1970-01-01 00:00:00Z' })).startedAt, '1970-01-01T00:00:00.000Z');
  await pool.query('TRUNCATE otel_spans');
  const last = await roundTrip({ started_at: '2554-07-21 23:34:33.709551Z', started_ns_rest: 615 });
  assert.equal(last.startedAt, '2554-07-21T23:34:33.709551615Z');
});

spanTree('prints an end that no bigint of nanoseconds leads to', async () => {
  const span = await roundTrip({
    started_at: '1970-01-01 00:00:00Z',
    started_ns_rest: 1,
    ended_at: '2554-07-21 23:34:33.709551Z',
    duration_ns: '9223372036854775807',
  });
  assert.equal(span.endedAt, '2554-07-21T23:34:33.709551Z');
});

spanTree('keeps integers and attributes as the database prints them', async () => {
  const attributes = { n: 1, text: 'ü "\\ \u2028' };
  const span = await roundTrip({ duration_ns: '9223372036854775807', attributes });
  assert.equal(span.durationNs, '9223372036854775807');
  assert.deepEqual(JSON.parse(span.attributes), attributes);
});

spanTree('does not depend on the session', async () => {
  await insertSpans(pool, [{ span_id: 'a', scan_id: 's' }]);
  const url = new URL(database.url);
  url.searchParams.set('options', '-c TimeZone=Asia/Kolkata -c DateStyle=German -c IntervalStyle=sql_standard');
  const foreign = createPool({ url: url.href, max: 1, applicationName: 'test', statementTimeoutMs: 5_000 });
  const { spans } = await spanReader(foreign).scanSpans(DEFAULT_TENANT, 's');
  await foreign.end();
  assert.equal(spans[0]?.startedAt, '2026-05-08T03:00:00.000Z');
});

const HOSTILE_SCAN_IDS: readonly string[] = [
  "'; DROP TABLE otel_spans; --",
  "' OR '1'='1",
  '$1',
  '\\',
  '%',
  '_',
  '{s}',
  '日本語 🔎 ne\u0301',
  '\u202Ereversed',
];

for (const scanId of HOSTILE_SCAN_IDS) {
  spanTree(`takes ${JSON.stringify(scanId)} for a scan id like any other`, async () => {
    await insertSpans(pool, [
      { trace_id: 'its', span_id: 'its', scan_id: scanId },
      { trace_id: 'other', span_id: 'other', scan_id: 's' },
    ]);
    assert.equal(ids(await read(scanId)), 'its');
    assert.equal(ids(await read()), 'other');
  });
}

spanTree('an unknown scan has no spans', async () => {
  assert.deepEqual(await spanReader(pool).scanSpans(DEFAULT_TENANT, 's'), { spans: [], truncated: false });
});

spanTree('keeps the first spans of a scan that is over the limit, and says so', async () => {
  await insertSpans(
    pool,
    Array.from({ length: 6 }, (_, at) => ({
      span_id: `a${at}`,
      scan_id: 's',
      started_at: `2026-05-08 03:00:0${5 - at}Z`,
      attributes: { text: 'x'.repeat(1_000) },
    })),
  );
  const reads = [
    { limits: { spans: 6 }, kept: 'a5 a4 a3 a2 a1 a0', truncated: false },
    { limits: { spans: 5 }, kept: 'a5 a4 a3 a2 a1', truncated: true },
    { limits: { textChars: 3_500 }, kept: 'a5 a4 a3', truncated: true },
    { limits: { textChars: 10 }, kept: 'a5', truncated: true },
  ];
  for (const { limits, kept, truncated } of reads) {
    const answer = await spanReader(pool, { ...READ_LIMITS, ...limits }).scanSpans(DEFAULT_TENANT, 's');
    assert.equal(ids(answer.spans), kept);
    assert.equal(answer.truncated, truncated);
  }
});

spanTree('reads more rows than it fetches at a time', async () => {
  for (const count of [1_000, 2_001]) {
    const scanId = `of ${count}`;
    const row = (_: unknown, at: number): SpanRow => ({ trace_id: scanId, span_id: `${at}`, scan_id: scanId });
    await insertSpans(pool, Array.from({ length: count }, row));
    assert.equal(new Set((await read(scanId)).map(({ spanId }) => spanId)).size, count);
  }
});

/** Runs `during` while every read of the table waits. */
async function whileLocked(during: () => Promise<void>): Promise<void> {
  const client = await pool.connect();
  try {
    await client.query('BEGIN; LOCK TABLE otel_spans IN ACCESS EXCLUSIVE MODE');
    await during();
  } finally {
    await client.query('ROLLBACK');
    client.release();
  }
}

spanTree('gives up on a server that takes too long, and reads on afterwards', async () => {
  await insertSpans(pool, [{ span_id: 'a', scan_id: 's' }]);
  await whileLocked(async () => {
    await assert.rejects(read('s', { ...READ_LIMITS, timeoutMs: 100 }), (error: unknown) => {
      assert.ok(error instanceof RetryableError);
      assert.match(error.message, /within 0\.1 s/);
      return true;
    });
  });
  assert.equal(ids(await read()), 'a');
});

spanTree('survives losing its connection in the middle of a read', async () => {
  await insertSpans(pool, [{ span_id: 'a', scan_id: 's' }]);
  await whileLocked(async () => {
    const reading = assert.rejects(read(), RetryableError);
    let ended = 0;
    while (ended === 0) {
      const waiting = `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
        WHERE datname = current_database() AND wait_event_type = 'Lock'`;
      ended = (await pool.query(waiting)).rows.length;
    }
    await reading;
  });
  assert.equal(ids(await read()), 'a');
});

spanTree('a database that is away is a retryable failure without its address', async () => {
  const away = createPool({
    url: 'postgres://127.0.0.1:1/none',
    max: 1,
    applicationName: 'test',
    statementTimeoutMs: 1,
  });
  await assert.rejects(spanReader(away).scanSpans(DEFAULT_TENANT, 's'), (error: unknown) => {
    assert.ok(error instanceof RetryableError);
    assert.doesNotMatch(error.message, /127/);
    return true;
  });
  await away.end();
});

spanTree.run();
