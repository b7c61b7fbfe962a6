import assert from 'node:assert/strict';
import { suite } from 'uvu';
import { Attributes, kvlistWalk, lastField, readAnyValue, type AttributeValue } from '../../src/model/attributes.ts';
import { MalformedError, Reader } from '../../src/model/wire.ts';
import { field, varint, wire } from '../otlp/requests.ts';

const TAG = 0x4a;

const text = (value: string): Buffer => field(1, Buffer.from(value));
const int = (value: number | bigint): Buffer => wire(0x18, varint(value));
const keyValue = (key: string, value: Uint8Array): Buffer => wire(text(key), field(2, value));

/** Attributes in field 9, with other fields between them. */
function attributes(...entries: readonly Uint8Array[]): Attributes {
  const other = wire(field(5, '61'), 0x30, 0x02);
  const bytes = wire(other, ...entries.flatMap((entry) => [field(9, entry), other]));
  const reader = new Reader(bytes);
  const found = new Attributes(bytes, TAG);
  while (reader.pos < bytes.length) {
    const tagAt = reader.pos;
    const tag = reader.tag(bytes.length);
    if (tag === TAG) found.add(reader, tagAt, bytes.length);
    else reader.skipValue(tag, bytes.length);
  }
  return found;
}

const reading = suite('attributes');

reading('none', () => {
  const none = attributes();
  assert.deepEqual([none.count, none.from, none.to, none.get('k'), none.entries()], [0, 0, 0, undefined, new Map()]);
  assert.deepEqual([...none.messages()], []);
  assert.ok(!none.walk().next());
});

const big = 2n ** 63n - 1n;

const VALUES: readonly (readonly [string, Uint8Array, AttributeValue])[] = [
  ['text', text('v'), 'v'],
  ['empty text', text(''), ''],
  ['true', wire(0x10, 0x01), true],
  ['false', wire(0x10, 0x00), false],
  ['true of ten bytes', wire(0x10, '80808080808080808001'), true],
  ['an integer', int(-5), -5],
  ['the largest safe integer', int(2n ** 53n - 1n), 2 ** 53 - 1],
  ['an integer beyond the safe ones', int(2n ** 53n), 2n ** 53n],
  ['the largest integer', int(big), big],
  ['the smallest integer', int(-big - 1n), -big - 1n],
  ['a double', wire(0x21, '000000000000f83f'), 1.5],
  ['minus zero', wire(0x21, '0000000000000080'), -0],
  ['bytes', field(7, '00ff'), Buffer.from('00ff', 'hex')],
  ['an empty value', wire(), null],
  ['an unknown kind of value', field(99, '61'), null],
  ['an empty array', field(5), []],
  ['an array of values of all kinds', field(5, field(1, text('a')), field(1), field(1, int(1))), ['a', null, 1]],
  ['an array with unknown fields', field(5, field(9, '61'), field(1, int(1)), wire(0x10, 0x01)), [1]],
  ['an empty list of keys', field(6), new Map()],
  [
    'a list with a key twice, one without a value and one without a key',
    field(
      6,
      field(1, keyValue('a', int(1))),
      field(1, keyValue('a', int(2))),
      field(1, text('b')),
      field(1, field(2, int(3))),
    ),
    new Map<string, AttributeValue>([
      ['a', 2],
      ['b', null],
      ['', 3],
    ]),
  ],
  [
    'lists in lists',
    field(6, field(1, keyValue('k', field(5, field(1, field(6, field(1, keyValue('l', text('v'))))))))),
    new Map([['k', [new Map([['l', 'v']])]]]),
  ],
];

for (const [name, value, expected] of VALUES) {
  reading(`hold ${name}`, () => {
    const found = attributes(keyValue('before', int(1)), keyValue('k', value), keyValue('after', int(2)));
    assert.deepEqual(found.get('k'), expected);
    assert.deepEqual(
      found.entries(),
      new Map<string, AttributeValue>([
        ['before', 1],
        ['k', expected],
        ['after', 2],
      ]),
    );
    assert.deepEqual(readAnyValue(value, 0, value.length), expected);
  });
}

