import assert from 'node:assert/strict';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { setImmediate } from 'node:timers/promises';
import { suite } from 'uvu';
import type { Signal } from '../../src/model/batch.ts';
import { DEFAULT_SHAPE_LIMITS } from '../../src/model/wire.ts';
import { jsonToProtobuf } from '../../src/otlp/json_decode.ts';
import { Rejections } from '../../src/otlp/rejections.ts';
import { jsonRequest, jsonSpan } from './json_requests.ts';

const slices = suite('JSON in slices');

const BODY_BYTES = 64 * 1_048_576;
const MAX_BLOCKED_MS = 100;

const SPAN = jsonSpan(
  '"name":"GET /api/v1/items","kind":3,"startTimeUnixNano":"1544712660000000000","endTimeUnixNano":"1544712661000000000",' +
    '"attributes":[{"key":"url.full","value":{"stringValue":"https://staging.example.com/api/v1/items?page=2&sort=key"}},' +
    String.raw`{"key":"exception.stacktrace","value":{"stringValue":"Error: no\n    at read (file.js:1:2)\n    at \"x\""}},` +
    '{"key":"http.response.status_code","value":{"intValue":"200"}},{"key":"ratio","value":{"doubleValue":0.25}}],"status":{}',
);

/** So much of one thing that the whole body has 64 MiB, or as told. */
const filled = (before: string, part: string, after: string, bodyBytes = BODY_BYTES): Buffer => {
  const count = Math.floor((bodyBytes - before.length - after.length) / part.length);
  const body = Buffer.alloc(before.length + count * part.length + after.length, part);
  body.write(before, 0, 'latin1');
  body.fill(part, before.length, body.length - after.length, 'latin1');
  body.write(after, body.length - after.length, 'latin1');
  return body;
};

/** What stands before and behind the records of a request. */
function around(signal: Signal): readonly [string, string] {
  const [before = '', after = ''] = jsonRequest(signal, '*').split('*');
  return [before, after];
}

const [spansBefore, spansAfter] = around('traces');
const [logsBefore, logsAfter] = around('logs');
const [metricsBefore, metricsAfter] = around('metrics');
const inName = (part: string): Buffer => filled(`${spansBefore}{"name":"`, part, `"}${spansAfter}`);

const BODIES: readonly (readonly [string, () => Buffer, Signal?])[] = [
  ['spans', () => filled(spansBefore, `${SPAN},`, `${SPAN}${spansAfter}`)],
  ['spans with faults', () => filled(spansBefore, '{"kind":"x"},', `{}${spansAfter}`, BODY_BYTES / 8)],
  ['faults in one span', () => filled(`${spansBefore}{`, '"kind":"x",', `"kind":1}${spansAfter}`)],
  ['faults in one metric', () => filled(`${metricsBefore}{`, '"name":{},', `"unit":"1"}${metricsAfter}`), 'metrics'],
  ['members nobody knows', () => filled('{', '"future":{"a":[1,"x",true,null]},', '"last":0}')],
  ['one long text', () => inName('x')],
  ['one long text of escapes', () => inName(String.raw`\n`)],
  ['one long text of escaped surrogates', () => inName(String.raw`\ud83d\ude00`)],
  ['one long text that nobody knows', () => filled('{"future":"', String.raw`\\`, '"}')],
  ['one long id', () => filled(`${spansBefore}{"traceId":"`, 'f', `"}${spansAfter}`)],
  ['one long kind', () => filled(`${spansBefore}{"kind":"`, 'f', `"}${spansAfter}`)],
  ['one long key', () => filled(`${spansBefore}{"`, 'f', `":1}${spansAfter}`)],
  [
    'bytes in base64',
    () => filled(`${logsBefore}{"body":{"bytesValue":"`, 'AAAA', `"}}${logsAfter}`, BODY_BYTES / 2),
    'logs',
  ],
];

const LIMITS = { ...DEFAULT_SHAPE_LIMITS, max_records: Number.POSITIVE_INFINITY };

/** The delay counts from one of its own turns to the next, so one must lie before what is measured and one behind. */
async function nextCount(delay: { readonly count: number }): Promise<void> {
  const { count } = delay;
  while (delay.count === count) await setImmediate();
}

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

for (const [name, makeBody, signal = 'traces'] of BODIES) {
  slices(`a long body of ${name} blocks nobody for ${MAX_BLOCKED_MS} ms`, async () => {
    const body = makeBody();
    const delay = monitorEventLoopDelay({ resolution: 1 });
    delay.enable();
    await nextCount(delay);
    let isDone = false;
    const longestTurn = longestTurnMs(() => isDone);
    const startedAt = performance.now();
    const bytes = await jsonToProtobuf(signal, body, LIMITS, new Rejections());
    const speed = body.length / 1000 / (performance.now() - startedAt);
    await nextCount(delay);
    delay.disable();
    isDone = true;
    const blockedMs = await longestTurn;
    console.log(
      `\n  ${name}: ${blockedMs.toFixed(1)} ms of CPU at most in one turn, event loop delay ${(delay.max / 1e6).toFixed(1)} ms,` +
        ` ${speed.toFixed(0)} MB/s, ${bytes.length} bytes`,
    );
    assert.ok(blockedMs < MAX_BLOCKED_MS, `${blockedMs} ms`);
  });
}

/** What need not be read in slices, since nobody means it, is refused at once. */
const REFUSED: readonly (readonly [string, () => Buffer, RegExp])[] = [
  ['white space', () => filled('{"a":', ' ', '1}'), /too much white space at byte 5$/],
  ['digits', () => filled('{"a":', '1', '}'), /invalid value at byte 5$/],
  ['escapes in a key', () => filled('{"', String.raw`\\`, '":1}'), /too long a string with escapes/],
  [
    'escapes in an id',
    () => filled(`${spansBefore}{"spanId":"`, String.raw`\u0066`, `"}${spansAfter}`),
    /with escapes/,
  ],
];

for (const [name, makeBody, message] of REFUSED) {
  slices(`a long body of ${name} is refused`, async () => {
    const reading = jsonToProtobuf('traces', makeBody(), LIMITS, new Rejections());
    await assert.rejects(reading, { name: 'InvalidDataError', message });
  });
}

slices.run();
