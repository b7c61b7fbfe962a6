import assert from 'node:assert/strict';
import { suite } from 'uvu';
import { rowFormat } from '../../src/store/formats.ts';
import { fieldsOf, piecesOf } from '../../src/store/row_pieces.ts';
import { decodeRow } from '../../src/store/row_values.ts';
import type { Signal } from '../../src/model/batch.ts';
import { FULL_TRACE, LOG, METRICS } from '../otlp/golden_vectors.ts';
import { testDatabase, type TestDatabase } from '../support/postgres.ts';
import { encodeRows, recordOf, storeAlone } from './row_store.ts';
import { spanRecord } from './span_records.ts';

const Values = suite('row values');
let database: TestDatabase;

Values.before(async () => {
  database = await testDatabase();
});
Values.after(() => database.close());

const samples: readonly (readonly [signal: Signal, request: Uint8Array])[] = [
  ['traces', FULL_TRACE],
  ['logs', LOG],
  ['metrics', METRICS],
];

/** As PostgreSQL prints a time, and bigints as they are shown, also inside JSON. */
function printed(value: unknown): unknown {
  if (typeof value === 'bigint') return Number.isSafeInteger(Number(value)) ? Number(value) : String(value);
  if (typeof value === 'string') return value.replace(/^(\S+) (\d\d:\d\d:\d\d)(\.\d+)?\+00$/, isoTime);
  if (Array.isArray(value)) return value.map(printed);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, printed(inner)]));
}

function isoTime(_: string, day: string, time: string, fraction = '.'): string {
  return `${day}T${time}${fraction.padEnd(7, '0')}Z`;
}

for (const [signal, bytes] of samples) {
  Values(`a row of ${signal} reads as the database reads it, column by column`, async () => {
    const record = recordOf({ signal, ...(await encodeRows(signal, bytes)) });
    const columns = rowFormat(record.format)?.columns ?? [];
    const decoded = [...piecesOf(record)].map((piece) => decodeRow(record.format, piece.bytes));
    const stored = (await storeAlone(database.pool, signal, bytes)).map((row) =>
      Object.fromEntries(columns.map((column) => [column, printed(row[column])])),
    );
    assert.deepEqual(inAnyOrder(decoded), inAnyOrder(stored));
  });
}

function inAnyOrder(rows: readonly unknown[]): unknown[] {
  return rows.toSorted((a, b) => (JSON.stringify(a) < JSON.stringify(b) ? -1 : 1));
}

Values('integers that a double does not hold are shown as text, also inside JSON', async () => {
  const [row] = [...piecesOf(await spanRecord(['a']))];
  const columns = rowFormat('spans/1')?.columns ?? [];
  const fields = fieldsOf(row?.bytes ?? new Uint8Array()) ?? [];
  const count = Buffer.alloc(2);
  count.writeInt16BE(fields.length);
  const parts = fields.map((field, i) => {
    const content = columns[i] === 'attributes' ? Buffer.from('\x01{"a":9007199254740993,"b":1.5}') : field;
    const length = Buffer.alloc(4);
    length.writeInt32BE(content?.length ?? -1);
    return Buffer.concat([length, content ?? Buffer.alloc(0)]);
  });
  const decoded = decodeRow('spans/1', Buffer.concat([count, ...parts]));
  assert.deepEqual(decoded?.['attributes'], { a: '9007199254740993', b: 1.5 });
});

Values('what is not of its type is shown as hex', async () => {
  const { bytes } = await spanRecord(['a']);
  const broken = Buffer.from(bytes);
  const at = broken.indexOf('{');
  broken[at] = 0x5b;
  const decoded = decodeRow('spans/1', broken);
  assert.match(String(decoded?.['attributes']), /^\\x01/);
  assert.equal(decoded?.['name'], 'a');
});

Values('bytes that are no row, two rows, or of a format of a later program', async () => {
  const { bytes } = await spanRecord(['a']);
  for (const none of [Buffer.alloc(0), Buffer.from('x'), bytes.subarray(0, -1), Buffer.concat([bytes, bytes])]) {
    assert.equal(decodeRow('spans/1', none), undefined);
  }
  assert.equal(decodeRow('logs/1', bytes), undefined);
  assert.equal(decodeRow('spans/99', bytes), undefined);
});

Values.run();

const Pieces = suite('row pieces');

Pieces('the rows of a record, one item each, and together all its bytes', async () => {
  const record = await spanRecord(['a', 'b', 'c']);
  const pieces = [...piecesOf(record)];
  assert.deepEqual(
    pieces.map(({ bytes, items }) => [decodeRow('spans/1', bytes)?.['name'], items]),
    [
      ['a', 1],
      ['b', 1],
      ['c', 1],
    ],
  );
  assert.deepEqual(Buffer.concat(pieces.map(({ bytes }) => bytes)), record.bytes);
  assert.deepEqual([...piecesOf({ bytes: new Uint8Array(), items: 0 })], []);
});

Pieces('cut anywhere, every byte is in one piece and the items add up', async () => {
  const { bytes, items } = await spanRecord(['a', 'b']);
  for (let length = 1; length < bytes.length; length++) {
    const pieces = [...piecesOf({ bytes: bytes.subarray(0, length), items })];
    assert.deepEqual(Buffer.concat(pieces.map((piece) => piece.bytes)), bytes.subarray(0, length));
    const counted = pieces.reduce((sum, piece) => sum + piece.items, 0);
    assert.equal(counted, length === bytes.length >> 1 ? 1 : items);
  }
});

Pieces('lengths that lie lead nowhere', () => {
  for (const hex of ['ffff', '7fff', '00017fffffff', '000180000000', '0001ffffffff', '0000']) {
    const bytes = Buffer.from(hex, 'hex');
    const pieces = [...piecesOf({ bytes, items: 5 })];
    assert.deepEqual(Buffer.concat(pieces.map((piece) => piece.bytes)), bytes);
  }
});

Pieces.run();
