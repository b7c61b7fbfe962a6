/** Section 1A: what every server must do, whatever the transport. */
import assert from 'node:assert/strict';
import { withoutArrival } from '../support/gateway.ts';
import { any, attribute, field, fixed32, fixed64, request, varint } from '../support/otlp_messages.ts';
import { MAX_BODY_BYTES, MAX_RECORDS } from './conformance_gateway.ts';
import { bytes, invalidRecord, record, untimed, withVerdict } from './requests.ts';
import type { Row, Run } from './rows.ts';
import { encoded, type Reply, type Wire } from './wires.ts';

/** Recommended by the specification; ours are far below. */
const MAX_RESPONSE_BYTES = 4 * 1_048_576;
const RESOURCE_EXHAUSTED = 8;

/** Byte by byte: an empty message. */
function assertFullSuccess(wire: Wire, { code, body, message }: Reply): void {
  assert.deepEqual([code, body.toString()], [0, wire === 'http/json' ? '{}' : ''], message);
}

/** A valid request of so many bytes. */
function sized({ wire, signal }: Run, size: number): Buffer {
  const body = encoded(wire, signal, request([untimed(signal)]));
  if (wire === 'http/json') return Buffer.concat([body, Buffer.alloc(size - body.length, ' ')]);
  const [tagBytes, lengthBytes] = [2, 3];
  return Buffer.concat([body, field(99, Buffer.alloc(size - body.length - tagBytes - lengthBytes))]);
}

function assertTooLarge({ code, status, details }: Reply): void {
  assert.equal(code, RESOURCE_EXHAUSTED);
  assert.ok(status === undefined || status === 413, `status ${status}`);
  assert.ok(!details.includes('RetryInfo'), 'it is no use to try again');
}

/** Three items, of which one is not kept. */
function oneOfThreeInvalid({ signal }: Run): Buffer {
  const [first, third] = [record(signal, { number: 1 }), record(signal, { number: 3 })];
  if (signal !== 'logs') return request([first, invalidRecord(signal), third]);
  return Buffer.concat([request([first, third]), request([record('logs')], { resource: withVerdict('refuse') })]);
}

