/** Small requests of every signal, in protobuf form. */
import type { Signal } from '../../src/model/batch.ts';
import { any, attribute, double, field, fixed64, spanIds } from '../support/otlp_messages.ts';
import { VERDICT } from './verdicts.ts';

export type Attribute = readonly [key: string | Uint8Array, value: Uint8Array];

/** 2026-11-20 12:00:00 UTC and some nanoseconds, in nanoseconds since 1970. */
export const TIME = 1_795_176_000_123_456_789n;

/** Field number of the attributes: of the span, the log record or the data point. */
const ATTRIBUTES: Readonly<Record<Signal, number>> = { traces: 9, logs: 6, metrics: 7 };

export interface RecordParts {
  readonly attributes?: readonly Attribute[];
  /** Nanoseconds since 1970. */
  readonly time?: bigint;
  /** Further fields of the span, the log record or the data point. */
  readonly more?: Uint8Array;
  /** Of spans; equal numbers give equal ids. */
  readonly number?: number;
}

/** A span, a log record, or a gauge with one point. */
export function record(signal: Signal, parts: RecordParts = {}): Buffer {
  const { attributes = [], time = TIME, more = new Uint8Array(), number = 1 } = parts;
  const pairs = attributes.map(([key, value]) => attribute(ATTRIBUTES[signal], key, value));
  const rest = Buffer.concat([...pairs, more]);
  if (signal === 'traces')
    return Buffer.concat([spanIds(number), field(5, 'a'), fixed64(7, time), fixed64(8, time), rest]);
  if (signal === 'logs') return Buffer.concat([fixed64(1, time), field(5, any.string('hi')), rest]);
  return metric(fixed64(3, time), double(4, 1), rest);
}

/** A request of such records alone is stored each time it comes: what has no time cannot be told from its repeat. */
export const untimed = (signal: Signal): Buffer => record(signal, { time: 0n });

/** A gauge `m` with one point of these fields. */
export const metric = (...point: readonly Uint8Array[]): Buffer =>
  Buffer.concat([field(1, 'm'), field(5, field(1, ...point))]);

/** One that cannot be kept: a span without ids, a point without a value. Log records can always be kept. */
export const invalidRecord = (signal: 'traces' | 'metrics'): Buffer =>
  signal === 'traces' ? field(5, 'a') : metric(fixed64(3, TIME));

/** A resource that the processor of this suite treats as it says. */
export const withVerdict = (verdict: string): Buffer => attribute(1, VERDICT, any.string(verdict));

export function bytes(hex: string): Buffer {
  return Buffer.from(hex.replaceAll(' ', ''), 'hex');
}
