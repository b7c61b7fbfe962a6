/** The fault matrix: all rows, in the order of their numbers; those of our own at the end. */
import { DATA_ROWS } from './faults/data.ts';
import { DISK_ROWS } from './faults/disk.ts';
import { EXPORTER_ROWS } from './faults/exporters.ts';
import { OUTAGE_ROWS } from './faults/outage.ts';
import { POSTGRES_ROWS } from './faults/postgres.ts';
import { PROCESS_ROWS } from './faults/process.ts';
import { TEETH_ROWS } from './faults/teeth.ts';
import type { Row } from './row.ts';

const byNumber = (one: Row, other: Row): number => one.number.localeCompare(other.number, 'en', { numeric: true });

export const MATRIX: readonly Row[] = [
  ...[...PROCESS_ROWS, ...POSTGRES_ROWS, ...DISK_ROWS, ...DATA_ROWS].toSorted(byNumber),
  ...OUTAGE_ROWS,
  ...EXPORTER_ROWS,
  ...TEETH_ROWS,
];
