/**
 * The text of a place in the configuration, as faults print it and `--set` takes it: `receivers.otlp/2.protocols`,
 * `exporters[0]`, and `resource["service.name"]` for a key that holds a dot, a bracket, a quote, `=` or a space.
 */

/** Keys of maps are strings, positions in lists are numbers. */
export type YamlPath = readonly (string | number)[];

const BARE_KEY = /^[^.[\]"=\s\p{C}]+$/u;
const SEGMENT = /\[(?<index>\d{1,9})\]|\[(?<quoted>"(?:[^"\\]|\\.)*")\]|(?<dot>\.?)(?<bare>[^.[\]"=\s\p{C}]+)/uy;

export function formatPath(path: readonly PropertyKey[]): string {
  return appendPath('', path);
}

/** `base` is a text that this file made; empty for the root. */
export function appendPath(base: string, path: readonly PropertyKey[]): string {
  let text = base;
  for (const segment of path) text += formatSegment(segment, text === '');
  return text;
}

function formatSegment(segment: PropertyKey, isFirst: boolean): string {
  if (typeof segment === 'number') return `[${segment}]`;
  const key = String(segment);
  if (!BARE_KEY.test(key)) return `[${JSON.stringify(key)}]`;
  return isFirst ? key : `.${key}`;
}

/** Reads the longest path that `text` begins with; `length` says where it ends. */
export function parsePathPrefix(text: string): { path: YamlPath; length: number } {
  const path: (string | number)[] = [];
  let length = 0;
  for (;;) {
    SEGMENT.lastIndex = length;
    const groups = SEGMENT.exec(text)?.groups;
    const segment = groups === undefined ? undefined : parseSegment(groups, length === 0);
    if (segment === undefined) return { path, length };
    path.push(segment);
    length = SEGMENT.lastIndex;
  }
}

function parseSegment(groups: Record<string, string | undefined>, isFirst: boolean): string | number | undefined {
  if (groups.index !== undefined) return Number(groups.index);
  if (groups.quoted !== undefined) return parseQuoted(groups.quoted);
  return isFirst === (groups.dot === '') ? groups.bare : undefined;
}

function parseQuoted(text: string): string | undefined {
  try {
    return String(JSON.parse(text));
  } catch {
    return undefined;
  }
}

/** Whether `path` is `ancestor` itself or lies below it. Both are texts that this file made. */
export function isAtOrBelow(path: string, ancestor: string): boolean {
  return path === ancestor || path.startsWith(`${ancestor}.`) || path.startsWith(`${ancestor}[`);
}
