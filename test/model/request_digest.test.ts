import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { suite } from 'uvu';
import type { Signal } from '../../src/model/batch.ts';
import { hasTime, requestDigest } from '../../src/model/request_digest.ts';
import { DEFAULT_TENANT } from '../../src/model/tenant.ts';
import { DEFAULT_SHAPE_LIMITS } from '../../src/model/wire.ts';
import { decodeRequest } from '../../src/otlp/decode.ts';
import { jsonToProtobuf } from '../../src/otlp/json_decode.ts';
import { Rejections } from '../../src/otlp/rejections.ts';

const test = suite('request digest');

test('is of the signal and the whole body, also a long one', async () => {
  const body = Buffer.alloc(3_000_000, 'body');
  const wanted = createHash('sha256').update('logs\0').update(body).digest();
  assert.deepEqual(await requestDigest('logs', body), wanted);
  assert.notDeepEqual(await requestDigest('traces', body), wanted);
  assert.notDeepEqual(await requestDigest('logs', body.subarray(1)), wanted);
});

async function timed(signal: Signal, request: object): Promise<boolean> {
  const json = Buffer.from(JSON.stringify(request));
  const bytes = await jsonToProtobuf(signal, json, DEFAULT_SHAPE_LIMITS, new Rejections());
  const context = { tenant: DEFAULT_TENANT, receivedAtMs: 0, limits: DEFAULT_SHAPE_LIMITS };
  return hasTime(decodeRequest(signal, bytes, context).batch);
}

const IDS = { traceId: '0af7651916cd43dd8448eb211c80319c', spanId: 'b7ad6b7169203331', name: 'a' };
const spans = (...all: object[]) => ({ resourceSpans: [{ scopeSpans: [{ spans: all }] }] });
const logs = (...all: object[]) => ({ resourceLogs: [{ scopeLogs: [{ logRecords: all }] }] });
const points = (point: object) => ({
  resourceMetrics: [
    { scopeMetrics: [{ metrics: [{ name: 'm', gauge: { dataPoints: [{ asInt: '1', ...point }] } }] }] },
  ],
});

test('a body has a time when one of its records has', async () => {
  assert.equal(await timed('traces', spans(IDS)), false);
  assert.equal(await timed('traces', spans({ ...IDS, startTimeUnixNano: '0' })), false);
  assert.equal(await timed('traces', spans(IDS, { ...IDS, startTimeUnixNano: '1' })), true);
  assert.equal(await timed('traces', spans({ ...IDS, endTimeUnixNano: '1' })), true);
  assert.equal(await timed('logs', logs({ body: { stringValue: 'x' } })), false);
  assert.equal(await timed('logs', logs({ timeUnixNano: '1' })), true);
  assert.equal(await timed('logs', logs({ observedTimeUnixNano: '1' })), true);
  assert.equal(await timed('metrics', points({})), false);
  assert.equal(await timed('metrics', points({ timeUnixNano: '1' })), true);
  assert.equal(await timed('metrics', points({ startTimeUnixNano: '1' })), false);
});

test.run();
