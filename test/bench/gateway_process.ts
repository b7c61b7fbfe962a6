/** A gateway in a process of its own, as operators run it: `sluice run` with the default configuration. */
import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import os from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { z } from 'zod';
import { processEnvironment } from '../../src/config/environment.ts';
import { generateToken, hashToken, tokenPrefix } from '../../src/model/token.ts';
import { tokenStore } from '../../src/store/tokens.ts';
import { freePort, withConfigFile } from '../support/gateway.ts';
import type { TestDatabase } from '../support/postgres.ts';

const READY_TIMEOUT_MS = 15_000;
const POLL_MS = 50;

const path = (file: string): string => fileURLToPath(new URL(file, import.meta.url));

const Worst = z.object({
  /** Milliseconds for which the loop stood still at the most, whoever had the CPU then. */
  stallMs: z.number(),
  /** Milliseconds of CPU time that it took at one go at the most. */
  busyMs: z.number(),
});
export type Worst = z.output<typeof Worst>;

export interface GatewayProcess {
  /** Base URL of OTLP/HTTP, without a trailing slash. */
  readonly url: string;
  readonly port: number;
  readonly pid: number;
  /** What the worst of its event loop was since the last call. */
  worst(): Promise<Worst>;
  /** Resolves when nothing waits in its queues any more. */
  drained(): Promise<void>;
  stop(): Promise<void>;
}

export interface GatewayProcessOptions {
  readonly database: TestDatabase;
  /** Whether senders have to show a token that the database knows. */
  readonly authenticated: boolean;
  /** As `--set` takes them. */
  readonly sets?: readonly string[];
}

const OPEN_YAML = '{}';

/** Laid over the default configuration. */
const AUTHENTICATED_YAML = `
extensions:
  ingest_tokens: { database_url: "\${env:DATABASE_URL}" }
receivers:
  otlp: { protocols: { http: { auth: { authenticator: ingest_tokens } } } }
service:
  extensions: [health_check, file_storage, ingest_tokens]
`;

/** Resolves when the gateway listens. */
export async function startGatewayProcess(options: GatewayProcessOptions): Promise<GatewayProcess> {
  return withConfigFile(options.authenticated ? AUTHENTICATED_YAML : OPEN_YAML, (file) => start(file, options));
}

async function start(overlay: string, { database, sets = [] }: GatewayProcessOptions): Promise<GatewayProcess> {
  const port = await freePort();
  const metricsPort = await freePort();
  const dataDir = await mkdtemp(join(os.tmpdir(), 'sluice-bench-'));
  const files = [path('../../config/gateway.yaml'), overlay];
  const flags = [...files.flatMap((file) => ['--config', file]), ...sets.flatMap((set) => ['--set', set])];
  const child = fork(path('../../src/main.ts'), ['run', ...flags], {
    stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
    execArgv: ['--import', path('gateway_probe.ts')],
    env: {
      ...processEnvironment(),
      DATABASE_URL: database.url,
      SLUICE_OTLP_HTTP_ENDPOINT: `127.0.0.1:${port}`,
      SLUICE_OTLP_GRPC_ENDPOINT: `127.0.0.1:${await freePort()}`,
      SLUICE_METRICS_ENDPOINT: `127.0.0.1:${metricsPort}`,
      SLUICE_HEALTH_ENDPOINT: '127.0.0.1:0',
      SLUICE_DATA_DIR: dataDir,
    },
  });
  const url = `http://127.0.0.1:${port}`;
  await answers(url, child);
  return {
    url,
    port,
    pid: child.pid ?? 0,
    worst: () => ask(child, 'read', Worst),
    drained: () => drained(`http://127.0.0.1:${metricsPort}/metrics`),
    async stop() {
      await stopProcess(child);
      await rm(dataDir, { recursive: true });
    },
  };
}

async function drained(metricsUrl: string): Promise<void> {
  for (;;) {
    const metrics = await (await fetch(metricsUrl)).text();
    if (!/^sluice_exporter_queue_records\{.*\} [1-9]/m.test(metrics)) return;
    await delay(POLL_MS);
  }
}

async function answers(url: string, child: ChildProcess): Promise<void> {
  for (const end = Date.now() + READY_TIMEOUT_MS; Date.now() < end && child.exitCode === null;) {
    if ((await fetch(url).catch(() => undefined)) !== undefined) return;
    await delay(POLL_MS);
  }
  await stopProcess(child);
  throw new Error('the gateway did not start');
}

/** Sends a message to a child process and resolves to its answer. One question at a time. */
export async function ask<T>(child: ChildProcess, question: string | object, answer: z.ZodType<T>): Promise<T> {
  const over = new AbortController();
  const answered = once(child, 'message', { signal: over.signal });
  const exited = once(child, 'exit', { signal: over.signal });
  child.send(question);
  try {
    const [message] = await Promise.race([
      answered,
      exited.then(() => Promise.reject(new Error('a process ended early'))),
    ]);
    return answer.parse(message);
  } finally {
    over.abort();
    await Promise.allSettled([answered, exited]);
  }
}

export async function stopProcess(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exited = once(child, 'exit');
  child.kill('SIGTERM');
  await exited;
}

/** A token with the scope to send OTLP, known to the database. */
export async function newIngestToken({ pool }: TestDatabase): Promise<string> {
  const token = generateToken('in');
  await tokenStore(pool).create({
    hash: hashToken(token),
    prefix: tokenPrefix(token),
    name: 'benchmark',
    tenant: { orgId: 'bench', workspaceId: 'bench', targetId: undefined },
    scopes: ['ingest'],
    expiresAt: undefined,
  });
  return token;
}
