/** An hour's outage in small: the queue grows to half a million spans, and memory does not. */
import assert from 'node:assert/strict';
import type { Row } from '../row.ts';
import { until } from '../until.ts';

const SPANS = 500_000;
const MAX_MEMORY_BYTES = 300 * 1_048_576;
/** In which the queue has to be filled, and emptied. */
const LIMIT_MS = 120_000;

export const OUTAGE_ROWS: readonly Row[] = [
  {
    number: 'outage',
    name: `PostgreSQL stopped until ${SPANS.toLocaleString('en')} spans wait`,
    drainMs: LIMIT_MS,
    profile: { signals: ['traces'], timeless: 0 },
    async fault({ server, load, ledger, daemon, notes }) {
      const before = await daemon.measure();
      const obliged = ledger.obligedItems;
      await server.stop('fast');
      load.change({ requestsPerSecond: 40, underWay: 64, items: [1_000, 1_000], textChars: [10, 40], repeats: 0 });
      await until('the spans wait', () => ledger.obligedItems - obliged >= SPANS, { withinMs: LIMIT_MS });
      notes.push(
        `the most memory: ${mebibytes(before)} MiB before, ${mebibytes(await daemon.measure())} MiB when the queue was full`,
      );
      load.change({ requestsPerSecond: 50, items: [1, 9], repeats: 0.02 });
    },
    verify({ daemon, notes }) {
      const told = daemon.log
        .split('\n')
        .flatMap((line) => /"msg":"(draining[^"]*|the queue is drained)"/.exec(line)?.[1] ?? []);
      notes.push(...told);
      assert(told.length > 0, 'the daemon does not tell how the queue is drained');
      assert(daemon.peakBytes < MAX_MEMORY_BYTES, `the daemon took ${mebibytes(daemon.peakBytes)} MiB of memory`);
    },
  },
];

function mebibytes(bytes: number): number {
  return Math.round(bytes / 1_048_576);
}
