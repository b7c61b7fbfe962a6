import assert from 'node:assert/strict';
import { Registry } from 'prom-client';
import { suite } from 'uvu';
import type { Consumer } from '../../src/component.ts';
import { loadConfig } from '../../src/config/load.ts';
import { parseGateway } from '../../src/config/schema.ts';
import { ConfigError, PermanentError, RetryableError } from '../../src/errors.ts';
import type { Logs, Traces } from '../../src/model/batch.ts';
import { buildService } from '../../src/pipeline/build.ts';
import { createLogger } from '../../src/telemetry/logger.ts';
import { logsOf, tracesOf } from './batches.ts';
import { memoryWorld, type MemoryWorld } from './memory_components.ts';

const test = suite('build');

interface LogLine {
  level: string;
  component: string;
  msg: string;
}

/** Builds what the assignments say, as `--set` would read them. */
async function build(...sets: readonly string[]) {
  const world = memoryWorld();
  const metrics = new Registry();
  const logLines: LogLine[] = [];
  const logger = createLogger('info', { write: (line) => logLines.push(JSON.parse(line)) });
  const raw = await loadConfig({ files: [], sets, env: {} });
  const { config, faults } = parseGateway(raw);
  const service = buildService({ config, raw, faults, registry: world.registry, logger, metrics });
  return { service, world, metrics, logLines };
}

/** The faults as the operator sees them, a line each. */
async function faultsOf(...sets: readonly string[]): Promise<string[]> {
  try {
    await build(...sets);
  } catch (error) {
    assert.ok(error instanceof ConfigError);
    return error.message.split('\n');
  }
  return [];
}

function tracesTo(world: MemoryWorld, receiver: string): Consumer<Traces> {
  const next = world.receivers.get(receiver)?.traces;
  assert.ok(next, `${receiver} has a pipeline for traces`);
  return next;
}

function logsTo(world: MemoryWorld, receiver: string): Consumer<Logs> {
  const next = world.receivers.get(receiver)?.logs;
  assert.ok(next, `${receiver} has a pipeline for logs`);
  return next;
}

/** Signal and items of every record that an exporter has sent. */
function sentBy({ sends }: MemoryWorld, exporter: string): string[] {
  return (sends.get(exporter) ?? []).flat().map(({ signal, items }) => `${signal} ${items}`);
}

async function counted(metrics: Registry, name: string): Promise<string[]> {
  const text = await metrics.getSingleMetricAsString(name);
  return text.split('\n').filter((line) => !line.startsWith('#') && line !== '');
}

const TRACES = 'service.pipelines.traces={receivers: [memory], exporters: [memory]}';

test('a batch goes through the processors in order to the exporter', async () => {
  const { world } = await build(
    'receivers.memory={}',
    'processors={keep: {first: 3}, limit: {rejected: 1}}',
    'exporters.memory={}',
    'service.pipelines.traces={receivers: [memory], processors: [keep, limit], exporters: [memory]}',
  );
  const outcome = await tracesTo(world, 'memory').consume(tracesOf(5));
  assert.deepEqual(outcome, { rejected: 1, message: 'over the limit' });
  assert.deepEqual(sentBy(world, 'memory'), ['traces 3']);
});

test('a pipeline with several exporters gives each of them every batch', async () => {
  const { world } = await build(
    'receivers.memory={}',
    'exporters={memory: {}, direct: {}, memory/2: {}}',
    'service.pipelines.traces={receivers: [memory], exporters: [memory, direct, memory/2]}',
  );
  await tracesTo(world, 'memory').consume(tracesOf(2));
  for (const id of ['memory', 'direct', 'memory/2']) assert.deepEqual(sentBy(world, id), ['traces 2']);
});

test('a batch goes into the queues of all exporters of a pipeline, or into none', async () => {
  const { world, service, metrics } = await build(
    'receivers.memory={}',
    'exporters={memory: {}, memory/away: {sending_queue: {durability: memory, sizer: items, queue_size: 3}}}',
    'service.pipelines.traces={receivers: [memory], exporters: [memory, memory/away]}',
    'service.shutdown_timeout=100ms',
  );
  world.failing.set('memory/away', new RetryableError('away'));
  await tracesTo(world, 'memory').consume(tracesOf(3));
  await assert.rejects(tracesTo(world, 'memory').consume(tracesOf(1)), /the sending queue is full: 3 of 3 items wait/);
  assert.deepEqual(sentBy(world, 'memory'), ['traces 3']);
  assert.deepEqual(await counted(metrics, 'otelcol_exporter_enqueue_failed_spans'), [
    'otelcol_exporter_enqueue_failed_spans{exporter="memory"} 0',
    'otelcol_exporter_enqueue_failed_spans{exporter="memory/away"} 1',
  ]);
  assert.deepEqual(await counted(metrics, 'otelcol_exporter_queue_size'), [
    'otelcol_exporter_queue_size{exporter="memory"} 0',
    'otelcol_exporter_queue_size{exporter="memory/away"} 3',
  ]);
  await service.shutdown();
});

