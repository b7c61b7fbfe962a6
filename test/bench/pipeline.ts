/**
 * How fast spans go from OTLP/HTTP to committed rows, against the ceiling that PostgreSQL sets on the same machine in
 * the same run: raw binary COPY of the same spans. Prints both rates and their ratio, what the gateway costs, and how
 * long a request waits for its answer.
 *
 *     npm run bench -- [--seconds 15] [--pairs 5] [--json]
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { json } from 'node:stream/consumers';
import { setTimeout as delay } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import type { Pool } from 'pg';
import { z } from 'zod';
import { processEnvironment } from '../../src/config/environment.ts';
import { ensurePartitions } from '../../src/store/partitions.ts';
import { freePort } from '../support/gateway.ts';
import { testDatabase } from '../support/postgres.ts';
import { CEILING_TABLE, ceilingChunk, copyFor, createCeilingTable, ownSchemaChunk } from './raw_copy.ts';

const CONNECTIONS = 4;
const SPANS_A_REQUEST = 512;
const WARM_UP_SECONDS = 3;
const IDLE_MS = 2000;
const READY_TIMEOUT_MS = 15_000;
const CLOCK_TICKS_A_SECOND = 100;

const { values } = parseArgs({
  options: {
    seconds: { type: 'string', default: '15' },
    pairs: { type: 'string', default: '5' },
    json: { type: 'boolean', default: false },
  },
});

/** What the sender prints. */
const Sent = z.object({ spans: z.int(), seconds: z.number(), latenciesMs: z.array(z.number()) });

interface Round {
  readonly ceiling: number;
  readonly ownSchema: number;
  readonly gateway: number;
  readonly cpuMicrosPerSpan: number;
  readonly ackP50Ms: number;
  readonly ackP99Ms: number;
}

interface Gateway {
  readonly url: string;
  readonly pid: number;
  stop(): Promise<void>;
}

const say = (text: string): void => {
  if (!values.json) process.stdout.write(`${text}\n`);
};

const database = await testDatabase();
const { pool } = database;
let gateway: Gateway | undefined;
try {
  await ensurePartitions(pool, { today: new Date() });
  await createCeilingTable(pool);
  gateway = await startGateway(database.url);
  await delay(IDLE_MS);
  const idleBytes = await memoryBytes(gateway.pid, 'VmRSS');
  const rounds = await measure(pool, gateway, Number(values.seconds), Number(values.pairs));
  report(rounds, idleBytes, await memoryBytes(gateway.pid, 'VmHWM'));
} finally {
  await gateway?.stop();
  await database.close();
}

async function measure(to: Pool, { url, pid }: Gateway, seconds: number, pairs: number): Promise<Round[]> {
  const chunks = { ceiling: await ceilingChunk(), own: await ownSchemaChunk() };
  await send(url, WARM_UP_SECONDS);
  await copyFor(to, chunks.ceiling, WARM_UP_SECONDS);
  const rounds: Round[] = [];
  for (let i = 0; i < pairs; i++) {
    await clear(to);
    const ceiling = await copyFor(to, chunks.ceiling, seconds);
    await clear(to);
    const ownSchema = await copyFor(to, chunks.own, Math.min(seconds, 5));
    await clear(to);
    const before = await cpuSeconds(pid);
    const sent = await send(url, seconds);
    const cpuMicrosPerSpan = (((await cpuSeconds(pid)) - before) * 1e6) / sent.spans;
    await checkStored(to, sent.spans);
    const round = {
      ceiling,
      ownSchema,
      gateway: sent.spans / sent.seconds,
      cpuMicrosPerSpan,
      ...percentiles(sent.latenciesMs),
    };
    rounds.push(round);
    say(`pair ${i + 1} of ${pairs}: ${line(round)}`);
  }
  return rounds;
}

async function clear(to: Pool): Promise<void> {
  await to.query(`TRUNCATE otel_spans, ${CEILING_TABLE}`);
  await to.query('CHECKPOINT');
}

/** Speed counts only for what is there: every acknowledged span, once. */
async function checkStored(to: Pool, acknowledged: number): Promise<void> {
  const { rows } = await to.query<{ stored: string }>('SELECT count(*) AS stored FROM otel_spans');
  if (Number(rows[0]?.stored) !== acknowledged) {
    throw new Error(`${acknowledged} spans were acknowledged, ${rows[0]?.stored} are stored`);
  }
}

