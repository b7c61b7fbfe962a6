/** The random commands that the model of a log carries out. */
import * as fc from 'fast-check';

const MAX_BODY_BYTES = 3000;

export type Command =
  | { readonly do: 'append'; readonly sizes: readonly number[] }
  | { readonly do: 'read'; readonly maxBytes: number }
  | { readonly do: 'release'; readonly picks: readonly number[] }
  | { readonly do: 'persist' }
  | { readonly do: 'fault'; readonly fault: 'shortWrite' | 'noTruncate' | 'syncError' }
  | { readonly do: 'room'; readonly bytes: number | undefined }
  | {
      readonly do: 'reopen';
      readonly how: 'close' | 'kill' | 'power loss';
      /** What is released and appended before; the process ends in the middle of that, after so many operations. */
      readonly picks: readonly number[];
      readonly sizes: readonly number[];
      readonly operations: number;
      readonly damage: readonly Damage[];
      /** So many times the next process ends while it opens the log. */
      readonly deadOpenings: readonly number[];
    };

export type Damage =
  | { readonly kind: 'flip' | 'truncate'; readonly where: number; readonly amount: number }
  | { readonly kind: 'drop position' };

const sizes = (minLength: number, maxLength: number) => fc.array(fc.nat(MAX_BODY_BYTES), { minLength, maxLength });
const picks = fc.array(fc.nat(), { maxLength: 5 });

const damage: fc.Arbitrary<Damage> = fc.oneof(
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('flip' as const), where: fc.nat(), amount: fc.nat() }) },
  {
    weight: 1,
    arbitrary: fc.record({ kind: fc.constant('truncate' as const), where: fc.nat(), amount: fc.nat(5000) }),
  },
  { weight: 1, arbitrary: fc.constant({ kind: 'drop position' as const }) },
);

export const command: fc.Arbitrary<Command> = fc.oneof(
  { weight: 6, arbitrary: fc.record({ do: fc.constant('append' as const), sizes: sizes(1, 5) }) },
  {
    weight: 2,
    arbitrary: fc.record({ do: fc.constant('read' as const), maxBytes: fc.integer({ min: 1, max: 9000 }) }),
  },
  {
    weight: 4,
    arbitrary: fc.record({ do: fc.constant('release' as const), picks }),
  },
  { weight: 2, arbitrary: fc.constant({ do: 'persist' as const }) },
  {
    weight: 1,
    arbitrary: fc.record({
      do: fc.constant('fault' as const),
      fault: fc.constantFrom('shortWrite' as const, 'noTruncate' as const, 'syncError' as const),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ do: fc.constant('room' as const), bytes: fc.option(fc.nat(4000), { nil: undefined }) }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constant('reopen' as const),
      how: fc.constantFrom('close' as const, 'kill' as const, 'power loss' as const),
      picks,
      sizes: sizes(0, 4),
      operations: fc.nat(20),
      damage: fc.oneof(
        { weight: 3, arbitrary: fc.constant([]) },
        { weight: 1, arbitrary: fc.array(damage, { maxLength: 2 }) },
      ),
      deadOpenings: fc.oneof(
        { weight: 3, arbitrary: fc.constant([]) },
        { weight: 1, arbitrary: fc.array(fc.nat(40), { maxLength: 2 }) },
      ),
    }),
  },
);
