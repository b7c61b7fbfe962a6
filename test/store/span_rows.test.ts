import assert from 'node:assert/strict';
import * as fc from 'fast-check';
import { suite } from 'uvu';
import { any, attribute, field, fixed32, fixed64, request, spanIds, varint } from '../support/otlp_messages.ts';
import { timestamptz, type StoredRow } from '../support/gateway.ts';
import { testDatabase, type TestDatabase } from '../support/postgres.ts';
import { RECEIVED_AT, storeAlone } from './row_store.ts';

const START = 1_544_712_660_000_000_123n;
const UINT64_MAX = 2n ** 64n - 1n;
const INT64_MAX = 2n ** 63n - 1n;

let database: TestDatabase;

function spanRows(name: string) {
  const test = suite(name);
  test.before(async () => {
    database = await testDatabase();
  });
  test.after(() => database.close());
  return test;
}

const span = (number: number, ...fields: readonly Uint8Array[]): Buffer => Buffer.concat([spanIds(number), ...fields]);

function stored(...spans: readonly Uint8Array[]): Promise<StoredRow[]> {
  return storeAlone(database.pool, 'traces', request(spans));
}

async function storedOne(...fields: readonly Uint8Array[]): Promise<StoredRow> {
  const [row, ...more] = await stored(span(1, ...fields));
  assert.ok(row);
  assert.equal(more.length, 0);
  return row;
}

const shape = spanRows('span rows');

shape('a span with nothing but its ids has a value in every required column and NULL in the others', async () => {
  const row = await storedOne();
  const given = Object.entries(row).filter(([, value]) => value !== null);
  assert.deepEqual(Object.fromEntries(given), {
    trace_id: '5b8efff798038103d269b633813fc60c',
    span_id: 'eee19b7e00000001',
    name: '',
    kind: 0,
    started_at: '1970-01-01 00:00:00+00',
    started_ns_rest: 0,
    status_code: 0,
    attributes: {},
    org_id: 'default',
    workspace_id: 'default',
    received_at: RECEIVED_AT,
  });
});

shape('an all-zero parent id is no parent', async () => {
  const rows = await stored(
    span(1, field(4, Buffer.alloc(8))),
    span(2, field(4, Buffer.from('0102030405060708', 'hex'))),
  );
  assert.deepEqual(
    rows.map((row) => row['parent_span_id']),
    [null, '0102030405060708'],
  );
});

const kinds: readonly (readonly [wire: number, column: number])[] = [
  [0, 0],
  [1, 0],
  [2, 1],
  [3, 2],
  [4, 3],
  [5, 4],
  [6, 5],
  [32_768, 32_767],
  [32_769, 32_767],
  [2 ** 31 - 1, 32_767],
  [-1, 32_767],
];
for (const [wire, column] of kinds) {
  shape(`kind ${wire} on the wire is ${column} in the table`, async () => {
    assert.equal((await storedOne(varint(6, wire)))['kind'], column);
  });
}

for (const [wire, column] of [
  [0, 0],
  [1, 1],
  [2, 2],
  [3, 3],
  [32_768, 32_767],
  [-1, 32_767],
] as const) {
  shape(`status code ${wire} is stored as ${column}`, async () => {
    assert.equal((await storedOne(field(15, varint(3, wire))))['status_code'], column);
  });
}

shape('flags and dropped counts keep all their 32 bits', async () => {
  const most = 2 ** 32 - 1;
  const row = await storedOne(fixed32(16, most), varint(10, most), varint(12, most), varint(14, most));
  for (const column of ['flags', 'dropped_attributes_count', 'dropped_events_count', 'dropped_links_count']) {
    assert.equal(row[column], BigInt(most), column);
  }
});

shape('events and links are lists in the order sent, with what each of them has', async () => {
  const traceId = Buffer.alloc(16, 1);
  const row = await storedOne(
    field(11, fixed64(1, UINT64_MAX), field(2, 'first'), attribute(3, 'k', any.int(1)), varint(4, 9)),
    field(11),
    field(
      13,
      field(1, traceId),
      field(2, Buffer.alloc(8, 2)),
      field(3, 'a=b'),
      attribute(4, 'k', any.bool(true)),
      varint(5, 3),
      fixed32(6, 257),
    ),
    field(13),
  );
  assert.deepEqual(row['events'], [
    { time_unix_nano: UINT64_MAX, name: 'first', attributes: { k: 1 }, dropped_attributes_count: 9 },
    { time_unix_nano: 0, name: '', attributes: {} },
  ]);
  assert.deepEqual(row['links'], [
    {
      trace_id: '01'.repeat(16),
      span_id: '02'.repeat(8),
      trace_state: 'a=b',
      attributes: { k: true },
      dropped_attributes_count: 3,
      flags: 257,
    },
    { trace_id: '', span_id: '', attributes: {} },
  ]);
});

