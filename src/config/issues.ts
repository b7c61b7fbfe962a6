/** Turns what zod found into faults: the YAML path, what was found, what is allowed. */
import { inspect } from 'node:util';
import { z } from 'zod';
import type { ConfigFault } from '../errors.ts';
import { closest, unknownName } from './suggest.ts';
import { Secret } from './secret.ts';
import { appendPath } from './yaml_path.ts';

type Issue = z.core.$ZodIssue;
type RawIssue = z.core.$ZodRawIssue;

/** Parse with these, so that issues carry what `faultsOf` needs. */
export const PARSE_OPTIONS = {
  reportInput: true,
  /** The message of `unrecognized_keys` is the list of known keys: only here zod still says which schema it was. */
  error: (issue: RawIssue) => (issue.code === 'unrecognized_keys' ? knownKeys(issue.inst).join(SEPARATOR) : undefined),
} as const;

const SEPARATOR = ', ';

const knownKeys = (schema: unknown) => (schema instanceof z.ZodObject ? Object.keys(schema.shape) : []);

const TYPE_NAMES: Readonly<Record<string, string>> = {
  string: 'text',
  number: 'a number',
  int: 'a whole number',
  boolean: 'true or false',
  object: 'a map',
  record: 'a map',
  array: 'a list',
  tuple: 'a list',
  null: 'nothing',
};

const FORMAT_NAMES: Readonly<Record<string, string>> = {
  url: 'a URL',
  email: 'an e-mail address',
  uuid: 'a UUID',
  ipv4: 'an IPv4 address',
  ipv6: 'an IPv6 address',
};

/** `base` is the path of the parsed value. Custom messages of schemas are read as what is allowed. */
export function faultsOf(issues: readonly Issue[], base: string): ConfigFault[] {
  const telling = issues.flatMap(tellingIssues);
  const meant = new Set(telling.flatMap((issue) => meantKeys(issue, base)));
  return telling.flatMap((issue) => {
    if (issue.code === 'unrecognized_keys') return unknownKeys(issue, base);
    const path = appendPath(base, issue.path);
    if (!isMissing(issue)) return [{ path, message: describe(issue) }];
    return meant.has(path) ? [] : [{ path, message: `missing; allowed: ${allowed(issue)}` }];
  });
}

/** Every issue, those of all branches of unions too, each with its whole path. */
export function allIssues(issue: Issue): Issue[] {
  if (issue.code !== 'invalid_union') return [issue];
  return [issue, ...issue.errors.flat().flatMap((inner) => allIssues(below(issue, inner)))];
}

/** Of a union the branch that was meant, if one takes this kind of value; else the union's own issue. */
function tellingIssues(issue: Issue): Issue[] {
  if (issue.code !== 'invalid_union') return [issue];
  const [meant] = issue.errors.filter((branch) => !branch.some(isMismatch)).toSorted((a, b) => a.length - b.length);
  return meant === undefined ? [issue] : meant.flatMap((inner) => tellingIssues(below(issue, inner)));
}

const MISMATCHES: ReadonlySet<unknown> = new Set(['invalid_type', 'invalid_value', 'invalid_format', 'custom']);

const isMismatch = ({ code, path }: Issue) => path.length === 0 && MISMATCHES.has(code);

const below = (outer: Issue, inner: Issue): Issue => ({ ...inner, path: [...outer.path, ...inner.path] });

function knownKeysOf(issue: z.core.$ZodIssueUnrecognizedKeys): string[] {
  return issue.message === '' ? [] : issue.message.split(SEPARATOR);
}

function unknownKeys(issue: z.core.$ZodIssueUnrecognizedKeys, base: string): ConfigFault[] {
  const known = knownKeysOf(issue);
  return issue.keys.map((key) => ({
    path: appendPath(base, [...issue.path, key]),
    message: unknownName('key', key, known),
  }));
}

/** The keys that misspelt ones stand for: they are not missing besides. */
function meantKeys(issue: Issue, base: string): string[] {
  if (issue.code !== 'unrecognized_keys') return [];
  const known = knownKeysOf(issue);
  return issue.keys.flatMap((key) => {
    const guess = closest(key, known);
    return guess === undefined ? [] : [appendPath(base, [...issue.path, guess])];
  });
}

const isMissing = (issue: Issue) => inputOf(issue) === undefined;

/** For a union told apart by one key, zod hands over the map around it. */
function inputOf(issue: Issue): unknown {
  const { input } = issue;
  if (issue.code !== 'invalid_union' || issue.discriminator === undefined) return input;
  const entry = Object.entries(Object(input)).find(([key]) => key === issue.discriminator);
  return entry?.[1];
}

function describe(issue: Issue): string {
  const input = inputOf(issue);
  if (issue.code === 'custom' && isCollection(input)) return issue.message;
  const noun = issue.code === 'invalid_key' ? 'the key ' : '';
  return `found ${noun}${found(input)}; allowed: ${allowed(issue)}`;
}

const isCollection = (value: unknown) => typeof value === 'object' && value !== null && !(value instanceof Secret);

const MAX_FOUND_CHARS = 80;
const PASSWORD_IN_URL = /(:\/\/[^:/\s]*):\S*@/;

function found(value: unknown): string {
  if (value === null) return 'nothing';
  if (Array.isArray(value)) return 'a list';
  if (isCollection(value)) return 'a map';
  if (typeof value !== 'string') return inspect(value);
  const shown = value.replace(PASSWORD_IN_URL, '$1:[REDACTED]@');
  return JSON.stringify(shown.length > MAX_FOUND_CHARS ? `${shown.slice(0, MAX_FOUND_CHARS)}…` : shown);
}

function allowed(issue: Issue): string {
  switch (issue.code) {
    case 'invalid_type':
      return TYPE_NAMES[issue.expected] ?? issue.expected;
    case 'invalid_value':
      return issue.values.map(String).join(', ');
    case 'too_small':
      return bound(issue.inclusive === false ? 'more than' : 'at least', issue.minimum, issue.origin);
    case 'too_big':
      return bound(issue.inclusive === false ? 'less than' : 'at most', issue.maximum, issue.origin);
    case 'not_multiple_of':
      return `a multiple of ${issue.divisor}`;
    case 'invalid_format':
      return FORMAT_NAMES[issue.format] ?? `text that matches ${issue.pattern ?? issue.format}`;
    case 'invalid_key':
      return issue.issues.map(allowed).join(' and ');
    case 'invalid_union':
      return allowedInUnion(issue);
    default:
      return issue.message;
  }
}

function bound(words: string, limit: number | bigint, origin: string): string {
  const unit = COUNTED[origin];
  if (unit === undefined) return `${words} ${limit}`;
  return `${words} ${limit} ${unit}${limit === 1 ? '' : 's'}`;
}

const COUNTED: Readonly<Record<string, string>> = { string: 'character', array: 'item' };

function allowedInUnion(issue: z.core.$ZodIssueInvalidUnion): string {
  if ('options' in issue && issue.options !== undefined) return issue.options.map(String).join(', ');
  const each = issue.errors.flat().filter((inner) => inner.path.length === 0);
  return each.length === 0 ? issue.message : [...new Set(each.map(allowed))].join(' or ');
}
