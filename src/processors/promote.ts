/**
 * Copies configured attributes into columns, where an index finds them. A record's own attributes come before those of
 * its resource, and an earlier key in the list before a later one. The attributes themselves stay as they are.
 */
import { z } from 'zod';
import { processorFactory, type Consumer } from '../component.ts';
import type { AttributeValue, Attributes } from '../model/attributes.ts';
import type { AnyBatch, Batches, Signal } from '../model/batch.ts';
import type { LogRecord } from '../model/logs.ts';
import type { DataPoint } from '../model/metrics.ts';
import type { Resource } from '../model/resource.ts';
import type { Span } from '../model/traces.ts';

/** Longest value that goes into a column: an index entry of PostgreSQL holds no more than some 2,700 bytes. */
const MAX_VALUE_CHARACTERS = 256;

const config = z.strictObject({
  scan_id: z
    .array(z.string().min(1))
    .min(1)
    .default(['pencheff.scan_id', 'scan.id'])
    .describe('Attributes that hold the scan id, the first that is there winning; span, then resource attributes.'),
});

type Config = z.output<typeof config>;

/** What columns are copied to: spans, log records and data points, not metrics as a whole. */
type Item = Span | LogRecord | DataPoint;

export const promote = processorFactory<Config>({
  type: 'promote',
  config,
  create: {
    traces: (keys, _settings, next) => promoting(keys, next),
    logs: (keys, _settings, next) => promoting(keys, next),
    metrics: (keys, _settings, next) => promoting(keys, next),
  },
});

function promoting<S extends Signal>({ scan_id }: Config, next: Consumer<Batches[S]>): Consumer<Batches[S]> {
  const keys = scan_id.map((key) => Buffer.from(key, 'utf8'));
  return {
    consume(batch) {
      promoteScanIds(batch, keys);
      return next.consume(batch);
    },
  };
}

function promoteScanIds(batch: AnyBatch, keys: readonly Uint8Array[]): void {
  for (const { resource, scopes } of batch.resources) {
    const fallback = resourceScanId(resource, keys);
    for (const { records } of scopes) {
      for (const record of records) {
        if (!('points' in record)) promoteScanId(record, keys, fallback);
        else for (const point of record.points) promoteScanId(point, keys, fallback);
      }
    }
  }
}

function promoteScanId(item: Item, keys: readonly Uint8Array[], fallback: string | undefined): void {
  const scanId = findText(item.attributes, keys) ?? fallback;
  if (scanId !== undefined) item.promoted = { ...item.promoted, scanId };
}

function resourceScanId(resource: Resource, keys: readonly Uint8Array[]): string | undefined {
  return findText(resource.attributes, keys);
}

/** The value of the first key that has one, as text. Compares bytes, since most attributes are of other keys. */
function findText(attributes: Attributes, keys: readonly Uint8Array[]): string | undefined {
  let found: string | undefined;
  let rank = keys.length;
  const walk = attributes.walk();
  while (walk.next()) {
    const at = keys.findIndex((key) => equals(walk.bytes, walk.keyStart, walk.keyEnd, key));
    if (at < 0 || at > rank) continue;
    const value = asText(walk.value());
    if (value === undefined) continue;
    found = value;
    rank = at;
  }
  return found;
}

function equals(bytes: Uint8Array, start: number, end: number, key: Uint8Array): boolean {
  if (end - start !== key.length) return false;
  for (let i = 0; i < key.length; i++) if (bytes[start + i] !== key[i]) return false;
  return true;
}

/** Text of a scalar; nothing for what is empty, structured or too long for a column. */
function asText(value: AttributeValue): string | undefined {
  if (typeof value !== 'string' && typeof value !== 'number' && typeof value !== 'bigint') return undefined;
  const text = String(value);
  return text === '' || text.length > MAX_VALUE_CHARACTERS ? undefined : text;
}
