/** Section 2.8, the decoder's rules in the order in which they stand there, and the malformed bodies of 2.10. */
import assert from 'node:assert/strict';
import { gzipSync } from 'node:zlib';
import { MINIMAL_TRACE } from '../otlp/golden_vectors.ts';
import { withoutArrival } from '../support/gateway.ts';
import {
  any,
  attribute,
  double,
  doubleBytes,
  field,
  fixed32,
  fixed64,
  fixed64Bytes,
  request,
  spanIds,
  varint,
  varintBytes,
} from '../support/otlp_messages.ts';
import { MAX_DEPTH } from './conformance_gateway.ts';
import { bytes, record, TIME } from './requests.ts';
import { rowsFor, type Row, type Run } from './rows.ts';
import {
  assertRejected,
  assertTaken,
  jsonRecord,
  jsonRequest,
  jsonValue,
  onlyRow,
  storedAttributes,
} from './stored.ts';
import { JSON_ONLY, PROTOBUF } from './wires.ts';

const INVALID_ARGUMENT = 3;

async function assertMalformed(run: Run, body: string | Uint8Array, why = /./): Promise<void> {
  const { code, status, message, details } = await run.sendBytes(body);
  assert.deepEqual([code, status ?? 400, details], [INVALID_ARGUMENT, 400, ['BadRequest']], message);
  assert.match(message, why);
  assert.deepEqual(await run.rows(), []);
}

/** Histograms of the same point: three counts and two bounds, packed, one by one, and both. */
function histograms(): Buffer[] {
  const counts = [1n, 2n, 3n];
  const bounds = [0.5, 1.5];
  const forms = [
    [field(6, ...counts.map(fixed64Bytes)), field(7, ...bounds.map(doubleBytes))],
    [...counts.map((count) => fixed64(6, count)), ...bounds.map((bound) => double(7, bound))],
    [field(6, fixed64Bytes(1n)), fixed64(6, 2n), fixed64(6, 3n), double(7, 0.5), field(7, doubleBytes(1.5))],
  ];
  return forms.map((fields) =>
    Buffer.concat([field(1, 'm'), field(9, field(1, fixed64(3, TIME), fixed64(4, 6n), ...fields))]),
  );
}

function exponentialHistograms(): Buffer[] {
  const counts = [1n, 300n];
  const forms = [[field(2, ...counts.map(varintBytes))], counts.map((count) => varint(2, count))];
  return forms.map((buckets) =>
    Buffer.concat([
      field(1, 'e'),
      field(10, field(1, fixed64(3, TIME), fixed64(4, 301n), field(8, varint(1, 3), ...buckets))),
    ]),
  );
}

/** Nested so deep: the innermost is a number. */
function nested(depth: number): Buffer {
  let value = any.int(1);
  for (let level = 1; level < depth; level++) value = level % 2 === 0 ? any.array(value) : any.kvlist(['k', value]);
  return value;
}

const group = (content: Buffer): Buffer => Buffer.concat([bytes('9b06'), content, bytes('9c06')]);

function groups(depth: number): Buffer {
  let content: Buffer = Buffer.alloc(0);
  for (let level = 0; level < depth; level++) content = group(content);
  return content;
}

