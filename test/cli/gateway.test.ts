import assert from 'node:assert/strict';
import { suite } from 'uvu';
import { StopRequest } from '../../src/cli/command.ts';
import { buildGateway, farewell, startUnlessStopped, untilStopped, type BuiltGateway } from '../../src/cli/gateway.ts';
import { freePort } from '../support/gateway.ts';

const gateways = suite('gateway');

const SETS = [
  'receivers.otlp.protocols.http.endpoint=127.0.0.1:0',
  'exporters.debug.verbosity=basic',
  'service.pipelines.traces={receivers: [otlp], exporters: [debug]}',
  'service.telemetry.logs.level=error',
];

const built = (...sets: readonly string[]): Promise<BuiltGateway> =>
  buildGateway({ files: ['/dev/null'], sets: [...SETS, ...sets], env: {} });

const toldToStop = (): AbortSignal => AbortSignal.abort(new StopRequest('SIGTERM'));

gateways('runs until it is told to stop', async () => {
  const gateway = await built();
  const stop = new AbortController();
  assert.equal(await startUnlessStopped(gateway, stop.signal), true);
  const stopped = untilStopped(gateway, stop.signal);
  stop.abort();
  assert.equal(await stopped, undefined);
  assert.deepEqual(await gateway.shutdown(), []);
});

gateways('stops by itself when a component says that only a restart helps', async () => {
  const gateway = await built();
  const stuck = { ...gateway, health: () => ({ unready: [], stuck: ['queue a: its log failed', 'queue b: too'] }) };
  assert.equal(await untilStopped(stuck, new AbortController().signal), 'queue a: its log failed; queue b: too');
});

gateways('told to stop before it starts, it does not', async () => {
  const gateway = await built();
  assert.equal(await startUnlessStopped(gateway, toldToStop()), false);
  await gateway.shutdown();
});

gateways('told to stop while it starts, it is shut down', async () => {
  const gateway = await built();
  const stop = new AbortController();
  const started = startUnlessStopped(gateway, stop.signal);
  stop.abort();
  assert.equal(await started, false);
  assert.deepEqual(gateway.health().unready, ['shutting down']);
  await gateway.shutdown();
});

gateways('what cannot start is an error', async () => {
  const endpoint = `receivers.otlp.protocols.http.endpoint=127.0.0.1:${await freePort()}`;
  const [gateway, other] = [await built(endpoint), await built(endpoint)];
  const { signal } = new AbortController();
  assert.equal(await startUnlessStopped(gateway, signal), true);
  await assert.rejects(startUnlessStopped(other, signal), /address in use/);
  await gateway.shutdown();
});

gateways('says at last what is left, and claims nothing about what it did not look at', async () => {
  const gateway = await built();
  assert.equal(farewell(gateway, []), 'sluice: stopped; nothing is left in the queues');
  assert.equal(
    farewell(gateway, ['queue a: 3 records stay', 'queue b: 1 record stays']),
    'sluice: stopped; queue a: 3 records stay; queue b: 1 record stays',
  );
  const disabled = await built('service.enabled=false');
  assert.equal(farewell(disabled, []), 'sluice: stopped; while it is disabled nobody looks into the queues');
});

gateways.run();
