/**
 * A process of its own with a real gateway in it, so that what hostile bodies do to it shows by itself: a crash, a promise
 * that nobody awaits, memory that stays. Run as a program it is that process; imported, it starts one.
 */
import assert from 'node:assert/strict';
import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { z } from 'zod';
import { ensurePartitions } from '../../src/store/partitions.ts';
import { countRows, testGateway } from '../support/gateway.ts';

export interface FuzzedGateway {
  /** Base URL of OTLP/HTTP. */
  readonly url: string;
  /** Bytes that are in use once all garbage is collected: objects, and what buffers hold. */
  usedBytes(): Promise<number>;
  spanCount(): Promise<number>;
  /** Ends the process; rejects when it did not end well, or had an error that nothing caught. */
  close(): Promise<void>;
}

const report = z.union([
  z.strictObject({ url: z.string() }),
  z.strictObject({ usedBytes: z.number() }),
  z.strictObject({ spanCount: z.number() }),
  z.strictObject({ uncaught: z.string() }),
]);
type Report = z.output<typeof report>;
type Question = 'usedBytes' | 'spanCount' | 'close';

const FILE = fileURLToPath(import.meta.url);

export async function fuzzedGateway(): Promise<FuzzedGateway> {
  const child = fork(FILE, { execArgv: ['--expose-gc'], stdio: ['ignore', 'inherit', 'inherit', 'ipc'] });
  const uncaught: string[] = [];
  child.on('message', (message) => {
    const told = report.parse(message);
    if ('uncaught' in told) uncaught.push(told.uncaught);
  });
  const [first] = await once(child, 'message');
  const { url } = z.strictObject({ url: z.string() }).parse(first);
  const ask = async (what: 'usedBytes' | 'spanCount'): Promise<number> => {
    child.send(what);
    const [answer] = await once(child, 'message');
    return z.record(z.string(), z.number()).parse(answer)[what] ?? assert.fail(`the gateway had ${uncaught.join()}`);
  };
  return {
    url,
    usedBytes: () => ask('usedBytes'),
    spanCount: () => ask('spanCount'),
    async close() {
      await end(child);
      assert.deepEqual(uncaught, []);
      assert.deepEqual([child.exitCode, child.signalCode], [0, null]);
    },
  };
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exited = once(child, 'exit');
  child.send('close');
  await exited;
}

const LEVEL = 'service.telemetry.logs.level=error';

const tell = (told: Report): void => void process.send?.(told);

async function serve(): Promise<void> {
  for (const event of ['uncaughtException', 'unhandledRejection'] as const) {
    process.on(event, (error: unknown) =>
      tell({ uncaught: error instanceof Error ? String(error.stack) : String(error) }),
    );
  }
  const gateway = await testGateway({ sets: [LEVEL] });
  // Made later, they would hold up writers for a moment, who would be told to come again.
  await ensurePartitions(gateway.pool, { today: new Date() });
  // Nobody is left to ask.
  const abandon = (): void => void gateway.close();
  process.once('disconnect', abandon);
  const answers: Readonly<Record<Question, () => Promise<void>>> = {
    async usedBytes() {
      global.gc?.();
      const { heapUsed, external } = process.memoryUsage();
      tell({ usedBytes: heapUsed + external });
    },
    async spanCount() {
      tell({ spanCount: await countRows(gateway.pool, 'otel_spans') });
    },
    async close() {
      process.off('disconnect', abandon);
      await gateway.close();
      process.disconnect();
    },
  };
  const question = z.enum(['usedBytes', 'spanCount', 'close']);
  process.on('message', (asked) => void answers[question.parse(asked)]());
  tell({ url: gateway.url });
}

if (process.argv[1] === FILE) await serve();