export const DECODER_ROWS: readonly Row[] = [
  {
    id: '2.8/1',
    says: 'repeated scalars come packed, one by one, or both',
    wires: PROTOBUF,
    signals: ['metrics'],
    async check(run) {
      assertTaken(await run.sendBytes(request([...histograms(), ...exponentialHistograms()])));
      const rows = (await run.rows()).map(withoutArrival);
      const [exponential, , first] = rows;
      assert.deepEqual(rows, [exponential, exponential, first, first, first]);
      assert.deepEqual(first?.['buckets'], { bucket_counts: [1, 2, 3], explicit_bounds: [0.5, 1.5] });
    },
  },
  {
    id: '2.8/2',
    says: 'a message that is there twice is merged, of a scalar and of a oneof the last counts',
    wires: PROTOBUF,
    async check(run) {
      const value = Buffer.concat([any.string('A'), any.int(5)]);
      const attributes = [['k', value]] as const;
      const twice = field(
        1,
        field(1, attribute(1, 'a', any.int(1))),
        field(1, attribute(1, 'b', any.int(2))),
        field(2, field(2, record(run.signal, { attributes }))),
      );
      assertTaken(await run.sendBytes(twice));
      const row = await onlyRow(run);
      assert.deepEqual([row['resource'], row['attributes']], [{ a: 1, b: 2 }, { k: 5 }]);
      if (run.signal !== 'traces') return;
      await run.clear();
      const statuses = Buffer.concat([
        field(15, field(2, 'boom')),
        field(15, varint(3, 2)),
        field(5, 'x'),
        field(5, 'last'),
      ]);
      assertTaken(await run.sendBytes(request([record('traces', { more: statuses })])));
      const span = await onlyRow(run);
      assert.deepEqual([span['name'], span['status_message'], span['status_code']], ['last', 'boom', 2]);
    },
  },
  {
    id: '2.8/3',
    says: 'a known field of another wire type is passed over as an unknown one',
    wires: PROTOBUF,
    async check(run) {
      const odd = {
        traces: Buffer.concat([varint(5, 7), fixed32(9, 7), field(7, 'x')]),
        logs: Buffer.concat([varint(5, 7), fixed32(6, 7), field(1, 'x')]),
        metrics: Buffer.concat([fixed32(7, 7), field(3, 'x'), varint(4, 7)]),
      }[run.signal];
      assertTaken(await run.sendBytes(request([record(run.signal)])));
      const expected = await onlyRow(run);
      await run.clear();
      assertTaken(await run.sendBytes(request([record(run.signal, { more: odd })])));
      assert.deepEqual(withoutArrival(await onlyRow(run)), withoutArrival(expected));
    },
  },
  {
    id: '2.8/4',
    says: 'unknown fields of every wire type are passed over, groups to a depth; what is no field is 400',
    wires: PROTOBUF,
    async check(run) {
      const { signal } = run;
      const known = Buffer.concat([varint(99, -1), fixed64(99, 1n), field(99, 'x'), fixed32(99, 1), groups(MAX_DEPTH)]);
      assertTaken(await run.sendBytes(request([record(signal, { more: known })])));
      await run.clear();
      const malformed = {
        'wire type 6': bytes('9e06 00'),
        'wire type 7': bytes('9f06 00'),
        'field 0': bytes('0200'),
        'a long varint': bytes('9806 ffffffffffffffffffff01'),
        'a length beyond the end': bytes('9a06 7f'),
        'a group without end': bytes('9b06'),
        'an end without group': bytes('9c06'),
        'a group that ends as another': bytes('9b06 a406'),
        'groups too deep': groups(MAX_DEPTH + 2),
      };
      for (const fault of Object.values(malformed)) {
        await assertMalformed(run, request([record(signal, { more: fault })]));
        await assertMalformed(run, Buffer.concat([request([record(signal)]), fault]));
      }
    },
  },
  {
    id: '2.8/5',
    says: 'values nest to a limit, and what nests deeper is refused',
    async check(run) {
      assertTaken(await run.send(request([record(run.signal, { attributes: [['k', nested(MAX_DEPTH)]] })])));
      await run.clear();
      const deeper = request([record(run.signal, { attributes: [['k', nested(MAX_DEPTH + 1)]] })]);
      assert.equal((await run.send(deeper)).code, INVALID_ARGUMENT);
      assert.deepEqual(await run.rows(), []);
    },
  },
  {
    id: '2.8/6',
    says: 'text that is not UTF-8 is mended, and a byte order mark in it is kept',
    wires: PROTOBUF,
    async check(run) {
      const attributes = [
        ['bad', any.string(bytes('61fffe62'))],
        ['cut', any.string(bytes('e4bd'))],
        ['bom', any.string('\uFEFFx')],
      ] as const;
      assert.deepEqual(await storedAttributes(run, attributes), {
        bad: 'a\uFFFD\uFFFDb',
        cut: '\uFFFD',
        bom: '\uFEFFx',
      });
    },
  },
  {
    id: '2.8/7',
    says: 'all 64 bits of integers and times are kept',
    async check(run) {
      const extremes = [2n ** 63n - 1n, -(2n ** 63n), 2n ** 53n + 1n];
      for (const value of extremes) {
        assert.deepEqual(await storedAttributes(run, [['k', any.int(value)]]), { k: value });
      }
      const row = await onlyRow(run);
      const [at, rest] = run.signal === 'traces' ? ['started_at', 'started_ns_rest'] : ['ts', 'ts_ns_rest'];
      assert.deepEqual([row[at], row[rest]], ['2026-11-20 12:00:00.123456+00', 789]);
    },
  },
  {
    id: '2.8/8',
    says: 'two requests, one behind the other, are one',
    wires: PROTOBUF,
    async check(run) {
      const [first, second] = [request([record(run.signal)]), request([record(run.signal, { time: TIME + 1n })])];
      assertTaken(await run.sendBytes(Buffer.concat([first, second])));
      const together = (await run.rows()).map(withoutArrival);
      await run.clear();
      assertTaken(await run.sendBytes(first));
      assertTaken(await run.sendBytes(second));
      assert.deepEqual(together, (await run.rows()).map(withoutArrival));
    },
  },
  {
    id: '2.8/9',
    says: 'attributes may have the names of what JavaScript objects inherit',
    async check(run) {
      const names = ['__proto__', 'constructor', 'toString', 'hasOwnProperty'];
      const stored = await storedAttributes(
        run,
        names.map((name) => [name, any.string(name)]),
      );
      assert(typeof stored === 'object' && stored !== null);
      assert.deepEqual(new Map<string, unknown>(Object.entries(stored)), new Map(names.map((name) => [name, name])));
    },
  },
  {
    id: '2.8/10',
    says: 'integers of JSON are exact, a byte order mark before it is passed over, and depth is bounded',
    wires: JSON_ONLY,
    async check(run) {
      assert.equal(await jsonValue(run, '{"intValue":1544712660000000001}'), 1_544_712_660_000_000_001n);
      await run.clear();
      assertTaken(await run.sendBytes(`\uFEFF \r\n\t${jsonRequest(run.signal, jsonRecord(run.signal))}\n`));
      assert.equal((await run.rows()).length, 1);
      await run.clear();
      await assertMalformed(run, `{"unknown":${'['.repeat(100_000)}${']'.repeat(100_000)}}`, /nests deeper/);
    },
  },
];

