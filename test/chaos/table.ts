/** What people read of a run: a line a row, in one table at the end. */
import type { Verdict } from './row.ts';

const MEGABYTE = 1_048_576;

type Cells = readonly string[];

const HEAD: Cells = [
  '#',
  'fault',
  'requests',
  'acked',
  'stored',
  'dead',
  'absorbed',
  'missing',
  'doubled',
  'invented',
  'corrupt',
  'drain s',
  'peak MB',
  's',
  'verdict',
];
/** Columns with text; numbers stand to the right. */
const TEXT_COLUMNS: ReadonlySet<number> = new Set([0, 1, HEAD.length - 1]);

export function table(verdicts: readonly Verdict[]): string {
  const lines = [HEAD, ...verdicts.map(cells)];
  const widths = HEAD.map((_, column) => Math.max(...lines.map((line) => line[column]?.length ?? 0)));
  return lines
    .map((line) =>
      line
        .map((cell, column) => {
          const width = widths[column] ?? 0;
          return TEXT_COLUMNS.has(column) ? cell.padEnd(width) : cell.padStart(width);
        })
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}

/** While the run goes on: the verdict of a row, and what is worth knowing of it. */
export function progress({ number, name, outcome, seconds, remarks }: Verdict): string {
  const first = `${outcome.padEnd(4)} ${number}  ${name}  ${seconds.toFixed(1)} s`;
  return [first, ...remarks.map((remark) => `       ${remark.replaceAll('\n', '\n       ')}`)].join('\n');
}

function cells({ number, name, outcome, seconds, figures }: Verdict): Cells {
  const time = seconds.toFixed(1);
  if (figures === undefined) return [number, name, ...Array.from({ length: HEAD.length - 4 }, () => ''), time, outcome];
  const { requests, acknowledged, findings, drainSeconds, peakBytes } = figures;
  return [
    number,
    name,
    ...[requests, acknowledged, findings.stored, findings.deadLettered, findings.absorbed].map(String),
    ...[findings.missing, findings.doubled, findings.invented, findings.corrupted].map(({ length }) => String(length)),
    drainSeconds.toFixed(1),
    (peakBytes / MEGABYTE).toFixed(0),
    time,
    outcome,
  ];
}
