import assert from 'node:assert/strict';
import { suite } from 'uvu';
import { forkBatch, itemCount } from '../../src/model/batch.ts';
import { content } from '../otlp/content.ts';
import { FULL_TRACE, LOG, METRICS } from '../otlp/golden_vectors.ts';
import { decode } from '../otlp/requests.ts';

const batches = suite('batches');

batches('count spans, log records and data points', () => {
  assert.equal(itemCount(decode('traces', FULL_TRACE).batch), 1);
  assert.equal(itemCount(decode('logs', Buffer.concat([LOG, LOG])).batch), 2);
  assert.equal(itemCount(decode('metrics', METRICS).batch), 3);
  assert.equal(itemCount(decode('metrics', new Uint8Array()).batch), 0);
});

batches('forks say the same', () => {
  for (const { batch } of [decode('traces', FULL_TRACE), decode('logs', LOG), decode('metrics', METRICS)]) {
    assert.deepEqual(content(forkBatch(batch)), content(batch));
  }
});

batches('what is promoted in a fork is not seen in the original', () => {
  const { batch: traces } = decode('traces', FULL_TRACE);
  for (const { scopes } of forkBatch(traces).resources) {
    for (const { records } of scopes) for (const span of records) span.promoted = { scanId: 's' };
  }
  assert.equal(traces.resources[0]?.scopes[0]?.records[0]?.promoted, undefined);

  const { batch: metrics } = decode('metrics', METRICS);
  for (const { scopes } of forkBatch(metrics).resources) {
    for (const { records } of scopes) {
      for (const metric of records) for (const point of metric.points.splice(0)) point.promoted = { scanId: 's' };
    }
  }
  assert.equal(itemCount(metrics), 3);
  assert.equal(metrics.resources[0]?.scopes[0]?.records[0]?.points[0]?.promoted, undefined);
});

batches.run();
