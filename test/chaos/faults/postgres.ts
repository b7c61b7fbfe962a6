/** Faults of PostgreSQL and of the way to it. */
import assert from 'node:assert/strict';
import { setTimeout as delay } from 'node:timers/promises';
import { Client } from 'pg';
import { acknowledgesMore, answersOf, saysCommitted } from '../acts.ts';
import { mountTmpfs, remount } from '../mount.ts';
import type { Row } from '../row.ts';
import type { Stage } from '../stage.ts';
import { until } from '../until.ts';

/** What the load gets acknowledged while the database is away, at the least: about a second's worth. */
const GOES_ON_ITEMS = 500;

export const POSTGRES_ROWS: readonly Row[] = [
  {
    number: '6',
    name: 'PostgreSQL stopped (fast)',
    async fault(stage) {
      await stage.server.stop('fast');
      await acknowledgesMore(stage, GOES_ON_ITEMS);
      await delay(10_000);
      await stage.startServer();
    },
  },
  {
    number: '7',
    name: 'PostgreSQL stopped (immediate) under load',
    isQuick: true,
    async fault(stage) {
      for (let crash = 0; crash < (stage.isQuick ? 1 : 3); crash++) {
        await stage.server.stop('immediate');
        await acknowledgesMore(stage, GOES_ON_ITEMS);
        await stage.startServer();
        await delay(stage.random.between(500, 2_000));
      }
    },
  },
  {
    number: '8',
    name: 'PostgreSQL sessions hang (SIGSTOP)',
    async fault(stage) {
      const pids = await sessions(stage);
      assert(pids.length > 0, 'the daemon has no session');
      for (const pid of pids) process.kill(pid, 'SIGSTOP');
      try {
        await acknowledgesMore(stage, GOES_ON_ITEMS);
        await delay(12_000);
      } finally {
        for (const pid of pids) process.kill(pid, 'SIGCONT');
      }
    },
  },
  {
    number: '9',
    name: 'pg_terminate_backend every second',
    async fault(stage) {
      let ended = 0;
      for (let second = 0; second < 6; second++) {
        ended += await terminateSessions(stage);
        await delay(1_000);
      }
      assert(ended >= 6, `only ${ended} sessions were ended`);
    },
  },
  {
    number: '10',
    name: 'PostgreSQL answers 200 ms late',
    async fault(stage) {
      stage.proxy.delayAnswers(200);
      await delay(6_000);
      assert(!answersOf(stage).includes('503'), 'a slow database must not refuse data');
    },
  },
  {
    number: '11',
    name: 'connection reset after COMMIT, answer lost',
    isQuick: true,
    async fault(stage) {
      let lost = 0;
      stage.proxy.inspect((chunk) => {
        if (!saysCommitted(chunk) || stage.random.chance(0.5)) return 'pass';
        lost++;
        return 'cut';
      });
      await until('three answers are lost', () => lost >= 3);
      await delay(stage.isQuick ? 1_000 : 3_000);
      stage.notes.push(`${lost} answers to COMMIT were lost`);
    },
  },
  {
    number: '11b',
    name: 'connections reset at random moments',
    async fault(stage) {
      for (let cut = 0; cut < 20; cut++) {
        await delay(stage.random.between(20, 250));
        stage.proxy.cut();
        stage.proxy.mend();
      }
    },
  },
  {
    number: '11c',
    name: 'connections half open: nothing arrives',
    async fault(stage) {
      stage.proxy.freeze();
      await acknowledgesMore(stage, GOES_ON_ITEMS);
      await delay(11_000);
    },
  },
  {
    number: '12',
    name: 'PostgreSQL out of connections (53300)',
    async fault(stage) {
      const held: Client[] = [];
      try {
        await holdAllSessions(stage, held);
        await acknowledgesMore(stage, GOES_ON_ITEMS);
        await delay(3_000);
      } finally {
        await Promise.all(held.map((client) => client.end()));
      }
    },
  },
  {
    number: '13',
    name: 'disk of PostgreSQL full (53100)',
    prepare: putOnSmallDisk,
    async fault(stage) {
      stage.load.change({ items: [100, 200], textChars: [200, 300] });
      const isFull = async (): Promise<boolean> => stage.daemon.log.includes('53100');
      await until('the disk of PostgreSQL is full', isFull, { withinMs: 20_000 });
      await acknowledgesMore(stage, GOES_ON_ITEMS);
      stage.load.change({ items: [1, 9], textChars: [10, 150] });
      remount(smallDisk(stage), 'size=1g');
    },
  },
];

async function sessions({ sql }: Stage): Promise<number[]> {
  const rows = await sql<{ pid: number }>(
    `SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()`,
  );
  return rows.map(({ pid }) => pid);
}

async function terminateSessions({ sql }: Stage): Promise<number> {
  const rows = await sql(
    `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
     WHERE datname = current_database() AND pid <> pg_backend_pid()`,
  );
  return rows.length;
}

/** More than the server allows. */
const MAX_SESSIONS = 200;

/** Takes every session of the server; those of the daemon are ended as often as it gets one. */
async function holdAllSessions(stage: Stage, held: Client[]): Promise<void> {
  while (held.length < MAX_SESSIONS) {
    const client = new Client({ connectionString: stage.server.urlOf(stage.database) });
    client.on('error', () => undefined);
    try {
      await client.connect();
      held.push(client);
    } catch (error) {
      assert(error instanceof Error && 'code' in error && error.code === '53300', String(error));
      if ((await endSessionsOfDaemon(held)) === 0) return;
    }
  }
  assert.fail('the server has no limit of sessions');
}

async function endSessionsOfDaemon([client]: readonly Client[]): Promise<number> {
  const found = await client?.query(
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'sluice'",
  );
  return found?.rowCount ?? 0;
}

const smallDisk = ({ directory }: Stage): string => `${directory}/small`;
const SMALL_DISK_MIB = 24;

/** Every table that is made from now on, and the default partitions, lie on a disk that is soon full. */
async function putOnSmallDisk(stage: Stage): Promise<void> {
  const directory = smallDisk(stage);
  await mountTmpfs(stage, directory, SMALL_DISK_MIB);
  const space = `small_${stage.database}`;
  await stage.sql(`CREATE TABLESPACE ${space} LOCATION '${directory}'`);
  stage.closing.push(() => stage.server.administer('CHECKPOINT', `DROP TABLESPACE ${space}`));
  await stage.sql(`ALTER DATABASE ${stage.database} SET default_tablespace = ${space}`);
  for (const table of ['otel_spans', 'otel_logs', 'otel_metrics']) {
    await stage.sql(`ALTER TABLE ${table}_default SET TABLESPACE ${space}`);
  }
}
