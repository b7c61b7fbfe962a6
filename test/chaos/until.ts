/** Waits for something that tells nobody when it happens. */
import assert from 'node:assert/strict';
import { setTimeout as delay } from 'node:timers/promises';

const POLL_MS = 20;

export interface Patience {
  readonly withinMs?: number;
  readonly everyMs?: number;
}

/** Resolves when the condition holds; rejects, saying what did not happen, when it does not in time. */
export async function until(
  what: string,
  holds: () => boolean | Promise<boolean>,
  { withinMs = 30_000, everyMs = POLL_MS }: Patience = {},
): Promise<void> {
  const deadline = performance.now() + withinMs;
  while (!(await holds())) {
    assert(performance.now() < deadline, `not within ${Math.round(withinMs / 1000)} s: ${what}`);
    await delay(everyMs);
  }
}
