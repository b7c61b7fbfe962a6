import assert from 'node:assert/strict';
import { suite } from 'uvu';
import type { Logger } from '../../../src/component.ts';
import { MemoryPressure } from '../../../src/extensions/memory_limiter/pressure.ts';
import type { MemoryReading } from '../../../src/extensions/memory_limiter/process_memory.ts';
import { SILENT } from '../../support/settings.ts';

const MIB = 1_048_576;
const LIMITS = { softBytes: 80 * MIB, hardBytes: 100 * MIB, softHeapBytes: 40 * MIB, hardHeapBytes: 50 * MIB };

/** A reading in MiB. */
const mib = (rss: number, heap: number, buffers: number): MemoryReading => ({
  rss: rss * MIB,
  heap: heap * MIB,
  buffers: buffers * MIB,
});

const CALM = mib(70, 10, 30);
const SHORT = mib(90, 10, 40);
const OUT = mib(110, 10, 50);

interface Fixture {
  readonly pressure: MemoryPressure;
  /** What the next readings say. */
  reading: MemoryReading;
  /** What a collection leaves. */
  collected: MemoryReading;
  nowMs: number;
  collections: number;
  /** Sentences of the log. */
  readonly log: string[];
  /** Resolves at the look at memory that follows a collection. */
  settled(): Promise<void>;
}

function fixture(reading: MemoryReading, collected = reading, collectMs = 0): Fixture {
  const log: string[] = [];
  const note = (_fields: object, message: string) => void log.push(message);
  const logger: Logger = { ...SILENT, info: note, warn: note, error: note };
  let looked = Promise.withResolvers<void>();
  const world: Fixture = {
    reading,
    collected,
    nowMs: 0,
    collections: 0,
    log,
    pressure: new MemoryPressure(LIMITS, {
      minCollectIntervalMs: { soft: 1000, hard: 0 },
      logger,
      probe: {
        read: () => {
          looked.resolve();
          return world.reading;
        },
        collect: () => {
          world.collections += 1;
          world.reading = world.collected;
          world.nowMs += collectMs;
        },
        nowMs: () => world.nowMs,
      },
    }),
    async settled() {
      looked = Promise.withResolvers();
      // The timer of the look does not keep a process alive.
      const keepAlive = setInterval(() => undefined, 1000);
      await looked.promise;
      clearInterval(keepAlive);
    },
  };
  return world;
}

const refusal = { name: 'RetryableError', retryAfterMs: 1000, message: /short of memory/ };

const test = suite('memory pressure');

test('below the soft limit everything is let in, and nothing collected', () => {
  const { pressure, collections, log } = fixture(CALM);
  pressure.check();
  pressure.demandRoom(0);
  pressure.grow(64 * MIB);
  assert.equal(pressure.unready(), undefined);
  assert.deepEqual({ collections, log }, { collections: 0, log: [] });
});

test('what is only garbage refuses nobody', async () => {
  const world = fixture(SHORT, CALM);
  world.pressure.check();
  world.pressure.demandRoom(0);
  await world.settled();
  world.pressure.demandRoom(0);
  assert.deepEqual({ collections: world.collections, log: world.log }, { collections: 1, log: [] });
});

test('what is alive above the soft limit refuses new requests, and lets those under way go on', async () => {
  const world = fixture(SHORT);
  world.pressure.check();
  await world.settled();
  assert.throws(() => world.pressure.demandRoom(0), refusal);
  world.pressure.grow(1);
  assert.equal(world.pressure.unready(), undefined);
  assert.deepEqual(world.log, ['memory is short: new requests are refused']);
});

test('above the hard limit nothing is let in at once, nothing may grow, and the gateway is not ready', () => {
  const world = fixture(OUT);
  world.pressure.check();
  assert.throws(() => world.pressure.demandRoom(0), refusal);
  assert.throws(() => world.pressure.grow(1), refusal);
  assert.equal(world.pressure.unready(), 'memory is above its limit: 110MiB of 100MiB');
});

test('it is over a little below the soft limit, and said once', () => {
  const world = fixture(OUT);
  world.pressure.check();
  world.reading = mib(79, 10, 40);
  world.pressure.check();
  assert.throws(() => world.pressure.demandRoom(0), refusal);
  world.reading = mib(75, 10, 40);
  world.pressure.check();
  world.pressure.check();
  world.pressure.demandRoom(0);
  assert.deepEqual(world.log, [
    'memory is short: new requests are refused',
    'memory is enough again: requests are taken',
  ]);
});

