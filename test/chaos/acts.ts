/** What rows of several families do to a stage, and wait for. */
import assert from 'node:assert/strict';
import type { Stage } from './stage.ts';
import { until } from './until.ts';

export async function kill9({ daemon }: Stage): Promise<void> {
  const { signal } = await daemon.kill();
  assert.equal(signal, 'SIGKILL', 'the daemon did not die by the kill');
}

/** PostgreSQL's word that a COPY, and the transaction that ends with it, is done; not the place that an error names. */
const COMMITTED = /(?:COPY \d+|COMMIT)\0/;

/** Kills the daemon at the moment at which the server says that a transaction is durable; the word does not arrive. */
export async function killAfterCommit({ daemon, proxy }: Stage): Promise<void> {
  let isKilled = false;
  proxy.inspect((chunk) => {
    if (isKilled || !saysCommitted(chunk)) return 'pass';
    isKilled = process.kill(daemon.pid, 'SIGKILL');
    return 'cut';
  });
  await until('PostgreSQL says that something is durable', () => isKilled);
  proxy.inspect(undefined);
  const { signal } = await daemon.end();
  assert.equal(signal, 'SIGKILL', 'the daemon did not die by the kill');
}

/** Whether a piece of what the server sends says that a transaction is durable. */
export function saysCommitted(chunk: Buffer): boolean {
  return COMMITTED.test(chunk.toString('latin1'));
}

/** Resolves when that many more items were acknowledged. */
export async function acknowledgesMore({ ledger }: Stage, items: number, withinMs = 20_000): Promise<void> {
  const wanted = ledger.obligedItems + items;
  await until(`${items} more items are acknowledged`, () => ledger.obligedItems >= wanted, { withinMs });
}

export function answersOf({ ledger }: Stage): string {
  return [...ledger.answers].map(([says, times]) => `${says} ×${times}`).join(', ');
}