test('a queue that names a storage that is not there is a fault, whatever its durability', async () => {
  for (const durability of ['disk', 'memory']) {
    const faults = await faultsOf(
      'receivers.memory={}',
      `exporters.memory.sending_queue={durability: ${durability}, storage: file_storage/typo}`,
      TRACES,
    );
    assert.deepEqual(faults, [
      'exporters.memory.sending_queue.storage: found "file_storage/typo"; ' +
        'allowed: the id of a storage extension of service.extensions (none)',
    ]);
  }
});

test('one receiver serves all pipelines and signals that name it', async () => {
  const { world } = await build(
    'receivers={memory: {}, memory/other: {}}',
    'processors.keep={first: 1}',
    'exporters={memory: {}, memory/short: {}}',
    'service.pipelines.traces={receivers: [memory, memory/other], exporters: [memory]}',
    'service.pipelines.traces/short={receivers: [memory], processors: [keep], exporters: [memory/short]}',
    'service.pipelines.logs={receivers: [memory], exporters: [memory]}',
  );
  await tracesTo(world, 'memory').consume(tracesOf(4));
  await logsTo(world, 'memory').consume(logsOf(2));
  await tracesTo(world, 'memory/other').consume(tracesOf(7));
  assert.equal(world.receivers.get('memory/other')?.logs, undefined);
  assert.deepEqual(sentBy(world, 'memory'), ['traces 4', 'logs 2', 'traces 7']);
  assert.deepEqual(sentBy(world, 'memory/short'), ['traces 1']);
  assert.deepEqual(world.events.filter((event) => event.startsWith('create memory')).length, 4);
});

test('a processor is an instance of its own in each pipeline', async () => {
  const { world } = await build(
    'receivers.memory={}',
    'processors.keep={}',
    'exporters.memory={}',
    'service.pipelines.traces={receivers: [memory], processors: [keep], exporters: [memory]}',
    'service.pipelines.logs={receivers: [memory], processors: [keep], exporters: [memory]}',
  );
  assert.equal(world.events.filter((event) => event === 'create keep').length, 2);
});

test('building opens nothing', async () => {
  const { world } = await build('receivers.memory={}', 'exporters.memory={}', TRACES);
  assert.ok(world.events.every((event) => event.startsWith('create ')));
});

test('starts extensions, exporters, processors from the last, receivers; stops the other way', async () => {
  const { service, world } = await build(
    'extensions.memory/ext={}',
    'receivers.memory/in={}',
    'processors={keep/first: {}, keep/last: {}}',
    'exporters.memory/out={}',
    'service.extensions=[memory/ext]',
    'service.pipelines.traces={receivers: [memory/in], processors: [keep/first, keep/last], exporters: [memory/out]}',
  );
  await service.start();
  await service.shutdown();
  const order = ['memory/ext', 'memory/out', 'keep/last', 'keep/first', 'memory/in'];
  assert.deepEqual(
    world.events.filter((event) => !event.startsWith('create ')),
    [...order.map((id) => `start ${id}`), ...order.toReversed().map((id) => `stop ${id}`)],
  );
});

test('names the component that cannot start', async () => {
  const { service, world } = await build(
    'receivers.memory={fails_to_start: true}',
    'exporters.memory/out={}',
    'service.pipelines.traces={receivers: [memory], exporters: [memory/out]}',
  );
  await assert.rejects(service.start(), { message: 'receiver memory: cannot open' });
  assert.equal(world.events.at(-1), 'stop memory/out');
});

test('after shutdown an exporter with a queue takes nothing more', async () => {
  const { service, world } = await build('receivers.memory={}', 'exporters.memory={}', TRACES);
  await service.start();
  await service.shutdown();
  await assert.rejects(tracesTo(world, 'memory').consume(tracesOf(1)), RetryableError);
});

