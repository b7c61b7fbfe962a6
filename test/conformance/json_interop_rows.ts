/** Section 6, JSON: what SDKs and agents were seen to send. */
import assert from 'node:assert/strict';
import { rowsFor, type Run } from './rows.ts';
import { withoutArrival } from '../support/gateway.ts';
import {
  assertRejected,
  assertTaken,
  jsonRecord,
  jsonRequest,
  jsonRow,
  jsonRowOf,
  jsonValue,
  onlyRow,
  SPAN_ID,
  TRACE_ID,
} from './stored.ts';
import { JSON_ONLY } from './wires.ts';

const INVALID_ARGUMENT = 3;

/** Sends a record that is not kept, between two that are. */
async function assertOneFault(run: Run, faulty: string, why: RegExp): Promise<void> {
  await run.clear();
  const good = jsonRecord(run.signal);
  assertRejected(await run.sendBytes(jsonRequest(run.signal, good, faulty, good)), 1, why);
  assert.equal((await run.rows()).length, 2);
}

const timeName = ({ signal }: Run): string => (signal === 'traces' ? 'startTimeUnixNano' : 'timeUnixNano');
const restColumn = ({ signal }: Run): string => (signal === 'traces' ? 'started_ns_rest' : 'ts_ns_rest');

const span = (ids: string): string => `{${ids},"name":"a"}`;

/** How JavaScript SDKs before 0.45 wrote 64 bits. */
const halves = (low: bigint, high: bigint): string => `{"low":${low},"high":${high},"unsigned":false}`;

/** Trace and span ids that are none, as they were seen. */
const BAD_IDS = [
  ['base64 of the bytes', '"AQIDBAUGBwgJCgsMDQ4PEA=="', '"ERITFBUWFxg="'],
  ['base64 of the hex digits', '"NWI4ZWZmZjc5ODAzODEwM2QyNjliNjMzODEzZmM2MGM="', '"ZWVlMTliN2VjM2MxYjE3NA=="'],
  ['hex read as base64', '"e5bf1e79f7df7fcd37d1de7477cdb6eb7dfaeb7df7f3773ce"', '"79e7b5f5bede737375b7bd7be0"'],
  ['an odd length', '"5b8efff798038103d269b633813fc60"', '"eee19b7ec3c1b17"'],
  ['no hex', '"zz8efff798038103d269b633813fc60c"', '"zze19b7ec3c1b174"'],
  ['a prefix', '"0x5b8efff798038103d269b633813fc60c"', '"0xeee19b7ec3c1b174"'],
  ['dashes', '"5b8efff7-9803-8103-d269-b633813fc60c"', '"eee1-9b7e-c3c1-b174"'],
  ['a number', '12345678901234567890123456789012', '1234567890123456'],
  ['nothing', '""', '""'],
  ['null', 'null', 'null'],
  ['all zero', `"${'0'.repeat(32)}"`, `"${'0'.repeat(16)}"`],
  ['another length', '"eee19b7ec3c1b174"', '"eee19b7e"'],
] as const;

