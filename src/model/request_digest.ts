/** By what a repeat of a request is known. */
import { createHash } from 'node:crypto';
import { setImmediate } from 'node:timers/promises';
import type { AnyBatch, Signal } from './batch.ts';
import type { LogRecord } from './logs.ts';
import type { Metric } from './metrics.ts';
import type { Span } from './traces.ts';
import { isZero64 } from './wire.ts';

/** So much is hashed before other requests have the event loop: less than a millisecond's worth. */
const SLICE_BYTES = 1_048_576;

/** SHA-256 of the signal and the decompressed body. */
export async function requestDigest(signal: Signal, body: Uint8Array): Promise<Uint8Array> {
  const hash = createHash('sha256').update(`${signal}\0`);
  for (let at = 0; at < body.length; at += SLICE_BYTES) {
    if (at > 0) await setImmediate();
    hash.update(body.subarray(at, at + SLICE_BYTES));
  }
  return hash.digest();
}

/** Whether any record says when it happened. Equal bodies without any time may be two events, not one sent twice. */
export function hasTime(batch: AnyBatch): boolean {
  for (const { scopes } of batch.resources) {
    for (const { records } of scopes) {
      for (const record of records) if (isTimed(record)) return true;
    }
  }
  return false;
}

function isTimed(record: Span | LogRecord | Metric): boolean {
  if ('points' in record) {
    // A start is the same for as long as a process lives, and says nothing of the point.
    return record.points.some(({ bytes, timeAt }) => isSet(bytes, timeAt));
  }
  const { bytes } = record;
  if ('observedTimeAt' in record) return isSet(bytes, record.timeAt) || isSet(bytes, record.observedTimeAt);
  return isSet(bytes, record.startTimeAt) || isSet(bytes, record.endTimeAt);
}

function isSet(bytes: Uint8Array, timeAt: number): boolean {
  return timeAt !== 0 && !isZero64(bytes, timeAt);
}
