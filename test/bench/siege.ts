/**
 * A gateway under siege: one attack after the other, while an honest client goes on sending. Tells what the hostile
 * clients were answered, what the honest one noticed of it, and what it cost the gateway.
 */
import { fork, type ChildProcess } from 'node:child_process';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { ensurePartitions } from '../../src/store/partitions.ts';
import { testDatabase } from '../support/postgres.ts';
import {
  ask,
  newIngestToken,
  startGatewayProcess,
  stopProcess,
  type GatewayProcess,
  type Worst,
} from './gateway_process.ts';
import { Seen } from './honest_client.ts';
import { QUIET, type Answer, type Attack } from './hostile_attacks.ts';
import { cpuSeconds, forgetPeak, memoryBytes } from './process_figures.ts';
import { quantile } from './statistics.ts';

/** 50 requests a second. */
const HONEST_EVERY_MS = 20;
const WARM_UP_MS = 1000;
/** Before each attack, so that what the one before left behind is not counted with it. */
const PAUSE_MS = 500;

export interface SiegeOptions {
  readonly attacks: readonly Attack[];
  /** Of each attack. */
  readonly seconds: number;
  /** Hostile ones at once, where the attack does not say how many. */
  readonly clients: number;
  /** Of the gateway's configuration, as `--set` takes them. */
  readonly sets?: readonly string[];
}

export interface Figures {
  readonly attack: Attack;
  readonly answers: readonly Answer[];
  readonly honest: { readonly requests: number; readonly failures: number } & Latencies;
  /** The gateway's memory at its peak, beyond what it had before: over the whole time, and for the first bomb alone. */
  readonly growthBytes: number;
  readonly bombBytes: number | undefined;
  readonly worst: Worst;
  readonly cpuSeconds: number;
}

interface Latencies {
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly maxMs: number;
}

/** Yields the figures of a time without an attack, and then of each attack. */
export async function* siege({ attacks, seconds, clients, sets = [] }: SiegeOptions): AsyncGenerator<Figures> {
  const database = await testDatabase();
  let gateway: GatewayProcess | undefined;
  let honest: ChildProcess | undefined;
  try {
    await ensurePartitions(database.pool, { today: new Date() });
    const token = await newIngestToken(database);
    gateway = await startGatewayProcess({ database, authenticated: true, sets });
    const url = `${gateway.url}/v1/traces`;
    honest = fork(fileURLToPath(new URL('honest_client.ts', import.meta.url)));
    honest.send({ url, token, everyMs: HONEST_EVERY_MS });
    await delay(WARM_UP_MS);
    const target = { url, port: gateway.port, token, clients };
    for (const attack of [QUIET, ...attacks]) {
      const run = await attack.prepare(target);
      await delay(PAUSE_MS);
      // By itself: of what many leave behind, some 64 MB wait for the garbage collector.
      const bombBytes = attack.isBomb ? await growth(gateway, () => run(0)) : undefined;
      yield { ...(await observe(gateway, honest, attack, () => run(seconds))), bombBytes };
      await database.pool.query('TRUNCATE receipts, otel_spans');
    }
  } finally {
    if (honest !== undefined) await stopProcess(honest);
    await gateway?.stop();
    await database.close();
  }
}

async function growth({ pid }: GatewayProcess, during: () => Promise<unknown>): Promise<number> {
  await forgetPeak(pid);
  const before = await memoryBytes(pid, 'now');
  await during();
  return (await memoryBytes(pid, 'peak')) - before;
}

async function observe(
  gateway: GatewayProcess,
  honest: ChildProcess,
  attack: Attack,
  run: () => Promise<Answer[]>,
): Promise<Omit<Figures, 'bombBytes'>> {
  const cpuBefore = await cpuSeconds(gateway.pid);
  await gateway.worst();
  await ask(honest, 'read', Seen);
  let answers: readonly Answer[] = [];
  const growthBytes = await growth(gateway, async () => {
    answers = await run();
  });
  const { latenciesMs, failures } = await ask(honest, 'read', Seen);
  return {
    attack,
    answers,
    honest: { requests: latenciesMs.length, failures, ...latencies(latenciesMs) },
    growthBytes,
    worst: await gateway.worst(),
    cpuSeconds: (await cpuSeconds(gateway.pid)) - cpuBefore,
  };
}

export function latencies(ms: readonly number[]): Latencies {
  return { p50Ms: quantile(ms, 0.5), p99Ms: quantile(ms, 0.99), maxMs: quantile(ms, 1) };
}
