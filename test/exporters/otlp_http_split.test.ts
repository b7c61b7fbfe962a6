import assert from 'node:assert/strict';
import { suite } from 'uvu';
import { PermanentError, RetryableError } from '../../src/errors.ts';
import { itemCount, type AnyBatch, type Signal } from '../../src/model/batch.ts';
import { content } from '../otlp/content.ts';
import { METRICS } from '../otlp/golden_vectors.ts';
import { any, attribute, field, fixed64, request, spanIds } from '../support/otlp_messages.ts';
import { batchOf, keptLog, NEVER, otlpExporter, recordOf } from './records.ts';
import { accept, answering, scriptedServer, type Script, type ScriptedServer } from './scripted_server.ts';

const Split = suite('requests of otlp_http in parts');

let server: ScriptedServer;

Split.before.each(async () => {
  server = await scriptedServer();
});
Split.after.each(() => server.close());

const span = (number: number, name = `span ${number}`): Buffer => Buffer.concat([spanIds(number), field(5, name)]);
const spans = (count: number): Buffer =>
  Buffer.concat(
    [0, 1].map((resource) =>
      request(
        Array.from({ length: count }, (_, i) => span(2 * i + resource)),
        { resource: attribute(1, 'service.name', any.string(`service ${resource}`)) },
      ),
    ),
  );

async function send(body: Uint8Array, config: object = {}, signal: Signal = 'traces') {
  const exporter = otlpExporter({ endpoint: server.url, ...config }, keptLog().logger);
  const record = await recordOf(exporter, batchOf(signal, body));
  try {
    return await exporter.send([record], NEVER);
  } finally {
    await exporter.shutdown?.(NEVER);
  }
}

/** What arrived in requests that were answered with success. */
const taken: AnyBatch[] = [];
const upTo =
  (items: number, signal: Signal = 'traces'): Script =>
  (response, received) => {
    const batch = batchOf(signal, received.body);
    if (itemCount(batch) > items) return answering(413)(response, received);
    taken.push(batch);
    return accept(response, received);
  };

Split.before.each(() => {
  taken.length = 0;
});

/** Each item with all that stands around it, whatever request it came in. */
function itemsOf(batch: AnyBatch): object[] {
  const resources = content(batch).map(({ scopes, ...resource }) => ({ resource, scopes }));
  return resources.flatMap(({ resource, scopes }) =>
    scopes.flatMap(({ records, ...scope }) =>
      records.flatMap((record): object[] =>
        'points' in record && Array.isArray(record.points)
          ? record.points.map((point: unknown) => ({ resource, scope, record: { ...record, points: [point] } }))
          : [{ resource, scope, record }],
      ),
    ),
  );
}

Split('413: halves, and halves of those, until they fit; every item once and in its order', async () => {
  const body = spans(50);
  server.script = upTo(13);
  assert.deepEqual(await send(body), { duplicates: 0, deadLettered: 0, refused: 0 });
  assert.deepEqual(taken.map(itemCount), [13, 12, 13, 12, 13, 12, 13, 12]);
  assert.deepEqual(taken.flatMap(itemsOf), itemsOf(batchOf('traces', body)));
});

Split('413: data points of one metric are parted, with the metric around each part', async () => {
  const points = Array.from({ length: 9 }, (_, i) => field(1, fixed64(3, BigInt(i)), fixed64(6, BigInt(i))));
  const body = request([Buffer.concat([field(1, 'm'), field(7, ...points, Buffer.of(0x10, 2, 0x18, 1))])]);
  server.script = upTo(2, 'metrics');
  await send(body, {}, 'metrics');
  assert.deepEqual(taken.map(itemCount), [2, 1, 2, 2, 2]);
  assert.deepEqual(taken.flatMap(itemsOf), itemsOf(batchOf('metrics', body)));
});

Split('413: metrics of all kinds', async () => {
  server.script = upTo(1, 'metrics');
  await send(METRICS, { encoding: 'proto' }, 'metrics');
  assert.deepEqual(taken.flatMap(itemsOf), itemsOf(batchOf('metrics', METRICS)));
});

Split('413 for a single item: it fails for good, and the others have arrived', async () => {
  server.script = (response, received) =>
    received.body.includes('span 7') ? answering(413)(response, received) : upTo(99)(response, received);
  await assert.rejects(send(spans(5)), (error) => {
    assert.ok(error instanceof PermanentError);
    assert.match(error.message, /^one item of \d+ bytes is more than what the destination takes \(413\)$/);
    return true;
  });
  assert.equal(
    taken.reduce((sum, batch) => sum + itemCount(batch), 0),
    9,
  );
});

Split('413: what parts are refused of is added up', async () => {
  server.script = (response, received) => {
    if (itemCount(batchOf('traces', received.body)) > 5) return answering(413)(response, received);
    return answering(
      200,
      { 'content-type': 'application/json' },
      '{"partialSuccess":{"rejectedSpans":"2"}}',
    )(response, received);
  };
  assert.deepEqual(await send(spans(5)), { duplicates: 0, deadLettered: 0, refused: 4 });
});

Split('413, then no answer to a part: all is sent again, in the same parts', async () => {
  const bodies: Buffer[][] = [[], []];
  for (const round of [0, 1]) {
    server.script = (response, received) => {
      if (itemCount(batchOf('traces', received.body)) > 5) return answering(413)(response, received);
      bodies[round]?.push(received.body);
      return round === 0 && bodies[0]?.length === 2 ? answering(503)(response, received) : accept(response, received);
    };
    const sending = send(spans(5));
    if (round === 0) await assert.rejects(sending, RetryableError);
    else await sending;
  }
  assert.deepEqual(bodies[1], bodies[0]);
});

for (const encoding of ['proto', 'json'] as const) {
  Split(`max_request_body_size is kept, as ${encoding}: parts before anything is sent`, async () => {
    const body = spans(200);
    await send(body, { max_request_body_size: '3KiB', encoding });
    assert.ok(server.received.length > 4);
    for (const received of server.received) assert.ok(received.body.length <= 3072);
    const names = server.received.flatMap((received) => received.body.toString('latin1').match(/span \d+/g) ?? []);
    assert.equal(new Set(names).size, 400);
    assert.equal(names.length, 400);
  });
}

Split('a single item beyond max_request_body_size is never sent', async () => {
  const body = request([span(1), span(2, 'x'.repeat(5000)), span(3)]);
  await assert.rejects(send(body, { max_request_body_size: '3KiB' }), PermanentError);
  assert.equal(server.received.length, 2);
});

Split('records that are too large together are left to be sent alone: nothing of them arrives twice', async () => {
  const exporter = otlpExporter({ endpoint: server.url, max_request_body_size: '3KiB' });
  const records = [
    await recordOf(exporter, batchOf('traces', spans(20))),
    await recordOf(exporter, batchOf('traces', spans(30))),
  ];
  await assert.rejects(exporter.send(records, NEVER), PermanentError);
  assert.equal(server.received.length, 0);
  for (const record of records) await exporter.send([record], NEVER);
  await exporter.shutdown?.(NEVER);
});

Split.run();
