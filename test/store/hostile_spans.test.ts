import assert from 'node:assert/strict';
import { isDeepStrictEqual } from 'node:util';
import * as fc from 'fast-check';
import { suite } from 'uvu';
import type { StoredRow } from '../support/gateway.ts';
import { any, attribute, field, request, spanIds } from '../support/otlp_messages.ts';
import { testDatabase, type TestDatabase } from '../support/postgres.ts';
import { storable, storeAlone } from './row_store.ts';

const hostile = suite('hostile spans');
let database: TestDatabase;

hostile.before(async () => {
  database = await testDatabase();
});
hostile.after(() => database.close());

const ATTRIBUTES = 9;
const INT64_MAX = 2n ** 63n - 1n;

const span = (number: number, ...fields: readonly Uint8Array[]): Buffer => Buffer.concat([spanIds(number), ...fields]);

function stored(...spans: readonly Uint8Array[]): Promise<StoredRow[]> {
  return storeAlone(database.pool, 'traces', request(spans));
}

/** The attributes column of a span with these attributes. */
async function storedAttributes(
  ...attributes: readonly (readonly [string | Uint8Array, Uint8Array])[]
): Promise<unknown> {
  const sent = attributes.map(([key, value]) => attribute(ATTRIBUTES, key, value));
  const [row] = await stored(span(1, ...sent));
  return row?.['attributes'];
}

const NESTING = 64;

/** A value whose innermost part lies so many levels deep, lists and maps in turn. */
function nested(levels: number): { wire: Buffer; value: unknown } {
  let wire: Buffer = any.string('core');
  let value: unknown = 'core';
  for (let level = 1; level < levels; level++) {
    wire = level % 2 === 0 ? any.array(wire) : any.kvlist(['k', wire]);
    value = level % 2 === 0 ? [value] : { k: value };
  }
  return { wire, value };
}

const deep = nested(NESTING);

/** What is sent, and what the attributes column then holds. */
const values: readonly (readonly [what: string, sent: Uint8Array, column: unknown])[] = [
  ['NUL in a string', any.string('a\0b'), 'a\uFFFDb'],
  ['an escaped NUL that is only text', any.string('\\u0000'), '\\u0000'],
  [
    'control characters, quotes and backslashes',
    any.string('\u0001\b\t\n\f\r\u001f"\\/\u007f'),
    '\u0001\b\t\n\f\r\u001f"\\/\u007f',
  ],
  ['a lone surrogate in UTF-8', any.string(Buffer.from('61eda08062', 'hex')), 'a\uFFFD\uFFFD\uFFFDb'],
  ['a truncated character', any.string(Buffer.from('61e4bd', 'hex')), 'a\uFFFD'],
  ['bytes that are never UTF-8', any.string(Buffer.from('fffe', 'hex')), '\uFFFD\uFFFD'],
  ['an overlong encoding', any.string(Buffer.from('c080e08080f0808080', 'hex')), '\uFFFD'.repeat(9)],
  ['a character beyond U+10FFFF', any.string(Buffer.from('f4908080', 'hex')), '\uFFFD'.repeat(4)],
  ['the last character there is', any.string('\u{10FFFF}'), '\u{10FFFF}'],
  ['a byte order mark', any.string('\uFEFFa'), '\uFEFFa'],
  ['an empty string', any.string(''), ''],
  ['the smallest int64', any.int(-(2n ** 63n)), -(2n ** 63n)],
  ['the largest int64', any.int(INT64_MAX), INT64_MAX],
  ['an integer beyond the exact doubles', any.int(2n ** 53n + 1n), 2n ** 53n + 1n],
  ['-1', any.int(-1), -1],
  ['NaN', any.double(Number.NaN), 'NaN'],
  ['infinity', any.double(Infinity), 'Infinity'],
  ['minus infinity', any.double(-Infinity), '-Infinity'],
  ['minus zero, which jsonb does not tell from zero', any.double(-0), 0],
  ['the largest double', any.double(Number.MAX_VALUE), 17_976_931_348_623_157n * 10n ** 292n],
  ['the smallest double', any.double(Number.MIN_VALUE), Number.MIN_VALUE],
  ['a fraction', any.double(0.1), 0.1],
  ['true', any.bool(true), true],
  ['bytes', any.bytes(Buffer.from('00ff10', 'hex')), 'AP8Q'],
  ['no bytes', any.bytes(Buffer.alloc(0)), ''],
  ['an empty value', any.empty, null],
  ['a value of a kind to come', field(8, 'x'), null],
  ['two values, of which the last counts', Buffer.concat([any.string('a'), any.int(5)]), 5],
  [
    'a mixed list',
    any.array(any.string('x'), any.empty, any.int(1), any.array(), any.kvlist()),
    ['x', null, 1, [], {}],
  ],
  ['a map with NUL in a key', any.kvlist(['a\0', any.int(1)]), { 'a\uFFFD': 1 }],
  ['a map with a key twice', any.kvlist(['k', any.int(1)], ['k', any.string('last')]), { k: 'last' }],
  ['the deepest nesting', deep.wire, deep.value],
];
for (const [what, sent, column] of values) {
  hostile(`an attribute: ${what}`, async () => {
    assert.deepEqual(await storedAttributes(['key', sent], ['next', any.int(1)]), { key: column, next: 1 });
  });
}

