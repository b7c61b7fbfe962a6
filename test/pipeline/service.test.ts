import assert from 'node:assert/strict';
import { suite } from 'uvu';
import type { Component } from '../../src/component.ts';
import { createService, type Part, type Service } from '../../src/pipeline/service.ts';
import { createLogger } from '../../src/telemetry/logger.ts';

const test = suite('service');

interface Fixture {
  readonly service: Service;
  readonly events: string[];
  readonly logLines: { component: string; err: { message: string } }[];
}

/** Stages of component names; each component notes when it starts and stops, and then does what `behaviour` says. */
function serviceOf(stages: readonly string[][], behaviour: Record<string, Component> = {}, shutdownTimeoutMs = 5000) {
  const events: string[] = [];
  const logLines: Fixture['logLines'] = [];
  const partOf = (name: string): Part => ({
    name,
    component: {
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

test('tells its pipelines', () => {
  assert.deepEqual(serviceOf([]).service.pipelines, ['traces: a → b']);
});

test.run();