reading('of a key that occurs twice the last one counts', () => {
  const twice = attributes(keyValue('k', text('first')), keyValue('l', int(1)), keyValue('k', int(2)));
  assert.equal(twice.get('k'), 2);
  assert.equal(twice.count, 3);
  assert.deepEqual(
    [...twice.entries()],
    [
      ['k', 2],
      ['l', 1],
    ],
  );
});

reading('names of object members are keys like others', () => {
  const keys = ['__proto__', 'constructor', '', 'toString'];
  const found = attributes(...keys.map((key) => keyValue(key, text(key))));
  assert.deepEqual([...found.entries().keys()], keys);
  for (const key of keys) assert.equal(found.get(key), key);
  assert.equal(found.get('hasOwnProperty'), undefined);
});

reading('an absent value, an absent key, both', () => {
  const found = attributes(text('k'), field(2, int(1)), wire());
  assert.equal(found.count, 3);
  assert.equal(found.get('k'), null);
  assert.deepEqual(
    [...found.entries()],
    [
      ['k', null],
      ['', null],
    ],
  );
});

reading('parts of one attribute in any order, with unknown fields, and some of them twice', () => {
  const found = attributes(
    wire(field(2, int(1)), field(99, '61'), text('k')),
    wire(text('x'), text('l'), field(2, int(1)), field(2, int(2))),
    wire(text('m'), field(2, int(3)), field(2)),
    wire(text('n'), field(2), field(2, int(4))),
  );
  assert.deepEqual(
    [...found.entries()],
    [
      ['k', 1],
      ['l', 2],
      ['m', 3],
      ['n', 4],
    ],
  );
});

reading('messages come as they came over the wire', () => {
  const entries = [keyValue('k', int(1)), wire(), wire(field(99, '61'), text('l'))];
  assert.deepEqual(
    [...attributes(...entries).messages()].map((part) => Buffer.from(part)),
    entries,
  );
});

reading('a walk stands at the bounds of key and value', () => {
  const walk = attributes(keyValue('key', text('value')), text('alone')).walk();
  assert.ok(walk.next());
  const part = (start: number, end: number): string => Buffer.from(walk.bytes.subarray(start, end)).toString('latin1');
  assert.deepEqual([part(walk.keyStart, walk.keyEnd), part(walk.valueStart, walk.valueEnd)], ['key', '\n\u0005value']);
  const cursor = { at: 0 };
  assert.equal(lastField(walk.bytes, walk.valueStart, walk.valueEnd, cursor), 0x0a);
  assert.equal(cursor.at, walk.valueStart + 1);
  assert.ok(walk.next());
  assert.deepEqual([walk.key(), walk.valueStart, walk.valueEnd, walk.value()], ['alone', 0, 0, null]);
  assert.ok(!walk.next());
  assert.ok(!walk.next());
});

reading('a walk over a list of keys', () => {
  const bytes = wire(field(1, keyValue('a', int(1))), field(9, '61'), field(1, keyValue('b', int(2))));
  const walk = kvlistWalk(bytes, 0, bytes.length);
  const found: [string, AttributeValue][] = [];
  while (walk.next()) found.push([walk.key(), walk.value()]);
  assert.deepEqual(found, [
    ['a', 1],
    ['b', 2],
  ]);
});

for (const [name, entry] of [
  ['a key longer than the attribute', wire(0x0a, 0x05, '61')],
  ['a value longer than the attribute', wire(text('k'), 0x12, 0x05, '61')],
  ['text longer than its value', wire(text('k'), field(2, 0x0a, 0x05, '61'))],
  ['a truncated integer', wire(text('k'), field(2, 0x18, 0x80))],
  ['a truncated double', wire(text('k'), field(2, 0x21, 0x80))],
  ['an element longer than its array', wire(text('k'), field(2, field(5, 0x0a, 0x05)))],
  ['an entry longer than its list', wire(text('k'), field(2, field(6, 0x0a, 0x05)))],
  [
    'a broken value in a list in an array',
    wire(text('k'), field(2, field(5, field(1, field(6, field(1, field(2, '0a'))))))),
  ],
] as const) {
  reading(`${name} is refused`, () => {
    assert.throws(() => attributes(entry), MalformedError);
  });
}

reading.run();