test('describes each pipeline in one line', async () => {
  const { service } = await build(
    'receivers={memory: {}, traces_only: {}}',
    'processors={keep: {}, limit: {rejected: 0}}',
    'exporters={memory: {}, direct: {}}',
    'service.pipelines.traces={receivers: [memory, traces_only], processors: [keep, limit], exporters: [memory, direct]}',
    'service.pipelines.logs/audit={receivers: [memory], exporters: [direct]}',
  );
  assert.deepEqual(service.pipelines, [
    'traces: memory, traces_only → keep → limit → memory (commit), direct (commit)',
    'logs/audit: memory → direct (commit)',
  ]);
});

test('an empty batch is taken without a trip to the destination', async () => {
  const { world } = await build('receivers.memory={}', 'exporters.memory={}', TRACES);
  assert.deepEqual(await tracesTo(world, 'memory').consume(tracesOf(0)), { rejected: 0, message: '' });
  assert.deepEqual(sentBy(world, 'memory'), []);
});

test('every item that enters is counted on every edge', async () => {
  const { world, metrics } = await build(
    'receivers.memory={}',
    'processors={keep: {first: 3}, limit: {rejected: 2}}',
    'exporters={memory: {}, direct: {}}',
    'service.pipelines.traces={receivers: [memory], processors: [limit, keep], exporters: [memory]}',
    'service.pipelines.logs={receivers: [memory], processors: [keep], exporters: [memory, direct]}',
  );
  await tracesTo(world, 'memory').consume(tracesOf(10));
  await logsTo(world, 'memory').consume(logsOf(4));
  world.failing.set('direct', new RetryableError('down'));
  await assert.rejects(logsTo(world, 'memory').consume(logsOf(5)), RetryableError);

  const rows: [name: string, lines: string[]][] = [
    ['otelcol_receiver_accepted_spans', ['{receiver="memory"} 8']],
    ['otelcol_receiver_refused_spans', ['{receiver="memory"} 2']],
    ['otelcol_receiver_accepted_log_records', ['{receiver="memory"} 4']],
    ['otelcol_receiver_refused_log_records', ['{receiver="memory"} 5']],
    ['otelcol_receiver_accepted_metric_points', []],
    [
      'otelcol_processor_incoming_items',
      [
        '{processor="keep",otel_signal="traces"} 10',
        '{processor="limit",otel_signal="traces"} 10',
        '{processor="keep",otel_signal="logs"} 9',
      ],
    ],
    [
      'otelcol_processor_outgoing_items',
      [
        '{processor="keep",otel_signal="traces"} 3',
        '{processor="limit",otel_signal="traces"} 10',
        '{processor="keep",otel_signal="logs"} 6',
      ],
    ],
    ['otelcol_exporter_sent_spans', ['{exporter="memory"} 3']],
    ['otelcol_exporter_send_failed_spans', ['{exporter="memory"} 0']],
    ['otelcol_exporter_sent_log_records', ['{exporter="memory"} 6', '{exporter="direct"} 3']],
    ['otelcol_exporter_send_failed_log_records', ['{exporter="memory"} 0', '{exporter="direct"} 3']],
  ];
  for (const [name, lines] of rows) {
    assert.deepEqual(
      await counted(metrics, name),
      lines.map((line) => name + line),
    );
  }
});

test('logs the first of repeated failures, and the recovery', async () => {
  const { world, logLines } = await build('receivers.memory={}', 'exporters.memory={}', TRACES);
  const send = () => tracesTo(world, 'memory').consume(tracesOf(1));
  world.failing.set('memory', new RetryableError('down'));
  for (let count = 0; count < 3; count++) await assert.rejects(send(), RetryableError);
  world.failing.set('memory', new PermanentError('row refused'));
  await assert.rejects(send(), PermanentError);
  world.failing.set('memory', new TypeError('a bug'));
  await assert.rejects(send(), TypeError);
  world.failing.clear();
  await send();
  await send();
  assert.deepEqual(
    logLines.map(({ level, component, msg }) => `${level} ${component}: ${msg}`),
    [
      'warn exporter memory: sending failed',
      'warn exporter memory: sending failed',
      'error exporter memory: sending failed',
      'info exporter memory: works again',
    ],
  );
});

