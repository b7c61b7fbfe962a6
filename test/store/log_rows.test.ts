import assert from 'node:assert/strict';
import * as fc from 'fast-check';
import { suite } from 'uvu';
import { any, attribute, field, fixed32, fixed64, request, varint } from '../support/otlp_messages.ts';
import { timestamptz, type StoredRow } from '../support/gateway.ts';
import { testDatabase, type TestDatabase } from '../support/postgres.ts';
import { RECEIVED_AT, storable, storeAlone } from './row_store.ts';

const LogRows = suite('log rows');
let database: TestDatabase;

LogRows.before(async () => {
  database = await testDatabase();
});
LogRows.after(() => database.close());

const TIME = 1_544_712_660_300_000_123n;
const UINT64_MAX = 2n ** 64n - 1n;

async function storedOne(...fields: readonly Uint8Array[]): Promise<StoredRow> {
  const [row, ...more] = await storeAlone(database.pool, 'logs', request([Buffer.concat(fields)]));
  assert.ok(row);
  assert.equal(more.length, 0);
  return row;
}

LogRows('an empty log record has a value in every required column and NULL in the others', async () => {
  const given = Object.entries(await storedOne()).filter(([, value]) => value !== null);
  assert.deepEqual(Object.fromEntries(given), {
    ts: RECEIVED_AT,
    ts_ns_rest: 0,
    attributes: {},
    org_id: 'default',
    workspace_id: 'default',
    received_at: RECEIVED_AT,
  });
});

LogRows('every field has its column', async () => {
  const traceId = Buffer.alloc(16, 0xab);
  const row = await storedOne(
    fixed64(1, TIME),
    varint(2, 17),
    field(3, 'ERROR'),
    field(5, any.string('it broke')),
    attribute(6, 'k', any.string('v')),
    varint(7, 2),
    fixed32(8, 1),
    field(9, traceId),
    field(10, Buffer.alloc(8, 0xcd)),
    fixed64(11, TIME + 1n),
    field(12, 'app.broken'),
  );
  const given = Object.entries(row).filter(([, value]) => value !== null);
  assert.deepEqual(Object.fromEntries(given), {
    ts: '2018-12-13 14:51:00.3+00',
    ts_ns_rest: 123,
    observed_at: '2018-12-13 14:51:00.3+00',
    observed_ns_rest: 124,
    trace_id: 'ab'.repeat(16),
    span_id: 'cd'.repeat(8),
    severity_number: 17,
    severity_text: 'ERROR',
    body: 'it broke',
    event_name: 'app.broken',
    flags: 1n,
    attributes: { k: 'v' },
    dropped_attributes_count: 2n,
    org_id: 'default',
    workspace_id: 'default',
    received_at: RECEIVED_AT,
  });
});

const bodies: readonly (readonly [what: string, sent: Uint8Array, body: string | null, json: unknown])[] = [
  ['a string', any.string('plain "text"'), 'plain "text"', null],
  ['an empty string', any.string(''), '', null],
  ['a string with NUL and broken UTF-8', any.string(Buffer.from('6100ff', 'hex')), 'a\uFFFD\uFFFD', null],
  ['nothing', any.empty, null, null],
  ['an integer', any.int(2n ** 63n - 1n), '9223372036854775807', 2n ** 63n - 1n],
  ['NaN', any.double(Number.NaN), '"NaN"', 'NaN'],
  ['false', any.bool(false), 'false', false],
  ['bytes', any.bytes(Buffer.from('00ff', 'hex')), '"AP8="', 'AP8='],
  ['a list', any.array(any.string('a'), any.int(1)), '["a",1]', ['a', 1]],
  ['a map with NUL', any.kvlist(['a\0', any.string('b\0')]), '{"a\uFFFD":"b\uFFFD"}', { 'a\uFFFD': 'b\uFFFD' }],
];
for (const [what, sent, body, json] of bodies) {
  LogRows(`a body: ${what}`, async () => {
    const row = await storedOne(field(5, sent));
    assert.equal(row['body'], body);
    assert.deepEqual(row['body_json'], json);
  });
}

for (const [wire, column] of [
  [0, null],
  [1, 1],
  [24, 24],
  [25, 25],
  [32_768, 32_767],
  [-1, 32_767],
] as const) {
  LogRows(`severity ${wire} is stored as ${column}`, async () => {
    assert.equal((await storedOne(varint(2, wire)))['severity_number'], column);
  });
}

LogRows('all-zero ids are no ids', async () => {
  const row = await storedOne(field(9, Buffer.alloc(16)), field(10, Buffer.alloc(8)));
  assert.equal(row['trace_id'], null);
  assert.equal(row['span_id'], null);
});

LogRows('any times: when it happened, else when it was observed, else when it arrived', async () => {
  const edge = fc.constantFrom(0n, 1n, 2n ** 63n, UINT64_MAX);
  const time = fc.oneof(edge, fc.bigInt({ min: 0n, max: UINT64_MAX }));
  const property = fc.asyncProperty(
    fc.array(fc.tuple(time, time), { minLength: 20, maxLength: 100 }),
    async (pairs) => {
      const sent = pairs.map(([at, observed], i) =>
        Buffer.concat([fixed64(1, at), fixed64(11, observed), varint(7, i + 1)]),
      );
      const rows = await storeAlone(database.pool, 'logs', request(sent));
      assert.deepEqual(
        rows.map(({ ts, ts_ns_rest, observed_at, observed_ns_rest }) => ({
          ts,
          ts_ns_rest,
          observed_at,
          observed_ns_rest,
        })),
        pairs.map(([at, observed]) => expectedTimes(at, observed)),
      );
    },
  );
  await fc.assert(property, { numRuns: 10 });
});

function expectedTimes(at: bigint, observed: bigint) {
  const time = at === 0n ? observed : at;
  return {
    ts: time === 0n ? RECEIVED_AT : timestamptz(time),
    ts_ns_rest: Number(time % 1000n),
    observed_at: observed === 0n ? null : timestamptz(observed),
    observed_ns_rest: observed === 0n ? null : Number(observed % 1000n),
  };
}

LogRows('any bytes and any length in the text columns', async () => {
  const long = 'long '.repeat(30_000);
  const bytes = Buffer.concat([Buffer.from('6100ff', 'hex'), Buffer.from(long)]);
  const row = await storedOne(field(3, bytes), field(12, bytes), field(5, any.string(bytes)));
  for (const column of ['severity_text', 'event_name', 'body']) assert.ok(row[column] === storable(bytes), column);
});

LogRows.run();
