import assert from 'node:assert/strict';
import { suite } from 'uvu';
import { itemCount } from '../../src/model/batch.ts';
import { DEFAULT_TENANT } from '../../src/model/tenant.ts';
import { DEFAULT_SHAPE_LIMITS, type ShapeLimits } from '../../src/model/wire.ts';
import { decodeRequest } from '../../src/otlp/decode.ts';
import { any, attribute, request, spanIds } from '../support/otlp_messages.ts';

const Limits = suite('limits of one record');

function decode(limits: Partial<ShapeLimits>, ...attributes: Buffer[]) {
  const small = spanIds(1);
  const large = Buffer.concat([spanIds(2), ...attributes]);
  return decodeRequest('traces', request([small, large]), {
    tenant: DEFAULT_TENANT,
    receivedAtMs: 0,
    limits: { ...DEFAULT_SHAPE_LIMITS, ...limits },
  });
}

Limits('a record with more bytes than max_record_bytes is left out alone, and told', () => {
  const { batch, rejections } = decode({ max_record_bytes: 200 }, attribute(9, 'long', any.string('x'.repeat(300))));
  assert.equal(itemCount(batch), 1);
  assert.equal(rejections.count, 1);
  assert.match(rejections.message, /max_record_bytes \(200\)/);
});

Limits('a record with more messages than max_record_nodes is left out alone, and told', () => {
  const many = Array.from({ length: 20 }, (_, at) => attribute(9, `k${at}`, any.int(at)));
  const { batch, rejections } = decode({ max_record_nodes: 10 }, ...many);
  assert.equal(itemCount(batch), 1);
  assert.equal(rejections.count, 1);
  assert.match(rejections.message, /max_record_nodes \(10\)/);
});

Limits.run();
