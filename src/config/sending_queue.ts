/** The `sending_queue` section that exporters share. Yields the `QueueSettings` of the component contract. */
import { z } from 'zod';
import { duration } from './duration.ts';
import { parseSize } from './size.ts';

const MAX_CONSUMERS = 100;
const MAX_BATCH_ITEMS = 100_000;
/** On disk, and where what waits is in memory. */
const DISK_QUEUE_BYTES = 1_073_741_824;
const MEMORY_QUEUE_BYTES = 268_435_456;
const DEFAULT_ITEMS = 1_000_000;
/** As in the Collector. */
const DEFAULT_REQUESTS = 1000;

const WITHOUT_EFFECT = 'Accepted as the Collector has it, without effect.';

export interface SendingQueueDefaults {
  /** How many items one send takes from several records where the file does not say; without it each record goes alone. */
  readonly batchItems?: number;
  /** How many sends may be under way at once where the file does not say. */
  readonly consumers?: number;
}

/** With `enabled: false` undefined: each request is then sent by itself, in its own time. */
export const sendingQueue = ({ batchItems, consumers = 2 }: SendingQueueDefaults = {}) =>
  z
    .strictObject({
      enabled: z
        .boolean()
        .default(true)
        .describe('Without the queue each request is sent by itself, and answered when the destination has it.'),
      durability: z
        .enum(['disk', 'commit', 'memory'])
        .default('disk')
        .describe(
          'When a request is answered. `disk`: once it is on disk for good. `commit`: once the destination has it; ' +
            'needs no disk. `memory`: at once; what waits is lost in a crash.',
        ),
      storage: z
        .string()
        .min(1)
        .optional()
        .describe(
          'Id of the storage extension for `disk`. Default: the one that service.extensions lists, else .sluice.',
        ),
      num_consumers: z
        .int()
        .min(1)
        .max(MAX_CONSUMERS)
        .default(consumers)
        .describe('How many sends may be under way at once.'),
      queue_size: queueSize()
        .optional()
        .describe(
          'The most that may wait: a size such as 1GiB, or a number of what `sizer` counts. ' +
            'Default: 1GiB on disk, 256MiB in memory.',
        ),
      sizer: z
        .enum(['bytes', 'items', 'requests'])
        .optional()
        .describe(
          'What queue_size counts. Default: bytes where it has a unit or is missing, requests for a plain number.',
        ),
      max_tenant_share: z
        .number()
        .gt(0)
        .max(1)
        .default(0.8)
        .describe('Which part of the queue the data of one tenant may take, where tenants have credentials.'),
      unready_after: duration()
        .prefault('24h')
        .describe('The gateway says that it is not ready once data has waited so long. 0s for never.'),
      block_on_overflow: z
        .literal(false)
        .optional()
        .describe('Accepted as the Collector has it: a queue that is full refuses.'),
      batch: z
        .strictObject({
          max_size: z
            .int()
            .min(1)
            .max(MAX_BATCH_ITEMS)
            .default(batchItems ?? 8192)
            .describe('The most items (spans, log records, data points) that one send takes from several requests.'),
          flush_timeout: duration()
            .optional()
            .describe(`${WITHOUT_EFFECT} What waits is sent as soon as a sender is free.`),
          min_size: z.int().min(0).optional().describe(`${WITHOUT_EFFECT} No send waits for more to come.`),
        })
        .optional()
        .describe('How requests that wait together are sent together.'),
    })
    .superRefine(({ queue_size, sizer }, context) => {
      if (queue_size?.hasUnit !== true || sizer === undefined || sizer === 'bytes') return;
      context.addIssue({ code: 'custom', path: ['queue_size'], message: `a whole number of ${sizer}` });
    })
    .transform(({ enabled, queue_size, sizer, batch, ...given }) => {
      if (!enabled) return undefined;
      const { block_on_overflow: _without, ...rest } = given;
      const counts = sizer ?? (queue_size?.hasUnit === false ? ('requests' as const) : ('bytes' as const));
      const max_size = batch?.max_size ?? batchItems;
      return {
        ...rest,
        sizer: counts,
        queue_size: queue_size?.amount ?? defaultSize(counts, rest.durability),
        ...(max_size === undefined ? {} : { batch: { max_size } }),
      };
    })
    .prefault({})
    .describe('How data waits for the destination.');

interface QueueSize {
  readonly amount: number;
  readonly hasUnit: boolean;
}

function defaultSize(sizer: 'bytes' | 'items' | 'requests', durability: string): number {
  if (sizer === 'bytes') return durability === 'disk' ? DISK_QUEUE_BYTES : MEMORY_QUEUE_BYTES;
  return sizer === 'items' ? DEFAULT_ITEMS : DEFAULT_REQUESTS;
}

const queueSize = () =>
  z
    .custom<string | number>(() => true)
    .transform((value, context): QueueSize => {
      const text = String(value);
      const amount = typeof value === 'string' ? parseSize(text) : value;
      if (typeof amount === 'number' && Number.isSafeInteger(amount) && amount > 0) {
        return { amount, hasUnit: /\D/.test(text) };
      }
      context.addIssue({ code: 'custom', message: 'a size such as 1GiB, or a whole number above 0', input: value });
      return z.NEVER;
    });
