import assert from 'node:assert/strict';
import { suite } from 'uvu';
import { z } from 'zod';
import { debug } from '../../src/exporters/debug.ts';
import type { AnyBatch } from '../../src/model/batch.ts';
import { DEFAULT_TENANT } from '../../src/model/tenant.ts';
import { DEFAULT_SHAPE_LIMITS } from '../../src/model/wire.ts';
import { decodeRequest } from '../../src/otlp/decode.ts';
import { createLogger } from '../../src/telemetry/logger.ts';
import { testSettings } from '../support/settings.ts';
import { exitOf, startSluice } from '../cli/sluice.ts';
import { FULL_TRACE, LOG, METRICS } from '../otlp/golden_vectors.ts';
import { freePort, post, withConfigFile } from '../support/gateway.ts';
import { any, attribute, field, request, spanIds } from '../support/otlp_messages.ts';

const Debug = suite('debug exporter');

const SETTINGS = testSettings('debug/look', createLogger('error'));
const CONTEXT = { tenant: DEFAULT_TENANT, receivedAtMs: 0, limits: DEFAULT_SHAPE_LIMITS };

const spansOf = (bytes: Uint8Array): AnyBatch => decodeRequest('traces', bytes, CONTEXT).batch;

/** What it would print of a batch. */
async function printed(batch: AnyBatch, config: unknown = {}): Promise<string> {
  const exporter = debug.create(debug.config.parse(config), SETTINGS);
  const { bytes } = await exporter.encode(batch);
  return Buffer.from(bytes).toString();
}

Debug('basic: one line a batch, with the number of items and who sent them', async () => {
  assert.equal(await printed(spansOf(FULL_TRACE)), 'debug/look: traces, 1 spans from svc\n');
  assert.equal(await printed(decodeRequest('logs', LOG, CONTEXT).batch), 'debug/look: logs, 1 log records\n');
  assert.equal(await printed(decodeRequest('metrics', METRICS, CONTEXT).batch), 'debug/look: metrics, 3 data points\n');
});

const from = (name: Uint8Array) => request([spanIds(1)], { resource: attribute(1, 'service.name', name) });

Debug('basic: every service once, in order, and none that is no text', async () => {
  const body = Buffer.concat(['b', 'a', 'b'].map((name) => from(any.string(name))).concat(from(any.int(1))));
  assert.equal(await printed(spansOf(body)), 'debug/look: traces, 4 spans from a, b\n');
});

const detailedSpan = z.object({
  traceId: z.string(),
  startTimeUnixNano: z.string(),
  status: z.unknown(),
  attributes: z.array(z.unknown()),
});
const detailed = z.object({
  resourceSpans: z.array(z.object({ scopeSpans: z.array(z.object({ spans: z.array(detailedSpan) })) })),
});

Debug('detailed: besides, everything as OTLP/JSON on one line', async () => {
  const text = await printed(spansOf(FULL_TRACE), { verbosity: 'detailed' });
  const [summary, json = '', rest] = text.split('\n');
  assert.equal(summary, 'debug/look: traces, 1 spans from svc');
  assert.equal(rest, '');
  const { resourceSpans } = detailed.parse(JSON.parse(json));
  const [span] = resourceSpans.flatMap(({ scopeSpans }) => scopeSpans.flatMap(({ spans }) => spans));
  assert.equal(span?.traceId, '5b8efff798038103d269b633813fc60c');
  assert.equal(span.startTimeUnixNano, '1544712660000000000');
  assert.deepEqual(span.status, { message: 'boom', code: 2 });
  assert.equal(span.attributes.length, 9);
});

Debug('text with line breaks stays on its line', async () => {
  const body = request([Buffer.concat([spanIds(1), field(5, 'a\nb')])]);
  assert.equal((await printed(spansOf(body), { verbosity: 'detailed' })).split('\n').length, 3);
});

Debug('an unknown verbosity is refused', () => {
  assert.equal(debug.config.safeParse({ verbosity: 'loud' }).success, false);
});

const CONFIG = `
receivers:
  otlp:
    protocols:
      http:
        endpoint: \${env:SLUICE_OTLP_HTTP_ENDPOINT}
exporters:
  debug:
service:
  pipelines:
    traces: { receivers: [otlp], exporters: [debug] }
`;

Debug('prints to standard error, so that standard output stays with the command', async () => {
  const endpoint = `127.0.0.1:${await freePort()}`;
  await withConfigFile(CONFIG, async (file) => {
    const child = startSluice(['run', '--config', file], { env: { SLUICE_OTLP_HTTP_ENDPOINT: endpoint } });
    const exited = exitOf(child);
    let [stdout, stderr] = ['', ''];
    child.stderr.on('data', (chunk: Buffer) => (stderr += chunk.toString()));
    const ready = Promise.withResolvers<void>();
    child.stdout.on('data', (chunk: Buffer) => {
      stdout += chunk.toString();
      if (stdout.includes('sluice: ready')) ready.resolve();
    });
    await Promise.race([ready.promise, exited]);
    assert.equal((await post(`http://${endpoint}/v1/traces`, FULL_TRACE)).status, 200);
    child.kill('SIGTERM');
    assert.equal((await exited).code, 0);
    assert.match(stderr, /^debug: traces, 1 spans from svc$/m);
    assert.doesNotMatch(stdout, /spans from/);
  });
});

Debug.run();