hostile('of equal keys the last counts, whatever the types', async () => {
  const attributes = await storedAttributes(['k', any.int(1)], ['other', any.int(2)], ['k', any.array(any.int(3))]);
  assert.deepEqual(attributes, { k: [3], other: 2 });
});

hostile('keys may be empty, hold NUL and bytes that are not UTF-8, or be names of JavaScript', async () => {
  const attributes = await storedAttributes(
    ['', any.int(1)],
    ['a\0', any.int(2)],
    [Buffer.from('62ff', 'hex'), any.int(3)],
    ['constructor', any.int(4)],
  );
  assert.deepEqual(attributes, { '': 1, 'a\uFFFD': 2, 'b\uFFFD': 3, constructor: 4 });
});

hostile('NUL and broken UTF-8 in every text column', async () => {
  const bytes = Buffer.from('61006280ff63', 'hex');
  const text = storable(bytes);
  const scope = Buffer.concat([field(1, bytes), field(2, bytes)]);
  const sent = span(
    1,
    field(3, bytes),
    field(5, bytes),
    field(15, field(2, bytes)),
    field(11, field(2, bytes)),
    field(13, field(3, bytes)),
  );
  const resource = attribute(1, 'service.name', any.string(bytes));
  const [row = {}] = await storeAlone(database.pool, 'traces', request([sent], { scope, resource }));
  for (const column of ['trace_state', 'name', 'status_message', 'scope_name', 'scope_version', 'service_name']) {
    assert.equal(row[column], text, column);
  }
  assert.deepEqual(row['events'], [{ time_unix_nano: 0, name: text, attributes: {} }]);
  assert.deepEqual(row['links'], [{ trace_id: '', span_id: '', trace_state: text, attributes: {} }]);
});

hostile('any bytes as a key, a value and a name are stored as their text', async () => {
  const property = fc.asyncProperty(
    fc.array(fc.uint8Array({ maxLength: 60 }), { minLength: 20, maxLength: 60 }),
    async (texts) => {
      const rows = await stored(
        ...texts.map((bytes, at) => span(at, field(5, bytes), attribute(ATTRIBUTES, bytes, any.string(bytes)))),
      );
      assert.deepEqual(
        rows.map(({ name, attributes }) => ({ name, attributes })),
        texts.map((bytes) => ({ name: storable(bytes), attributes: { [storable(bytes)]: storable(bytes) } })),
      );
    },
  );
  await fc.assert(property, { numRuns: 15 });
});

hostile('any text that is UTF-8 is stored as it is, at any length around the writer’s windows', async () => {
  const unit = fc.constantFrom('a', '"', '\\', '\u0001', 'é', '€', '😀');
  const length = fc.constantFrom(1, 1021, 1022, 1023, 1024, 1025, 2047, 2048, 6143, 6144, 6145);
  const property = fc.asyncProperty(
    fc.array(fc.tuple(unit, length, unit), { minLength: 10, maxLength: 20 }),
    async (parts) => {
      const texts = parts.map(([one, count, other]) => one.repeat(count) + other + one);
      const rows = await stored(
        ...texts.map((text, at) => span(at, field(5, text), attribute(ATTRIBUTES, 'v', any.string(text)))),
      );
      assert.deepEqual(
        rows.map(({ name, attributes }) => ({ name, attributes })),
        texts.map((text) => ({ name: text, attributes: { v: text } })),
      );
    },
  );
  await fc.assert(property, { numRuns: 10 });
});

hostile('a span with 10,000 attributes', async () => {
  const attributes = Array.from({ length: 10_000 }, (_, i) => [`key.${i}`, any.int(i)] as const);
  const expected = Object.fromEntries(attributes.map(([key], i) => [key, i]));
  assert.deepEqual(await storedAttributes(...attributes), expected);
});

hostile('a value of 5 MB, and its neighbours', async () => {
  const huge = 'é"'.repeat(1_750_000);
  const rows = await stored(span(1), span(2, attribute(ATTRIBUTES, 'v', any.string(huge))), span(3));
  assert.equal(rows.length, 3);
  assert.ok(isDeepStrictEqual(rows[1]?.['attributes'], { v: huge }));
});

hostile('texts far beyond the size of an index entry', async () => {
  const long = Buffer.from(Array.from({ length: 100_000 }, (_, i) => 97 + ((i * i) % 26)));
  const text = long.toString();
  const scope = Buffer.concat([field(1, long), field(2, long)]);
  const resource = attribute(1, 'service.name', any.string(long));
  const sent = span(
    1,
    field(3, long),
    field(5, long),
    field(15, field(2, long)),
    attribute(ATTRIBUTES, long, any.string(long)),
  );
  const [row = {}] = await storeAlone(database.pool, 'traces', request([sent], { scope, resource }));
  for (const column of ['trace_state', 'name', 'status_message', 'scope_name', 'scope_version', 'service_name']) {
    assert.ok(row[column] === text, column);
  }
});

hostile.run();