export const JSON_INTEROP_ROWS = rowsFor(JSON_ONLY, [
  {
    id: 'J-1',
    says: 'integers are numbers or strings, to both ends of 64 bits',
    async check(run) {
      for (const text of ['1', '-1', '0', '9223372036854775807', '-9223372036854775808']) {
        const value = BigInt(text);
        const stored = BigInt.asIntN(53, value) === value ? Number(text) : value;
        assert.equal(await jsonValue(run, `{"intValue":${text}}`), stored);
        assert.equal(await jsonValue(run, `{"intValue":"${text}"}`), stored);
      }
    },
  },
  {
    id: 'J-2',
    says: 'whole numbers in other spellings are integers, those beyond 64 bits doubles',
    async check(run) {
      for (const [text, stored] of [
        ['1.0', 1],
        ['1e3', 1000],
        ['-0', 0],
        ['1.5e1', 15],
        ['1e+300', 1e300],
      ] as const) {
        const value = await jsonValue(run, `{"intValue":${text}}`);
        assert.equal(Number(value), stored, text);
      }
      assert.equal(Number(await jsonValue(run, '{"intValue":9223372036854775808}')), 2 ** 63);
    },
  },
  {
    id: 'J-3',
    says: 'times are strings, numbers or two halves; what is no time costs its record',
    async check(run) {
      const [name, rest] = [timeName(run), restColumn(run)];
      const time = 1_795_176_000_123_456_789n;
      const [low, high] = [BigInt.asIntN(32, time), time >> 32n];
      for (const text of [`"${time}"`, `${time}`, halves(low, high), halves(BigInt.asUintN(32, low), high)]) {
        assert.equal((await jsonRow(run, `"${name}":${text}`))[rest], 789, text);
      }
      assert.equal((await jsonRow(run, `"${name}":1.795176000123456789e18`))[rest], 789);
      for (const text of [
        '"1700344572441000936000000"',
        '1.5',
        '"2026-11-20T12:00:00Z"',
        '-1',
        '"18446744073709551616"',
      ]) {
        await assertOneFault(
          run,
          jsonRecord(run.signal, `"${name}":${text}`),
          new RegExp(`${name} must be an integer`),
        );
      }
    },
  },
  {
    id: 'J-4',
    says: 'an id is hex; anything else costs a span, with a reason, and a log record its trace',
    signals: ['traces', 'logs'],
    async check(run) {
      for (const [what, traceId, spanId] of BAD_IDS) {
        if (run.signal === 'traces') {
          const why = /must be hex digits|must be 16 bytes|must be 8 bytes/;
          await assertOneFault(run, span(`"traceId":${traceId},"spanId":"${SPAN_ID}"`), why);
          await assertOneFault(run, span(`"traceId":"${TRACE_ID}","spanId":${spanId}`), why);
        } else {
          await run.clear();
          const one = jsonRecord('logs', `"traceId":${traceId},"spanId":${spanId}`);
          assert.equal((await run.sendBytes(jsonRequest('logs', one))).partial.rejected, 0, what);
          const row = await onlyRow(run);
          assert.deepEqual([row['trace_id'], row['span_id'], row['body']], [null, null, 'hi'], what);
        }
      }
    },
  },
  {
    id: 'J-5',
    says: 'names of enums, short ones too, missing ones and unknown numbers are understood',
    signals: ['traces', 'logs'],
    async check(run) {
      if (run.signal === 'logs') {
        assert.equal((await jsonRow(run, '"severityNumber":"ERROR"'))['severity_number'], 17);
        assert.equal((await jsonRow(run, '"severityNumber":"SEVERITY_NUMBER_WARN2"'))['severity_number'], 14);
        return;
      }
      const of = async (members: string) => {
        const row = await jsonRow(run, members);
        return [row['kind'], row['status_code']];
      };
      assert.deepEqual(await of(''), [0, 0]);
      assert.deepEqual(await of('"kind":"CLIENT","status":{"code":"ERROR"}'), [2, 2]);
      // The wire counts from 1 (internal), what is stored from 0, as the API does.
      assert.deepEqual(await of('"kind":1,"status":{"code":0}'), [0, 0]);
      assert.deepEqual(await of('"kind":99'), [98, 0]);
    },
  },
  {
    id: 'J-6',
    says: 'doubles that JSON cannot write are kept',
    async check(run) {
      const cases = [
        ['null', null],
        ['"NaN"', 'NaN'],
        ['"Infinity"', 'Infinity'],
        ['"-Infinity"', '-Infinity'],
        ['"1.5"', 1.5],
        ['1', 1],
        ['1e999', 'Infinity'],
      ] as const;
      for (const [text, stored] of cases) assert.equal(await jsonValue(run, `{"doubleValue":${text}}`), stored, text);
    },
  },
  {
    id: 'J-7',
    says: 'a value may be empty or of an unknown kind; of two the last counts',
    async check(run) {
      for (const text of ['{}', 'null', '{"unknownValue":1}', '{"stringValue":null}']) {
        assert.equal(await jsonValue(run, text), null, text);
      }
      assert.deepEqual((await jsonRow(run, '"attributes":[{"key":"k"}]'))['attributes'], { k: null });
      for (const text of ['{"arrayValue":{}}', '{"arrayValue":{"values":null}}', '{"arrayValue":{"values":[]}}']) {
        assert.deepEqual(await jsonValue(run, text), [], text);
      }
      assert.deepEqual(await jsonValue(run, '{"kvlistValue":{}}'), {});
      assert.equal(await jsonValue(run, '{"stringValue":"a","intValue":"5"}'), 5);
    },
  },
  {
    id: 'J-8',
    says: 'attributes as an object cost their record, and the reason names their path',
    async check(run) {
      const path = {
        traces: /resourceSpans\[0\]\.scopeSpans\[0\]\.spans\[1\]\.attributes/,
        logs: /logRecords\[1\]\.attributes/,
        metrics: /metrics\[1\]\.gauge\.dataPoints\[0\]\.attributes/,
      };
      await assertOneFault(run, jsonRecord(run.signal, '"attributes":{"a":"b"}'), path[run.signal]);
    },
  },
  {
    id: 'J-9',
    says: 'snake_case, mixed spellings and the names from before 0.19 are read',
    async check(run) {
      const text = jsonRequest(
        run.signal,
        jsonRecord(run.signal, '"dropped_attributes_count":1,"droppedAttributesCount":2'),
      );
      const snake = text.replaceAll(/"(?:resource|scope|log|data)[A-Z]\w*"/g, (name) =>
        name.replace(/[A-Z]/, (letter) => `_${letter.toLowerCase()}`),
      );
      const legacy = text
        .replace(/"scope(Spans|Logs|Metrics)"/, '"instrumentationLibrary$1"')
        .replace('[{"spans"', '[{"instrumentationLibrary":{"name":"l"},"spans"');
      for (const spelt of [text, snake, legacy]) {
        await run.clear();
        assertTaken(await run.sendBytes(spelt));
        const row = await onlyRow(run);
        if (run.signal === 'traces') assert.equal(row['dropped_attributes_count'], 2n);
      }
    },
  },
  {
    id: 'J-10',
    says: 'a number where text belongs, and a quoted boolean, are taken for what they mean',
    async check(run) {
      assert.equal(await jsonValue(run, '{"boolValue":"true"}'), true);
      assert.equal(await jsonValue(run, '{"stringValue":200}'), '200');
      if (run.signal === 'traces') {
        assert.equal((await jsonRow(run, '"status":{"message":404,"code":2}'))['status_message'], '404');
      }
    },
  },
  {
    id: 'J-11',
    says: 'the schemaUrl of a resource and other strays are passed over',
    async check(run) {
      const text = jsonRequest(run.signal, jsonRecord(run.signal));
      const stray = '"resource":{"schemaUrl":"u","attributes":[],"other":{"a":[[{}]]}},';
      assertTaken(await run.sendBytes(text.replace('[{', `[{${stray}`)));
      assert.equal((await onlyRow(run))['resource_schema_url'], null);
    },
  },
  {
    id: 'J-12',
    says: 'odd JSON is read where it is JSON',
    async check(run) {
      const text = jsonRequest(run.signal, jsonRecord(run.signal));
      for (const odd of [
        `\uFEFF${text}`,
        ` \t\r\n${text} \n`,
        text.replace('{', '{"__proto__":{"a":1},"constructor":1,'),
      ]) {
        await run.clear();
        assertTaken(await run.sendBytes(odd));
        assert.equal((await run.rows()).length, 1);
      }
      assert.deepEqual((await jsonRow(run, '"flags":1,"flags":2'))['flags'], 2n);
      const names =
        '"attributes":[{"key":"__proto__","value":{"intValue":1}},{"key":"constructor","value":{"intValue":2}}]';
      assert.deepEqual(Object.entries((await jsonRow(run, names))['attributes'] ?? {}), [
        ['__proto__', 1],
        ['constructor', 2],
      ]);
      await run.clear();
      const deep = `{"x":${'{"x":'.repeat(100_000)}1${'}'.repeat(100_000)}}`;
      for (const bad of [deep, `${text}\n${text}`]) assert.equal((await run.sendBytes(bad)).code, INVALID_ARGUMENT);
      assert.deepEqual(await run.rows(), []);
    },
  },
  {
    id: 'J-13',
    says: 'one bad record does not cost its neighbours',
    async check(run) {
      const name = timeName(run);
      await assertOneFault(
        run,
        jsonRecord(run.signal, `"${name}":"yesterday"`),
        new RegExp(`\\[1\\].*${name} must be an integer`),
      );
    },
  },
  {
    id: 'J-14',
    says: 'counts and values of metrics are strings or numbers',
    signals: ['metrics'],
    async check(run) {
      for (const text of ['"42"', '42']) {
        const row = await jsonRowOf(run, `{"name":"m","sum":{"dataPoints":[{"asInt":${text}}]}}`);
        assert.equal(row['value_int'], 42n);
      }
      const rows = [];
      for (const quote of ['"', '']) {
        const counts = [1, 2].map((count) => `${quote}${count}${quote}`).join();
        const point = `{"timeUnixNano":"1","count":${quote}3${quote},"bucketCounts":[${counts}],"explicitBounds":[0.5]}`;
        rows.push(withoutArrival(await jsonRowOf(run, `{"name":"h","histogram":{"dataPoints":[${point}]}}`)));
      }
      assert.deepEqual(rows[0], rows[1]);
      assert.deepEqual(
        [rows[0]?.['count'], rows[0]?.['buckets']],
        [3n, { bucket_counts: [1, 2], explicit_bounds: [0.5] }],
      );
    },
  },
]);