async function send(url: string, seconds: number): Promise<z.output<typeof Sent>> {
  const load = JSON.stringify({ url, connections: CONNECTIONS, seconds, spans: SPANS_A_REQUEST });
  const sender = fileURLToPath(new URL('sender.ts', import.meta.url));
  const child = spawn(process.execPath, [sender, load], { stdio: ['ignore', 'pipe', 'inherit'] });
  return Sent.parse(await json(child.stdout));
}

async function startGateway(databaseUrl: string): Promise<Gateway> {
  const endpoint = `127.0.0.1:${await freePort()}`;
  const main = fileURLToPath(new URL('../../src/main.ts', import.meta.url));
  const child = spawn(process.execPath, [main, 'run'], {
    stdio: ['ignore', 'ignore', 'inherit'],
    env: {
      ...processEnvironment(),
      DATABASE_URL: databaseUrl,
      SLUICE_OTLP_HTTP_ENDPOINT: endpoint,
      SLUICE_METRICS_ENDPOINT: '127.0.0.1:0',
    },
  });
  await answers(`http://${endpoint}/`, child);
  return { url: `http://${endpoint}/v1/traces`, pid: child.pid ?? 0, stop: () => stop(child) };
}

async function answers(url: string, child: ChildProcess): Promise<void> {
  for (const end = Date.now() + READY_TIMEOUT_MS; Date.now() < end && child.exitCode === null;) {
    if ((await fetch(url).catch(() => undefined)) !== undefined) return;
    await delay(50);
  }
  throw new Error('the gateway did not start');
}

async function stop(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null) return;
  const exited = once(child, 'exit');
  child.kill('SIGTERM');
  await exited;
}

/** User and system time of a process: fields 14 and 15 of its stat file. */
async function cpuSeconds(pid: number): Promise<number> {
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[11]) + Number(fields[12])) / CLOCK_TICKS_A_SECOND;
}

async function memoryBytes(pid: number, what: 'VmRSS' | 'VmHWM'): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8');
  return Number(new RegExp(`${what}:\\s+(\\d+) kB`).exec(status)?.[1]) * 1024;
}

function percentiles(latenciesMs: readonly number[]): { ackP50Ms: number; ackP99Ms: number } {
  const sorted = latenciesMs.toSorted((a, b) => a - b);
  const at = (share: number): number =>
    sorted[Math.min(Math.floor(sorted.length * share), sorted.length - 1)] ?? Number.NaN;
  return { ackP50Ms: at(0.5), ackP99Ms: at(0.99) };
}

function median(numbers: readonly number[]): number {
  const sorted = numbers.toSorted((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? Number.NaN;
}

function report(rounds: readonly Round[], idleBytes: number, peakBytes: number): void {
  const of = (key: keyof Round): number => median(rounds.map((round) => round[key]));
  const medians: Round = {
    ceiling: of('ceiling'),
    ownSchema: of('ownSchema'),
    gateway: of('gateway'),
    cpuMicrosPerSpan: of('cpuMicrosPerSpan'),
    ackP50Ms: of('ackP50Ms'),
    ackP99Ms: of('ackP99Ms'),
  };
  const ratio = medians.gateway / medians.ceiling;
  if (values.json) {
    process.stdout.write(`${JSON.stringify({ ...medians, ratio, idleBytes, peakBytes, rounds })}\n`);
    return;
  }
  say(`medians of ${rounds.length}: ${line(medians)}`);
  say(`ratio to raw COPY: ${ratio.toFixed(2)}`);
  say(`memory of the gateway process: ${megabytes(idleBytes)} idle, ${megabytes(peakBytes)} at its peak`);
}

function line(round: Round): string {
  return [
    `gateway ${rate(round.gateway)}`,
    `raw COPY ${rate(round.ceiling)}`,
    `raw COPY into otel_spans ${rate(round.ownSchema)}`,
    `${round.cpuMicrosPerSpan.toFixed(1)} µs CPU a span`,
    `acknowledged in ${round.ackP50Ms.toFixed(0)} ms (p50), ${round.ackP99Ms.toFixed(0)} ms (p99)`,
  ].join(' | ');
}

function megabytes(bytes: number): string {
  return `${(bytes / 1e6).toFixed(0)} MB`;
}

function rate(perSecond: number): string {
  return `${Math.round(perSecond).toLocaleString('en')} spans/s`;
}
