/**
 * `sluice demo`: sends a security scan to a running gateway through the OpenTelemetry SDK and its OTLP exporters, as the
 * programs of a user would, then reads the scan's tree back and shows it. It succeeds only when every span came back.
 */
import type { Link } from '@opentelemetry/api';
import { randomUUID } from 'node:crypto';
import { EXIT, type Command, type CommandContext } from './command.ts';
import { measureWith } from './demo/measure.ts';
import { play, type Played, type Stage } from './demo/play.ts';
import { isHandover, scanScript } from './demo/scan.ts';
import { startService, type Service } from './demo/service.ts';
import { findTree, type Arrival } from './demo/tree.ts';
import { waterfall } from './demo/waterfall.ts';

const OTLP_ENDPOINT = 'http://127.0.0.1:4318';
const QUERY_ENDPOINT = 'http://127.0.0.1:16686';
const PROBE_TIMEOUT_MS = 5_000;
const ARRIVAL_TIMEOUT_MS = 8_000;

export const demo: Command = {
  name: 'demo',
  summary: 'Send a security scan to a running gateway and show what arrived',
  options: {
    endpoint: {
      type: 'string',
      value: 'URL',
      describe: `OTLP/HTTP endpoint of the gateway (SLUICE_OTLP_HTTP_ENDPOINT, else ${OTLP_ENDPOINT})`,
    },
    'query-endpoint': {
      type: 'string',
      value: 'URL',
      describe: `Query API (SLUICE_QUERY_ENDPOINT, else ${QUERY_ENDPOINT})`,
    },
  },
  async run(context) {
    const { values, env } = context;
    const endpoint = baseUrl('endpoint', values['endpoint'] ?? env['SLUICE_OTLP_HTTP_ENDPOINT'] ?? OTLP_ENDPOINT);
    const queryEndpoint = baseUrl(
      'query-endpoint',
      values['query-endpoint'] ?? env['SLUICE_QUERY_ENDPOINT'] ?? QUERY_ENDPOINT,
    );
    await probeGateway(endpoint, context.stop);
    await probeQueryApi(queryEndpoint, context.stop);
    return sendAndShow(context, endpoint, queryEndpoint);
  },
};

async function sendAndShow(context: CommandContext, endpoint: string, queryEndpoint: string): Promise<number> {
  const scanId = randomUUID();
  const url = `${queryEndpoint}/observability/scans/${scanId}/trace`;
  context.print(`Sending a scan to ${endpoint} with the OpenTelemetry SDK …`);
  const stage = openStage(scanId, endpoint);
  const spanIds = playScan(stage);
  for (const service of Object.values(stage.services)) {
    await service.close();
    context.print(`  ${summary(service)}`);
  }
  const arrival = await findTree({ url, spanIds, timeoutMs: ARRIVAL_TIMEOUT_MS, stop: context.stop });
  context.print('');
  const colour = process.stdout.isTTY && context.env['NO_COLOR'] === undefined;
  for (const line of waterfall(arrival.tree, { width: process.stdout.columns ?? 100, colour })) context.print(line);
  if (arrival.tree.length > 0) context.print('');
  for (const line of conclusion(arrival, spanIds.size, scanId, url)) context.print(line);
  return arrival.missing === 0 ? EXIT.ok : EXIT.failed;
}

function openStage(scanId: string, endpoint: string): Stage {
  const services = {
    'pencheff-api': startService('pencheff-api', 'protobuf', endpoint),
    'pencheff-worker': startService('pencheff-worker', 'protobuf', endpoint),
    'pencheff-mcp': startService('pencheff-mcp', 'json', endpoint),
  };
  const measures = {
    'pencheff-api': measureWith(services['pencheff-api'].meter, scanId),
    'pencheff-worker': measureWith(services['pencheff-worker'].meter, scanId),
    'pencheff-mcp': measureWith(services['pencheff-mcp'].meter, scanId),
  };
  return { scanId, services, measures };
}

/** Plays the script so that it ends now, and returns the ids of all its spans. */
function playScan(stage: Stage): Set<string> {
  const { request, work } = scanScript(randomUUID());
  const startMs = Date.now() - work.atMs - work.tookMs;
  const asked = play(stage, request, { service: 'pencheff-api', startMs });
  const links = asked.filter(({ step }) => isHandover(step)).map(({ span }): Link => ({ context: span }));
  const worked = play(stage, work, { service: 'pencheff-worker', startMs: startMs + work.atMs, links });
  return new Set([...asked, ...worked].map(({ span }: Played) => span.spanId));
}

function summary({ name, encoding, sent }: Service): string {
  const counts = [
    counted(sent.spans, 'span').padStart(9),
    counted(sent.logRecords, 'log record').padStart(14),
    counted(sent.dataPoints, 'data point').padStart(14),
  ].join(' ');
  const failure = sent.failure === undefined ? '' : `  failed: ${sent.failure}`;
  return `${name.padEnd(15)} ${counts}  ${encoding}${failure}`;
}

function counted(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? '' : 's'}`;
}

function conclusion({ tree, missing }: Arrival, sent: number, scanId: string, url: string): string[] {
  const traces = new Set(tree.map((node) => node.trace_id)).size;
  const arrived = `${sent - missing} of ${sent} spans arrived, in ${traces} traces`;
  return [
    missing === 0 ? `${arrived}.` : `${arrived}; ${missing} are missing. The gateway's log may say why.`,
    `Scan ${scanId}`,
    `  curl -s ${url}`,
  ];
}

/** Accepts a URL, or `host:port` as the gateway's own variables have it. No trailing slash in the result. */
function baseUrl(option: string, value: unknown): string {
  const text = String(value);
  const url = URL.parse(text.includes('://') ? text : `http://${text}`);
  if (!url || !['http:', 'https:'].includes(url.protocol)) {
    throw new Error(`--${option}: "${text}" is not an HTTP URL such as ${OTLP_ENDPOINT}`);
  }
  return url.href.replace(/\/+$/, '');
}

/** An empty export request is valid OTLP and stores nothing. */
async function probeGateway(endpoint: string, stop: AbortSignal): Promise<void> {
  await probe(`${endpoint}/v1/traces`, stop, {
    method: 'POST',
    headers: { 'content-type': 'application/x-protobuf' },
    body: new Uint8Array(),
  });
}

async function probeQueryApi(queryEndpoint: string, stop: AbortSignal): Promise<void> {
  await probe(`${queryEndpoint}/healthz`, stop, {});
}

async function probe(url: string, stop: AbortSignal, init: RequestInit): Promise<void> {
  const signal = AbortSignal.any([stop, AbortSignal.timeout(PROBE_TIMEOUT_MS)]);
  const response = await fetch(url, { ...init, signal }).catch((error: unknown) => {
    if (stop.aborted) throw error;
    throw new Error(`nothing answers at ${new URL(url).origin}; run \`npm start\` first, in another shell`);
  });
  await response.body?.cancel();
  if (!response.ok) throw new Error(`${url} answered ${response.status}: is this the gateway?`);
}
