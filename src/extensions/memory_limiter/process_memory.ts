/** What this process uses of memory, what it may use, and how to make it give back what it does not need. */
import os from 'node:os';
import { getHeapSpaceStatistics, getHeapStatistics, setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { processEnvironment } from '../../config/environment.ts';

const MIB = 1_048_576;

/** Bytes. */
export interface MemoryReading {
  /** What the process takes of the machine: what a cgroup kills for. */
  readonly rss: number;
  /** Of V8's heap but for its youngest objects, garbage included: what V8 ends the process for. */
  readonly heap: number;
  /** Of buffers, which are outside of V8's heap, garbage included. */
  readonly buffers: number;
}

/** Where readings come from. */
export interface MemoryProbe {
  read(): MemoryReading;
  /** Collects garbage, which stops everything else; of buffers it is counted a little later. */
  collect(): void;
  /** Never goes back. */
  nowMs(): number;
}

/** The limit of the cgroup, of either version, or the machine's memory where there is none or it is above that. */
export function availableBytes(): number {
  const constrained = process.constrainedMemory();
  return constrained > 0 ? Math.min(constrained, os.totalmem()) : os.totalmem();
}

/**
 * At which size of its heap V8 ends the process. V8 tells it only together with the room for the youngest objects: a part
 * of it that is small unless the limit was set on the command line, where it can be read.
 * @param options of Node, such as `--max-old-space-size=256`
 */
export function heapLimitBytes(options: readonly string[] = nodeOptions()): number {
  const { heap_size_limit } = getHeapStatistics();
  const given = options.findLast((option) => HEAP_LIMIT.test(option)) ?? '';
  const [, mib] = HEAP_LIMIT.exec(given) ?? [];
  return mib === undefined ? heap_size_limit * OLD_SHARE : Math.min(Number(mib) * MIB, heap_size_limit);
}

const HEAP_LIMIT = /^--max[-_]old[-_]space[-_]size=(\d{1,9})$/;
/** At most a twentieth is for the youngest objects. */
const OLD_SHARE = 0.95;

/** Those on the command line count before those in the environment. */
const nodeOptions = (): string[] => [...(processEnvironment()['NODE_OPTIONS'] ?? '').split(/\s+/), ...process.execArgv];

export function processProbe(): MemoryProbe {
  let collect: (() => void) | undefined;
  return {
    read() {
      const { rss, arrayBuffers } = process.memoryUsage();
      return { rss, heap: oldHeapBytes(), buffers: arrayBuffers };
    },
    collect() {
      collect ??= garbageCollector();
      collect();
    },
    nowMs: () => performance.now(),
  };
}

function oldHeapBytes(): number {
  let bytes = 0;
  for (const { space_name, space_used_size } of getHeapSpaceStatistics()) {
    if (!space_name.startsWith('new_')) bytes += space_used_size;
  }
  return bytes;
}

/** V8 hands it only to contexts that are made while the flag is set. */
function garbageCollector(): () => void {
  setFlagsFromString('--expose-gc');
  const collect: unknown = runInNewContext('gc');
  setFlagsFromString('--no-expose-gc');
  return () => {
    if (typeof collect === 'function') collect({ type: 'major' });
  };
}
