/**
 * How fast spans go from OTLP/HTTP to committed rows, against the ceiling that PostgreSQL sets on the same machine in
 * the same run: raw binary COPY of the same spans. Prints both rates and their ratio, what the gateway costs, and how
 * long a request waits for its answer, under saturation and at a steady rate. A load is over when its last span is
 * committed, not when it is acknowledged. With `--auth` each pair has a load on a second gateway, which asks for a token,
 * and what that costs is printed too.
 *
 *     npm run bench -- [--durability disk] [--seconds 15] [--pairs 5] [--warm-up 3] [--auth] [--json]
 */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { json } from 'node:stream/consumers';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { z } from 'zod';
import { ensurePartitions } from '../../src/store/partitions.ts';
import { testDatabase } from '../support/postgres.ts';
import type { BenchReport, Counted, Load, Round } from './bench_report.ts';
import { newIngestToken, startGatewayProcess, type GatewayProcess } from './gateway_process.ts';
import { cpuSeconds, memoryBytes } from './process_figures.ts';
import { CEILING_TABLE, ceilingChunk, copyFor, createCeilingTable, ownSchemaChunk } from './raw_copy.ts';
import { median, quantile } from './statistics.ts';

const CONNECTIONS = 4;
const SPANS_A_REQUEST = 512;
const OWN_SCHEMA_SECONDS = 5;
const IDLE_MS = 2000;
const STEADY = { perSecond: 200, spans: 50 };
const STEADY_CONNECTIONS = 32;
const STEADY_SECONDS = 10;

const { values } = parseArgs({
  options: {
    seconds: { type: 'string', default: '15' },
    pairs: { type: 'string', default: '5' },
    'warm-up': { type: 'string', default: '3' },
    auth: { type: 'boolean', default: false },
    durability: { type: 'string', default: 'disk' },
    json: { type: 'boolean', default: false },
  },
});
const seconds = positive('seconds');
const pairs = positive('pairs');
const warmUpSeconds = positive('warm-up');

/** What the sender prints. */
const Sent = z.object({ spans: z.int(), seconds: z.number(), latenciesMs: z.array(z.number()) });

/** A gateway under load, and what its senders have to show. */
interface Target {
  readonly gateway: GatewayProcess;
  readonly token: string | undefined;
}

const say = (text: string): void => {
  if (!values.json) process.stdout.write(`${text}\n`);
};

const database = await testDatabase();
const { pool } = database;
const targets: Target[] = [];
try {
  await ensurePartitions(pool, { today: new Date() });
  await createCeilingTable(pool);
  const open = await startTarget(undefined);
  await delay(IDLE_MS);
  const idleBytes = await memoryBytes(open.gateway.pid, 'now');
  if (values.auth) await startTarget(await newIngestToken(database));
  const rounds = await measure();
  const peakBytes = await memoryBytes(open.gateway.pid, 'peak');
  report(rounds, { idleBytes, peakBytes, steady: await measureSteady(open) });
} finally {
  for (const { gateway } of targets) await gateway.stop();
  await database.close();
}

function positive(option: 'seconds' | 'pairs' | 'warm-up'): number {
  const value = Number(values[option]);
  assert(value > 0, `--${option} takes a number above 0`);
  return value;
}

async function startTarget(token: string | undefined): Promise<Target> {
  const sets = [`exporters.postgres.sending_queue.durability=${values.durability}`];
  const gateway = await startGatewayProcess({ database, authenticated: token !== undefined, sets });
  const target = { gateway, token };
  targets.push(target);
  return target;
}

async function measure(): Promise<Round[]> {
  const chunks = { ceiling: await ceilingChunk(), own: await ownSchemaChunk() };
  for (const target of targets) {
    await send(target, warmUpSeconds);
    await target.gateway.drained();
  }
  await copyFor(pool, chunks.ceiling, warmUpSeconds);
  const rounds: Round[] = [];
  for (let i = 0; i < pairs; i++) {
    await clear();
    const ceiling = await copyFor(pool, chunks.ceiling, seconds);
    await clear();
    const ownSchema = await copyFor(pool, chunks.own, Math.min(seconds, OWN_SCHEMA_SECONDS));
    const round = { ceiling, ownSchema, ...(await loads(i)) };
    rounds.push(round);
    say(`pair ${i + 1} of ${pairs}: ${line(round)}${authenticatedPart(round.authenticated)}`);
  }
  return rounds;
}

/** One load on each gateway. Who is first changes from pair to pair, so that what drifts favours nobody. */
async function loads(pair: number): Promise<Counted & { authenticated?: Counted }> {
  const counted = new Map<Target, Counted>();
  for (const target of pair % 2 === 0 ? targets : targets.toReversed()) counted.set(target, await load(target));
  const [open, authenticated] = targets.map((target) => counted.get(target));
  assert(open !== undefined);
  return authenticated === undefined ? open : { ...open, authenticated };
}

async function load(target: Target): Promise<Counted> {
  await clear();
  const { pid } = target.gateway;
  const before = await cpuSeconds(pid);
  const sent = await send(target, seconds);
  const acknowledgedAtMs = performance.now();
  await target.gateway.drained();
  const neededSeconds = sent.seconds + (performance.now() - acknowledgedAtMs) / 1000;
  const cpuMicrosPerSpan = (((await cpuSeconds(pid)) - before) * 1e6) / sent.spans;
  return {
    gateway: sent.spans / neededSeconds,
    cpuMicrosPerSpan,
    ackP50Ms: quantile(sent.latenciesMs, 0.5),
    ackP99Ms: quantile(sent.latenciesMs, 0.99),
    acknowledged: sent.spans,
    stored: await storedSpans(sent.spans),
  };
}

