/** OTLP/JSON requests around one record, written as text where it matters how. */
import assert from 'node:assert/strict';
import type { Signal } from '../../src/model/batch.ts';
import { pointsOf, recordsOf } from './content.ts';
import { SPAN_ID, TRACE_ID } from './golden_vectors.ts';
import { decodeJson } from './requests.ts';

const NAMES: Readonly<Record<Signal, readonly [string, string, string]>> = {
  traces: ['resourceSpans', 'scopeSpans', 'spans'],
  logs: ['resourceLogs', 'scopeLogs', 'logRecords'],
  metrics: ['resourceMetrics', 'scopeMetrics', 'metrics'],
};

/** A request with these records, each a JSON object as text. */
export function jsonRequest(signal: Signal, ...records: readonly string[]): string {
  const [resources, scopes, name] = NAMES[signal];
  return `{"${resources}":[{"${scopes}":[{"${name}":[${records.join(',')}]}]}]}`;
}

export const JSON_IDS = `"traceId":"${TRACE_ID}","spanId":"${SPAN_ID}"`;

/** A span with ids and these members. */
export const jsonSpan = (members: string): string => `{${JSON_IDS}${members === '' ? '' : ','}${members}}`;

/** A metric `m` with these members. */
export const jsonMetric = (members: string): string => `{"name":"m",${members}}`;

/** The only record of a request, which is kept. */
export async function onlyRecord(signal: Signal, record: string): Promise<Record<string, unknown>> {
  const { batch, rejected, message } = await decodeJson(signal, jsonRequest(signal, record));
  assert.deepEqual([rejected, message], [0, '']);
  const [only, ...more] = recordsOf(batch);
  assert.ok(only !== undefined && more.length === 0);
  return only;
}

/** The only data point of the only metric. */
export async function onlyPoint(metric: string): Promise<Record<string, unknown>> {
  const { batch, message } = await decodeJson('metrics', jsonRequest('metrics', metric));
  assert.equal(message, '');
  const [only, ...more] = pointsOf(batch);
  assert.ok(only !== undefined && more.length === 0);
  return only;
}

/** The attribute `k` of a span, its `AnyValue` given as text. */
export async function attributeValue(value: string): Promise<unknown> {
  const { attributes } = await onlyRecord('traces', jsonSpan(`"attributes":[{"key":"k","value":${value}}]`));
  assert.ok(Array.isArray(attributes) && attributes.length === 1);
  const [pair]: unknown[] = attributes;
  assert.ok(Array.isArray(pair) && pair[0] === 'k');
  return pair[1];
}

/** What is said of the only record, which is not kept. */
export async function faultOf(signal: Signal, record: string): Promise<string> {
  const { batch, rejected, message } = await decodeJson(signal, jsonRequest(signal, record));
  assert.deepEqual([rejected, recordsOf(batch)], [1, []], message);
  assert.ok(message.startsWith('1 rejected: '));
  return message.slice('1 rejected: '.length);
}
