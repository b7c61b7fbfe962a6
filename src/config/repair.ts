/**
 * Second readings of a value that a schema refused: an empty value that may stand for an empty map or for nothing, and
 * one `${env:X}` that may be meant as text or as what its text says in YAML.
 */
import type { z } from 'zod';
import type { RawConfig } from './load.ts';
import { appendPath, type YamlPath } from './yaml_path.ts';

export interface RepairContext {
  /** Of the parsed value. */
  readonly path: string;
  readonly raw: RawConfig;
  /** Places whose alternative has been put in: each gets one try, which bounds the rounds. */
  readonly tried: Set<string>;
}

/** A copy of `data` with other readings where there are issues; `data` itself when no other reading is left. */
export function repair(data: unknown, issues: readonly z.core.$ZodIssue[], context: RepairContext): unknown {
  const { path, raw, tried } = context;
  const aboutValues = issues.filter((issue) => issue.code !== 'invalid_key');
  const issuesByPlace = Map.groupBy(aboutValues, (issue) => appendPath(path, issue.path));
  let repaired = data;
  for (const [place, issuesHere] of issuesByPlace) {
    const local = (issuesHere[0]?.path ?? []).map((segment) => (typeof segment === 'symbol' ? '' : segment));
    const alternative = raw.alternatives.get(place);
    if (!tried.has(place) && raw.alternatives.has(place) && issuesHere.some((issue) => wants(issue, alternative))) {
      tried.add(place);
      repaired = withValueAt(repaired, local, alternative);
    } else if (valueAt(data, local) === null) {
      if (issuesHere.some((issue) => wants(issue, {}))) repaired = withValueAt(repaired, local, {});
      else if (typeof local.at(-1) !== 'number') repaired = withValueAt(repaired, local, undefined);
    }
  }
  return repaired;
}

const EXPECTED_KINDS: Readonly<Record<string, string>> = { int: 'number', record: 'object', tuple: 'array' };

function wants(issue: z.core.$ZodIssue, value: unknown): boolean {
  if (issue.code === 'invalid_value') return issue.values.some((allowed) => allowed === value);
  if (issue.code !== 'invalid_type') return false;
  const kind = Array.isArray(value) ? 'array' : typeof value;
  return value !== null && (EXPECTED_KINDS[issue.expected] ?? issue.expected) === kind;
}

function valueAt(data: unknown, path: YamlPath): unknown {
  return path.reduce<unknown>((value, segment) => entriesOf(value).get(String(segment)), data);
}

const entriesOf = (value: unknown): ReadonlyMap<string, unknown> =>
  new Map(typeof value === 'object' && value !== null ? Object.entries(value) : []);

/** A copy with one value exchanged, or taken out of its map when `value` is undefined. */
function withValueAt(data: unknown, path: YamlPath, value: unknown): unknown {
  const [first, ...rest] = path;
  if (first === undefined) return value;
  if (Array.isArray(data)) return data.map((item, index) => (index === first ? withValueAt(item, rest, value) : item));
  const entries = new Map(entriesOf(data));
  const key = String(first);
  if (rest.length === 0 && value === undefined) entries.delete(key);
  else entries.set(key, withValueAt(entries.get(key), rest, value));
  return Object.fromEntries(entries);
}
