/** What `npm run bench -- --json` prints: one line, for whoever compares runs. Rates are per second. */
import { z } from 'zod';

const rate = () => z.number().positive().describe('Spans a second.');
const milliseconds = () => z.number().positive();
const bytes = () => z.int().positive();

/** What one load on the gateway came to. */
export const Load = z.strictObject({
  gateway: rate(),
  cpuMicrosPerSpan: z.number().positive(),
  ackP50Ms: milliseconds(),
  ackP99Ms: milliseconds(),
});
export type Load = z.output<typeof Load>;

/** What PostgreSQL takes of rows that are finished: into the table of the benchmark, and into our own. */
const Ceiling = z.strictObject({ ceiling: rate(), ownSchema: rate() });

/** Speed counts only for spans that are there: `stored` is what the table had afterwards, `acknowledged` what was answered. */
const Counted = z.strictObject({ ...Load.shape, acknowledged: z.int().positive(), stored: z.int().positive() });
export type Counted = z.output<typeof Counted>;

/** One pair of loads, on the ceiling and on the gateway; with `--auth` a third on a gateway that wants a token. */
export const Round = z.strictObject({ ...Ceiling.shape, ...Counted.shape, authenticated: Counted.optional() });
export type Round = z.output<typeof Round>;

/** Shares in percent, negative where the run with tokens was the faster one. */
const AuthenticationCost = z.strictObject({
  ratePercent: z.number().describe('Median over the pairs of what the rate loses.'),
  cpuPercent: z.number().describe('Median over the pairs of what CPU time a span gains.'),
});

/** Medians of the rounds, and the rounds. Memory is that of the gateway without authentication. */
export const BenchReport = z.strictObject({
  ...Ceiling.shape,
  ...Load.shape,
  ratio: z.number().positive().describe('The rate of the gateway as a share of the ceiling.'),
  idleBytes: bytes(),
  peakBytes: bytes(),
  steady: z
    .strictObject({ perSecond: z.number(), spans: z.int(), ackP50Ms: milliseconds(), ackP99Ms: milliseconds() })
    .describe('How long an acknowledgement takes when so many requests of so many spans come a second.'),
  authenticated: Load.optional(),
  authenticationCost: AuthenticationCost.optional(),
  rounds: z.array(Round).min(1),
});
export type BenchReport = z.output<typeof BenchReport>;
