/**
 * The load of the pipeline benchmark, in a process of its own: so many connections, each with one request under way; or
 * with `perSecond` so many requests a second, each when its time has come, however long the others take. Every request is
 * a trace of its own, since identical requests are stored once only.
 *
 * Takes `{url, token, connections, seconds, spans, perSecond}` as JSON on its standard input, where a token is nobody else's to see,
 * and prints `{spans, seconds, latenciesMs}`.
 */
import { randomBytes } from 'node:crypto';
import { Agent, request } from 'node:http';
import { json } from 'node:stream/consumers';
import { setTimeout as delay } from 'node:timers/promises';
import { z } from 'zod';
import { traceRequest } from './spans.ts';

const Load = z.object({
  url: z.url(),
  token: z.string().optional(),
  connections: z.int(),
  seconds: z.number(),
  spans: z.int(),
  perSecond: z.number().optional(),
});

const BODIES = 32;
const TRACE_ID_BYTES = 16;

const load = Load.parse(await json(process.stdin));
const credential = load.token === undefined ? {} : { authorization: `Bearer ${load.token}` };
const agent = new Agent({ keepAlive: true, maxSockets: load.connections });
const bodies = Array.from({ length: BODIES }, () => {
  const body = Buffer.from(traceRequest(load.spans, `scan-${randomBytes(6).toString('hex')}`));
  return { body, traceIds: traceIdOffsets(body) };
});

const latenciesMs: number[] = [];
const started = performance.now();
const end = started + load.seconds * 1000;
let next = 0;
if (load.perSecond === undefined) await Promise.all(Array.from({ length: load.connections }, sendUntilEnd));
else await sendAtRate(load.perSecond);
const seconds = (performance.now() - started) / 1000;
agent.destroy();
process.stdout.write(JSON.stringify({ spans: latenciesMs.length * load.spans, seconds, latenciesMs }));

async function sendUntilEnd(): Promise<void> {
  while (performance.now() < end) await sendOne(performance.now());
}

async function sendAtRate(perSecond: number): Promise<void> {
  const underWay: Promise<void>[] = [];
  for (let count = 0; count < load.seconds * perSecond; count++) {
    const dueAt = started + (count * 1000) / perSecond;
    await delay(Math.max(0, dueAt - performance.now()));
    underWay.push(sendOne(dueAt));
  }
  await Promise.all(underWay);
}

/** Its wait counts from when it was due. */
async function sendOne(dueAt: number): Promise<void> {
  const { body, traceIds } = bodies[next++ % BODIES] ?? { body: Buffer.alloc(0), traceIds: [] };
  const traceId = randomBytes(TRACE_ID_BYTES);
  const copy = Buffer.from(body);
  for (const at of traceIds) traceId.copy(copy, at);
  await post(copy);
  latenciesMs.push(performance.now() - dueAt);
}

function post(body: Buffer): Promise<void> {
  return new Promise((resolve, reject) => {
    const headers = { 'content-type': 'application/x-protobuf', 'content-length': body.length, ...credential };
    const sent = request(load.url, { method: 'POST', agent, headers }, (response) => {
      response.resume();
      response.on('end', () => {
        if (response.statusCode === 200) resolve();
        else reject(new Error(`the gateway answered ${response.statusCode}`));
      });
    });
    sent.on('error', reject);
    sent.end(body);
  });
}

/** All spans of a body have one trace id; it stands behind its tag and length, at the start of each span. */
function traceIdOffsets(body: Buffer): number[] {
  const marker = Buffer.from([0x0a, TRACE_ID_BYTES]);
  const first = body.indexOf(marker) + marker.length;
  const traceId = body.subarray(first, first + TRACE_ID_BYTES);
  const offsets: number[] = [];
  for (let at = body.indexOf(traceId); at >= 0; at = body.indexOf(traceId, at + TRACE_ID_BYTES)) offsets.push(at);
  return offsets;
}
