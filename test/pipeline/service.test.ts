import assert from 'node:assert/strict';
import { suite } from 'uvu';
import { createService, type Part, type Service } from '../../src/pipeline/service.ts';
import { createLogger } from '../../src/telemetry/logger.ts';

const test = suite('service');

interface Fixture {
  readonly service: Service;
  readonly events: string[];
  readonly logLines: { component: string; err: { message: string } }[];
}

/** Stages of component names; each component notes when it starts and stops, and then does what `behaviour` says. */
function serviceOf(
  stages: readonly string[][],
  behaviour: Record<string, Part['component']> = {},
  shutdownTimeoutMs = 5000,
) {
  const events: string[] = [];
  const logLines: Fixture['logLines'] = [];
  const partOf = (name: string): Part => ({
    name,
    component: {
      ...behaviour[name],
      start: async () => {
        events.push(`start ${name}`);
        await behaviour[name]?.start?.();
      },
      shutdown: async (deadline) => {
        events.push(`stop ${name}`);
        await behaviour[name]?.shutdown?.(deadline);
      },
    },
  });
  const service = createService({
    pipelines: ['traces: a → b'],
    stages: stages.map((stage) => stage.map(partOf)),
    shutdownTimeoutMs,
    logger: createLogger('info', { write: (line) => logLines.push(JSON.parse(line)) }),
  });
  return { service, events, logLines } satisfies Fixture;
}

async function fail(message: string): Promise<never> {
  throw new Error(message);
}

function untilAborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
}

test('starts stage after stage and stops the other way round', async () => {
  const { service, events } = serviceOf([['extension'], ['exporter'], ['receiver']]);
  await service.start();
  await service.shutdown();
  assert.deepEqual(events, [
    'start extension',
    'start exporter',
    'start receiver',
    'stop receiver',
    'stop exporter',
    'stop extension',
  ]);
});

test('a component that cannot start is named, and everything is shut down again', async () => {
  const { service, events } = serviceOf([['exporter'], ['receiver'], ['other']], {
    receiver: { start: () => fail('address in use') },
  });
  await assert.rejects(service.start(), { message: 'receiver: address in use' });
  assert.deepEqual(events, ['start exporter', 'start receiver', 'stop other', 'stop receiver', 'stop exporter']);
});

test('a failing shutdown is logged and skips nobody', async () => {
  const { service, events, logLines } = serviceOf([['exporter'], ['receiver']], {
    receiver: { shutdown: () => fail('socket stuck') },
  });
  await service.start();
  await service.shutdown();
  assert.deepEqual(events.slice(2), ['stop receiver', 'stop exporter']);
  assert.deepEqual(
    logLines.map(({ component, err }) => [component, err.message]),
    [['receiver', 'socket stuck']],
  );
});

test('shuts down without having started', async () => {
  const { service, events } = serviceOf([['exporter'], ['receiver']]);
  await service.shutdown();
  assert.deepEqual(events, ['stop receiver', 'stop exporter']);
});

test('shuts each component down once, however often it is asked to', async () => {
  const { service, events } = serviceOf([['exporter']]);
  await service.start();
  await Promise.all([service.shutdown(), service.shutdown()]);
  await service.shutdown();
  assert.deepEqual(events, ['start exporter', 'stop exporter']);
});

test('a shutdown during the start waits for the component that is starting, and starts no other', async () => {
  const opened = Promise.withResolvers<void>();
  const { service, events } = serviceOf([['exporter'], ['receiver']], { exporter: { start: () => opened.promise } });
  const started = service.start();
  const stopped = service.shutdown();
  opened.resolve();
  await assert.rejects(started, { message: 'shut down before receiver was started' });
  await stopped;
  assert.deepEqual(events, ['start exporter', 'stop receiver', 'stop exporter']);
});

test('components of one stage stop together', async () => {
  const second = Promise.withResolvers<void>();
  const { service } = serviceOf([['first', 'second']], {
    first: { shutdown: () => second.promise },
    second: { shutdown: async () => second.resolve() },
  });
  await service.shutdown();
});