shape('resource and scope are stored with every span of theirs', async () => {
  const resource = Buffer.concat([
    attribute(1, 'service.name', any.string('svc')),
    attribute(1, 'n', any.int(1)),
    varint(2, 4),
  ]);
  const scope = Buffer.concat([field(1, 'lib'), field(2, '1.2'), attribute(3, 's', any.bool(false)), varint(4, 5)]);
  const rows = await storeAlone(database.pool, 'traces', request([span(1), span(2)], { resource, scope }));
  assert.equal(rows.length, 2);
  for (const row of rows) {
    assert.equal(row['service_name'], 'svc');
    assert.deepEqual(row['resource'], { 'service.name': 'svc', n: 1 });
    assert.equal(row['resource_dropped_attributes_count'], 4n);
    assert.equal(row['scope_name'], 'lib');
    assert.equal(row['scope_version'], '1.2');
    assert.deepEqual(row['scope_attributes'], { s: false });
    assert.equal(row['scope_dropped_attributes_count'], 5n);
  }
});

shape('a service name that is no string stays in the resource alone', async () => {
  const resource = attribute(1, 'service.name', any.int(7));
  const [row] = await storeAlone(database.pool, 'traces', request([span(1)], { resource }));
  assert.equal(row?.['service_name'], null);
  assert.deepEqual(row['resource'], { 'service.name': 7 });
});

shape.run();

const times = spanRows('span times');

/** What the table should hold of a start and an end, both in nanoseconds since 1970. */
function expectedTimes(start: bigint, end: bigint) {
  const duration = end < start ? 0n : end - start > INT64_MAX ? INT64_MAX : end - start;
  return {
    started_at: timestamptz(start),
    started_ns_rest: Number(start % 1000n),
    ended_at: end === 0n ? null : timestamptz(end),
    duration_ns: end === 0n || start === 0n ? null : duration,
  };
}

function timesOf(row: StoredRow | undefined) {
  const { started_at, started_ns_rest, ended_at, duration_ns } = row ?? {};
  return { started_at, started_ns_rest, ended_at, duration_ns };
}

async function assertTimes(pairs: readonly (readonly [start: bigint, end: bigint])[]): Promise<void> {
  const rows = await stored(...pairs.map(([start, end], at) => span(at, fixed64(7, start), fixed64(8, end))));
  assert.deepEqual(
    rows.map(timesOf),
    pairs.map(([start, end]) => expectedTimes(start, end)),
  );
}

const EDGES = [
  0n,
  1n,
  999n,
  1000n,
  2n ** 32n - 1n,
  2n ** 32n,
  START,
  2n ** 53n * 1000n - 1n,
  2n ** 53n * 1000n,
  INT64_MAX,
  2n ** 63n,
  UINT64_MAX,
];

times('every pair of edge times is stored exactly', async () => {
  await assertTimes(EDGES.flatMap((start) => EDGES.map((end) => [start, end] as const)));
});

times('a time on the wire and the same time left out are one', async () => {
  const rows = await stored(
    span(1, fixed64(8, START)),
    span(2, fixed64(7, 0n), fixed64(8, START)),
    span(3, fixed64(7, START)),
    span(4, fixed64(7, START), fixed64(8, 0n)),
  );
  assert.deepEqual(rows.map(timesOf), [
    expectedTimes(0n, START),
    expectedTimes(0n, START),
    expectedTimes(START, 0n),
    expectedTimes(START, 0n),
  ]);
});

times('any uint64 comes back from the columns exactly', async () => {
  const time = fc.bigInt({ min: 0n, max: UINT64_MAX });
  const pairs = fc.array(fc.tuple(time, time), { minLength: 50, maxLength: 200 });
  await fc.assert(fc.asyncProperty(pairs, assertTimes), { numRuns: 15 });
});

times.run();