async function clear(): Promise<void> {
  await pool.query(`TRUNCATE receipts, queue_positions, otel_spans, ${CEILING_TABLE}`);
  await pool.query('CHECKPOINT');
}

/** Speed counts only for what is there: every acknowledged span, once. */
async function storedSpans(acknowledged: number): Promise<number> {
  const { rows } = await pool.query<{ stored: string }>('SELECT count(*) AS stored FROM otel_spans');
  const stored = Number(rows[0]?.stored);
  assert.equal(stored, acknowledged, `${acknowledged} spans were acknowledged, ${stored} are stored`);
  return stored;
}

async function measureSteady(target: Target): Promise<BenchReport['steady']> {
  await clear();
  const { latenciesMs } = await send(target, Math.min(seconds, STEADY_SECONDS), STEADY);
  await target.gateway.drained();
  return { ...STEADY, ackP50Ms: quantile(latenciesMs, 0.5), ackP99Ms: quantile(latenciesMs, 0.99) };
}

interface Pace {
  readonly spans: number;
  /** Without it each connection sends as fast as it is answered. */
  readonly perSecond?: number;
}

async function send(
  { gateway, token }: Target,
  forSeconds: number,
  pace: Pace = { spans: SPANS_A_REQUEST },
): Promise<z.output<typeof Sent>> {
  const child = spawn(process.execPath, [fileURLToPath(new URL('sender.ts', import.meta.url))], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const url = `${gateway.url}/v1/traces`;
  const connections = pace.perSecond === undefined ? CONNECTIONS : STEADY_CONNECTIONS;
  const settings = { url, token, connections, seconds: forSeconds, ...pace };
  child.stdin.end(JSON.stringify(settings));
  return Sent.parse(await json(child.stdout));
}

function report(rounds: readonly Round[], around: Pick<BenchReport, 'idleBytes' | 'peakBytes' | 'steady'>): void {
  const medians = {
    ceiling: median(rounds.map(({ ceiling }) => ceiling)),
    ownSchema: median(rounds.map(({ ownSchema }) => ownSchema)),
    ...loadMedians(rounds),
  };
  const ratio = medians.gateway / medians.ceiling;
  const whole: BenchReport = {
    ...medians,
    ratio,
    ...around,
    ...authentication(rounds),
    rounds: [...rounds],
  };
  if (values.json) process.stdout.write(`${JSON.stringify(whole)}\n`);
  else for (const text of lines(whole)) say(text);
}

function authentication(rounds: readonly Round[]): Pick<BenchReport, 'authenticated' | 'authenticationCost'> {
  const both = rounds.flatMap(({ authenticated, ...open }) => (authenticated ? [{ open, authenticated }] : []));
  if (both.length === 0) return {};
  const gain = (of: 'gateway' | 'cpuMicrosPerSpan'): number =>
    median(both.map(({ open, authenticated }) => (authenticated[of] / open[of] - 1) * 100));
  return {
    authenticated: loadMedians(both.map(({ authenticated }) => authenticated)),
    authenticationCost: { ratePercent: -gain('gateway'), cpuPercent: gain('cpuMicrosPerSpan') },
  };
}

function loadMedians(all: readonly Load[]): Load {
  const of = (key: keyof Load): number => median(all.map((one) => one[key]));
  return {
    gateway: of('gateway'),
    cpuMicrosPerSpan: of('cpuMicrosPerSpan'),
    ackP50Ms: of('ackP50Ms'),
    ackP99Ms: of('ackP99Ms'),
  };
}

function lines(whole: BenchReport): string[] {
  const { rounds, ratio, idleBytes, peakBytes, steady, authenticated, authenticationCost: cost } = whole;
  const text = [
    `medians of ${rounds.length}: ${line(whole)}${authenticatedPart(authenticated)}`,
    `ratio to raw COPY: ${ratio.toFixed(2)}`,
    `at ${steady.perSecond} requests/s of ${steady.spans} spans: acknowledged in ${steady.ackP50Ms.toFixed(1)} ms (p50), ${steady.ackP99Ms.toFixed(1)} ms (p99)`,
    `memory of the gateway process: ${megabytes(idleBytes)} idle, ${megabytes(peakBytes)} at its peak`,
  ];
  if (cost !== undefined) {
    const { ratePercent, cpuPercent } = cost;
    text.push(`authentication costs ${ratePercent.toFixed(1)} % of the rate, ${cpuPercent.toFixed(1)} % CPU a span`);
  }
  return text;
}

function line(figures: Load & { ceiling: number; ownSchema: number }): string {
  return [
    loadPart('gateway', figures),
    `raw COPY ${rate(figures.ceiling)}`,
    `raw COPY into otel_spans ${rate(figures.ownSchema)}`,
  ].join(' | ');
}

function authenticatedPart(figures: Load | undefined): string {
  return figures === undefined ? '' : ` | ${loadPart('with tokens', figures)}`;
}

function loadPart(name: string, { gateway, cpuMicrosPerSpan, ackP50Ms, ackP99Ms }: Load): string {
  const wait = `acknowledged in ${ackP50Ms.toFixed(0)} ms (p50), ${ackP99Ms.toFixed(0)} ms (p99)`;
  return `${name} ${rate(gateway)}, ${cpuMicrosPerSpan.toFixed(1)} µs CPU a span, ${wait}`;
}

function megabytes(bytes: number): string {
  return `${(bytes / 1e6).toFixed(0)} MB`;
}

function rate(perSecond: number): string {
  return `${Math.round(perSecond).toLocaleString('en')} spans/s`;
}