export const SERVER_ROWS: readonly Row[] = [
  {
    id: 'C1',
    says: 'requests come uncompressed and with gzip',
    async check(run) {
      for (const compression of ['identity', 'gzip'] as const) {
        assertFullSuccess(run.wire, await run.send(request([untimed(run.signal)]), { compression }));
      }
      assert.equal((await run.rows()).length, 2);
    },
  },
  {
    id: 'C2',
    says: 'a request is limited in size, before and after decompression',
    async check(run) {
      for (const compression of ['identity', 'gzip'] as const) {
        for (const size of [MAX_BODY_BYTES - 1, MAX_BODY_BYTES]) {
          assertFullSuccess(run.wire, await run.sendBytes(sized(run, size), { compression }));
        }
        assertTooLarge(await run.sendBytes(sized(run, MAX_BODY_BYTES + 1), { compression }));
      }
      assert.equal((await run.rows()).length, 4);
    },
  },
  {
    id: 'C3',
    says: 'a response stays small whatever is to be said',
    async check(run) {
      const { signal } = run;
      const records = Array.from({ length: MAX_RECORDS }, () => Buffer.alloc(0));
      const reply =
        signal === 'metrics'
          ? await run.send(request([Buffer.concat([field(1, 'm'), field(5, ...records.map((one) => field(1, one)))])]))
          : await run.send(request(records, { resource: withVerdict(signal === 'logs' ? 'refuse' : '') }));
      assert.equal(reply.partial.rejected, MAX_RECORDS);
      assert.ok(reply.body.length < MAX_RESPONSE_BYTES / 1000, `${reply.body.length} bytes`);
    },
  },
  {
    id: 'C4',
    says: 'a request without telemetry is a success',
    async check(run) {
      const empty = [request([]), field(1, field(1, attribute(1, 'a', any.int(1)))), field(1)];
      for (const body of empty) assertFullSuccess(run.wire, await run.send(body));
      const { wire, signal } = run;
      const resources = { traces: 'resourceSpans', logs: 'resourceLogs', metrics: 'resourceMetrics' }[signal];
      const bodies = wire === 'http/json' ? ['{}', `{"${resources}":[]}`, ` {"${resources}":[{}]} `] : [''];
      for (const body of bodies) assertFullSuccess(wire, await run.sendBytes(body));
      assert.deepEqual(await run.rows(), []);
    },
  },
  {
    id: 'C5',
    says: 'full success is the empty message',
    async check(run) {
      assertFullSuccess(run.wire, await run.send(request([record(run.signal)])));
    },
  },
  {
    id: 'C6',
    says: 'partial success counts what was rejected',
    async check(run) {
      const { code, partial } = await run.send(oneOfThreeInvalid(run));
      assert.deepEqual([code, partial.isSet, partial.rejected], [0, true, 1]);
      assert.equal((await run.rows()).length, 2);
    },
  },
  {
    id: 'C7',
    says: 'partial success says why and how to mend it',
    async check(run) {
      const { partial } = await run.send(oneOfThreeInvalid(run));
      const expected = {
        traces: /trace_id must be 16 bytes/,
        metrics: /must have as_double or as_int/,
        logs: /verdict/,
      };
      assert.match(partial.message, expected[run.signal]);
    },
  },
  {
    id: 'C8',
    says: 'a warning on full success rejects nothing and says something',
    signals: ['logs'],
    async check(run) {
      const { code, partial } = await run.send(request([record('logs', { more: field(9, 'short') })]));
      assert.deepEqual([code, partial.isSet, partial.rejected], [0, true, 0]);
      assert.match(partial.message, /trace_id of a log record must be empty or 16 bytes/);
      assert.equal((await run.rows()).length, 1);
    },
  },
  {
    id: 'C9',
    says: 'nothing rejected and nothing said is written as the unset field that it equals',
    async check(run) {
      const reply = await run.send(request([record(run.signal)]));
      assert.deepEqual(reply.partial, { isSet: false, rejected: 0, message: '' });
    },
  },
  {
    id: 'C10',
    says: 'empty envelopes are let pass and lead to nothing',
    async check(run) {
      const empty = field(
        1,
        field(1, attribute(1, 'a', any.int(1))),
        field(2, field(1, field(1, 'lib'))),
        field(3, 'url'),
      );
      assertFullSuccess(run.wire, await run.send(Buffer.concat([empty, request([record(run.signal)]), empty])));
      assert.equal((await run.rows()).length, 1);
    },
  },
  {
    id: 'C11',
    says: 'what a newer client adds is passed over',
    async check(run) {
      assertFullSuccess(run.wire, await run.send(request([record(run.signal)])));
      const known = await run.rows();
      await run.clear();
      assertFullSuccess(run.wire, await run.sendBytes(withUnknown(run)));
      assert.deepEqual((await run.rows()).map(withoutArrival), known.map(withoutArrival));
    },
  },
  {
    id: 'C12',
    says: 'what sampling leaves out was accepted',
    async check(run) {
      const sampled = request([record(run.signal)], { resource: withVerdict('drop') });
      assertFullSuccess(run.wire, await run.send(sampled));
      assert.deepEqual(await run.rows(), []);
    },
  },
];

/** A field of every wire type, among them a group, under numbers that nobody uses. */
const UNKNOWN = Buffer.concat([
  varint(77, 5),
  fixed64(78, 1n),
  field(79, varint(77, 5)),
  fixed32(80, 1),
  field(1001, 'x'),
  bytes('8b05 0801 8c05'),
]);

function withUnknown({ wire, signal }: Run): Buffer {
  const one = Buffer.concat([record(signal), UNKNOWN]);
  if (wire !== 'http/json') return Buffer.concat([request([one], { resource: UNKNOWN, scope: UNKNOWN }), UNKNOWN]);
  const text = encoded(wire, signal, request([record(signal)])).toString();
  const unknown = '"newField":{"a":[1,{"b":null}],"c":"\\u0041"},"another":[[],{}],';
  return Buffer.from(text.replaceAll('{"', `{${unknown}"`));
}
