/** The `sending_queue` section that exporters share. Yields the `QueueSettings` of the component contract. */
import { z } from 'zod';

const MAX_CONSUMERS = 100;
const MAX_BATCH_ITEMS = 100_000;

export const sendingQueue = () =>
  z
    .strictObject({
      num_consumers: z.int().min(1).max(MAX_CONSUMERS).default(2).describe('How many sends may be under way at once.'),
      durability: z
        .enum(['commit'])
        .default('commit')
        .describe('When a request is answered. `commit`: once the destination has its data.'),
      batch: z
        .strictObject({
          max_size: z
            .int()
            .min(1)
            .max(MAX_BATCH_ITEMS)
            .default(8192)
            .describe('The most items (spans, log records, data points) that one send takes from several requests.'),
        })
        .prefault({})
        .describe('How requests that wait together are sent together.'),
    })
    .prefault({})
    .describe('How data waits for the destination.');
