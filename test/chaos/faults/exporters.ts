/** Three exporters behind one pipeline, each dead for a while: the others must neither wait nor repeat. */
import assert from 'node:assert/strict';
import { createReadStream } from 'node:fs';
import { readdir, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as delay } from 'node:timers/promises';
import { withClient } from '../database_server.ts';
import { mountTmpfs } from '../mount.ts';
import { countItems } from '../oracle.ts';
import type { Row } from '../row.ts';
import { openStage, type Stage } from '../stage.ts';
import { TENANTS } from '../traffic.ts';
import { until } from '../until.ts';

const DEAD_MS = 60_000;
/** The others have what was acknowledged so soon after. */
const PROMPT_MS = 10_000;
const CATCH_UP_MS = 60_000;
const FILES_MIB = 512;
/** Written until nothing more fits. */
const BALLAST_BYTES = 16 * 1_048_576;

const CONFIG = `
exporters:
  otlp_http:
    endpoint: "http://127.0.0.1:\${env:CHAOS_SECOND_PORT}"
    headers: { authorization: "Bearer \${env:CHAOS_SECOND_TOKEN}" }
    retry_on_failure: { initial_interval: 200ms, max_interval: 2s, max_elapsed_time: 0s }
  file:
    directory: "\${env:SLUICE_DATA_DIR}/files"
    retry_on_failure: { initial_interval: 200ms, max_interval: 2s, max_elapsed_time: 0s }
service:
  pipelines:
    traces: { exporters: [postgres, otlp_http, file] }
    logs: { exporters: [postgres, otlp_http, file] }
    metrics: { exporters: [postgres, otlp_http, file] }
`;

/** Where everything goes, and how to take it away for a while. */
interface Destination {
  readonly name: string;
  die(): Promise<void>;
  revive(): Promise<void>;
  /** How many items it has. */
  count(): Promise<number>;
}

/** The second Sluice, by the stage that forwards to it. */
const seconds = new WeakMap<Stage, Stage>();

export const EXPORTER_ROWS: readonly Row[] = [
  {
    number: 'exporters',
    name: 'three exporters, each dead for a minute',
    config: CONFIG,
    // A file knows no receipts, and what has no time is dated by who receives it.
    profile: { requestsPerSecond: 60, repeats: 0, timeless: 0 },
    prepare: openSecond,
    async fault(stage) {
      const destinations = destinationsOf(stage);
      for (const dead of destinations) {
        await dead.die();
        await delay(DEAD_MS);
        await stage.load.pause();
        for (const other of destinations) if (other !== dead) await hasAll(stage, other, PROMPT_MS);
        await dead.revive();
        stage.load.start();
        await hasAll(stage, dead, CATCH_UP_MS);
      }
    },
    async verify(stage) {
      const second = secondOf(stage);
      await second.daemon.signal('SIGTERM');
      assert.deepEqual(await differences(stage, second), [], 'the second Sluice stored other rows');
      const lines = await itemsInFiles(filesOf(stage));
      assertOnceInFiles(stage, lines);
      stage.notes.push(`${lines.size} items in files, as many rows in the second Sluice as in the first`);
    },
  },
];

async function openSecond(stage: Stage): Promise<void> {
  const { directory, random, isQuick, server } = stage;
  const second = await openStage({ name: 'second', directory, random: random.fork(), isQuick, server });
  stage.closing.push(() => second.close());
  seconds.set(stage, second);
  stage.env['CHAOS_SECOND_PORT'] = String(second.ports.http);
  stage.env['CHAOS_SECOND_TOKEN'] = second.tokens.get(TENANTS[0]) ?? '';
  await mountTmpfs(stage, filesOf(stage), FILES_MIB);
  await second.daemon.start();
}

const filesOf = ({ dataDirectory }: Stage): string => path.join(dataDirectory, 'files');

function secondOf(stage: Stage): Stage {
  const second = seconds.get(stage);
  assert(second !== undefined, 'the row was not prepared');
  return second;
}

