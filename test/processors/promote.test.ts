import assert from 'node:assert/strict';
import { suite } from 'uvu';
import { ACCEPTED, type Consumer } from '../../src/component.ts';
import type { Logs, Metrics, Traces } from '../../src/model/batch.ts';
import { DEFAULT_TENANT } from '../../src/model/tenant.ts';
import { DEFAULT_SHAPE_LIMITS } from '../../src/model/wire.ts';
import { decodeRequest } from '../../src/otlp/decode.ts';
import { promote } from '../../src/processors/promote.ts';
import { createLogger } from '../../src/telemetry/logger.ts';
import { testSettings } from '../support/settings.ts';
import { any, attribute, double, field, fixed64, request, spanIds } from '../support/otlp_messages.ts';

const Promote = suite('promote');

const SETTINGS = testSettings('promote', createLogger('error'));
const CONTEXT = { tenant: DEFAULT_TENANT, receivedAtMs: 0, limits: DEFAULT_SHAPE_LIMITS };

/** Where each record keeps its attributes. */
const SPAN = 9;
const LOG = 6;
const POINT = 7;
const RESOURCE = 1;

/** A consumer that keeps what reaches it. */
function collect<B>(): Consumer<B & (Traces | Logs | Metrics)> & { readonly batches: B[] } {
  const batches: B[] = [];
  return {
    batches,
    async consume(batch) {
      batches.push(batch);
      return ACCEPTED;
    },
  };
}

const span = (...attributes: readonly Uint8Array[]): Buffer => Buffer.concat([spanIds(1), ...attributes]);

/** The scan ids that the spans of a request reach the next consumer with. */
async function scanIds(body: Uint8Array, config: unknown = {}): Promise<(string | undefined)[]> {
  const next = collect<Traces>();
  const processor = promote.create.traces?.(promote.config.parse(config), SETTINGS, next);
  assert.ok(processor);
  const { batch } = decodeRequest('traces', body, CONTEXT);
  assert.equal(await processor.consume(batch), ACCEPTED);
  assert.equal(next.batches.length, 1);
  return next.batches.flatMap(({ resources }) =>
    resources.flatMap(({ scopes }) => scopes.flatMap(({ records }) => records.map(({ promoted }) => promoted?.scanId))),
  );
}

async function scanIdOf(...attributes: readonly Uint8Array[]): Promise<string | undefined> {
  return (await scanIds(request([span(...attributes)])))[0];
}

const scan = (value: Uint8Array, key = 'scan.id', number = SPAN): Buffer => attribute(number, key, value);

Promote("a span's own attribute comes before its resource's, which comes before nothing", async () => {
  const resource = scan(any.string('of the resource'), 'scan.id', RESOURCE);
  const records = [span(scan(any.string('own'))), span(), span(attribute(SPAN, 'other', any.int(1)))];
  assert.deepEqual(await scanIds(request(records, { resource })), ['own', 'of the resource', 'of the resource']);
  assert.deepEqual(await scanIds(request(records)), ['own', undefined, undefined]);
});

Promote('any key of the span comes before the first key of the resource', async () => {
  const resource = scan(any.string('of the resource'), 'pencheff.scan_id', RESOURCE);
  assert.deepEqual(await scanIds(request([span(scan(any.string('own')))], { resource })), ['own']);
});

Promote('an earlier key of the list wins, wherever the attributes stand', async () => {
  const [first, second] = [scan(any.string('first'), 'pencheff.scan_id'), scan(any.string('second'))];
  assert.equal(await scanIdOf(first, second), 'first');
  assert.equal(await scanIdOf(second, first), 'first');
});

Promote('the configured keys replace the default ones', async () => {
  const body = request([
    span(scan(any.string('default')), attribute(SPAN, 'b', any.string('b')), attribute(SPAN, 'a', any.string('a'))),
  ]);
  assert.deepEqual(await scanIds(body, { scan_id: ['a', 'b'] }), ['a']);
  assert.deepEqual(await scanIds(body, { scan_id: ['none', 'b'] }), ['b']);
});