test("V8's heap has limits of its own", () => {
  const world = fixture(mib(60, 51, 0));
  world.pressure.check();
  assert.throws(() => world.pressure.demandRoom(0), { message: /JavaScript heap/ });
  assert.equal(world.pressure.unready(), 'the JavaScript heap is above its limit: 51MiB of 50MiB');
});

test('memory that the allocator keeps after a peak counts no more than what is alive, up to the hard limit', () => {
  const world = fixture(mib(99, 10, 5));
  world.pressure.check();
  world.pressure.demandRoom(0);
  assert.equal(world.collections, 0);
});

const KEPT = mib(500, 10, 5);
const LASTING =
  'memory stays above its limit though little of it is in use: requests are taken one at a time; restart the gateway';

test('above the hard limit memory that the allocator keeps refuses new requests, also while a collection settles', () => {
  const world = fixture(KEPT);
  world.pressure.check();
  assert.throws(() => world.pressure.demandRoom(0), refusal);
  world.pressure.grow(1);
  world.nowMs = 59_999;
  world.pressure.check();
  assert.throws(() => world.pressure.demandRoom(0), refusal);
  assert.deepEqual(world.log, ['memory is short: new requests are refused']);
  world.pressure.stop();
});

/** The allocator has kept memory for so long that single requests are let in. */
function lasting(): Fixture {
  const world = fixture(KEPT);
  world.pressure.check();
  world.nowMs = 60_000;
  world.pressure.check();
  return world;
}

test('after a minute of that requests come in one at a time, and an error is logged once', () => {
  const world = lasting();
  world.pressure.demandRoom(0);
  assert.throws(() => world.pressure.demandRoom(1), refusal);
  world.reading = mib(500, 30, 15);
  world.pressure.check();
  assert.throws(() => world.pressure.demandRoom(0), refusal);
  world.reading = KEPT;
  world.pressure.check();
  world.pressure.demandRoom(0);
  assert.deepEqual(world.log, ['memory is short: new requests are refused', LASTING]);
  world.pressure.stop();
});

test('that is over a little below the hard limit', () => {
  const world = lasting();
  world.reading = mib(96, 10, 5);
  world.pressure.check();
  assert.throws(() => world.pressure.demandRoom(1), refusal);
  world.reading = mib(95, 10, 5);
  world.pressure.check();
  world.pressure.demandRoom(1);
  assert.equal(world.log.at(-1), 'memory is enough again: requests are taken');
  world.pressure.stop();
});

test('while much is alive the minute does not begin', () => {
  const world = fixture(OUT);
  world.pressure.check();
  world.nowMs = 59_000;
  world.pressure.check();
  world.reading = KEPT;
  world.nowMs = 61_000;
  world.pressure.check();
  assert.throws(() => world.pressure.demandRoom(0), refusal);
  world.nowMs = 119_000;
  world.pressure.check();
  world.pressure.demandRoom(0);
  world.pressure.stop();
});

test('large bodies make it look without waiting for the timer', () => {
  const world = fixture(CALM);
  world.pressure.check();
  world.reading = OUT;
  world.pressure.grow(2 * MIB);
  assert.throws(() => world.pressure.grow(2 * MIB), refusal);
});

test('collections keep their distance, and never take more than a tenth of the time', async () => {
  const world = fixture(SHORT, SHORT, 300);
  world.pressure.check();
  await world.settled();
  for (const [nowMs, collections] of [
    [1299, 1],
    [3299, 1],
    [3300, 2],
  ] as const) {
    world.nowMs = nowMs;
    world.pressure.check();
    assert.equal(world.collections, collections, `at ${nowMs} ms`);
  }
  world.pressure.stop();
});

test('while a collection settles, refusing goes on', async () => {
  const world = fixture(SHORT);
  world.pressure.check();
  await world.settled();
  world.nowMs = 2000;
  world.pressure.check();
  assert.equal(world.collections, 2);
  assert.throws(() => world.pressure.demandRoom(0), refusal);
  world.pressure.stop();
});

test.run();
