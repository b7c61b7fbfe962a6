/** Times of the SDK span JSON: reading them, and finding those that a span does not say. All are nanoseconds. */

/** Day, time, fraction, offset. Source: RFC 3339, section 5.6; letters may be small. */
const RFC_3339 = /^(\d{4}-\d\d-\d\d)[Tt](\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?(?:[Zz]|([+-])(\d\d):(\d\d))$/;

const NS_PER_SECOND = 1_000_000_000n;
const NS_PER_MS = 1_000_000n;

/** A signed 64-bit number holds times up to the year 2262, and zero means that there is none. */
const MAX_TIME_NS = 2n ** 63n - 1n;

/** Longer than any span lasted; below it no sum of a time and a duration leaves 64 bits. */
const MAX_DURATION_MS = 10 * 365 * 86_400_000;

export const TIME_FORM = 'an RFC 3339 time between 1970 and 2262, with an offset and up to 9 fraction digits';
export const DURATION_FORM = `a number of milliseconds from 0 to ${MAX_DURATION_MS}`;

/** Nanoseconds since 1970; undefined for what is not of `TIME_FORM`. */
export function parseTime(text: string): bigint | undefined {
  const [, day = '', hour = '', minute = '', second = '', fraction = '', sign, offsetHour = '0', offsetMinute = '0'] =
    RFC_3339.exec(text) ?? [];
  const midnightMs = Date.parse(`${day}T00:00:00Z`);
  // Date.parse takes the 31st of a shorter month for a day of the next one.
  if (day === '' || Number.isNaN(midnightMs) || new Date(midnightMs).toISOString().slice(0, 10) !== day) {
    return undefined;
  }
  // A leap second is the first of the next minute, as clocks that know none count it.
  if (Number(hour) > 23 || Number(minute) > 59 || Number(second) > 60) return undefined;
  if (Number(offsetHour) > 23 || Number(offsetMinute) > 59) return undefined;
  const offset = (Number(offsetHour) * 60 + Number(offsetMinute)) * (sign === '-' ? -60 : 60);
  const seconds = midnightMs / 1000 + Number(hour) * 3600 + Number(minute) * 60 + Number(second) - offset;
  const ns = BigInt(seconds) * NS_PER_SECOND + BigInt(fraction.padEnd(9, '0'));
  return ns > 0n && ns <= MAX_TIME_NS ? ns : undefined;
}

/** Nanoseconds of a JSON number; undefined for what is not of `DURATION_FORM`. */
export function parseDuration(text: string): bigint | undefined {
  const ms = Number(text);
  if (!(ms >= 0 && ms <= MAX_DURATION_MS)) return undefined;
  const whole = Math.trunc(ms);
  return BigInt(whole) * NS_PER_MS + BigInt(Math.round((ms - whole) * Number(NS_PER_MS)));
}

/** What a span says about its times. */
export interface GivenTimes {
  readonly spanId: string;
  readonly parentSpanId: string | undefined;
  readonly startNs: bigint | undefined;
  readonly endNs: bigint | undefined;
  readonly durationNs: bigint | undefined;
}

export interface SpanTimes {
  readonly startNs: bigint;
  /** Undefined for a span that says neither when it ended nor how long it took. */
  readonly endNs: bigint | undefined;
  /** The span does not say when it started, nor can that be computed from what it says. */
  readonly isInferred: boolean;
}

/**
 * The times of each span, in the order of the spans. Start and end come before a duration that says otherwise. A span
 * with an end alone has no length. One with neither start nor end starts with its parent, where that is in the request,
 * else so that it ends when the request came.
 */
export function resolveTimes(spans: readonly GivenTimes[], receivedAtMs: number): SpanTimes[] {
  const receivedNs = BigInt(Math.trunc(receivedAtMs)) * NS_PER_MS;
  const byId = new Map<string, number>();
  for (const [index, { spanId }] of spans.entries()) if (!byId.has(spanId)) byId.set(spanId, index);
  const starts = spans.map(ownStart);
  for (const [index] of spans.entries()) {
    const chain = unknownAncestry(spans, starts, byId, index);
    for (const at of chain.toReversed()) {
      const parent = parentOf(spans[at], byId);
      const inherited = parent === undefined ? undefined : starts[parent];
      starts[at] = inherited ?? receivedNs - (spans[at]?.durationNs ?? 0n);
    }
  }
  return spans.map((span, index) => {
    const startNs = starts[index] ?? receivedNs;
    const endNs = span.endNs ?? (span.durationNs === undefined ? undefined : startNs + span.durationNs);
    return { startNs, endNs, isInferred: span.startNs === undefined && !isComputed(span) };
  });
}

const isComputed = ({ endNs, durationNs }: GivenTimes): boolean => endNs !== undefined && durationNs !== undefined;

function ownStart({ startNs, endNs, durationNs = 0n }: GivenTimes): bigint | undefined {
  return startNs ?? (endNs === undefined ? undefined : endNs - durationNs);
}

/** The span and those above it, as far as nobody knows when they started; spans that go in a circle end it. */
function unknownAncestry(
  spans: readonly GivenTimes[],
  starts: readonly (bigint | undefined)[],
  byId: ReadonlyMap<string, number>,
  index: number,
): number[] {
  const chain = new Set<number>();
  let at: number | undefined = index;
  while (at !== undefined && starts[at] === undefined && !chain.has(at)) {
    chain.add(at);
    at = parentOf(spans[at], byId);
  }
  return [...chain];
}

function parentOf(span: GivenTimes | undefined, byId: ReadonlyMap<string, number>): number | undefined {
  return span?.parentSpanId === undefined ? undefined : byId.get(span.parentSpanId);
}
