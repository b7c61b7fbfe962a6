/**
 * What hostile clients cost the others: bodies that are made to hurt, slow connections and bad tokens come one kind
 * after the other, while an honest client sends 50 small requests a second.
 *
 *     npm run bench:hostile -- [--seconds 5] [--clients 1] [--only bomb] [--set KEY=VALUE]
 */
import { parseArgs } from 'node:util';
import { ATTACKS, type Answer } from './hostile_attacks.ts';
import { latencies, siege, type Figures } from './siege.ts';

const { values } = parseArgs({
  options: {
    seconds: { type: 'string', default: '5' },
    clients: { type: 'string', default: '1' },
    only: { type: 'string', default: '' },
    set: { type: 'string', multiple: true, default: [] },
  },
});

const attacks = ATTACKS.filter(({ name }) => name.includes(values.only));
const options = { attacks, seconds: Number(values.seconds), clients: Number(values.clients), sets: values.set };
for await (const figures of siege(options)) process.stdout.write(`${line(figures)}\n`);

function line({ attack, answers, honest, growthBytes, bombBytes, worst, cpuSeconds }: Figures): string {
  return [
    attack.name.padEnd(25),
    `honest p50 ${ms(honest.p50Ms)}, p99 ${ms(honest.p99Ms)}, max ${ms(honest.maxMs)} of ${honest.requests}, ${honest.failures} failed`,
    `memory ${megabytes(growthBytes)}${bombBytes === undefined ? '' : `, the first alone ${megabytes(bombBytes)}`}`,
    `loop stalled ${ms(worst.stallMs)}, busy ${ms(worst.busyMs)}`,
    `${cpuSeconds.toFixed(1)} s CPU`,
    ...answersPart(answers),
  ].join(' | ');
}

function answersPart(answers: readonly Answer[]): string[] {
  if (answers.length === 0) return [];
  const byStatus = Map.groupBy(answers, ({ status }) => status);
  const counts = [...byStatus].map(([status, all]) => `${all.length} × ${status}`);
  const { p50Ms, maxMs } = latencies(answers.map((answer) => answer.ms));
  return [`answered ${counts.join(', ')} in ${ms(p50Ms)} (p50), ${ms(maxMs)} (max)`];
}

function ms(milliseconds: number): string {
  return `${milliseconds.toFixed(milliseconds < 10 ? 1 : 0)} ms`;
}

function megabytes(bytes: number): string {
  return `${bytes < 0 ? '' : '+'}${(bytes / 1e6).toFixed(0)} MB`;
}
