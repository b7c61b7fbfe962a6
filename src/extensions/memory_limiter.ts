/**
 * Refuses requests before they cost the process its life: while memory is above its soft limit, and while the bodies of
 * requests under way take more than their share. On without any configuration. The keys are the Collector's.
 */
import { z } from 'zod';
import { extensionFactory, type Admission, type Component, type Settings } from '../component.ts';
import { duration } from '../config/duration.ts';
import { size } from '../config/size.ts';
import { MemoryPressure, type MemoryLimits } from './memory_limiter/pressure.ts';
import { availableBytes, heapLimitBytes, processProbe } from './memory_limiter/process_memory.ts';
import { RequestBytes } from './memory_limiter/request_bytes.ts';

const MIB = 1_048_576;
const MAX_INTERVAL_MS = 60_000;
const DEFAULT_SPIKE_SHARE = 0.2;
/** Of V8's own limit on its heap, at which it ends the process, however much memory the machine has. */
const HEAP_SHARE = 0.8;
const MAX_REQUEST_BYTES = 256 * MIB;
const REQUEST_SHARE = 0.25;
/** The smallest spans take eight times as much of the heap, once they are decoded, as they took on the wire; half is spare. */
const REQUEST_HEAP_SHARE = 1 / 16;

const interval = () => duration({ min: 1, max: MAX_INTERVAL_MS });
const mib = () => z.int().min(0).default(0);
const percentage = () => z.number().min(0).max(100);

const config = z
  .strictObject({
    check_interval: interval()
      .prefault('250ms')
      .describe('How often memory is looked at; large bodies make it look at once.'),
    limit_mib: mib().describe('The hard limit on memory, in MiB. 0: limit_percentage counts.'),
    spike_limit_mib: mib().describe(
      'How far below limit_mib the soft limit is, from which requests are refused. 0: 20 % of limit_mib.',
    ),
    limit_percentage: percentage()
      .gt(0)
      .default(80)
      .describe('The hard limit in percent of what the process may use: of its cgroup, else of the machine.'),
    spike_limit_percentage: percentage()
      .default(0)
      .describe('How far below limit_percentage the soft limit is. 0: 20 % of the hard limit.'),
    min_gc_interval_when_soft_limited: duration({ max: MAX_INTERVAL_MS })
      .prefault('1s')
      .describe('How long at least between two garbage collections that are forced above the soft limit.'),
    min_gc_interval_when_hard_limited: duration({ max: MAX_INTERVAL_MS })
      .prefault('0s')
      .describe('The same above the hard limit. They never take more than a tenth of the time.'),
    max_request_bytes_in_flight: size({ min: 1 })
      .optional()
      .describe(
        'The most that the bodies of all requests under way take, as they came and decompressed. ' +
          'Default: the least of 256MiB, a quarter of the hard limit, and a sixteenth of what the JavaScript heap may take.',
      ),
  })
  .refine(({ limit_mib, spike_limit_mib }) => limit_mib === 0 || spike_limit_mib < limit_mib, {
    path: ['spike_limit_mib'],
    message: 'less than limit_mib',
  })
  .refine(({ limit_percentage, spike_limit_percentage }) => spike_limit_percentage < limit_percentage, {
    path: ['spike_limit_percentage'],
    message: 'less than limit_percentage',
  });

type MemoryLimiterConfig = z.output<typeof config>;

export interface MemoryLimiter extends Component, Admission {
  /** What the bodies of all requests under way take, in bytes. */
  readonly requestBytes: number;
}

export const memoryLimiter = extensionFactory({ type: 'memory_limiter', config, create: createMemoryLimiter });

export function createMemoryLimiter(given: MemoryLimiterConfig, { logger }: Pick<Settings, 'logger'>): MemoryLimiter {
  const limits = limitsOf(given, availableBytes());
  const pressure = new MemoryPressure(limits, {
    minCollectIntervalMs: {
      soft: given.min_gc_interval_when_soft_limited,
      hard: given.min_gc_interval_when_hard_limited,
    },
    logger,
    probe: processProbe(),
  });
  const maxRequestBytes = given.max_request_bytes_in_flight ?? defaultRequestBytes(limits);
  const requests = new RequestBytes(maxRequestBytes, pressure);
  return {
    admit: () => requests.admit(),
    unready: () => pressure.unready(),
    get requestBytes() {
      return requests.bytes;
    },
    async start() {
      logger.info({ ...limits, maxRequestBytes }, 'requests are refused before memory runs out');
      pressure.start(given.check_interval);
    },
    async shutdown() {
      pressure.stop();
    },
  };
}

function defaultRequestBytes({ hardBytes, hardHeapBytes }: MemoryLimits): number {
  return Math.floor(Math.min(MAX_REQUEST_BYTES, hardBytes * REQUEST_SHARE, hardHeapBytes * REQUEST_HEAP_SHARE));
}

/** As the Collector works them out: what is given in MiB counts before percentages. */
function limitsOf(given: MemoryLimiterConfig, available: number): MemoryLimits {
  const isFixed = given.limit_mib > 0;
  const hardBytes = isFixed ? given.limit_mib * MIB : Math.floor((given.limit_percentage / 100) * available);
  const spike = isFixed ? given.spike_limit_mib * MIB : (given.spike_limit_percentage / 100) * available;
  const spikeBytes = spike > 0 ? spike : hardBytes * DEFAULT_SPIKE_SHARE;
  const hardHeapBytes = Math.floor(heapLimitBytes() * HEAP_SHARE);
  return {
    softBytes: Math.floor(hardBytes - spikeBytes),
    hardBytes,
    softHeapBytes: Math.floor(hardHeapBytes * (1 - DEFAULT_SPIKE_SHARE)),
    hardHeapBytes,
  };
}
