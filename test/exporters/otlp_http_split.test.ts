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

const REFUSALS: readonly (readonly [name: string, status: number, reason: RegExp])[] = [
  ['is too large alone', 413, /^one item of \d+ bytes is more than what the destination takes \(413\)$/],
  ['is malformed', 400, /^http:\/\/\S+\/v1\/traces answered 400$/],
];

for (const [name, status, reason] of REFUSALS) {
  Split(`a part that ${name} is handed back, and a replay of it sends just that; the others have arrived`, async () => {
    const refuse = answering(status);
    server.script = (response, received) => {
      const items = itemCount(batchOf('traces', received.body));
      const isBad = items === 1 && received.body.includes('span 7');
      return isBad ? refuse(response, received) : upTo(1)(response, received);
    };
    const exporter = otlpExporter({ endpoint: server.url, encoding: 'proto' });
    const record = await recordOf(exporter, batchOf('traces', spans(5)));
    const { refusedParts = [], ...numbers } = await exporter.send([record], NEVER);
    assert.deepEqual(numbers, { duplicates: 0, deadLettered: 0, refused: 0 });
    assert.equal(taken.length, 9);
    const [part, ...others] = refusedParts;
    assert.ok(part !== undefined && others.length === 0);
    assert.equal(part.record, record);
    assert.equal(part.items, 1);
    assert.match(part.reason, reason);
    const sent = server.received.length;
    assert.deepEqual((await exporter.send([record], NEVER)).refusedParts, refusedParts);
    assert.equal(server.received.length, sent, 'asked again, it sends nothing');
    server.script = upTo(1);
    await exporter.send([{ ...record, items: part.items, bytes: part.bytes }], NEVER);
    const all = itemsOf(batchOf('traces', spans(5)));
    // 0, 2, 4, 6, 8, 1, 3, 5, 7, 9: the refused one comes last now.
    assert.deepEqual(taken.flatMap(itemsOf), [...all.toSpliced(8, 1), all[8]]);
    await exporter.shutdown?.(NEVER);
  });
}

Split('when every part is refused for good, so is the record', async () => {
  server.script = (response, received) =>
    answering(itemCount(batchOf('traces', received.body)) > 5 ? 413 : 400)(response, received);
  await assert.rejects(send(spans(5)), PermanentError);
  assert.equal(server.received.length, 3);
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

/** Takes five items at once, leaves one of them out, and is away for the second half of ten for so many tries. */
function awayForSecondHalf(tries: number): Script {
  let left = tries;
  return (response, received) => {
    if (itemCount(batchOf('traces', received.body)) > 5) return answering(413)(response, received);
    if (taken.length === 1 && left-- > 0) return answering(503)(response, received);
    taken.push(batchOf('traces', received.body));
    const partial = '{"partialSuccess":{"rejectedSpans":"1"}}';
    return answering(200, { 'content-type': 'application/json' }, partial)(response, received);
  };
}

Split('413, then twice no answer to a part: only that part is sent again, and no count is lost', async () => {
  const exporter = otlpExporter({ endpoint: server.url });
  const body = spans(5);
  const record = await recordOf(exporter, batchOf('traces', body));
  server.script = awayForSecondHalf(2);
  await assert.rejects(exporter.send([record], NEVER), RetryableError);
  await assert.rejects(exporter.send([record], NEVER), RetryableError);
  assert.deepEqual(await exporter.send([record], NEVER), { duplicates: 0, deadLettered: 0, refused: 2 });
  assert.deepEqual(taken.flatMap(itemsOf), itemsOf(batchOf('traces', body)));
  assert.equal(server.received.length, 5, 'the whole, the first half, and three times the second');
  await exporter.shutdown?.(NEVER);
});

Split('a record of which a part has arrived is not sent together with others', async () => {
  const exporter = otlpExporter({ endpoint: server.url });
  const begun = await recordOf(exporter, batchOf('traces', spans(5)));
  const other = await recordOf(exporter, batchOf('traces', spans(1)));
  server.script = awayForSecondHalf(1);
  await assert.rejects(exporter.send([begun], NEVER), RetryableError);
  const sent = server.received.length;
  await assert.rejects(exporter.send([begun, other], NEVER), PermanentError);
  assert.equal(server.received.length, sent);
  await exporter.send([begun], NEVER);
  await exporter.send([other], NEVER);
  assert.deepEqual(taken.map(itemCount), [5, 5, 2]);
  await exporter.shutdown?.(NEVER);
});

Split('the same request is sent in the same parts by another process', async () => {
  const bodies: Buffer[][] = [];
  for (let round = 0; round < 2; round++) {
    server.received.length = 0;
    server.script = upTo(5);
    await send(spans(5));
    bodies.push(server.received.map((received) => received.body));
  }
  assert.equal(bodies[0]?.length, 3);
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
  const { refusedParts = [] } = await send(body, { max_request_body_size: '3KiB' });
  assert.deepEqual(
    refusedParts.map(({ items, reason }) => [items, reason.replace(/\d+/, 'N')]),
    [[1, 'one item of N bytes is more than max_request_body_size (3072 bytes)']],
  );
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
