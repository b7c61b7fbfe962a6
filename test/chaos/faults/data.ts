/** Faults of the data and of who sends it; and the partitions that move under it. */
import assert from 'node:assert/strict';
import { connect } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { acknowledgesMore } from '../acts.ts';
import { quantile } from '../../bench/statistics.ts';
import { sluice } from '../../cli/sluice.ts';
import { withClient } from '../database_server.ts';
import type { Row } from '../row.ts';
import type { Stage } from '../stage.ts';
import type { LoadRequest } from '../traffic.ts';

const LARGE_ITEMS = 100_000;
const CUT_CLIENTS = 60;
/** What a sender may wait for an answer while others work on the same tables. */
const SLOW_MS = 1_000;
const DAY_MS = 86_400_000;

export const DATA_ROWS: readonly Row[] = [
  {
    number: '23',
    name: 'poison rows, 1 %',
    isQuick: true,
    profile: { poison: 0.01 },
    prepare: refusePoison,
    fault: (stage) => delay(stage.isQuick ? 2_000 : 6_000),
    verify(stage, { deadLettered }) {
      const poison = stage.ledger.entries
        .filter(({ acknowledgements }) => acknowledgements > 0)
        .flatMap(({ request }) => request.items.filter(({ isPoison }) => isPoison));
      assert(poison.length > 20, `only ${poison.length} poison rows were sent`);
      assert(deadLettered >= poison.length, `${deadLettered} dead letters of ${poison.length} poison rows`);
    },
  },
  {
    number: '24',
    name: 'requests of 100,000 and 40,000 items',
    async fault(stage) {
      const { load } = stage;
      for (const [items, mayRefuse] of [
        [LARGE_ITEMS, true],
        [40_000, false],
      ] as const) {
        load.change({ items: [items, items], textChars: [1, 10], timeless: 0, signals: ['logs'] });
        await load.pause();
        const { acknowledgements, refusals } = await load.deliver(load.make());
        load.change({ items: [1, 9], textChars: [10, 150] });
        load.start();
        assert(acknowledgements > 0 || (mayRefuse && refusals > 0), `${items} items are neither taken nor refused`);
      }
    },
  },
  {
    number: '26',
    name: 'day partitions made while the default ones fill',
    /** A table that has a partition's name without being one is left alone, and its rows go to the default partition. */
    async prepare({ sql }) {
      for (const table of TABLES) await sql(`CREATE TABLE ${table}_${dayName(0)} ()`);
    },
    async fault(stage) {
      await acknowledgesMore(stage, 1_000);
      assert((await defaultRows(stage)) > 0, 'no row lies in a default partition');
      for (const table of TABLES) await stage.sql(`DROP TABLE ${table}_${dayName(0)}`);
      await migrate(stage);
      assert.equal(await defaultRows(stage), 0, 'rows of a day that has a partition lie in the default one');
    },
  },
  {
    number: '27',
    name: 'long reader, partitions made and dropped',
    async fault(stage) {
      const before = stage.ledger.latenciesMs.length;
      await withClient(stage.server.urlOf(stage.database), async (reader) => {
        await reader.query('BEGIN');
        for (const table of TABLES) await reader.query(`SELECT count(*) FROM ${table}`);
        const maker = (async () => {
          for (const table of TABLES) await dropPatiently(stage, `${table}_${dayName(3)}`);
          await migrate(stage);
        })();
        await delay(4_000);
        await reader.query('COMMIT');
        await maker;
      });
      const p99 = quantile(stage.ledger.latenciesMs.slice(before), 0.99);
      stage.notes.push(`answers meanwhile: p99 ${Math.round(p99)} ms`);
      assert(p99 < SLOW_MS, `senders waited ${Math.round(p99)} ms for their answers`);
    },
  },
  {
    number: '34',
    name: 'clients cut connections: mid-body, before the answer',
    async fault(stage) {
      for (let client = 0; client < CUT_CLIENTS; client++) {
        await cutClient(stage, client % 2 === 0);
        await delay(30);
      }
    },
  },
];

const TABLES = ['otel_spans', 'otel_logs', 'otel_metrics'] as const;

/** A constraint names the row that it refuses; a trigger's error says where it was raised. */
async function refusePoison({ sql }: Stage): Promise<void> {
  for (const table of ['otel_spans', 'otel_metrics']) {
    await sql(`ALTER TABLE ${table} ADD CONSTRAINT no_poison CHECK (NOT attributes ? 'chaos.poison')`);
  }
  await sql(`CREATE FUNCTION refuse_poison() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
      IF NEW.attributes ? 'chaos.poison' THEN RAISE EXCEPTION 'poison' USING ERRCODE = '23514'; END IF;
      RETURN NEW;
    END $$`);
  await sql('CREATE TRIGGER refuse_poison BEFORE INSERT ON otel_logs FOR EACH ROW EXECUTE FUNCTION refuse_poison()');
}

async function migrate(stage: Stage): Promise<void> {
  const { code, stderr } = await sluice(['migrate'], { env: { DATABASE_URL: stage.server.urlOf(stage.database) } });
  assert.equal(code, 0, `sluice migrate: ${stderr}`);
}

/** The UTC day so many days from now, as partitions are named. */
function dayName(days: number): string {
  return new Date(Date.now() + days * DAY_MS).toISOString().slice(0, 10).replaceAll('-', '');
}

async function defaultRows({ sql }: Stage): Promise<number> {
  const counts = TABLES.map((table) => `(SELECT count(*) FROM ${table}_default)`).join(' + ');
  const [row] = await sql<{ rows: number }>(`SELECT (${counts})::int AS rows`);
  return row?.rows ?? Number.NaN;
}

/** As retention does: who waits for a table holds up everybody, so it gives way and comes back. */
async function dropPatiently({ sql }: Stage, table: string): Promise<void> {
  for (let attempt = 0; attempt < 40; attempt++) {
    try {
      await sql(`BEGIN; SET LOCAL lock_timeout = '200ms'; DROP TABLE IF EXISTS ${table}; COMMIT`);
      return;
    } catch {
      await delay(250);
    }
  }
  assert.fail(`${table} was not dropped`);
}

/** Half a body can never be stored, and nobody may repeat it; a whole one whose client has gone may be, once. */
async function cutClient(stage: Stage, isMidBody: boolean): Promise<void> {
  const request = httpRequest(stage);
  const entry = stage.ledger.enter(request);
  entry.attempts++;
  const { body } = request;
  const socket = connect(stage.ports.http, '127.0.0.1').on('error', () => undefined);
  socket.write(`${headOf(request, stage)}\r\n\r\n`);
  await new Promise<void>((resolve) => {
    socket.write(isMidBody ? body.subarray(0, body.length - 1) : body, () => resolve());
  });
  stage.ledger.record(entry, isMidBody ? 'refused' : 'open', isMidBody ? 'cut mid-body' : 'cut before the answer');
  if (stage.random.chance(0.5)) socket.resetAndDestroy();
  else socket.destroy();
}

function httpRequest({ load }: Stage): LoadRequest {
  for (;;) {
    const request = load.make();
    if (request.transport === 'http') return request;
  }
}

function headOf({ signal, tenant, headers, body }: LoadRequest, { tokens }: Stage): string {
  return [
    `POST /v1/${signal} HTTP/1.1`,
    'host: 127.0.0.1',
    ...Object.entries(headers).map(([name, value]) => `${name}: ${value}`),
    `content-length: ${body.length}`,
    `authorization: Bearer ${tokens.get(tenant) ?? ''}`,
  ].join('\r\n');
}
