/** What became of one record: shortcuts to what rows ask of the stored ones. */
import assert from 'node:assert/strict';
import type { Signal } from '../../src/model/batch.ts';
import type { StoredRow } from '../support/gateway.ts';
import { request } from '../support/otlp_messages.ts';
import { record, type Attribute } from './requests.ts';
import type { Run } from './rows.ts';
import type { Reply } from './wires.ts';

/** Fails unless all of the request was taken and nothing is to be said of it. */
export function assertTaken({ code, message, partial }: Reply): void {
  assert.deepEqual([code, partial.isSet], [0, false], `${message}${partial.message}`);
}

/** Fails unless so many were rejected, with this to be said. */
export function assertRejected({ code, message, partial }: Reply, rejected: number, why: RegExp): void {
  assert.deepEqual([code, partial.rejected], [0, rejected], `${message}${partial.message}`);
  assert.match(partial.message, why);
}

export async function onlyRow(run: Run): Promise<StoredRow> {
  const [only, ...more] = await run.rows();
  assert(only !== undefined, 'nothing is stored');
  assert.equal(more.length, 0, 'more than one row is stored');
  return only;
}

/** Sends a record with these attributes and reads back what they became. */
export async function storedAttributes(run: Run, attributes: readonly Attribute[]): Promise<unknown> {
  await run.clear();
  assertTaken(await run.send(request([record(run.signal, { attributes })])));
  const { attributes: stored } = await onlyRow(run);
  return stored;
}

const NAMES: Readonly<Record<Signal, readonly [resources: string, scopes: string, records: string]>> = {
  traces: ['resourceSpans', 'scopeSpans', 'spans'],
  logs: ['resourceLogs', 'scopeLogs', 'logRecords'],
  metrics: ['resourceMetrics', 'scopeMetrics', 'metrics'],
};

export const TRACE_ID = '5b8efff798038103d269b633813fc60c';
export const SPAN_ID = 'eee19b7ec3c1b174';

/** A request in JSON with these records, each the text of an object. */
export function jsonRequest(signal: Signal, ...records: readonly string[]): string {
  const [resources, scopes, name] = NAMES[signal];
  return `{"${resources}":[{"${scopes}":[{"${name}":[${records.join(',')}]}]}]}`;
}

/** A span, a log record or a gauge with one point, with these members beside those that it needs. */
export function jsonRecord(signal: Signal, members = ''): string {
  const more = members === '' ? '' : `,${members}`;
  if (signal === 'traces') return `{"traceId":"${TRACE_ID}","spanId":"${SPAN_ID}","name":"a"${more}}`;
  if (signal === 'logs') return `{"body":{"stringValue":"hi"}${more}}`;
  return `{"name":"m","gauge":{"dataPoints":[{"asDouble":1${more}}]}}`;
}

/** Sends one record as JSON, all of which is to be taken, and returns its row. */
export async function jsonRow(run: Run, members: string): Promise<StoredRow> {
  return jsonRowOf(run, jsonRecord(run.signal, members));
}

export async function jsonRowOf(run: Run, text: string): Promise<StoredRow> {
  await run.clear();
  assertTaken(await run.sendBytes(jsonRequest(run.signal, text)));
  return onlyRow(run);
}

/** Sends one record with the attribute `k`, its AnyValue given as text, and returns the value that is stored. */
export async function jsonValue(run: Run, anyValue: string): Promise<unknown> {
  const { attributes } = await jsonRow(run, `"attributes":[{"key":"k","value":${anyValue}}]`);
  assert(typeof attributes === 'object' && attributes !== null && 'k' in attributes);
  return attributes.k;
}
