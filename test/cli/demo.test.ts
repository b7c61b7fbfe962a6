import assert from 'node:assert/strict';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { suite } from 'uvu';
import { z } from 'zod';
import { demo } from '../../src/cli/demo.ts';
import { measureWith } from '../../src/cli/demo/measure.ts';
import { play } from '../../src/cli/demo/play.ts';
import { isHandover, scanScript } from '../../src/cli/demo/scan.ts';
import { startService, type Encoding } from '../../src/cli/demo/service.ts';
import type { Step } from '../../src/cli/demo/step.ts';
import { withServer } from './demo/loopback.ts';

const SCAN_ID = '11111111-2222-4333-8444-555555555555';
const never = new AbortController().signal;

function stepsOf(root: Step): Step[] {
  return [root, ...(root.children ?? []).flatMap(stepsOf)];
}

function script() {
  const { request, work } = scanScript('session');
  return { request, work, steps: [...stepsOf(request), ...stepsOf(work)] };
}

interface Received {
  readonly path: string;
  readonly contentType: string | undefined;
  readonly body: Buffer;
}

/** Plays the whole script through the real exporters and returns the requests they made. */
async function send(encoding: Encoding) {
  const requests: Received[] = [];
  const collect = (request: IncomingMessage, response: ServerResponse) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      const contentType = request.headers['content-type'];
      requests.push({ path: request.url ?? '', contentType, body: Buffer.concat(chunks) });
      response.writeHead(200, { 'content-type': contentType }).end(encoding === 'json' ? '{}' : '');
    });
  };
  return withServer(collect, async (url) => {
    const names = ['pencheff-api', 'pencheff-worker', 'pencheff-mcp'] as const;
    const [api, worker, mcp] = [
      startService(names[0], encoding, url),
      startService(names[1], encoding, url),
      startService(names[2], encoding, url),
    ];
    const services = { 'pencheff-api': api, 'pencheff-worker': worker, 'pencheff-mcp': mcp };
    const measures = {
      'pencheff-api': measureWith(api.meter, SCAN_ID),
      'pencheff-worker': measureWith(worker.meter, SCAN_ID),
      'pencheff-mcp': measureWith(mcp.meter, SCAN_ID),
    };
    const stage = { scanId: SCAN_ID, services, measures };
    const { request, work } = scanScript('session');
    const startMs = Date.UTC(2026, 10, 20, 12);
    const asked = play(stage, request, { service: 'pencheff-api', startMs });
    const links = asked.filter(({ step }) => isHandover(step)).map(({ span }) => ({ context: span }));
    const worked = play(stage, work, { service: 'pencheff-worker', startMs: startMs + work.atMs, links });
    for (const service of [api, worker, mcp]) await service.close();
    return { requests, played: [...asked, ...worked], sent: [api.sent, worker.sent, mcp.sent] };
  });
}

const attributes = z.array(z.object({ key: z.string(), value: z.record(z.string(), z.unknown()) }));
const tracesRequest = z.object({
  resourceSpans: z.array(
    z.object({
      scopeSpans: z.array(
        z.object({
          scope: z.object({ name: z.string() }),
          spans: z.array(
            z.object({
              traceId: z.string(),
              spanId: z.string(),
              name: z.string(),
              attributes,
              events: z.array(z.object({ name: z.string() })),
              links: z.array(z.object({ spanId: z.string() })),
              status: z.object({ code: z.number() }),
            }),
          ),
        }),
      ),
    }),
  ),
});
const logsRequest = z.object({
  resourceLogs: z.array(
    z.object({ scopeLogs: z.array(z.object({ logRecords: z.array(z.object({ spanId: z.string(), attributes })) })) }),
  ),
});

function receivedSpans(requests: readonly Received[]) {
  return requests
    .filter(({ path }) => path === '/v1/traces')
    .flatMap(({ body }) => tracesRequest.parse(JSON.parse(body.toString())).resourceSpans)
    .flatMap(({ scopeSpans }) => scopeSpans)
    .flatMap(({ scope, spans }) => spans.map((span) => ({ ...span, scope: scope.name })));
}

const theScript = suite('demo script');

theScript('encloses every child in its parent', () => {
  const { steps } = script();
  for (const step of steps) {
    for (const child of step.children ?? []) {
      assert.ok(child.atMs >= 0 && child.atMs + child.tookMs <= step.tookMs, `${child.name} leaves ${step.name}`);
    }
  }
});

theScript('shows every kind of work a scan does', () => {
  const { steps } = script();
  const seen = (key: string) => new Set(steps.flatMap((step) => step.attributes[key] ?? []));
  assert.deepEqual(seen('tool.name'), new Set(['nmap', 'nuclei', 'ffuf', 'sqlmap']));
  assert.deepEqual(seen('mcp.method.name'), new Set(['prompts/get', 'resources/read', 'tools/call']));
  for (const name of ['scan.execute', 'gen_ai.completion', 'POST /scans', 'INSERT findings']) {
    assert.ok(
      steps.some((step) => step.name === name),
      name,
    );
  }
  assert.ok(steps.filter((step) => step.failure?.stack !== undefined).length >= 3, 'exceptions');
});