function destinationsOf(stage: Stage): Destination[] {
  const second = secondOf(stage);
  const ballast = path.join(filesOf(stage), 'ballast');
  return [
    {
      name: 'postgres',
      die: async () => stage.proxy.cut(),
      revive: async () => stage.proxy.mend(),
      count: () => withClient(stage.server.urlOf(stage.database), countItems),
    },
    {
      name: 'otlp_http',
      die: async () => void (await second.daemon.kill()),
      revive: async () => void (await second.daemon.start()),
      count: () => withClient(second.server.urlOf(second.database), countItems),
    },
    {
      name: 'file',
      die: () => fill(ballast),
      revive: () => rm(ballast),
      count: async () => (await itemsInFiles(filesOf(stage))).size,
    },
  ];
}

async function hasAll({ ledger }: Stage, destination: Destination, withinMs: number): Promise<void> {
  const wanted = ledger.obligedItems;
  const hasThem = async (): Promise<boolean> => (await destination.count()) >= wanted;
  await until(`${destination.name} has ${wanted} items`, hasThem, { withinMs, everyMs: 250 });
}

/** Takes all the space there is, so that nothing more can be written beside it. */
async function fill(file: string): Promise<void> {
  const ballast = Buffer.alloc(BALLAST_BYTES);
  for (let part = 0; part * BALLAST_BYTES <= FILES_MIB * 1_048_576; part++) {
    const isFull = await writeFile(file, ballast, { flag: 'a' }).then(
      () => false,
      () => true,
    );
    if (isFull) return;
  }
}

const ID_IN_LINE = /"key":"chaos\.id","value":\{"stringValue":"([0-9.]+)"\}/g;

/** How often each item stands in the files. */
async function itemsInFiles(directory: string): Promise<Map<string, number>> {
  const times = new Map<string, number>();
  for (const name of await readdir(directory)) {
    if (!name.endsWith('.jsonl')) continue;
    for await (const line of createInterface({ input: createReadStream(path.join(directory, name)) })) {
      for (const [, id = ''] of line.matchAll(ID_IN_LINE)) times.set(id, (times.get(id) ?? 0) + 1);
    }
  }
  return times;
}

function assertOnceInFiles({ ledger }: Stage, times: ReadonlyMap<string, number>): void {
  const obliged = ledger.entries.filter(({ acknowledgements }) => acknowledgements > 0);
  const ids = obliged.flatMap(({ request }) => request.items.map(({ id }) => id));
  const missing = ids.filter((id) => !times.has(id));
  assert.equal(missing.length, 0, `${missing.length} items are missing in the files, such as ${missing[0] ?? ''}`);
  const once = obliged.filter(({ attempts }) => attempts === 1).flatMap(({ request }) => request.items);
  const doubled = once.filter(({ id }) => (times.get(id) ?? 0) > 1);
  assert.equal(doubled.length, 0, `${doubled.length} items stand in the files twice, such as ${doubled[0]?.id ?? ''}`);
}

/** The time of arrival and the tenant are those of whoever receives. */
const OWN_COLUMNS = `ARRAY['received_at', 'org_id', 'workspace_id', 'target_id']`;

/** Rows that one of two databases has and the other has not, or not as often; some words for each kind. */
async function differences(first: Stage, second: Stage): Promise<string[]> {
  const found: string[] = [];
  for (const table of ['otel_spans', 'otel_logs', 'otel_metrics']) {
    const [ours, theirs] = [await rowCounts(first, table), await rowCounts(second, table)];
    const differing = [...new Set([...ours.keys(), ...theirs.keys()])].filter(
      (row) => ours.get(row) !== theirs.get(row),
    );
    if (differing.length > 0) found.push(`${differing.length} rows of ${table} differ`);
  }
  return found;
}

/** How often each row is there, by its MD5. */
async function rowCounts({ sql }: Stage, table: string): Promise<Map<string, number>> {
  const rows = await sql<{ row: string; times: number }>(
    `SELECT md5((to_jsonb(t) - ${OWN_COLUMNS})::text) AS row, count(*)::int AS times FROM ${table} AS t GROUP BY 1`,
  );
  return new Map(rows.map(({ row, times }) => [row, times]));
}
