/** Faults of the daemon's own process: sudden ends at random and at precise moments, orders to stop, want of memory. */
import assert from 'node:assert/strict';
import { setTimeout as delay } from 'node:timers/promises';
import { acknowledgesMore, answersOf, kill9, killAfterCommit } from '../acts.ts';
import { queueFiles } from '../queue_files.ts';
import type { Row } from '../row.ts';
import { attach, under } from '../strace.ts';

/** The daemon takes requests again so soon after a kill. */
const READY_MS = 3_000;
/** Longer than signals count as one request to stop: src/main.ts. */
const SECOND_SIGNAL_MS = 500;
/** What a second signal may take. */
const AT_ONCE_MS = 3_000;
const SIGTERM_CODE = 143;
const SIGINT_CODE = 130;

/** At once, of some 2 MB each: several times what may be under way. */
const LARGE_REQUESTS = 24;
const LITTLE_MEMORY = `
extensions:
  memory_limiter: { limit_mib: 350, spike_limit_mib: 70, max_request_bytes_in_flight: 8MiB }
service:
  extensions: [static_tokens, file_storage, health_check, memory_limiter]
`;

export const PROCESS_ROWS: readonly Row[] = [
  {
    number: '1',
    name: 'kill -9 at random moments',
    isQuick: true,
    async fault(stage) {
      for (let kill = 0; kill < (stage.isQuick ? 3 : 5); kill++) {
        await delay(stage.random.between(50, 900));
        await kill9(stage);
        const readyMs = await stage.daemon.start();
        if (readyMs > READY_MS) stage.notes.push(`ready again only after ${Math.round(readyMs)} ms`);
      }
      await delay(500);
    },
  },
  {
    number: '2',
    name: 'kill -9 while a new segment is made',
    async fault(stage) {
      // Each life appends to a segment of its own: killed with its file empty, and with its name not yet synced.
      for (const call of ['pwritev', 'fsync', 'pwritev', 'fsync']) {
        await kill9(stage);
        stage.daemon.launch({ under: under({ inject: `${call}:signal=KILL:when=1` }) });
        const { signal } = await stage.daemon.end();
        assert.equal(signal, 'SIGKILL', 'the daemon did not die as it made a segment');
        await stage.daemon.start();
        await delay(stage.random.between(100, 600));
      }
    },
  },
  {
    number: '3',
    name: 'kill -9 between COMMIT and position',
    isQuick: true,
    async fault(stage) {
      for (let kill = 0; kill < (stage.isQuick ? 2 : 4); kill++) {
        await killAfterCommit(stage);
        await stage.daemon.start();
        await delay(stage.random.between(100, 600));
      }
    },
  },
  {
    number: '3b',
    name: 'kill -9 as the position is synced',
    async fault(stage) {
      for (let kill = 0; kill < 3; kill++) {
        const { positions } = await queueFiles(stage.queueDirectory);
        const tracing = await attach(stage.daemon.pid, { inject: 'fdatasync:signal=KILL:when=1', paths: positions });
        const { signal } = await stage.daemon.end();
        await tracing.detach();
        assert.equal(signal, 'SIGKILL', 'the daemon did not die as it synced its position');
        await stage.daemon.start();
        await delay(stage.random.between(100, 600));
      }
    },
  },
  {
    number: '4',
    name: 'kill -9 between position and unlink',
    async fault(stage) {
      for (let kill = 0; kill < 2; kill++) {
        await kill9(stage);
        const { segments } = await queueFiles(stage.queueDirectory);
        stage.daemon.launch({ under: under({ inject: 'unlink,unlinkat:signal=KILL:when=1', paths: segments }) });
        const { signal } = await stage.daemon.end();
        assert.equal(signal, 'SIGKILL', 'the daemon did not die as it deleted a segment');
        await stage.daemon.start();
      }
    },
  },
  {
    number: '5',
    name: 'kill -9 during recovery',
    async fault(stage) {
      await stage.server.stop('fast');
      await delay(3_000);
      await kill9(stage);
      for (const when of [1, 2, 3]) {
        const { segments } = await queueFiles(stage.queueDirectory);
        const inject = `read,pread64,preadv:signal=KILL:when=${when}`;
        stage.daemon.launch({ under: under({ inject, paths: segments }) });
        const { signal } = await stage.daemon.end();
        assert.equal(signal, 'SIGKILL', 'the daemon did not die as it read what it had left');
      }
      await stage.daemon.start();
      await stage.startServer();
    },
  },
  {
    number: '28',
    name: 'SIGTERM with a full queue, PostgreSQL down',
    isQuick: true,
    sets: ['service.shutdown_timeout=3s'],
    async fault(stage) {
      await stage.server.stop('fast');
      await acknowledgesMore(stage, 1_000);
      const from = stage.daemon.log.length;
      const { code, signal } = await stage.daemon.signal('SIGTERM');
      assert.equal(signal ?? code, 0, 'the daemon does not stop in order');
      const said = stage.daemon.log.slice(from);
      assert.match(said, /^sluice: .*\b\d[\d,]* records\b/m, 'the daemon does not say what stays in its queue');
    },
  },
  {
    number: '29',
    name: 'second SIGTERM, SIGINT during the drain',
    async fault(stage) {
      for (const [second, expected] of [
        ['SIGTERM', SIGTERM_CODE],
        ['SIGINT', SIGINT_CODE],
      ] as const) {
        await stage.server.stop('fast');
        await acknowledgesMore(stage, 1_000);
        process.kill(stage.daemon.pid, 'SIGTERM');
        await delay(SECOND_SIGNAL_MS);
        assert(stage.daemon.lives, 'the daemon stopped before the second signal');
        const at = performance.now();
        const { code } = await stage.daemon.signal(second);
        assert.equal(code, expected, `the second signal does not end the daemon`);
        assert(performance.now() - at < AT_ONCE_MS, 'the second signal does not end the daemon at once');
        await stage.startServer();
        await stage.daemon.start();
      }
    },
  },
  {
    number: '36',
    name: 'memory pressure: a heap of 256 MiB, large requests',
    config: LITTLE_MEMORY,
    async fault(stage) {
      const { daemon, load, ledger } = stage;
      await kill9(stage);
      await daemon.start({ nodeOptions: ['--max-old-space-size=256'] });
      load.change({ items: [5_000, 5_000], textChars: [200, 200], timeless: 0 });
      const large = Array.from({ length: LARGE_REQUESTS }, () => load.make());
      load.change({ items: [1, 9], textChars: [10, 150] });
      await Promise.all(large.map((request) => load.deliver(request)));
      assert(daemon.lives, 'the daemon ran out of memory');
      assert(ledger.answered('503 with Retry-After') > 0, `nothing was refused: ${answersOf(stage)}`);
      stage.notes.push(`answers: ${answersOf(stage)}`);
    },
  },
];