/** V2 with its last byte, and what a test puts behind it. */
const behind = (hex: string): Buffer => Buffer.concat([MINIMAL_TRACE, bytes(hex)]);

const kind = (hex: string): Buffer => request([Buffer.concat([spanIds(1), bytes(hex)])]);

const ELEVEN_BYTES = 'ffffffffffffffffffff01';

/** Of each field of `Span`, its number with a wire type that the bytes behind it do not fill. */
function truncatedFields(): Buffer[] {
  const numbers = Array.from({ length: 16 }, (_, at) => at + 1);
  return numbers.flatMap((number) => [0, 1, 2, 5].map((wireType) => varintBytes(BigInt(number * 8 + wireType))));
}

const malformed = (id: string, says: string, ...bodies: readonly (string | Uint8Array)[]): Row => ({
  id: `2.10/${id}`,
  says,
  async check(run) {
    for (const body of bodies) await assertMalformed(run, body);
  },
});

export const MALFORMED_ROWS: readonly Row[] = [
  ...rowsFor(PROTOBUF, [
    malformed('1', 'a field number 0', bytes('0200')),
    malformed('2', 'a field that is cut off', bytes('0a100102')),
    {
      ...malformed('3', 'gzip that no header tells of'),
      check: async (run) => assertMalformed(run, gzipSync(request([record(run.signal)])), /gzip/),
    },
    {
      ...malformed('4', 'JSON that is called protobuf'),
      async check(run) {
        await assertMalformed(run, '{}', /JSON/);
        await assertMalformed(run, jsonRequest(run.signal, jsonRecord(run.signal)), /JSON/);
      },
    },
    malformed('5', 'HTML', '<html>', '<!DOCTYPE html><html><body>Bad gateway</body></html>'),
    malformed('6', 'text', 'not-a-valid-otlp-payload'),
    malformed('7', 'a byte behind the end', behind('00')),
    {
      ...malformed('8', 'a varint of eleven bytes, in a field that is known and in one that is not'),
      signals: ['traces'],
      async check(run) {
        await assertMalformed(run, kind(`30${ELEVEN_BYTES}`));
        await assertMalformed(run, kind(`9806${ELEVEN_BYTES}`));
      },
    },
    {
      ...malformed('9', 'each field of a span without its content'),
      signals: ['traces'],
      async check(run) {
        for (const tag of truncatedFields()) await assertMalformed(run, request([Buffer.concat([spanIds(1), tag])]));
      },
    },
  ]),
  ...rowsFor(JSON_ONLY, [
    malformed('10', 'nothing at all, called JSON', '', ' '),
    malformed('11', 'JSON that is no object', 'null', '[]', '1234', '"x"', 'true'),
    {
      ...malformed('12', 'an object where a list belongs'),
      async check(run) {
        const [resources] = /\w+/.exec(jsonRequest(run.signal)) ?? [];
        await assertMalformed(run, `{"${resources}":{}}`, /must be an array|must be a list/);
      },
    },
    {
      ...malformed('13', 'attributes as an object: of a resource, for which no record can be left out'),
      async check(run) {
        const text = jsonRequest(run.signal, jsonRecord(run.signal)).replace(
          '[{',
          '[{"resource":{"attributes":{"a":1}},',
        );
        await assertMalformed(run, text, /resource\.attributes/);
        const one = jsonRequest(run.signal, jsonRecord(run.signal, '"attributes":{"a":1}'));
        assertRejected(await run.sendBytes(one), 1, /attributes must be/);
      },
    },
    malformed('14', 'text behind the end', '{}x', '{}{}', '{}\n{}', '{},'),
    malformed(
      '15',
      'what JavaScript reads and JSON is not',
      '{"a":NaN}',
      "{'a':1}",
      '{a:1}',
      '{"a":1,}',
      '{"a":01}',
      '{"a":undefined}',
    ),
  ]),
  {
    id: '2.10/16',
    says: 'no bytes are the valid empty request in protobuf form',
    wires: PROTOBUF,
    async check(run) {
      assertTaken(await run.sendBytes(''));
    },
  },
];
