/**
 * Answers the probes of an orchestrator: `/healthz` whether only a restart helps, `/readyz` whether data should be sent
 * here, and at `path` what the Collector answers. It listens before anything else starts and until everything else has
 * stopped, so probes are answered during recovery and while the gateway drains.
 */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { z } from 'zod';
import { extensionFactory, type Component, type Settings } from '../component.ts';
import { endpoint } from '../config/endpoint.ts';
import { close, listen } from '../listen.ts';

/** Probes are small, and whoever sends them slowly is none. */
const SERVER_OPTIONS = {
  connectionsCheckingInterval: 1000,
  headersTimeout: 5000,
  requestTimeout: 5000,
  keepAliveTimeout: 5000,
  maxHeaderSize: 8192,
} as const;
const MAX_CONNECTIONS = 100;

const config = z.strictObject({
  endpoint: endpoint().prefault('127.0.0.1:13133').describe('Where to listen, `host:port`.'),
  path: z
    .string()
    .startsWith('/')
    .max(1000)
    .default('/')
    .describe("Where the Collector's answer is; /healthz and /readyz are there besides, and keep their meaning."),
  response_body: z
    .strictObject({
      healthy: z.string().max(10_000).default('').describe('Body at `path` when ready; JSON without it.'),
      unhealthy: z.string().max(10_000).default('').describe('Body at `path` when not ready; JSON without it.'),
    })
    .prefault({}),
  check_collector_pipeline: z
    .looseObject({})
    .optional()
    .describe('Accepted as the Collector has it, without effect there and here.'),
});

type HealthCheckConfig = z.output<typeof config>;

export const healthCheck = extensionFactory({ type: 'health_check', config, create: createHealthCheck });

/** Needs no service around it, so it can stand for one that is switched off. Building it opens nothing. */
export function createHealthCheck(given: HealthCheckConfig, { id, logger, health }: Lent): Component {
  const startedAtMs = Date.now();
  const answers: Answers = new Map([
    [given.path, () => collectorAnswer(health(), given.response_body, startedAtMs)],
    ['/healthz', () => answerOf(health().stuck, 'alive', 'stuck')],
    ['/readyz', () => answerOf(health().unready, 'ready', 'not ready')],
  ]);
  const server = createServer(SERVER_OPTIONS, (request, response) => respond(request, response, answers));
  server.maxConnections = MAX_CONNECTIONS;
  return {
    async start() {
      const address = await listen(server, given.endpoint, `extensions.${id}.endpoint`);
      logger.info({ address }, `probes on http://${address}/healthz and http://${address}/readyz`);
    },
    // A probe under way is cut: its answer would be about a gateway that is no more.
    shutdown: () => close(server, AbortSignal.abort()),
  };
}

/** What it needs of `Settings`. */
type Lent = Pick<Settings, 'id' | 'logger' | 'health'>;

interface Answer {
  readonly isGood: boolean;
  readonly type: 'application/json' | 'text/plain';
  readonly body: string;
}

type Answers = ReadonlyMap<string, () => Answer>;

function answerOf(reasons: readonly string[], good: string, bad: string): Answer {
  const isGood = reasons.length === 0;
  const body = isGood ? { status: good } : { status: bad, reasons };
  return { isGood, type: 'application/json', body: JSON.stringify(body) };
}

/** As healthcheckextension of the Collector answers; both times are empty in Go's way while it is not available. */
function collectorAnswer(
  { unready }: { readonly unready: readonly string[] },
  { healthy, unhealthy }: HealthCheckConfig['response_body'],
  startedAtMs: number,
): Answer {
  const isGood = unready.length === 0;
  const text = isGood ? healthy : unhealthy;
  if (text !== '') return { isGood, type: 'text/plain', body: text };
  const body = isGood
    ? {
        status: 'Server available',
        upSince: new Date(startedAtMs).toISOString(),
        uptime: `${(Date.now() - startedAtMs) / 1000}s`,
      }
    : { status: 'Server not available', upSince: '0001-01-01T00:00:00Z', uptime: '' };
  return { isGood, type: 'application/json', body: JSON.stringify(body) };
}

function respond(request: IncomingMessage, response: ServerResponse, answers: Answers): void {
  const answer = answers.get((request.url ?? '').split('?', 1)[0] ?? '');
  if (answer === undefined) {
    response.writeHead(404, { 'Content-Type': 'text/plain' }).end('probes are at /healthz and /readyz\n');
  } else if (request.method !== 'GET' && request.method !== 'HEAD') {
    response.writeHead(405, { Allow: 'GET, HEAD', 'Content-Type': 'text/plain' }).end('probes use GET\n');
  } else {
    const { isGood, type, body } = answer();
    const length = Buffer.byteLength(body);
    const headers = { 'Content-Type': type, 'Content-Length': length, 'Cache-Control': 'no-store' };
    // Node leaves the body of an answer to HEAD out.
    response.writeHead(isGood ? 200 : 503, headers).end(body);
  }
}
