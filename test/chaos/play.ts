/** Plays one row: stage, load, fault, recovery, and the oracle's judgement. */
import assert from 'node:assert/strict';
import { setTimeout as delay } from 'node:timers/promises';
import { withClient } from './database_server.ts';
import { compare, countItems, type Findings } from './oracle.ts';
import { Skip, type Figures, type Row, type Sabotage, type Verdict } from './row.ts';
import { openStage, type Stage, type StageSettings } from './stage.ts';
import { until } from './until.ts';

const WARM_MS = 1_500;
const QUICK_WARM_MS = 800;
const DRAIN_MS = 30_000;
const DRAIN_POLL_MS = 200;
/** Without that many acknowledged items a row has shown nothing. */
const ENOUGH_ITEMS = 200;
const LIVENESS_REQUESTS = 6;
const SHOWN_IDS = 5;

/** Without its key a table takes everything: no insertion meets one before it. */
const SABOTAGE: Readonly<Record<Sabotage, string>> = {
  receipt: 'ALTER TABLE receipts DROP CONSTRAINT receipts_pkey',
  position: 'ALTER TABLE queue_positions DROP CONSTRAINT queue_positions_pkey',
};

export async function play(
  row: Row,
  settings: Omit<StageSettings, 'name' | 'sets' | 'config' | 'profile'>,
): Promise<Verdict> {
  const startedAt = performance.now();
  const { number, name } = row;
  const verdict = (outcome: Verdict['outcome'], remarks: readonly string[], figures?: Figures): Verdict => {
    const seconds = (performance.now() - startedAt) / 1000;
    return { number, name, outcome, seconds, figures, remarks };
  };
  const { sets = [], config = '{}', profile = {} } = row;
  const stage = await openStage({ ...settings, name: number, sets, config, profile });
  let figures: Figures | undefined;
  try {
    figures = await run(row, stage);
    const faults = faultsOf(row, figures, stage);
    stage.notes.unshift(...faults);
    await row.verify?.(stage, figures.findings);
    return verdict(faults.length === 0 ? 'ok' : 'FAIL', stage.notes, figures);
  } catch (error) {
    if (error instanceof Skip) return verdict('SKIP', [error.message]);
    const stack = error instanceof Error ? (error.stack ?? error.message) : String(error);
    return verdict(
      'FAIL',
      [stack, ...stage.notes, `the daemon's last words:\n${stage.daemon.log.slice(-3000)}`],
      figures,
    );
  } finally {
    await stage.close();
  }
}

async function run(row: Row, stage: Stage): Promise<Figures> {
  const { daemon, load, ledger } = stage;
  if (row.sabotage !== undefined) await stage.sql(SABOTAGE[row.sabotage]);
  await row.prepare?.(stage);
  await daemon.start();
  load.start();
  await delay(stage.isQuick ? QUICK_WARM_MS : WARM_MS);
  await row.fault(stage);
  await heal(stage);
  const healedAt = performance.now();
  await load.stop();
  await assertLiveness(stage);
  await drain(stage, row.drainMs ?? DRAIN_MS);
  const drainSeconds = (performance.now() - healedAt) / 1000;
  await stopInOrder(stage);
  const findings = await judge(stage);
  return {
    requests: ledger.entries.length,
    acknowledged: ledger.obligedItems,
    findings,
    drainSeconds,
    peakBytes: daemon.peakBytes,
  };
}

async function heal({ proxy, daemon, startServer }: Stage): Promise<void> {
  await startServer();
  proxy.inspect(undefined);
  proxy.delayAnswers(0);
  proxy.mend();
  if (!daemon.lives) await daemon.start();
}

/** The gateway takes new data once a fault is over; that it stores it, the drain shows. */
async function assertLiveness({ load }: Stage): Promise<void> {
  const fresh = await Promise.all(Array.from({ length: LIVENESS_REQUESTS }, () => load.deliver(load.make())));
  const open = fresh.filter(({ request, acknowledgements }) => request.isTimed && acknowledgements === 0);
  assert.equal(open.length, 0, 'a fresh request is not acknowledged');
}

/** Resolves when every obligation is in the database, or time is up: what is missing then, the judgement tells. */
async function drain(stage: Stage, withinMs: number): Promise<void> {
  const isDrained = async (): Promise<boolean> => {
    const stored = await withClient(stage.server.urlOf(stage.database), countItems);
    if (stored + stage.excused.size < stage.ledger.obligedItems) return false;
    return (await judge(stage)).missing.length === 0;
  };
  await until('drained', isDrained, { withinMs, everyMs: DRAIN_POLL_MS }).catch((error: unknown) =>
    stage.notes.push(String(error)),
  );
}

/** After that nothing can arrive any more. */
async function stopInOrder({ daemon }: Stage): Promise<void> {
  await daemon.measure();
  const from = daemon.log.length;
  const { code, signal } = await daemon.signal('SIGTERM');
  assert.equal(signal ?? code, 0, 'the daemon does not stop in order');
  assert.match(daemon.log.slice(from), /^sluice: stopped; nothing is left in the queues$/m);
}

function judge({ server, database, ledger, excused }: Stage): Promise<Findings> {
  return withClient(server.urlOf(database), (client) => compare(client, ledger, excused));
}

function faultsOf({ expectsDoubled = false }: Row, { acknowledged, findings }: Figures, stage: Stage): string[] {
  const { missing, doubled, invented, corrupted } = findings;
  const faults = Object.entries({ missing, doubled: expectsDoubled ? [] : doubled, invented, corrupted })
    .filter(([, ids]) => ids.length > 0)
    .map(([what, ids]) => `${ids.length} ${what}, such as ${ids.slice(0, SHOWN_IDS).join(' ')}`);
  if (expectsDoubled && doubled.length === 0) faults.push('nothing is doubled although nothing protects from it');
  if (acknowledged < ENOUGH_ITEMS) faults.push(`only ${acknowledged} items were acknowledged`);
  const bare = stage.ledger.answered('503');
  if (bare > 0) faults.push(`${bare} answers 503 without Retry-After`);
  if (secretsOf(stage).some((secret) => stage.daemon.log.includes(secret))) faults.push('a secret stands in the log');
  return [...faults, ...stage.daemon.bugs().map((line) => `the daemon wrote: ${line}`)];
}

function secretsOf({ tokens, server, database }: Stage): string[] {
  return [...tokens.values(), new URL(server.urlOf(database)).password];
}
