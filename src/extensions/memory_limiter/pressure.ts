/**
 * Whether memory is short. Above the soft limit garbage is collected first, and only what is then still above it counts:
 * new requests are refused, and those under way go on in what is between the limits. Above the hard limit they are cut.
 *
 * A process above its hard limit never takes requests freely. If little of its memory is alive, the allocator keeps the
 * rest: then requests are refused for a minute, and after that taken one at a time, with an error in the log. So the
 * process grows by no more than one request takes, beyond what it has, and senders are still served, if slowly.
 */
import type { Logger } from '../../component.ts';
import { formatSize } from '../../config/size.ts';
import { RetryableError } from '../../errors.ts';
import { KeptMemory } from './kept_memory.ts';
import type { MemoryProbe, MemoryReading } from './process_memory.ts';

/** Of the process and of V8's heap, each in bytes. */
export interface MemoryLimits {
  readonly softBytes: number;
  readonly hardBytes: number;
  readonly softHeapBytes: number;
  readonly hardHeapBytes: number;
}

export interface PressureSettings {
  readonly minCollectIntervalMs: { readonly soft: number; readonly hard: number };
  readonly logger: Logger;
  readonly probe: MemoryProbe;
}

const MIB = 1_048_576;
const RETRY_AFTER_MS = 1000;

/** After so many new bytes of requests memory is looked at without waiting for the timer. */
const CHECK_BYTES = 16 * MIB;

/** Buffers that were collected are freed by a thread; after so long they do not count any more. */
const SETTLE_MS = 20;

/** Collecting takes at most one part in so many of the time. */
const COLLECT_SHARE = 10;

/** It is over once usage is so far below the soft limit, so that it does not begin and end with every request. */
const RELIEF_SHARE = 0.95;

/**
 * Memory that was freed often stays with the allocator, which uses it again before it asks for more. If all of it counted,
 * one peak could make a gateway refuse for ever, with nothing under way. So it counts up to as much as is alive, as long as
 * the process is not above its hard limit.
 */
const RESIDENT_PER_LIVE = 2;

const KEPT =
  'memory stays above its limit though little of it is in use: requests are taken one at a time; restart the gateway';

/** `kept`: above the hard limit for long though little is alive; one request at a time. */
type Level = 'fine' | 'kept' | 'short' | 'out';

const LEVEL_OF_KEPT = { recent: 'short', lasting: 'kept' } as const;

/** The worse of the two: memory of the process, and V8's heap. */
interface Usage {
  readonly what: 'memory' | 'the JavaScript heap';
  readonly bytes: number;
  readonly softBytes: number;
  readonly hardBytes: number;
}

export class MemoryPressure {
  readonly #limits: MemoryLimits;
  readonly #settings: PressureSettings;
  readonly #checkBytes: number;
  readonly #kept: KeptMemory;
  #level: Level = 'fine';
  #usage: Usage | undefined;
  #grownBytes = 0;
  #collectedAtMs = -Infinity;
  #collectTookMs = 0;
  #timer: NodeJS.Timeout | undefined;
  #recheck: NodeJS.Timeout | undefined;