const GOOD = ['receivers.memory={}', 'exporters.memory={}', TRACES];
const faulty: readonly { name: string; sets: readonly string[]; faults: readonly RegExp[] }[] = [
  {
    name: 'a component of unknown type, with the known ones',
    sets: ['exporters.memroy/a={}'],
    faults: [/^exporters\.memroy\/a: unknown exporter type `memroy`; did you mean `memory`\? allowed: direct, memory$/],
  },
  {
    name: 'a component that is used but not defined',
    sets: ['service.pipelines.logs={receivers: [memory], processors: [keep], exporters: [other]}'],
    faults: [
      /^service\.pipelines\.logs\.processors: unknown processor `keep`; allowed: none here$/,
      /^service\.pipelines\.logs\.exporters: unknown exporter `other`; allowed: memory$/,
    ],
  },
  {
    name: 'an extension that is used but not defined',
    sets: ['service.extensions=[memory]'],
    faults: [/^service\.extensions: unknown extension `memory`/],
  },
  {
    name: 'a component that nothing uses',
    sets: ['extensions.memory={}', 'processors.keep={}'],
    faults: [
      /^processors\.keep: defined, but no pipeline uses it$/,
      /^extensions\.memory: defined, but service\.extensions does not list it$/,
    ],
  },
  {
    name: 'a component twice in one list',
    sets: ['service.pipelines.logs={receivers: [memory, memory], exporters: [memory]}'],
    faults: [/^service\.pipelines\.logs\.receivers\[1\]: .*memory.*once/],
  },
  {
    name: 'a pipeline of an unknown signal',
    sets: ['service.pipelines.profiles/2={receivers: [memory], exporters: [memory]}'],
    faults: [/^service\.pipelines\.profiles\/2: unknown signal `profiles`; allowed: traces, logs, metrics$/],
  },
  {
    name: 'a pipeline without receivers, and one without exporters',
    sets: [
      'service.pipelines.logs={receivers: [], exporters: [memory]}',
      'service.pipelines.traces/2={receivers: [memory], exporters: []}',
    ],
    faults: [/^service\.pipelines\.logs\.receivers: /, /^service\.pipelines\.traces\/2\.exporters: /],
  },
  {
    name: 'components that do not take the signal of their pipeline',
    sets: [
      'receivers.traces_only={}',
      'processors.limit={rejected: 0}',
      'service.pipelines.logs={receivers: [traces_only], processors: [limit], exporters: [memory]}',
    ],
    faults: [
      /^service\.pipelines\.logs\.receivers: the receiver `traces_only` does not take logs; allowed: traces$/,
      /^service\.pipelines\.logs\.processors: the processor `limit` does not take logs; allowed: traces$/,
    ],
  },
  {
    name: 'a faulty section, also of a component that nothing uses',
    sets: ['exporters.memory/2={sending_queue: {num_consumers: none}}'],
    faults: [
      /^exporters\.memory\/2\.sending_queue\.num_consumers: /,
      /^exporters\.memory\/2: defined, but no pipeline uses it$/,
    ],
  },
  {
    name: 'what a factory finds, once however many pipelines it serves',
    sets: [
      'processors.picky={}',
      'service.pipelines.traces/2={receivers: [memory], processors: [picky], exporters: [memory]}',
      'service.pipelines.logs={receivers: [memory], processors: [picky], exporters: [memory]}',
    ],
    faults: [/^processors\.picky\.rules\[0\]\.pattern: not a pattern$/, /^processors\.picky: too picky$/],
  },
  {
    name: 'no component as unused because the list that names it has an unset variable',
    sets: [
      'processors.keep={}',
      'service.pipelines.logs={receivers: [memory], processors: ["${env:UNSET}"], exporters: [memory]}',
    ],
    faults: [/^service\.pipelines\.logs\.processors\[0\]: .*UNSET/],
  },
];
for (const { name, sets, faults } of faulty) {
  test(`reports ${name}`, async () => {
    const lines = await faultsOf(...GOOD, ...sets);
    assert.equal(lines.length, faults.length, lines.join('\n'));
    for (const fault of faults)
      assert.ok(
        lines.some((line) => fault.test(line)),
        `${fault} in\n${lines.join('\n')}`,
      );
  });
}

test('reports all faults of a configuration at once', async () => {
  const sets = faulty.flatMap((row) => row.sets).filter((set) => !set.startsWith('service.pipelines.logs'));
  const lines = await faultsOf(...GOOD, ...sets);
  assert.ok(lines.length >= 9, lines.join('\n'));
  assert.equal(new Set(lines).size, lines.length);
});

test('reports only what could not be read when something could not be read', async () => {
  const lines = await faultsOf('receivers.memory={}', 'exporters: not an assignment', TRACES);
  assert.equal(lines.length, 1, lines.join('\n'));
});

test.run();
