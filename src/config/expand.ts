/**
 * References to environment variables inside a configuration text: `${env:X}`, `${env:X:-default}` and, as the Collector
 * has it, `${X}` for short; `$$` is a `$`. A default may hold references itself. As in the Collector, a default stands in
 * for a variable that is not set, not for one that is set to nothing. Unlike there, the value of a variable is data:
 * a `$` in a password means nothing and cannot refer to other variables.
 */
import type { Environment } from './environment.ts';

export interface Expansion {
  readonly text: string;
  /** The whole input is one reference, so that its value may take a type of its own. */
  readonly isSingleReference: boolean;
  /** What is wrong with the input, as sentences; `text` is of no use when there is one. */
  readonly problems: readonly string[];
}

const MAX_NESTING = 10;
const NAME = /(?:env:)?(?<name>[A-Za-z_][A-Za-z0-9_]*)(?=\}|:-)/y;

interface Cursor {
  readonly input: string;
  readonly env: Environment;
  readonly problems: Set<string>;
  at: number;
  isRefused: boolean;
}

export function expand(input: string, env: Environment): Expansion {
  const cursor: Cursor = { input, env, problems: new Set(), at: 0, isRefused: false };
  let isSingleReference = false;
  let text = '';
  if (input.startsWith('${')) {
    text = readReference(cursor, 1, true);
    isSingleReference = cursor.at === input.length;
  }
  text += readText(cursor, 0, true);
  return { text, isSingleReference, problems: [...cursor.problems] };
}

/**
 * Reads up to the end of the input or, inside a reference, up to the brace that closes it. A default that is not needed
 * is read all the same, to find its end, but its own unset variables are no fault: `isNeeded` is false there.
 */
function readText(cursor: Cursor, nesting: number, isNeeded: boolean): string {
  const { input } = cursor;
  let text = '';
  while (cursor.at < input.length) {
    if (input.startsWith('${', cursor.at)) {
      text += readReference(cursor, nesting + 1, isNeeded);
    } else if (nesting > 0 && input[cursor.at] === '}') {
      return text;
    } else {
      text += input[cursor.at];
      cursor.at += input.startsWith('$$', cursor.at) ? 2 : 1;
    }
  }
  return text;
}

function readReference(cursor: Cursor, nesting: number, isNeeded: boolean): string {
  const start = cursor.at;
  NAME.lastIndex = start + 2;
  const name = NAME.exec(cursor.input)?.groups?.name;
  if (name === undefined) return refuse(cursor, malformed(cursor.input, start));
  if (nesting > MAX_NESTING) return refuse(cursor, `references nest deeper than ${MAX_NESTING}; allowed: fewer`);
  cursor.at = NAME.lastIndex;

  const value = Object.hasOwn(cursor.env, name) ? cursor.env[name] : undefined;
  const fallback = readDefault(cursor, nesting, isNeeded && value === undefined);
  if (cursor.input[cursor.at] !== '}') return refuse(cursor, unclosed(cursor.input, start));
  cursor.at += 1;
  if (value === undefined && fallback === undefined && isNeeded) cursor.problems.add(unset(name));
  return value ?? fallback ?? '';
}

function readDefault(cursor: Cursor, nesting: number, isNeeded: boolean): string | undefined {
  if (!cursor.input.startsWith(':-', cursor.at)) return undefined;
  cursor.at += 2;
  return readText(cursor, nesting, isNeeded);
}

/** Gives up on the rest of the input; the references around, which then have no end, are not reported too. */
function refuse(cursor: Cursor, problem: string): string {
  if (!cursor.isRefused) cursor.problems.add(problem);
  cursor.isRefused = true;
  cursor.at = cursor.input.length;
  return '';
}

const unset = (name: string) => `environment variable \`${name}\` is not set; set it or write \${env:${name}:-default}`;

const unclosed = (input: string, start: number) =>
  `found \`${excerpt(input, start)}\` without its closing brace; allowed: \${env:NAME}, or $\${ for the characters themselves`;

function malformed(input: string, start: number): string {
  const end = input.indexOf('}', start);
  if (end < 0) return unclosed(input, start);
  const found = excerpt(input.slice(0, end + 1), start);
  return `found the reference \`${found}\`; allowed: \${env:NAME}, \${env:NAME:-default}, or $\${ for the characters themselves`;
}

const excerpt = (input: string, start: number) => JSON.stringify(input.slice(start, start + 40)).slice(1, -1);
