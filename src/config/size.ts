/** Sizes such as `64MiB`, held as bytes. */
import { z } from 'zod';

/** Largest first, binary before decimal: the order in which `formatSize` tries them. */
const BYTES_PER_UNIT: readonly (readonly [unit: string, bytes: bigint])[] = [
  ['TiB', 1n << 40n],
  ['GiB', 1n << 30n],
  ['MiB', 1n << 20n],
  ['KiB', 1n << 10n],
  ['TB', 1_000_000_000_000n],
  ['GB', 1_000_000_000n],
  ['MB', 1_000_000n],
  ['KB', 1_000n],
  ['B', 1n],
];
const TEXT = /^(?<whole>\d{1,20})(?:\.(?<fraction>\d{1,20}))?(?<unit>[KMGT]?i?B)?$/;

/** Bytes, both ends included. */
export interface SizeLimits {
  readonly min?: number;
  readonly max?: number;
}

/** A whole number of bytes. */
export function size({ min = 0, max = Number.MAX_SAFE_INTEGER }: SizeLimits = {}) {
  const allowed = `a size such as 64MiB, 500KB or a number of bytes${limitsText(min, max)}`;
  return z.unknown().transform((value, context): number => {
    const bytes = typeof value === 'string' ? parseSize(value) : value;
    if (typeof bytes === 'number' && Number.isSafeInteger(bytes) && bytes >= min && bytes <= max) return bytes;
    context.addIssue({ code: 'custom', message: allowed, input: value });
    return z.NEVER;
  });
}

function limitsText(min: number, max: number): string {
  const lower = min > 0 ? `, at least ${formatSize(min)}` : '';
  return max < Number.MAX_SAFE_INTEGER ? `${lower}, at most ${formatSize(max)}` : lower;
}

/** Bytes, or undefined for what is no size, no whole number of bytes or beyond 2^53. */
export function parseSize(text: string): number | undefined {
  const groups = TEXT.exec(text)?.groups;
  if (groups === undefined) return undefined;
  const { whole = '', fraction = '', unit = 'B' } = groups;
  const perUnit = BYTES_PER_UNIT.find(([name]) => name === unit)?.[1];
  if (perUnit === undefined) return undefined;
  const scale = 10n ** BigInt(fraction.length);
  const scaled = BigInt(whole + fraction) * perUnit;
  const bytes = Number(scaled / scale);
  return scaled % scale === 0n && Number.isSafeInteger(bytes) ? bytes : undefined;
}

/** The exact text in the largest unit that divides it; `parseSize` reads it back. */
export function formatSize(bytes: number): string {
  const count = BigInt(bytes);
  const [unit, perUnit] = BYTES_PER_UNIT.find(([, each]) => count >= each && count % each === 0n) ?? ['B', 1n];
  return `${count / perUnit}${unit}`;
}
