/** How long to wait before a failed send is tried again. */
import type { RetrySettings } from '../component.ts';

type Intervals = Pick<RetrySettings, 'initial_interval' | 'max_interval' | 'multiplier' | 'randomization_factor'>;

/**
 * Milliseconds to wait after so many failures in a row, at least one: grows by the multiplier up to the longest interval,
 * and is drawn from around it, so that many gateways that failed together do not come back together.
 */
export function backOffMs(settings: Intervals, failures: number, random: () => number = Math.random): number {
  const { initial_interval, max_interval, multiplier, randomization_factor } = settings;
  const interval = Math.min(initial_interval * multiplier ** (failures - 1), max_interval);
  return interval * (1 + randomization_factor * (2 * random() - 1));
}
