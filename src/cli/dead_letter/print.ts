/** Dead letters as text and as JSON. What clients and destinations wrote is shown so that it cannot steer a terminal. */
import type { Letter, OpenedLetter } from './letter.ts';

const MAX_REASON_CHARS = 120;

const HEAD = ['ID', 'DEAD AT', 'EXPORTER', 'SIGNAL', 'TENANT', 'ITEMS', 'REASON', 'WHERE'];

/** A line each, under a head if there are any; says where each is when they are in several places. */
export function tableOf(letters: readonly Letter[]): string[] {
  if (letters.length === 0) return [];
  const isOnePlace = new Set(letters.map(({ where }) => where)).size === 1;
  const rows = [HEAD, ...letters.map(cellsOf)].map((row) => (isOnePlace ? row.slice(0, -1) : row));
  const widths = HEAD.map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)));
  return rows.map((row) =>
    row
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join('  ')
      .trimEnd(),
  );
}

/** All of a letter, and below an empty line what is in it. */
export function textOf({ letter, content }: OpenedLetter): string[] {
  const head = pairsOf([
    ['id', letter.id],
    ['where', letter.where],
    ['dead at', letter.dead_at],
    ['exporter', letter.exporter],
    ['signal', letter.signal],
    ['tenant', tenantOf(letter)],
    ['received', letter.received_at.toISOString()],
    ...(letter.sqlstate === null ? [] : [['sqlstate', letter.sqlstate] as const]),
    ['reason', letter.reason],
    ['items', String(letter.items)],
    ['format', `${letter.format}, ${letter.size_bytes} bytes`],
  ]);
  return [...head, '', ...contentText(content)];
}

/** Indented, of several lines. */
export function toJson(value: unknown): string {
  return JSON.stringify(value, undefined, 2).replaceAll(/[^\P{Cc}\n]/gu, escaped);
}

export function oneLine(text: string): string {
  return text.replaceAll(/\p{Cc}/gu, escaped);
}

function cellsOf(letter: Letter): string[] {
  const { id, dead_at, exporter, signal, items, reason, sqlstate, where } = letter;
  const said = [sqlstate ?? '', reason].join(' ').trimStart();
  const short = said.length > MAX_REASON_CHARS ? `${said.slice(0, MAX_REASON_CHARS)}…` : said;
  const time = `${dead_at.slice(0, 19)}Z`;
  return [id, time, exporter, signal, tenantOf(letter), String(items), short, where].map(oneLine);
}

function contentText(content: OpenedLetter['content']): string[] {
  if (content === undefined) return ['this version cannot show what is in it'];
  if ('base64' in content) return [content.base64];
  if ('requests' in content) return content.requests.map(toJson);
  const filled = Object.entries(content.row).filter(([, value]) => value !== null);
  return pairsOf(filled.map(([column, value]) => [column, typeof value === 'string' ? value : JSON.stringify(value)]));
}

function pairsOf(pairs: readonly (readonly [name: string, value: string])[]): string[] {
  const width = Math.max(0, ...pairs.map(([name]) => name.length));
  return pairs.map(([name, value]) => `${name.padEnd(width)}  ${oneLine(value)}`);
}

function tenantOf({ org_id, workspace_id, target_id }: Letter): string {
  return [org_id, workspace_id, ...(target_id === null ? [] : [target_id])].join('/');
}

/** As JSON writes it. */
function escaped(char: string): string {
  return `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`;
}