theScript('never tells a command line', () => {
  const runs = script().steps.filter((step) => 'tool.name' in step.attributes);
  for (const { attributes: told } of runs) {
    assert.match(String(told['tool.argv.hash']), /^[0-9a-f]{64}$/);
    assert.equal(typeof told['tool.exit_code'], 'number');
    assert.equal(typeof told['tool.stdout.size'], 'number');
    assert.doesNotMatch(JSON.stringify(told), /--|"-/, 'an argument');
  }
});

theScript('counts the tokens of every completion that was answered', () => {
  const turns = script().steps.filter((step) => step.name === 'gen_ai.completion');
  for (const { attributes: told, failure } of turns) {
    assert.equal('gen_ai.usage.input_tokens' in told, failure === undefined);
    assert.equal('gen_ai.usage.output_tokens' in told, failure === undefined);
  }
});

theScript('queries the database with placeholders only', () => {
  const texts = script()
    .steps.map((step) => step.attributes['db.query.text'])
    .filter((text) => typeof text === 'string');
  assert.ok(texts.length > 0);
  for (const text of texts) assert.match(text, /^[^'"0-9]*(\$\d[^'"0-9]*)+$/);
});

theScript.run();

const playing = suite('demo telemetry');

playing('arrives span by span, in two traces, with the scan id wherever Pencheff made the span', async () => {
  const { requests, played, sent } = await send('json');
  const spans = receivedSpans(requests);
  assert.deepEqual(spans.map(({ spanId }) => spanId).toSorted(), played.map(({ span }) => span.spanId).toSorted());
  assert.equal(
    sent.reduce((sum, { spans: count }) => sum + count, 0),
    played.length,
  );
  assert.equal(new Set(spans.map(({ traceId }) => traceId)).size, 2);
  for (const span of spans) {
    const scanId = span.attributes.find(({ key }) => key === 'pencheff.scan_id')?.value['stringValue'];
    assert.equal(scanId, span.scope.startsWith('pencheff.') ? SCAN_ID : undefined, span.name);
  }
});

playing("links the worker's trace to the request that queued it", async () => {
  const { requests } = await send('json');
  const spans = receivedSpans(requests);
  const handover = spans.find(({ name }) => name === 'publish scans');
  const root = spans.find(({ name }) => name === 'scan.execute');
  assert.deepEqual(
    root?.links.map(({ spanId }) => spanId),
    [handover?.spanId],
  );
  assert.equal(root?.status.code, 1);
});

playing('records exceptions on spans that failed with one', async () => {
  const { requests } = await send('json');
  const withException = receivedSpans(requests).filter(({ events }) => events.some(({ name }) => name === 'exception'));
  assert.ok(withException.length >= 3);
  for (const { status } of withException) assert.equal(status.code, 2);
});

playing('puts every log record into one of its spans', async () => {
  const { requests, played } = await send('json');
  const ids = new Set(played.map(({ span }) => span.spanId));
  const records = requests
    .filter(({ path }) => path === '/v1/logs')
    .flatMap(({ body }) => logsRequest.parse(JSON.parse(body.toString())).resourceLogs)
    .flatMap(({ scopeLogs }) => scopeLogs)
    .flatMap(({ logRecords }) => logRecords);
  assert.ok(records.length > 10);
  for (const { spanId } of records) assert.ok(ids.has(spanId));
});

playing('counts what was acknowledged, in protobuf as in JSON', async () => {
  const [json, protobuf] = [await send('json'), await send('protobuf')];
  assert.deepEqual(protobuf.sent, json.sent);
  assert.deepEqual(
    new Set(protobuf.requests.map(({ contentType }) => contentType)),
    new Set(['application/x-protobuf']),
  );
  for (const { dataPoints, spans } of json.sent) assert.ok(dataPoints > 0 && spans > 0);
});

playing('says why nothing was acknowledged', async () => {
  const sent = await withServer(
    (_request, response) => response.writeHead(400).end(),
    async (url) => {
      const service = startService('pencheff-api', 'protobuf', url);
      service.tracer({ name: 'test', version: '1', knowsScan: false }).startSpan('refused').end();
      await service.close();
      return service.sent;
    },
  );
  assert.equal(sent.spans, 0);
  assert.ok(sent.failure);
});

playing.run();

const command = suite('demo command');

async function run(values: Record<string, string>, env: Record<string, string> = {}): Promise<number> {
  return demo.run({ values, env, print: () => {}, stop: never });
}

command('says what to do when no gateway is running', async () => {
  const closed = await withServer(
    (_request, response) => response.end(),
    async (url) => url,
  );
  const expected = new RegExp(`^nothing answers at ${closed}; run \`npm start\` first`);
  await assert.rejects(run({ endpoint: closed }), { message: expected });
  await assert.rejects(run({}, { SLUICE_OTLP_HTTP_ENDPOINT: new URL(closed).host }), { message: expected });
});

command('recognises a server that is not the gateway', async () => {
  await withServer(
    (_request, response) => response.writeHead(404).end(),
    async (url) => {
      await assert.rejects(run({ endpoint: url }), { message: /answered 404: is this the gateway\?/ });
    },
  );
});

command('refuses an endpoint that is no URL', async () => {
  await assert.rejects(run({ endpoint: 'ftp://127.0.0.1' }), { message: /^--endpoint: "ftp:/ });
  await assert.rejects(run({ endpoint: 'http://127.0.0.1:4318', 'query-endpoint': '' }), {
    message: /^--query-endpoint/,
  });
});

command.run();
