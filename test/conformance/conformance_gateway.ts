/**
 * The gateway that the conformance suite talks to: the real one, all transports, bearer tokens from a real table, a real
 * database that can be cut off, and limits small enough to reach.
 */
import { EventEmitter, on } from 'node:events';
import type { Pool } from 'pg';
import { loadConfig } from '../../src/config/load.ts';
import { parseGateway } from '../../src/config/schema.ts';
import type { Scope } from '../../src/model/identity.ts';
import { generateToken, hashToken, tokenKind, tokenPrefix } from '../../src/model/token.ts';
import { buildService } from '../../src/pipeline/build.ts';
import { registry } from '../../src/registry.ts';
import { ensurePartitions } from '../../src/store/partitions.ts';
import { tokenStore } from '../../src/store/tokens.ts';
import { createLogger } from '../../src/telemetry/logger.ts';
import { createMetricsRegistry } from '../../src/telemetry/metrics.ts';
import { freePort, withConfigFile } from '../support/gateway.ts';
import { testDatabase, type TestDatabase } from '../support/postgres.ts';
import { tcpProxy, type TcpProxy } from '../support/tcp_proxy.ts';
import { verdicts } from './verdicts.ts';

/** gRPC counts in whole MiB. */
export const MAX_BODY_BYTES = 1_048_576;
/** Requests at once, on each transport. */
export const MAX_CONCURRENT = 64;
export const MAX_RECORDS = 100_000;
export const MAX_DEPTH = 64;
export const ORIGIN = 'https://app.example.com';

export interface ConformanceGateway {
  /** Base URL of OTLP/HTTP, without a trailing slash. */
  readonly url: string;
  /** `host:port` of OTLP/gRPC. */
  readonly grpcAddress: string;
  readonly pool: Pool;
  /** Does something while the exporter cannot reach the database, and lets it reach it again. */
  whileAway<T>(work: () => Promise<T>): Promise<T>;
  /** A valid token of the organisation `acme`. */
  readonly token: string;
  issueToken(options?: TokenOptions): Promise<IssuedToken>;
  /** Resolves when so many requests, from now on, failed for their destination. */
  refusals(count: number): Promise<void>;
  close(): Promise<void>;
}

interface TokenOptions {
  readonly orgId?: string;
  readonly scopes?: readonly Scope[];
}

interface IssuedToken {
  readonly token: string;
  revoke(): Promise<void>;
}

const CONFIG = `
extensions:
  ingest_tokens:
    database_url: \${env:DATABASE_URL}
receivers:
  otlp:
    protocols:
      http:
        endpoint: 127.0.0.1:\${env:HTTP_PORT}
        auth: { authenticator: ingest_tokens }
        cors: { allowed_origins: ['${ORIGIN}'], max_age: 600 }
        max_concurrent_requests: ${MAX_CONCURRENT}
      grpc:
        endpoint: 127.0.0.1:\${env:GRPC_PORT}
        auth: { authenticator: ingest_tokens }
        max_concurrent_requests: ${MAX_CONCURRENT}
    limits: { max_records: ${MAX_RECORDS}, max_depth: ${MAX_DEPTH} }
processors:
  promote:
  verdicts:
exporters:
  postgres:
    database_url: \${env:EXPORT_URL}
    # What is acknowledged is to be found in the database at once.
    sending_queue: { durability: commit }
service:
  extensions: [ingest_tokens]
  pipelines:
    traces: { receivers: [otlp], processors: [promote, verdicts], exporters: [postgres] }
    logs: { receivers: [otlp], processors: [promote, verdicts], exporters: [postgres] }
    metrics: { receivers: [otlp], processors: [promote, verdicts], exporters: [postgres] }
`;

/** What rows provoke would be logged as errors, and is expected. */
const UNREAD = { write: () => undefined };

/** Another process may take a port between its choice and its use. */
const START_ATTEMPTS = 5;

const SMALL_BODIES = [
  `receivers.otlp.protocols.http.max_request_body_size=${MAX_BODY_BYTES}`,
  `receivers.otlp.protocols.grpc.max_recv_msg_size_mib=${MAX_BODY_BYTES / 1_048_576}`,
];

export interface GatewayOptions {
  /** As `--set` takes them. */
  readonly sets?: readonly string[];
}

export async function conformanceGateway({ sets = SMALL_BODIES }: GatewayOptions = {}): Promise<ConformanceGateway> {
  const database = await testDatabase();
  // Made later, they would take over rows while a test reads them.
  await ensurePartitions(database.pool, { today: new Date() });
  const proxy = await tcpProxy(database.url);
  const refused = new EventEmitter();
  const started = await startSomewhere({
    database,
    proxy,
    sets,
    onRefused: () => void refused.emit('refused'),
  });
  const issueToken = (options?: TokenOptions): Promise<IssuedToken> => issue(database.pool, options);
  const { token } = await issueToken();
  return {
    url: `http://127.0.0.1:${started.httpPort}`,
    grpcAddress: `127.0.0.1:${started.grpcPort}`,
    pool: database.pool,
    async whileAway(work) {
      proxy.cut();
      try {
        return await work();
      } finally {
        proxy.mend();
      }
    },
    token,
    issueToken,
    async refusals(count) {
      const seen = on(refused, 'refused');
      for (let left = count; left > 0; left--) await seen.next();
      await seen.return?.();
    },
    async close() {
      await started.stop();
      await proxy.close();
      await database.close();
    },
  };
}

interface Started {
  readonly httpPort: number;
  readonly grpcPort: number;
  stop(): Promise<void>;
}

interface Parts {
  readonly database: TestDatabase;
  readonly proxy: TcpProxy;
  readonly sets: readonly string[];
  readonly onRefused: () => void;
}

async function startSomewhere(parts: Parts): Promise<Started> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await start(parts);
    } catch (error) {
      const isTaken = error instanceof Error && error.message.includes('address in use');
      if (!isTaken || attempt === START_ATTEMPTS) throw error;
    }
  }
}

/** What `startGateway` does, with one more component in the registry. */
async function start({ database, proxy, sets, onRefused }: Parts): Promise<Started> {
  const [httpPort, grpcPort] = [await freePort(), await freePort()];
  const ports = { HTTP_PORT: String(httpPort), GRPC_PORT: String(grpcPort) };
  const env = { ...process.env, ...ports, DATABASE_URL: database.url, EXPORT_URL: proxy.url };
  const raw = await withConfigFile(CONFIG, (file) => loadConfig({ files: [file], sets, env }));
  const service = buildService({
    ...parseGateway(raw),
    raw,
    registry: [...registry, verdicts(onRefused)],
    logger: createLogger('error', UNREAD),
    metrics: createMetricsRegistry(),
  });
  try {
    await service.start();
  } catch (error) {
    await service.shutdown();
    throw error;
  }
  return { httpPort, grpcPort, stop: async () => void (await service.shutdown()) };
}

async function issue(pool: Pool, { orgId = 'acme', scopes = ['ingest'] }: TokenOptions = {}): Promise<IssuedToken> {
  const token = generateToken(tokenKind(scopes));
  const store = tokenStore(pool);
  const { id } = await store.create({
    hash: hashToken(token),
    prefix: tokenPrefix(token),
    name: 'conformance',
    tenant: { orgId, workspaceId: 'w1', targetId: undefined },
    scopes,
    expiresAt: undefined,
  });
  return { token, revoke: async () => void (await store.revoke(id)) };
}