Promote('of a key that occurs twice the last value counts', async () => {
  assert.equal(await scanIdOf(scan(any.string('early')), scan(any.string('late'))), 'late');
});

Promote('a key must match as a whole', async () => {
  assert.equal(
    await scanIdOf(
      scan(any.string('x'), 'scan.ids'),
      scan(any.string('x'), 'scan.i'),
      scan(any.string('x'), 'Scan.id'),
    ),
    undefined,
  );
});

for (const [what, value, expected] of [
  ['an integer', any.int(-42), '-42'],
  ['an integer that no double holds', any.int(2n ** 63n - 1n), '9223372036854775807'],
  ['a fraction', any.double(1.5), '1.5'],
  ['256 characters', any.string('é'.repeat(256)), 'é'.repeat(256)],
  ['257 characters', any.string('x'.repeat(257)), undefined],
  ['an empty string', any.string(''), undefined],
  ['an empty value', any.empty, undefined],
  ['a boolean', any.bool(true), undefined],
  ['a list', any.array(any.string('x')), undefined],
  ['a map', any.kvlist(['x', any.string('x')]), undefined],
  ['bytes', any.bytes(Buffer.from('x')), undefined],
] as const) {
  Promote(`${what} ${expected === undefined ? 'is not promoted' : 'is promoted as text'}`, async () => {
    assert.equal(await scanIdOf(scan(value)), expected);
  });
}

Promote('what cannot be promoted leaves the place to the next key and to the resource', async () => {
  assert.equal(await scanIdOf(scan(any.bool(true), 'pencheff.scan_id'), scan(any.string('second'))), 'second');
  const resource = scan(any.string('of the resource'), 'scan.id', RESOURCE);
  assert.deepEqual(await scanIds(request([span(scan(any.empty))], { resource })), ['of the resource']);
});

Promote('the attributes stay as they are', async () => {
  const next = collect<Traces>();
  const { batch } = decodeRequest('traces', request([span(scan(any.string('x')))]), CONTEXT);
  await promote.create.traces?.(promote.config.parse({}), SETTINGS, next).consume(batch);
  const [kept] = batch.resources[0]?.scopes[0]?.records ?? [];
  assert.deepEqual(kept?.attributes.entries(), new Map([['scan.id', 'x']]));
});

Promote('log records', async () => {
  const next = collect<Logs>();
  const records = [attribute(LOG, 'scan.id', any.string('own')), Buffer.alloc(0)];
  const resource = scan(any.string('of the resource'), 'scan.id', RESOURCE);
  const { batch } = decodeRequest('logs', request(records, { resource }), CONTEXT);
  await promote.create.logs?.(promote.config.parse({}), SETTINGS, next).consume(batch);
  const found = next.batches[0]?.resources[0]?.scopes[0]?.records.map(({ promoted }) => promoted?.scanId);
  assert.deepEqual(found, ['own', 'of the resource']);
});

const point = (...fields: readonly Uint8Array[]) => field(1, fixed64(3, 1n), double(4, 1), ...fields);

Promote('data points, each by itself', async () => {
  const next = collect<Metrics>();
  const gauge = field(5, point(attribute(POINT, 'scan.id', any.string('own'))), point());
  const resource = scan(any.string('of the resource'), 'scan.id', RESOURCE);
  const body = request([Buffer.concat([field(1, 'm'), gauge])], { resource });
  await promote.create
    .metrics?.(promote.config.parse({}), SETTINGS, next)
    .consume(decodeRequest('metrics', body, CONTEXT).batch);
  const found = next.batches[0]?.resources[0]?.scopes[0]?.records.flatMap(({ points }) =>
    points.map(({ promoted }) => promoted?.scanId),
  );
  assert.deepEqual(found, ['own', 'of the resource']);
});

Promote('a list of keys must have some', () => {
  assert.equal(promote.config.safeParse({ scan_id: [] }).success, false);
  assert.equal(promote.config.safeParse({ scan_id: [''] }).success, false);
});

Promote.run();
