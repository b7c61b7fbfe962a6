/** Bodies that are cut off, damaged or made up, sent to a real gateway over connections that are kept. */
import assert from 'node:assert/strict';
import http from 'node:http';
import * as fc from 'fast-check';
import { suite } from 'uvu';
import { SIGNALS, type Signal } from '../../src/model/batch.ts';
import { protobufToJson } from '../../src/otlp/json_encode.ts';
import {
  FULL_TRACE,
  LEGACY_TRACE,
  LOG,
  LOG_THAT_LOOKS_LIKE_A_SPAN,
  METRICS,
  MINIMAL_TRACE,
} from '../otlp/golden_vectors.ts';
import { any, request } from '../support/otlp_messages.ts';
import { fuzzedGateway, type FuzzedGateway } from './fuzzed_gateway.ts';
import { fuzzedRequest, type FuzzedRequest } from './fuzzed_requests.ts';
import { httpRequest } from './http_client.ts';
import { record } from './requests.ts';

/** Nothing else may come of a body, whatever it holds. */
const ALLOWED: ReadonlySet<number> = new Set([200, 400, 413, 415]);

const BODIES = 10_000;
/** Sent at once. */
const GROUP = 20;
const CONNECTIONS = 8;
/** What caches and compiled code may take beyond what the first bodies left. */
const MAX_GROWTH_BYTES = 16 * 1_048_576;
const FLIPPED_BYTES = 1024;

const PROTOBUF = 'application/x-protobuf';
const JSON_TYPE = 'application/json';

const fuzz = suite('fuzzed bodies');
const agent = new http.Agent({ keepAlive: true, maxSockets: CONNECTIONS });
let gateway: FuzzedGateway;

fuzz.before(async () => {
  gateway = await fuzzedGateway();
});
fuzz.after(async () => {
  agent.destroy();
  await gateway.close();
});

async function statusOf({ signal, body, contentType, contentEncoding }: FuzzedRequest): Promise<number> {
  const headers = {
    'content-type': contentType,
    ...(contentEncoding === '' ? {} : { 'content-encoding': contentEncoding }),
  };
  const { status, body: answer } = await httpRequest(`${gateway.url}/v1/${signal}`, { agent, headers, body });
  const sent = `${JSON.stringify(headers)} ${Buffer.from(body).toString('hex')}`;
  assert.ok(ALLOWED.has(status), `${status} ${answer.toString()} for ${sent}`);
  return status;
}

/** How often each status came. */
async function statuses(requests: readonly FuzzedRequest[]): Promise<Map<number, number>> {
  const counts = new Map<number, number>();
  for (let at = 0; at < requests.length; at += GROUP) {
    for (const status of await Promise.all(requests.slice(at, at + GROUP).map(statusOf))) {
      counts.set(status, (counts.get(status) ?? 0) + 1);
    }
  }
  return counts;
}

const plain = (signal: Signal, contentType: string, body: Uint8Array): FuzzedRequest => ({
  signal,
  body,
  contentType,
  contentEncoding: '',
});

const VECTORS: readonly (readonly [Signal, Buffer])[] = [
  ['traces', FULL_TRACE],
  ['traces', MINIMAL_TRACE],
  ['traces', LEGACY_TRACE],
  ['traces', LOG_THAT_LOOKS_LIKE_A_SPAN],
  ['logs', LOG],
  ['metrics', METRICS],
];

fuzz('golden vectors that are cut off anywhere are refused, but where a shorter one is whole', async () => {
  for (const [signal, vector] of VECTORS) {
    const cuts = Array.from({ length: vector.length - 1 }, (_, length) => vector.subarray(0, length + 1));
    const binary = await statuses(cuts.map((body) => plain(signal, PROTOBUF, body)));
    assert.deepEqual([...binary.keys()], [400], 'each vector is one field');
    const json = Buffer.from(protobufToJson(signal, vector));
    const jsonCuts = Array.from({ length: json.length }, (_, length) => json.subarray(0, length));
    assert.deepEqual([...(await statuses(jsonCuts.map((body) => plain(signal, JSON_TYPE, body)))).keys()], [400]);
  }
});

/** A request of about so many bytes in its encoding, with values of every kind in it. */
function aKilobyte(signal: Signal, encode: (body: Buffer) => Buffer): Buffer {
  const values = [any.string('text'), any.int(-1), any.double(0.5), any.bool(true), any.bytes(Buffer.from([0, 255]))];
  const nested = [any.array(...values), any.kvlist(['k', any.empty])];
  const attributes = [...values, ...nested].map((value, at) => [`key ${at}`, value] as const);
  const records = [record(signal, { attributes })];
  let body = encode(request(records));
  while (body.length < FLIPPED_BYTES) {
    records.push(record(signal, { number: records.length, attributes: attributes.slice(0, 2) }));
    body = encode(request(records));
  }
  return body;
}

fuzz('a request of 1 KB with any byte changed', async () => {
  for (const signal of SIGNALS) {
    const bodies = [
      [PROTOBUF, aKilobyte(signal, (body) => body)],
      [JSON_TYPE, aKilobyte(signal, (body) => Buffer.from(protobufToJson(signal, body)))],
    ] as const;
    for (const [contentType, body] of bodies) {
      const changed = Array.from(body.keys()).flatMap((at) => [
        flipped(body, at, 0xff),
        flipped(body, at, 1 << (at % 8)),
      ]);
      const counts = await statuses(changed.map((one) => plain(signal, contentType, one)));
      assert.deepEqual(new Set(counts.keys()), new Set([200, 400]), `${signal}, ${contentType}`);
    }
  }
});

function flipped(body: Buffer, at: number, bits: number): Buffer {
  const copy = Buffer.from(body);
  copy[at] = (copy[at] ?? 0) ^ bits;
  return copy;
}

fuzz('made-up bodies, types and compressions, and memory that does not grow', async () => {
  const seed = Number(process.env['SLUICE_FUZZ_SEED'] ?? Date.now() % 2 ** 31);
  console.log(`\n  seed ${seed}`);
  const counts = new Map<number, number>();
  const some = (runs: number, from: number) =>
    fc.assert(
      fc.asyncProperty(
        fc.array(fuzzedRequest, { minLength: GROUP, maxLength: GROUP, size: 'max' }),
        async (requests) => {
          for (const [status, count] of await statuses(requests)) counts.set(status, (counts.get(status) ?? 0) + count);
        },
      ),
      { numRuns: runs / GROUP, seed: from, interruptAfterTimeLimit: 45_000, markInterruptAsFailure: true },
    );
  await some(BODIES * 0.3, seed);
  const before = await gateway.usedBytes();
  await some(BODIES * 0.7, seed + 1);
  const growth = (await gateway.usedBytes()) - before;
  console.log(
    `  ${[...counts]
      .toSorted(([a], [b]) => a - b)
      .map(([status, count]) => `${status}: ${count}`)
      .join(', ')}; grew by ${growth} bytes`,
  );
  assert.ok(growth < MAX_GROWTH_BYTES, `grew by ${growth} bytes`);
  for (const status of [200, 400, 415])
    assert.ok((counts.get(status) ?? 0) > BODIES / 100, `${status} came too seldom`);
});

fuzz('an honest request is still stored', async () => {
  const before = await gateway.spanCount();
  assert.equal(await statusOf(plain('traces', PROTOBUF, request([record('traces')]))), 200);
  assert.equal(await gateway.spanCount(), before + 1);
});

fuzz.run();