  constructor(limits: MemoryLimits, settings: PressureSettings) {
    this.#limits = limits;
    this.#settings = settings;
    const { softBytes, hardBytes, softHeapBytes, hardHeapBytes } = limits;
    this.#checkBytes = Math.min(CHECK_BYTES, (hardBytes - softBytes) / 4, (hardHeapBytes - softHeapBytes) / 4);
    this.#kept = new KeptMemory({
      hardBytes,
      reliefBytes: hardBytes * RELIEF_SHARE,
      onLasting: (bytes) => settings.logger.error({ bytes, hardBytes }, KEPT),
    });
  }

  start(checkIntervalMs: number): void {
    this.#timer = setInterval(() => this.check(), checkIntervalMs).unref();
  }

  stop(): void {
    clearInterval(this.#timer);
    clearTimeout(this.#recheck);
  }

  /**
   * @param underWay how many requests were let in and are not done
   * @throws RetryableError while no new request may come in
   */
  demandRoom(underWay: number): void {
    const hasRoom = this.#level === 'fine' || (this.#level === 'kept' && underWay === 0);
    if (!hasRoom) throw this.#shortage();
  }

  /**
   * Notes that a request takes so many bytes more.
   * @throws RetryableError while even those under way may not grow
   */
  grow(bytes: number): void {
    this.#grownBytes += bytes;
    if (this.#grownBytes >= this.#checkBytes) this.check();
    if (this.#level === 'out') throw this.#shortage();
  }

  unready(): string | undefined {
    return this.#level === 'out' && this.#usage ? inWords(this.#usage, this.#usage.hardBytes) : undefined;
  }

  /** Looks at memory now. */
  check(): void {
    this.#grownBytes = 0;
    const { probe } = this.#settings;
    const reading = probe.read();
    const counted = this.#count(reading);
    const level = levelOf(counted, this.#level);
    const kept = this.#kept.look(reading.rss, level === 'fine', probe.nowMs());
    if (level === 'fine' && kept !== 'none') {
      this.#settle(LEVEL_OF_KEPT[kept], this.#resident(reading.rss), false);
    } else {
      this.#settle(level, counted, level === 'short' && kept === 'none');
    }
  }

  /** @param canWait whether it may be garbage only: what a collection frees shows a moment later */
  #settle(level: Level, usage: Usage, canWait: boolean): void {
    if ((level === 'short' || level === 'out') && this.#mayCollect(level)) this.#collect();
    this.#enter(canWait && this.#recheck !== undefined ? this.#level : level, usage);
  }

  #count({ rss, heap, buffers }: MemoryReading): Usage {
    const { softHeapBytes, hardHeapBytes } = this.#limits;
    const memory = this.#resident(Math.min(rss, RESIDENT_PER_LIVE * (heap + buffers)));
    const ofHeap: Usage = {
      what: 'the JavaScript heap',
      bytes: heap,
      softBytes: softHeapBytes,
      hardBytes: hardHeapBytes,
    };
    return severity(ofHeap) > severity(memory) ? ofHeap : memory;
  }

  #resident(bytes: number): Usage {
    const { softBytes, hardBytes } = this.#limits;
    return { what: 'memory', bytes, softBytes, hardBytes };
  }

  #mayCollect(level: 'short' | 'out'): boolean {
    const { soft, hard } = this.#settings.minCollectIntervalMs;
    const pauseMs = Math.max(level === 'out' ? hard : soft, this.#collectTookMs * COLLECT_SHARE);
    return this.#recheck === undefined && this.#settings.probe.nowMs() >= this.#collectedAtMs + pauseMs;
  }

  #collect(): void {
    const { probe } = this.#settings;
    const startedAtMs = probe.nowMs();
    probe.collect();
    this.#collectedAtMs = probe.nowMs();
    this.#collectTookMs = this.#collectedAtMs - startedAtMs;
    this.#recheck = setTimeout(() => {
      this.#recheck = undefined;
      this.check();
    }, SETTLE_MS).unref();
  }

  #enter(level: Level, usage: Usage): void {
    const wasFine = this.#level === 'fine';
    this.#level = level;
    this.#usage = usage;
    if (wasFine === (level === 'fine')) return;
    const { what, ...bytes } = usage;
    if (wasFine) this.#settings.logger.warn(bytes, `${what} is short: new requests are refused`);
    else this.#settings.logger.info(bytes, `${what} is enough again: requests are taken`);
  }

  #shortage(): RetryableError {
    const what = this.#usage?.what ?? 'memory';
    return new RetryableError(`the gateway is short of memory (${what}); send the request again`, {
      retryAfterMs: RETRY_AFTER_MS,
    });
  }
}

/** Above 0 beyond the soft limit, above 1 beyond the hard one. */
function severity({ bytes, softBytes, hardBytes }: Usage): number {
  return (bytes - softBytes) / (hardBytes - softBytes);
}

function levelOf({ bytes, softBytes, hardBytes }: Usage, before: Level): Level {
  if (bytes > hardBytes) return 'out';
  return bytes > softBytes * (before === 'fine' ? 1 : RELIEF_SHARE) ? 'short' : 'fine';
}

function inWords({ what, bytes }: Usage, limit: number): string {
  return `${what} is above its limit: ${inMib(bytes)} of ${inMib(limit)}`;
}

const inMib = (bytes: number): string => formatSize(Math.ceil(bytes / MIB) * MIB);
