/**
 * Batches in parts: so that a long one is written in slices, between which other requests run, and for destinations that
 * do not take it whole. Parts hold the items in their order; the head of a group (resource, scope, metric) is in every
 * part that has items of it.
 */
import { setImmediate } from 'node:timers/promises';
import { itemCount, type AnyBatch } from '../model/batch.ts';
import type { LogRecord } from '../model/logs.ts';
import type { Metric } from '../model/metrics.ts';
import type { Span } from '../model/traces.ts';

/** The first and the second half of a batch's items; undefined when there is only one, which cannot be split. */
export function halves<B extends AnyBatch>(batch: B): readonly [B, B] | undefined {
  const items = itemCount(batch);
  const middle = Math.ceil(items / 2);
  return items < 2 ? undefined : [itemRange(batch, 0, middle), itemRange(batch, middle, items)];
}

/** About how many bytes `encodeRequest` makes of a batch. */
export function requestBytes(batch: AnyBatch): number {
  const { heads, items } = weigh(batch);
  return heads + items;
}

/**
 * Writes a batch in parts that are about so large as requests, each by itself. What would be heads for the most part is
 * not split further: all parts together are at most three times as large as the batch.
 */
export async function writeSlices(
  batch: AnyBatch,
  maxBytes: number,
  write: (slice: AnyBatch) => Uint8Array | Promise<Uint8Array>,
): Promise<Uint8Array[]> {
  const pieces: Uint8Array[] = [];
  for (const slice of slices(batch, maxBytes)) {
    if (pieces.length > 0) await setImmediate();
    pieces.push(await write(slice));
  }
  return pieces;
}

/** After so many bytes the copying of a long result pauses for other requests. */
const COPY_BYTES = 8_388_608;

/** All pieces, one behind the other. */
export async function joinSlices(pieces: readonly Uint8Array[]): Promise<Uint8Array> {
  const [only] = pieces;
  if (pieces.length === 1 && only !== undefined) return only;
  const whole = Buffer.allocUnsafeSlow(pieces.reduce((sum, piece) => sum + piece.length, 0));
  let at = 0;
  let pauseAt = COPY_BYTES;
  for (const piece of pieces) {
    whole.set(piece, at);
    at += piece.length;
    if (at < pauseAt) continue;
    pauseAt = at + COPY_BYTES;
    await setImmediate();
  }
  return whole;
}

function* slices(batch: AnyBatch, maxBytes: number): Generator<AnyBatch> {
  const { heads, items } = weigh(batch);
  const parts = heads + items <= maxBytes || items <= heads ? undefined : halves(batch);
  if (parts === undefined) yield batch;
  else for (const part of parts) yield* slices(part, maxBytes);
}

/** Bytes of what a part repeats, and of what it does not. */
interface Weight {
  heads: number;
  items: number;
}

/** A tag and a length. */
const PREFIX_BYTES = 4;

function weigh(batch: AnyBatch): Weight {
  const weight: Weight = { heads: 0, items: 0 };
  for (const { resource, schemaUrl, scopes } of batch.resources) {
    weight.heads += sizeOf(resource) + schemaUrl.length;
    for (const { scope, schemaUrl: scopeSchemaUrl, records } of scopes) {
      weight.heads += sizeOf(scope) + scopeSchemaUrl.length;
      for (const record of records) weighRecord(record, weight);
    }
  }
  return weight;
}

function weighRecord(record: Span | LogRecord | Metric, weight: Weight): void {
  if ('points' in record) {
    const { name, description, unit, metadata, points } = record;
    weight.heads += name.length + description.length + unit.length + metadata.to - metadata.from + 2 * PREFIX_BYTES;
    for (const point of points) weight.items += sizeOf(point);
  } else weight.items += sizeOf(record);
}

const sizeOf = ({ start, end }: { readonly start: number; readonly end: number }): number => end - start + PREFIX_BYTES;

/** The items from the `from`th up to the `to`th, in the groups that have any. */
function itemRange<B extends AnyBatch>(batch: B, from: number, to: number): B {
  let at = 0;
  const take = <R extends Span | LogRecord | Metric>(record: R): R | undefined => {
    const count = 'points' in record ? record.points.length : 1;
    const [first, last] = [Math.max(from - at, 0), Math.min(to - at, count)];
    at += count;
    if (first >= last) return undefined;
    return last - first === count ? record : withPoints(record, first, last);
  };
  const resources = [];
  for (const group of batch.resources) {
    const scopes = [];
    for (const scope of group.scopes) {
      const records = [];
      for (const record of scope.records) {
        const taken = take(record);
        if (taken !== undefined) records.push(taken);
      }
      if (records.length > 0) scopes.push({ ...scope, records });
    }
    if (scopes.length > 0) resources.push({ ...group, scopes });
  }
  return { ...batch, resources };
}

function withPoints<R extends Span | LogRecord | Metric>(record: R, first: number, last: number): R {
  const copy: R = Object.assign(Object.create(Object.getPrototypeOf(record)), record);
  if ('points' in copy) copy.points = copy.points.slice(first, last);
  return copy;
}
