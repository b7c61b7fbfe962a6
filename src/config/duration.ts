/** Durations in Go's syntax, as the Collector writes them, held as milliseconds. */
import { z } from 'zod';

const NANOS_PER_UNIT: Readonly<Record<string, bigint>> = {
  h: 3_600_000_000_000n,
  m: 60_000_000_000n,
  s: 1_000_000_000n,
  ms: 1_000_000n,
  us: 1_000n,
  µs: 1_000n, // U+00B5, which keyboards type
  μs: 1_000n, // U+03BC, which Go takes too
  ns: 1n,
};
const WRITTEN_UNITS = ['h', 'm', 's', 'ms', 'us', 'ns'] as const;

/** Go's limit, some 292 years: the most nanoseconds in 63 bits. */
const MAX_NANOS = 2n ** 63n - 1n;
const MAX_TEXT_CHARS = 100;
const TERM = /(?<whole>\d*)(?:\.(?<fraction>\d*))?(?<unit>h|ms|m|s|us|µs|μs|ns)/y;

/** Milliseconds, both ends included. */
export interface DurationLimits {
  readonly min?: number;
  readonly max?: number;
}

/** A duration in milliseconds, with a fraction where the text is finer. */
export function duration({ min = 0, max = Infinity }: DurationLimits = {}) {
  const allowed = `a duration such as 200ms, 5s or 1h30m${limitsText(min, max)}`;
  return z.unknown().transform((value, context): number => {
    const ms = typeof value === 'string' ? parseDuration(value) : value === 0 ? 0 : undefined;
    if (ms !== undefined && ms >= min && ms <= max) return ms;
    context.addIssue({ code: 'custom', message: allowed, input: value });
    return z.NEVER;
  });
}

function limitsText(min: number, max: number): string {
  const lower = min > 0 ? `, at least ${formatDuration(min)}` : '';
  return max < Infinity ? `${lower}, at most ${formatDuration(max)}` : lower;
}

/** Milliseconds, or undefined where Go would refuse the text, and for negative durations. */
export function parseDuration(text: string): number | undefined {
  if (text === '0') return 0;
  if (text === '' || text.length > MAX_TEXT_CHARS) return undefined;
  let nanos = 0n;
  let at = 0;
  while (at < text.length) {
    TERM.lastIndex = at;
    const groups = TERM.exec(text)?.groups;
    const term = groups === undefined ? undefined : termNanos(groups);
    if (term === undefined) return undefined;
    nanos += term;
    at = TERM.lastIndex;
  }
  return nanos > MAX_NANOS ? undefined : Number(nanos / 1_000_000n) + Number(nanos % 1_000_000n) / 1e6;
}

function termNanos({ whole = '', fraction = '', unit = '' }: Record<string, string | undefined>): bigint | undefined {
  const perUnit = NANOS_PER_UNIT[unit];
  if (perUnit === undefined || whole + fraction === '') return undefined;
  return BigInt(whole) * perUnit + (BigInt(fraction) * perUnit) / 10n ** BigInt(fraction.length);
}

/** The shortest exact text, such as `1h30m` for 5,400,000; `parseDuration` reads it back. Finer than 1 ns is rounded. */
export function formatDuration(ms: number): string {
  const wholeMs = Math.floor(ms);
  let rest = BigInt(wholeMs) * 1_000_000n + BigInt(Math.round((ms - wholeMs) * 1e6));
  let text = '';
  for (const unit of WRITTEN_UNITS) {
    const perUnit = NANOS_PER_UNIT[unit] ?? 1n;
    if (rest >= perUnit) text += `${rest / perUnit}${unit}`;
    rest %= perUnit;
  }
  return text === '' ? '0s' : text;
}
