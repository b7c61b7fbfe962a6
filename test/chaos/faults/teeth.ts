/** Proof that the oracle bites: rounds in which the database protects from nothing, and which have to end in doubled items. */
import { setTimeout as delay } from 'node:timers/promises';
import { killAfterCommit } from '../acts.ts';
import type { Row } from '../row.ts';

export const TEETH_ROWS: readonly Row[] = [
  {
    number: 'teeth-receipt',
    name: 'teeth: without receipts repeats are stored',
    isQuick: true,
    sabotage: 'receipt',
    expectsDoubled: true,
    profile: { repeats: 0.3 },
    fault: () => delay(1_000),
  },
  {
    number: 'teeth-position',
    name: 'teeth: without positions replays are stored',
    isQuick: true,
    sabotage: 'position',
    expectsDoubled: true,
    // What has a receipt is protected by that too.
    profile: { timeless: 0.6 },
    async fault(stage) {
      for (let kill = 0; kill < 3; kill++) {
        await killAfterCommit(stage);
        await stage.daemon.start();
      }
    },
  },
];
