import assert from 'node:assert/strict';
import { setImmediate } from 'node:timers/promises';
import { suite } from 'uvu';
import { createMemoryLimiter, memoryLimiter, type MemoryLimiter } from '../../src/extensions/memory_limiter.ts';
import { RequestBytes } from '../../src/extensions/memory_limiter/request_bytes.ts';
import { SILENT, testSettings } from '../support/settings.ts';

const MIB = 1_048_576;

interface Built {
  readonly limiter: MemoryLimiter;
  /** What it says at its start. */
  readonly limits: object;
}

async function started(config: object = {}): Promise<Built> {
  let limits = {};
  const info = (fields: object) => void (limits = fields);
  const settings = testSettings('memory_limiter', { ...SILENT, info });
  const limiter = createMemoryLimiter(memoryLimiter.config.parse(config), settings);
  await limiter.start?.();
  return { limiter, limits };
}

const stop = async ({ limiter }: Built) => limiter.shutdown?.(AbortSignal.abort());

const inFlight = { name: 'RetryableError', retryAfterMs: 1000, message: /max_request_bytes_in_flight \(1000 bytes\)/ };

const configuration = suite('memory_limiter configuration');

const CASES: readonly (readonly [string, object, object])[] = [
  ['MiB, with a spike of a fifth', { limit_mib: 4000 }, { softBytes: 3200 * MIB, hardBytes: 4000 * MIB }],
  ['MiB and their spike', { limit_mib: 400, spike_limit_mib: 100 }, { softBytes: 300 * MIB, hardBytes: 400 * MIB }],
  ['MiB before percentages', { limit_mib: 400, limit_percentage: 10 }, { softBytes: 320 * MIB, hardBytes: 400 * MIB }],
  ['a quarter for the bodies of requests', { limit_mib: 400 }, { maxRequestBytes: 100 * MIB }],
  ['its own number for them', { limit_mib: 400, max_request_bytes_in_flight: '1MiB' }, { maxRequestBytes: MIB }],
];
for (const [name, config, expected] of CASES) {
  configuration(name, async () => {
    const built = await started(config);
    await stop(built);
    assert.deepEqual({ ...built.limits, ...expected }, built.limits);
  });
}

const near = (a = 0, b = 0) => assert.ok(Math.abs(a - b) < 10, `${a} is not ${b}`);

configuration('percentages are of what the process may use, and nothing need be said', async () => {
  const half = await started({ limit_percentage: 50, spike_limit_percentage: 25 });
  const usual = await started();
  await Promise.all([half, usual].map(stop));
  const [halfHard, halfSoft, hard, soft] = [half, usual].flatMap(({ limits }) => [
    Number('hardBytes' in limits && limits.hardBytes),
    Number('softBytes' in limits && limits.softBytes),
  ]);
  near(halfHard, (halfSoft ?? 0) * 2);
  near(hard, (halfHard ?? 0) * 1.6);
  near(soft, (hard ?? 0) * 0.8);
});

configuration('a spike as large as the limit is a fault', () => {
  for (const faulty of [
    { limit_mib: 100, spike_limit_mib: 100 },
    { limit_percentage: 50, spike_limit_percentage: 60 },
    { check_interval: '0s' },
  ]) {
    assert.equal(memoryLimiter.config.safeParse(faulty).success, false);
  }
});

configuration.run();

const bodies = suite('memory_limiter and bodies');

bodies('together they stay within the bound, and what is let go can be used again', async () => {
  const built = await started({ max_request_bytes_in_flight: 1000 });
  const [first, second] = [built.limiter.admit(), built.limiter.admit()];
  first.grow(600);
  second.grow(400);
  assert.throws(() => second.grow(1), inFlight);
  assert.throws(() => built.limiter.admit(), inFlight);
  assert.equal(built.limiter.requestBytes, 1000);
  first.release();
  first.release();
  second.grow(600);
  second.release();
  assert.equal(built.limiter.requestBytes, 0);
  await stop(built);
});

bodies('one that is larger than the bound is taken when it comes alone', async () => {
  const built = await started({ max_request_bytes_in_flight: 1000 });
  const large = built.limiter.admit();
  large.grow(5000);
  large.grow(5000);
  assert.throws(() => built.limiter.admit(), inFlight);
  large.release();
  built.limiter.admit().grow(1000);
  await stop(built);
});

bodies('a limiter that lets requests in one at a time counts those that hold nothing yet, and each end once', () => {
  const asked: number[] = [];
  const requests = new RequestBytes(1000, {
    demandRoom: (underWay) => void asked.push(underWay),
    grow: () => undefined,
  });
  const [first] = [requests.admit(), requests.admit()];
  first?.release();
  first?.release();
  requests.admit();
  assert.deepEqual(asked, [0, 1, 1]);
});

bodies.run();

const memory = suite('memory_limiter and memory');

memory('a process that takes more than its limit refuses, says so, and is not ready', async () => {
  const built = await started({ limit_mib: 2, check_interval: '1ms' });
  while (built.limiter.unready?.() === undefined) await setImmediate();
  assert.match(built.limiter.unready?.() ?? '', /^memory is above its limit: \d+MiB of 2MiB$/);
  assert.throws(() => built.limiter.admit(), { name: 'RetryableError', message: /short of memory/ });
  await stop(built);
});

memory('with its defaults this process is let in', async () => {
  const built = await started({ check_interval: '1ms' });
  built.limiter.admit().grow(64 * MIB);
  assert.equal(built.limiter.unready?.(), undefined);
  await stop(built);
});

memory.run();
