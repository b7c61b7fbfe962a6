import assert from 'node:assert/strict';
import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import { suite } from 'uvu';
import { InvalidDataError } from '../../src/errors.ts';
import { SIGNALS, type Signal } from '../../src/model/batch.ts';
import { DEFAULT_SHAPE_LIMITS, type ShapeLimits } from '../../src/model/wire.ts';
import { recordsOf } from './content.ts';
import { decode, field, request, SPAN_IDS, varint, wire } from './requests.ts';

const limits = suite('limits of a request');

const within = (changed: Partial<ShapeLimits>): ShapeLimits => ({ ...DEFAULT_SHAPE_LIMITS, ...changed });

function refusal(signal: Signal, bytes: Uint8Array, shape: ShapeLimits = DEFAULT_SHAPE_LIMITS): string {
  try {
    decode(signal, bytes, shape);
    return '';
  } catch (error) {
    assert.ok(error instanceof InvalidDataError);
    return error.message;
  }
}

const times = (count: number, part: Uint8Array): Buffer => wire(...Array.from({ length: count }, () => part));

limits('so many records and no more', () => {
  const point = wire(0x21, '000000000000f03f');
  const ten: readonly (readonly [Signal, Buffer])[] = [
    ['traces', request(...Array.from({ length: 10 }, () => SPAN_IDS))],
    ['logs', request(...Array.from({ length: 10 }, () => wire()))],
    ['metrics', request(wire(field(1, '6d'), field(5, times(10, field(1, point)))))],
  ];
  for (const [signal, bytes] of ten) {
    assert.equal(refusal(signal, bytes, within({ max_records: 10 })), '');
    assert.match(
      refusal(signal, bytes, within({ max_records: 9 })),
      /more than max_records \(9\) records in one request/,
    );
  }
});

limits('so many messages and no more: a group, a scope, a span and two for each attribute', () => {
  const attributes = times(10, field(9, field(1, '6b'), field(2, field(1, '76'))));
  const bytes = request(wire(SPAN_IDS, attributes));
  assert.equal(refusal('traces', bytes, within({ max_nodes: 23 })), '');
  assert.match(
    refusal('traces', bytes, within({ max_nodes: 22 })),
    /more than max_nodes \(22\) messages in one request/,
  );
});

const nested = (levels: number, list: number): Buffer => {
  let value = field(1, '76');
  for (let level = 1; level < levels; level++) {
    value = field(list, field(1, list === 5 ? value : wire(field(1, '6b'), field(2, value))));
  }
  return value;
};

limits('values nest so deep and no deeper, in arrays, lists of keys and bodies', () => {
  const deep = /attribute values nest deeper than max_depth \(64\)/;
  for (const list of [5, 6]) {
    const inSpan = (levels: number): Buffer => request(wire(SPAN_IDS, field(9, field(2, nested(levels, list)))));
    assert.equal(refusal('traces', inSpan(64)), '');
    assert.equal(recordsOf(decode('traces', inSpan(64)).batch).length, 1);
    assert.match(refusal('traces', inSpan(65)), deep);
    assert.equal(refusal('logs', request(field(5, nested(64, list)))), '');
    assert.match(refusal('logs', request(field(5, nested(65, list)))), deep);
  }
});

limits('twenty thousand levels are refused as quickly', () => {
  let value = Buffer.alloc(0);
  for (let level = 0; level < 20_000; level++) {
    const length = varint(value.length);
    const inner = Buffer.concat([Buffer.of(0x0a), length, value]);
    value = Buffer.concat([Buffer.of(0x2a), varint(inner.length), inner]);
  }
  assert.match(refusal('logs', request(field(5, value))), /nest deeper/);
});

const groups = (levels: number): Buffer => wire('0b'.repeat(levels), '0c'.repeat(levels));

limits('groups nest no deeper than values', () => {
  assert.equal(refusal('traces', groups(64)), '');
  assert.match(refusal('traces', groups(65)), /groups nest deeper than 64/);
  assert.match(refusal('traces', wire('1b'.repeat(1_000_000))), /groups nest deeper than 64/);
});

/** Bodies of 8 MiB that hold as many messages as possible, each of which would cost more memory than it takes bytes. */
const FLOODS: readonly (readonly [string, readonly Signal[], (bytes: Buffer) => Buffer, string])[] = [
  ['empty fields', SIGNALS, (bytes) => bytes, '1200'],
  ['empty resources', SIGNALS, (bytes) => bytes, '0a00'],
  ['empty scopes', SIGNALS, (bytes) => field(1, bytes), '1200'],
  ['empty scopes in the old spelling', SIGNALS, (bytes) => field(1, bytes), 'c23e00'],
  ['heads of one resource', SIGNALS, (bytes) => field(1, bytes), '0a021001'],
  ['heads of one scope', SIGNALS, (bytes) => field(1, field(2, bytes)), '0a022001'],
  ['empty records', SIGNALS, (bytes) => field(1, field(2, bytes)), '1200'],
  ['empty attributes', ['traces'], (bytes) => request(wire(SPAN_IDS, bytes)), '4a00'],
  ['empty events', ['traces'], (bytes) => request(wire(SPAN_IDS, bytes)), '5a00'],
  ['statuses', ['traces'], (bytes) => request(wire(SPAN_IDS, bytes)), '7a00'],
  ['empty points', ['metrics'], (bytes) => request(wire(field(1, '6d'), field(5, bytes))), '0a00'],
  ['data fields', ['metrics'], (bytes) => request(wire(field(1, '6d'), bytes)), '2a003a00'],
  ['exemplars', ['metrics'], (bytes) => request(wire(field(1, '6d'), field(5, field(1, bytes)))), '2a00'],
  ['values in an array', ['logs'], (bytes) => request(field(5, field(5, bytes))), '0a00'],
  ['unknown groups', SIGNALS, (bytes) => bytes, '1b1c'],
];

const FLOOD_BYTES = 8 * 1_048_576;

for (const [name, signals, around, unit] of FLOODS) {
  limits(`8 MiB of ${name} are decoded or refused in a heap of 64 MB`, async () => {
    const piece = Buffer.from(unit, 'hex');
    const bytes = around(Buffer.alloc(Math.floor(FLOOD_BYTES / piece.length) * piece.length, piece));
    const worker = new Worker(new URL('decode_in_worker.ts', import.meta.url), {
      workerData: { signals, bytes },
      resourceLimits: { maxOldGenerationSizeMb: 48, maxYoungGenerationSizeMb: 16 },
    });
    await once(worker, 'exit');
  });
}

limits.run();
