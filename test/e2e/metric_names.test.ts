/** Dashboards and alerts are written for these names; those that the Collector has too mean the same there. */
import assert from 'node:assert/strict';
import { suite } from 'uvu';
import { freePort, testGateway } from '../support/gateway.ts';

const test = suite('metric names');

const ITEMS = ['spans', 'log_records', 'metric_points'];
const perSignal = (event: string): string[] => ITEMS.map((items) => `otelcol_${event}_${items}`);

const NAMES = [
  ...perSignal('receiver_accepted'),
  ...perSignal('receiver_refused'),
  'otelcol_processor_incoming_items',
  'otelcol_processor_outgoing_items',
  ...perSignal('exporter_sent'),
  ...perSignal('exporter_send_failed'),
  ...perSignal('exporter_enqueue_failed'),
  'otelcol_exporter_queue_size',
  'otelcol_exporter_queue_capacity',
  'sluice_exporter_duplicate_items',
  'sluice_exporter_dead_lettered_items',
  'sluice_exporter_refused_items',
  'sluice_exporter_lost_items',
  'sluice_exporter_recovered_items',
  'sluice_exporter_corrupt_records',
  'sluice_exporter_queue_items',
  'sluice_exporter_queue_bytes',
  'sluice_exporter_queue_records',
  'sluice_exporter_queue_oldest_seconds',
];

test('are these, each with a sentence that says what it counts, and there before anything happens', async () => {
  const port = await freePort();
  const gateway = await testGateway({
    sets: [`service.telemetry.metrics.address=127.0.0.1:${port}`],
    durability: 'disk',
  });
  const text = await (await fetch(`http://127.0.0.1:${port}/metrics`)).text();
  await gateway.close();
  const helps = [...text.matchAll(/^# HELP ((?:otelcol|sluice)_\S+) (.*)$/gm)];
  assert.deepEqual(helps.map(([, name]) => name).toSorted(), NAMES.toSorted());
  for (const [, name = '', help = ''] of helps) {
    assert.match(help, /^[A-Z].*\.$/, name);
    assert.match(text, new RegExp(`^${name}\\{.*\\} \\d`, 'm'), `${name} has a value from the start`);
  }
});

test.run();
