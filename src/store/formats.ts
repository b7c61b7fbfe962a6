/**
 * Every layout in which this program has ever written rows. Queues on disk and dead letters keep rows for long, so a
 * format stays here, with its columns as they were, when a later one takes its place.
 */
import { LOG_ROWS } from './log_rows.ts';
import { METRIC_ROWS } from './metric_rows.ts';
import type { RowFormat } from './rows.ts';
import { SPAN_ROWS } from './span_rows.ts';

const FORMATS: ReadonlyMap<string, RowFormat> = new Map(
  [SPAN_ROWS, LOG_ROWS, METRIC_ROWS].map((rows) => [rows.format, rows]),
);

/** Undefined for a format that a later program wrote. */
export function rowFormat(name: string): RowFormat | undefined {
  return FORMATS.get(name);
}

/** Takes any number of rows of the format between COPY's header and trailer. */
export function copyStatement({ table, columns }: RowFormat): string {
  return `COPY ${table} (${columns.join(', ')}) FROM STDIN (FORMAT binary)`;
}
