/** Sends one request once, over HTTP or gRPC, and says how that ended. */
import { Agent, request as httpRequest } from 'node:http';
import { Client, credentials, Metadata, status } from '@grpc/grpc-js';
import type { Answer } from './ledger.ts';
import type { LoadRequest } from './traffic.ts';

interface Reply {
  readonly answer: Answer;
  /** A status code or an error code. */
  readonly says: string;
  /** Whether a refusal for now says when to come back. */
  readonly hasRetryAfter: boolean;
}

export interface Sender {
  /** Never rejects. Each call is one attempt: nothing below it retries. Sends nothing once it is closed. */
  send(request: LoadRequest): Promise<Reply>;
  close(): void;
}

export interface SenderSettings {
  readonly httpPort: number;
  readonly grpcPort: number;
  /** By tenant. */
  readonly tokens: ReadonlyMap<string, string>;
}

/** SDKs give up after 10 s; an attempt of which nothing is heard for that long is open. */
const TIMEOUT_MS = 10_000;

const PATHS = { traces: '/v1/traces', logs: '/v1/logs', metrics: '/v1/metrics' } as const;
const METHODS = {
  traces: '/opentelemetry.proto.collector.trace.v1.TraceService/Export',
  logs: '/opentelemetry.proto.collector.logs.v1.LogsService/Export',
  metrics: '/opentelemetry.proto.collector.metrics.v1.MetricsService/Export',
} as const;

/** gRPC codes that say "never again": the data itself, or who sends it, is at fault. */
const REFUSALS: ReadonlySet<number> = new Set([
  status.INVALID_ARGUMENT,
  status.UNAUTHENTICATED,
  status.PERMISSION_DENIED,
  status.UNIMPLEMENTED,
]);

export function createSender({ httpPort, grpcPort, tokens }: SenderSettings): Sender {
  const agent = new Agent({ keepAlive: true });
  const grpc = new Client(`127.0.0.1:${grpcPort}`, credentials.createInsecure(), {
    'grpc.use_local_subchannel_pool': 1,
    'grpc.enable_retries': 0,
    'grpc.initial_reconnect_backoff_ms': 100,
    'grpc.max_reconnect_backoff_ms': 500,
    'grpc.max_send_message_length': -1,
  });
  let isClosed = false;
  return {
    async send(request) {
      if (isClosed) return { answer: 'open', says: 'closed', hasRetryAfter: false };
      const bearer = `Bearer ${tokens.get(request.tenant) ?? ''}`;
      return request.transport === 'http' ? post(request, agent, httpPort, bearer) : call(request, grpc, bearer);
    },
    close() {
      isClosed = true;
      agent.destroy();
      grpc.close();
    },
  };
}

function post({ signal, headers, body }: LoadRequest, agent: Agent, port: number, bearer: string): Promise<Reply> {
  return new Promise((resolve) => {
    const sent = httpRequest({
      host: '127.0.0.1',
      port,
      path: PATHS[signal],
      method: 'POST',
      agent,
      headers: { ...headers, 'content-length': body.length, authorization: bearer },
      signal: AbortSignal.timeout(TIMEOUT_MS),
    });
    sent.on('error', (error) => resolve(failure(error)));
    sent.on('response', (response) => {
      response.on('error', (error) => resolve(failure(error)));
      response.resume().on('end', () => resolve(httpReply(response.statusCode ?? 0, response.headers)));
    });
    sent.end(body);
  });
}

function httpReply(code: number, headers: NodeJS.Dict<string | string[]>): Reply {
  const isForNow = code >= 500 || code === 408 || code === 429;
  const answer = code >= 200 && code < 300 ? 'acknowledged' : isForNow ? 'open' : 'refused';
  return { answer, says: String(code), hasRetryAfter: headers['retry-after'] !== undefined };
}

function failure(error: Error): Reply {
  const says = 'code' in error && typeof error.code === 'string' ? error.code : error.name;
  return { answer: 'open', says, hasRetryAfter: false };
}

const asIs = (bytes: Buffer): Buffer => bytes;

function call({ signal, body }: LoadRequest, client: Client, bearer: string): Promise<Reply> {
  const metadata = new Metadata();
  metadata.set('authorization', bearer);
  const options = { deadline: Date.now() + TIMEOUT_MS };
  return new Promise((resolve) => {
    client.makeUnaryRequest(METHODS[signal], asIs, asIs, body, metadata, options, (error) => {
      const code = error?.code ?? status.OK;
      const answer = code === status.OK ? 'acknowledged' : REFUSALS.has(code) ? 'refused' : 'open';
      resolve({ answer, says: `grpc ${status[code]}`, hasRetryAfter: false });
    });
  });
}
