/**
 * Draws a span tree as text: names with guides on the left, bars on one time axis, durations and failures on the right.
 * Many like requests in a row share a line, so that a scan fits on a screen.
 */
import { styleText } from 'node:util';
import type { TreeNode } from './tree.ts';

export interface Canvas {
  /** Columns of the terminal; at least 80 are used, at most 100. */
  readonly width: number;
  readonly colour: boolean;
}

const BAR_WIDTH = 20;
const SERVICE_WIDTH = 15;
const DURATION_WIDTH = 8;
const STATUS_WIDTH = 9;
/** Below this there is room for names only when the services give way. */
const WIDTH_WITH_SERVICES = 96;
/** From this many on, childless siblings of one name share a line. */
const FOLD_FROM = 4;
/** However deep a span lies, this much of its name is shown. */
const MIN_LABEL_WIDTH = 12;

interface Row {
  readonly guide: string;
  readonly label: string;
  readonly service: string;
  readonly startMs: number;
  readonly endMs: number;
  readonly spans: number;
  readonly failures: number;
}

/** Lines of the drawing, without line ends. */
export function waterfall(tree: readonly TreeNode[], canvas: Canvas): string[] {
  const rows: Row[] = [];
  addRows(rows, tree, 0, '');
  const startMs = Math.min(...rows.map((row) => row.startMs));
  const endMs = Math.max(...rows.map((row) => row.endMs));
  return rows.map((row) => draw(row, startMs, Math.max(endMs - startMs, 1), canvas));
}

/** The demo's own tree is shallow, so recursion is safe here. */
function addRows(rows: Row[], nodes: readonly TreeNode[], depth: number, indent: string): void {
  const groups = fold(nodes);
  for (const group of groups) {
    const last = group === groups.at(-1);
    rows.push(rowOf(group, depth === 0 ? '' : indent + (last ? '└ ' : '├ ')));
    const below = depth === 0 ? '' : indent + (last ? '  ' : '│ ');
    for (const node of group) addRows(rows, node.children, depth + 1, below);
  }
}

/** Runs of childless siblings of one name; every other node is alone. */
function fold(nodes: readonly TreeNode[]): TreeNode[][] {
  const groups: TreeNode[][] = [];
  for (const node of nodes) {
    const group = groups.at(-1);
    const first = group?.[0];
    const alike = first?.name === node.name && first.service_name === node.service_name;
    if (group && alike && first.children.length === 0 && node.children.length === 0) group.push(node);
    else groups.push([node]);
  }
  return groups.flatMap((group) => (group.length < FOLD_FROM ? group.map((node) => [node]) : [group]));
}

function rowOf(group: readonly TreeNode[], guide: string): Row {
  const starts = group.map((node) => Date.parse(node.started_at));
  const ends = group.map((node, index) => (starts[index] ?? 0) + (node.duration_ns ?? 0) / 1e6);
  const [first] = group;
  return {
    guide,
    label: group.length === 1 ? (first?.name ?? '') : `${first?.name} × ${group.length}`,
    service: first?.service_name ?? '',
    startMs: Math.min(...starts),
    endMs: Math.max(...ends),
    spans: group.length,
    failures: group.filter((node) => node.status_code === 2).length,
  };
}

function draw(row: Row, startMs: number, spanMs: number, { width, colour }: Canvas): string {
  const paint = (format: Parameters<typeof styleText>[0], text: string) =>
    colour && text !== '' ? styleText(format, text, { validateStream: false }) : text;
  const usable = Math.min(Math.max(width, 80), 100);
  const withService = usable >= WIDTH_WITH_SERVICES;
  const gaps = withService ? 4 : 3;
  const fixed = BAR_WIDTH + DURATION_WIDTH + STATUS_WIDTH + gaps + (withService ? SERVICE_WIDTH : 0);
  const guide = row.guide.slice(-(usable - fixed - MIN_LABEL_WIDTH));
  const label = fit(row.label, usable - fixed - guide.length);
  const failed = row.failures > 0;
  return [
    paint('dim', guide) + (failed ? paint('red', label) : label),
    ...(withService ? [paint('dim', fit(row.service, SERVICE_WIDTH))] : []),
    paint(failed ? 'red' : 'cyan', bar(row, startMs, spanMs)),
    formatDuration(row.endMs - row.startMs).padStart(DURATION_WIDTH),
    paint('red', status(row)),
  ]
    .join(' ')
    .trimEnd();
}

function status({ spans, failures }: Row): string {
  if (failures === 0) return '';
  return spans === 1 ? 'error' : `${failures} errors`;
}

function bar(row: Row, startMs: number, spanMs: number): string {
  const column = (ms: number) => ((ms - startMs) / spanMs) * BAR_WIDTH;
  const from = Math.min(Math.floor(column(row.startMs)), BAR_WIDTH - 1);
  const length = Math.max(Math.round(column(row.endMs)) - from, 1);
  const mark = row.endMs - row.startMs < spanMs / BAR_WIDTH / 4 ? '╸' : '━';
  return (' '.repeat(from) + mark.repeat(length)).padEnd(BAR_WIDTH);
}

function fit(text: string, width: number): string {
  return text.length <= width ? text.padEnd(width) : `${text.slice(0, Math.max(width - 1, 0))}…`;
}

function formatDuration(ms: number): string {
  if (ms < 1) return `${Math.round(ms * 1000)} µs`;
  if (ms < 1000) return `${Math.round(ms)} ms`;
  if (ms < 60_000) return `${(ms / 1000).toFixed(1)} s`;
  return `${Math.floor(ms / 60_000)}m ${String(Math.round((ms % 60_000) / 1000)).padStart(2, '0')}s`;
}