test('the deadline is for all components together, and the later ones still get their turn', async () => {
  const { service, events, logLines } = serviceOf(
    [['exporter'], ['receiver']],
    { receiver: { shutdown: untilAborted }, exporter: { shutdown: untilAborted } },
    1,
  );
  await service.start();
  await service.shutdown();
  assert.deepEqual(events.slice(2), ['stop receiver', 'stop exporter']);
  assert.deepEqual(logLines, []);
});

test('a component that ignores the deadline is left behind', async () => {
  const { service, events, logLines } = serviceOf(
    [['exporter'], ['receiver']],
    { receiver: { shutdown: () => new Promise(() => undefined) } },
    1,
  );
  await service.start();
  await service.shutdown();
  assert.deepEqual(events.slice(2), ['stop receiver', 'stop exporter']);
  assert.deepEqual(
    logLines.map(({ component, err }) => [component, err.message]),
    [['receiver', 'still busy after the shutdown deadline']],
  );
});

test('the last stage, which takes requests, leaves the others two thirds of the time', async () => {
  let isTimeOver: boolean | undefined;
  const { service } = serviceOf(
    [['queue'], ['receiver']],
    {
      receiver: { shutdown: untilAborted },
      queue: { shutdown: async (deadline) => void (isTimeOver = deadline.aborted) },
    },
    300,
  );
  await service.start();
  await service.shutdown();
  assert.equal(isTimeOver, false);
});

const WELL = { unready: [], stuck: [] };

test('is ready from the end of its start until it is told to stop', async () => {
  const opened = Promise.withResolvers<void>();
  const { service } = serviceOf([['exporter']], { exporter: { start: () => opened.promise } });
  const starting = { unready: ['starting'], stuck: [] };
  assert.deepEqual(service.health(), starting);
  const started = service.start();
  assert.deepEqual(service.health(), starting);
  opened.resolve();
  await started;
  assert.deepEqual(service.health(), WELL);
  const stopped = service.shutdown();
  assert.deepEqual(service.health(), { unready: ['shutting down'], stuck: [] });
  await stopped;
  assert.deepEqual(service.health(), { unready: ['shutting down'], stuck: [] });
});

test('tells what its components say of themselves, under their names', async () => {
  const { service } = serviceOf([['a', 'b'], ['c']], {
    a: { unready: () => 'full', stuck: () => undefined },
    c: { unready: () => 'recovering', stuck: () => 'the log failed' },
  });
  await service.start();
  assert.deepEqual(service.health(), { unready: ['a: full', 'c: recovering'], stuck: ['c: the log failed'] });
  await service.shutdown();
});

test('while it drains it is not ready, and nothing has stopped yet', async () => {
  const { service, events } = serviceOf([['receiver']]);
  await service.start();
  const drained = service.drain(1);
  assert.deepEqual(service.health(), { unready: ['shutting down'], stuck: [] });
  await drained;
  assert.deepEqual(events, ['start receiver']);
  await service.shutdown();
});

test('what does not run yet has nothing to drain', async () => {
  const { service } = serviceOf([['receiver']]);
  await service.drain(3_600_000);
  await service.shutdown();
});

test('tells what data stays behind, after everything has stopped', async () => {
  let left: string | undefined = 'all';
  const { service } = serviceOf([['queue a', 'queue b'], ['receiver']], {
    'queue a': { leftover: () => left, shutdown: async () => void (left = '3 records stay on disk') },
    'queue b': { leftover: () => undefined },
  });
  await service.start();
  assert.deepEqual(await service.shutdown(), ['queue a: 3 records stay on disk']);
  assert.deepEqual(await service.shutdown(), ['queue a: 3 records stay on disk']);
});

test('tells its pipelines', () => {
  assert.deepEqual(serviceOf([]).service.pipelines, ['traces: a → b']);
});

test.run();
