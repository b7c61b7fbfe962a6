import assert from 'node:assert/strict';
import { setImmediate } from 'node:timers/promises';
import { suite } from 'uvu';
import type { Signal } from '../../src/model/batch.ts';
import { DEFAULT_TENANT } from '../../src/model/tenant.ts';
import { DEFAULT_SHAPE_LIMITS } from '../../src/model/wire.ts';
import { decodeInSlices, decodeRequest } from '../../src/otlp/decode.ts';
import { recordsOf } from './content.ts';
import { field, request, SPAN_IDS, wire } from './requests.ts';

const slices = suite('protobuf in slices');

const MAX_BLOCKED_MS = 100;
const CONTEXT = { tenant: DEFAULT_TENANT, receivedAtMs: 0, limits: DEFAULT_SHAPE_LIMITS };
const LONGEST = 64 * 1_048_576;

const times = (count: number, part: Uint8Array): Buffer => Buffer.alloc(count * part.length, part);

const KEY_VALUE = field(9, field(1, '6b'), field(2, field(1, '76')));
const span = (...parts: readonly Uint8Array[]): Buffer => field(2, SPAN_IDS, ...parts);

/** As many messages as the limits allow, in as many bytes. */
const BODIES: readonly (readonly [string, Signal, () => Buffer])[] = [
  ['50,000 spans of 19 attributes', 'traces', () => field(1, field(2, times(50_000, span(times(19, KEY_VALUE)))))],
  [
    '50,000 spans of 19 attributes and a long name',
    'traces',
    () => field(1, field(2, times(50_000, span(times(19, KEY_VALUE), field(5, Buffer.alloc(1000, 65)))))),
  ],
  ['a span a resource', 'traces', () => times(50_000, request(wire(SPAN_IDS, times(9, KEY_VALUE))))],
  ['a span with a million attributes', 'traces', () => request(wire(SPAN_IDS, times(999_000, KEY_VALUE)))],
  ['empty resources', 'traces', () => times(149_999, wire('0a00'))],
  ['empty scopes', 'traces', () => field(1, times(149_998, wire('1200')))],
  ['empty scopes in the old spelling', 'traces', () => field(1, times(149_998, wire('c23e00')))],
  ['empty log records', 'logs', () => field(1, field(2, times(50_000, wire('1200'))))],
  ['fields that nobody knows', 'traces', () => times(LONGEST / 2, wire('7801'))],
  ['fields that nobody knows in a resource', 'traces', () => field(1, times(LONGEST / 2 - 8, wire('7801')))],
  ['fields that nobody knows in a scope', 'traces', () => field(1, field(2, times(LONGEST / 2 - 16, wire('7801'))))],
];

/** The most CPU time between two turns of the event loop, in ms: other processes do not blur it. */
async function longestTurnMs(isDone: () => boolean): Promise<number> {
  let longest = 0;
  for (let before = cpuMs(); !isDone();) {
    await setImmediate();
    const now = cpuMs();
    longest = Math.max(longest, now - before);
    before = now;
  }
  return longest;
}

function cpuMs(): number {
  const { user, system } = process.threadCpuUsage();
  return (user + system) / 1000;
}

for (const [name, signal, makeBody] of BODIES) {
  slices(`${name} block nobody for ${MAX_BLOCKED_MS} ms`, async () => {
    const body = makeBody();
    let isDone = false;
    const turn = longestTurnMs(() => isDone);
    await decodeInSlices(signal, body, CONTEXT);
    isDone = true;
    const longest = await turn;
    console.log(`\n  ${name}: ${longest.toFixed(1)} ms of CPU at most in one turn, ${body.length} bytes`);
    assert.ok(longest < MAX_BLOCKED_MS, `${longest} ms`);
  });

  slices(`${name}: the same comes of it as at one go`, async () => {
    const body = makeBody();
    const sliced = await decodeInSlices(signal, body, CONTEXT);
    const whole = decodeRequest(signal, body, CONTEXT);
    assert.equal(recordsOf(sliced.batch).length, recordsOf(whole.batch).length);
    assert.equal(sliced.rejections.message, whole.rejections.message);
    assert.equal(sliced.batch.resources.length, whole.batch.resources.length);
  });
}

slices('a fault behind many slices refuses the request', async () => {
  const body = Buffer.concat([times(LONGEST / 4, wire('7801')), wire('02')]);
  await assert.rejects(decodeInSlices('traces', body, CONTEXT), {
    name: 'InvalidDataError',
    message: /^not a valid OTLP traces request: field number 0/,
  });
});

slices('a short request is decoded in one turn', async () => {
  let turns = 0;
  const count = (): void => {
    turns += 1;
  };
  globalThis.setImmediate(count);
  await decodeInSlices('traces', request(SPAN_IDS), CONTEXT);
  assert.equal(turns, 0);
});

slices.run();
