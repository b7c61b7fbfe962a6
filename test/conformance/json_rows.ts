/** Section 1E: how JSON maps to OTLP's messages, for a server that reads it. */
import assert from 'node:assert/strict';
import { withoutArrival } from '../support/gateway.ts';
import { field, request } from '../support/otlp_messages.ts';
import { invalidRecord, record, withVerdict } from './requests.ts';
import { rowsFor, type Run } from './rows.ts';
import {
  assertRejected,
  assertTaken,
  jsonRequest,
  jsonRecord,
  jsonRow,
  jsonRowOf,
  jsonValue,
  onlyRow,
  SPAN_ID,
  TRACE_ID,
} from './stored.ts';
import { encoded, JSON_ONLY } from './wires.ts';

const UPPER = TRACE_ID.toUpperCase();
const INT64 = { most: '9223372036854775807', least: '-9223372036854775808' } as const;

async function assertFault(run: Run, members: string, why: RegExp): Promise<void> {
  await run.clear();
  assertRejected(await run.sendBytes(jsonRequest(run.signal, jsonRecord(run.signal, members))), 1, why);
  assert.deepEqual(await run.rows(), []);
}

export const JSON_ROWS = rowsFor(JSON_ONLY, [
  {
    id: 'N1',
    says: 'ids are hex in any case, in spans, links, log records and exemplars',
    async check(run) {
      if (run.signal === 'traces') {
        const ids = `"traceId":"${UPPER}","spanId":"${SPAN_ID.toUpperCase()}","parentSpanId":"ABCDEF0123456789"`;
        const row = await jsonRowOf(run, `{${ids},"links":[{"traceId":"${UPPER}","spanId":"ABCDEF0123456789"}]}`);
        assert.deepEqual(
          [row['trace_id'], row['span_id'], row['parent_span_id']],
          [TRACE_ID, SPAN_ID, 'abcdef0123456789'],
        );
        assert.deepEqual(row['links'], [{ trace_id: TRACE_ID, span_id: 'abcdef0123456789', attributes: {} }]);
      } else if (run.signal === 'logs') {
        const row = await jsonRow(run, `"traceId":"${UPPER}","spanId":"${SPAN_ID.toUpperCase()}"`);
        assert.deepEqual([row['trace_id'], row['span_id']], [TRACE_ID, SPAN_ID]);
      } else {
        const { exemplars } = await jsonRow(
          run,
          `"exemplars":[{"asInt":"1","traceId":"${UPPER}","spanId":"${SPAN_ID}"}]`,
        );
        assert.match(JSON.stringify(exemplars), new RegExp(`${TRACE_ID}.*${SPAN_ID}`));
      }
    },
  },
  {
    id: 'N2',
    says: 'enums are integers, unknown ones are kept, and their names are understood',
    async check(run) {
      if (run.signal === 'traces') {
        const of = async (kind: string, code: string) => {
          const row = await jsonRow(run, `"kind":${kind},"status":{"code":${code}}`);
          return [row['kind'], row['status_code']];
        };
        assert.deepEqual(await of('2', '2'), [1, 2]);
        assert.deepEqual(await of('"SPAN_KIND_CONSUMER"', '"STATUS_CODE_OK"'), [4, 1]);
        assert.deepEqual(await of('99', '99'), [98, 99]);
      } else if (run.signal === 'logs') {
        for (const [text, number] of [
          ['17', 17],
          ['"SEVERITY_NUMBER_ERROR"', 17],
          ['99', 99],
        ] as const) {
          assert.equal((await jsonRow(run, `"severityNumber":${text}`))['severity_number'], number);
        }
      } else {
        for (const [text, number] of [
          ['2', 2],
          ['"AGGREGATION_TEMPORALITY_DELTA"', 1],
          ['99', 99],
        ] as const) {
          const sum = `{"name":"m","sum":{"aggregationTemporality":${text},"dataPoints":[{"asInt":"1"}]}}`;
          assert.equal((await jsonRowOf(run, sum))['temporality'], number);
        }
      }
    },
  },
  {
    id: 'N3',
    says: 'unknown names are passed over, whatever stands under them',
    async check(run) {
      const known = await jsonRow(run, '');
      const row = await jsonRow(
        run,
        '"unknown":{"a":[{},[null,1.5e3,"\\ud83d\\ude00"]],"traceId":1},"x-1":[[[]]],"":0',
      );
      assert.deepEqual(timeless(row), timeless(known));
    },
  },
  {
    id: 'N4',
    says: 'snake_case, which some senders write, is read as well',
    async check(run) {
      const own = encoded('http/json', run.signal, request([record(run.signal)])).toString();
      assertTaken(await run.sendBytes(own));
      const expected = await onlyRow(run);
      await run.clear();
      assertTaken(await run.sendBytes(own.replaceAll(/"[a-z]+[A-Z]\w*":/g, snakeCase)));
      assert.deepEqual(withoutArrival(await onlyRow(run)), withoutArrival(expected));
    },
  },
  {
    id: 'N5',
    says: 'integers are numbers or strings, 64 bits of them exact',
    async check(run) {
      const time = '1795176000123456789';
      const column = run.signal === 'traces' ? 'started' : 'ts';
      const name = run.signal === 'traces' ? 'startTimeUnixNano' : 'timeUnixNano';
      for (const text of [time, `"${time}"`]) {
        const row = await jsonRow(run, `"${name}":${text}`);
        assert.deepEqual([row[`${column}_ns_rest`], (await jsonRow(run, `"flags":"1"`))['flags']], [789, 1n]);
      }
      for (const integer of [INT64.most, INT64.least]) {
        assert.equal(await jsonValue(run, `{"intValue":${integer}}`), BigInt(integer));
        assert.equal(await jsonValue(run, `{"intValue":"${integer}"}`), BigInt(integer));
      }
      assert.deepEqual((await jsonRow(run, '"flags":1'))['flags'], 1n);
    },
  },
  {
    id: 'N6',
    says: 'doubles are numbers, quoted ones, "NaN" and the infinities, and nothing else',
    async check(run) {
      for (const [text, stored] of [
        ['1.5', 1.5],
        ['"1.5"', 1.5],
        ['-1e-3', -0.001],
        ['"NaN"', 'NaN'],
        ['"-Infinity"', '-Infinity'],
      ] as const) {
        assert.equal(await jsonValue(run, `{"doubleValue":${text}}`), stored);
      }
      for (const text of ['" 1"', '"Inf"', '"infinity"', '""', '"0x1"', 'true']) {
        await assertFault(
          run,
          `"attributes":[{"key":"k","value":{"doubleValue":${text}}}]`,
          /doubleValue must be a number/,
        );
      }
    },
  },
  {
    id: 'N7',
    says: 'bytes are base64 of either alphabet, padded or not',
    async check(run) {
      for (const text of ['+/8=', '+/8', '-_8=', '-_8']) {
        assert.equal(await jsonValue(run, `{"bytesValue":"${text}"}`), '+/8=');
      }
      await assertFault(run, '"attributes":[{"key":"k","value":{"bytesValue":"%"}}]', /bytesValue must be base64/);
    },
  },
  {
    id: 'N8',
    says: 'null means absent, wherever it stands',
    async check(run) {
      const known = await jsonRow(run, '');
      const members =
        '"attributes":null,"flags":null,"droppedAttributesCount":null,"links":null,"exemplars":null,"status":null';
      assert.deepEqual(timeless(await jsonRow(run, members)), timeless(known));
      assert.equal(await jsonValue(run, '{"doubleValue":null}'), null);
      assert.equal(await jsonValue(run, 'null'), null);
    },
  },
  {
    id: 'N9',
    says: 'attribute values are of every kind, empty ones too',
    async check(run) {
      assert.equal(await jsonValue(run, '{}'), null);
      const mixed =
        '{"arrayValue":{"values":[{},{"intValue":"1"},{"bytesValue":"AA=="},{"arrayValue":{}},{"kvlistValue":{"values":[{"key":"n","value":{}}]}}]}}';
      assert.deepEqual(await jsonValue(run, mixed), [null, 1, 'AA==', [], { n: null }]);
    },
  },
  {
    id: 'N10',
    says: 'what is left out is zero, empty or false',
    async check(run) {
      if (run.signal === 'traces') {
        const row = await jsonRowOf(run, `{"traceId":"${TRACE_ID}","spanId":"${SPAN_ID}"}`);
        assert.deepEqual([row['name'], row['kind'], row['status_code'], row['flags']], ['', 0, 0, null]);
      } else if (run.signal === 'logs') {
        const row = await jsonRowOf(run, '{}');
        assert.deepEqual([row['body'], row['severity_number'], row['attributes']], [null, null, {}]);
      } else {
        const row = await jsonRowOf(run, '{"name":"m","sum":{"dataPoints":[{"asInt":0}]}}');
        assert.deepEqual([row['value_int'], row['is_monotonic'], row['temporality']], [0n, false, 0]);
      }
    },
  },
  {
    id: 'N11',
    says: 'answers are {}, a partial success with a string for the count, and a Status with typed details',
    async check(run) {
      const { signal } = run;
      assert.equal((await run.send(request([record(signal)]))).body.toString(), '{}');
      const bad =
        signal === 'logs'
          ? request([record('logs')], { resource: withVerdict('refuse') })
          : request([signal === 'traces' ? field(5, 'a') : invalidRecord(signal)]);
      const partial: unknown = JSON.parse((await run.send(bad)).body.toString());
      const count = { traces: 'rejectedSpans', logs: 'rejectedLogRecords', metrics: 'rejectedDataPoints' }[signal];
      assert.match(JSON.stringify(partial), new RegExp(`^{"partialSuccess":{"${count}":"1","errorMessage":".+"}}$`));
      const status: unknown = JSON.parse((await run.sendBytes('[]')).body.toString());
      const type = 'type\\.googleapis\\.com/google\\.rpc\\.BadRequest';
      assert.match(
        JSON.stringify(status),
        new RegExp(`^{"code":3,"message":".+","details":\\[{"@type":"${type}".*}\\]}$`),
      );
    },
  },
]);

const snakeCase = (name: string): string => name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);

/** Without what depends on when it was sent: records without a time have the one at which they came. */
function timeless(row: Readonly<Record<string, unknown>>): object {
  const { ts: _ts, ...rest } = withoutArrival(row);
  return rest;
}
