/** The `retry_on_failure` section that exporters share: the Collector's keys. Yields `RetrySettings`. */
import { z } from 'zod';
import { duration } from './duration.ts';

const MAX_INTERVAL_MS = 3_600_000;

export interface RetryDefaults {
  /** As written in a configuration. */
  readonly initial: string;
  readonly max: string;
  /** `0s` for never giving up. */
  readonly maxElapsed: string;
}

/** The defaults are the Collector's unless given. */
export const retryOnFailure = ({ initial, max, maxElapsed }: RetryDefaults = COLLECTOR) =>
  z
    .strictObject({
      enabled: z.boolean().default(true).describe('Without it data that cannot be sent at once becomes a dead letter.'),
      initial_interval: interval().prefault(initial).describe('How long to wait after the first failure.'),
      randomization_factor: z
        .number()
        .min(0)
        .max(1)
        .default(0.5)
        .describe('The wait is drawn at random from the interval, this part of it more or less.'),
      multiplier: z.number().min(1).max(10).default(1.5).describe('How much longer each wait is than the one before.'),
      max_interval: interval().prefault(max).describe('The longest wait between two tries.'),
      max_elapsed_time: duration()
        .prefault(maxElapsed)
        .describe('After so long data is given up and becomes a dead letter. 0s for never.'),
    })
    .prefault({})
    .describe('When data that could not be sent is tried again.');

const COLLECTOR: RetryDefaults = { initial: '5s', max: '30s', maxElapsed: '300s' };

const interval = () => duration({ min: 1, max: MAX_INTERVAL_MS });
