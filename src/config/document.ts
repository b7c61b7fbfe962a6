/**
 * Reads one YAML text into a tree that still knows where each value stands and what an expanded reference could mean
 * besides. Faults are collected, each with its YAML path; what is beside them is still read.
 */
import {
  isAlias,
  isMap,
  isNode,
  isScalar,
  isSeq,
  LineCounter,
  parseDocument,
  Scalar,
  type Alias,
  type Document,
  type Node,
  type YAMLError,
  type YAMLMap,
} from 'yaml';
import type { ConfigFault } from '../errors.ts';
import type { Environment } from './environment.ts';
import { expand } from './expand.ts';
import { formatPath, type YamlPath } from './yaml_path.ts';

export interface MapTree {
  readonly kind: 'map';
  readonly source: string;
  readonly entries: ReadonlyMap<string, Tree>;
}

interface ListTree {
  readonly kind: 'list';
  readonly source: string;
  readonly items: readonly Tree[];
}

interface ScalarTree {
  readonly kind: 'scalar';
  readonly source: string;
  readonly value: unknown;
}

/** A scalar that is one reference: its text, and what the text means as YAML. */
interface ReferenceTree {
  readonly kind: 'reference';
  readonly source: string;
  readonly text: string;
  readonly typed: Tree;
  /** A quoted reference is meant as text; either kind serves as the other where the schema asks for it. */
  readonly isQuoted: boolean;
}

/** A value that a fault has been reported for, so that no check complains about it again. */
interface BrokenTree {
  readonly kind: 'broken';
  readonly source: string;
}

/** Sources read `file:line`. */
export type Tree = MapTree | ListTree | ScalarTree | ReferenceTree | BrokenTree;

const MAX_NODES = 50_000;
const MAX_EXPANDED_CHARS = 1 << 22;

/** What all texts of one configuration may use together. */
export class Budget {
  #nodes = MAX_NODES;
  #expandedChars = MAX_EXPANDED_CHARS;

  takeNode(): boolean {
    this.#nodes -= 1;
    return this.#nodes >= 0;
  }

  takeChars(count: number): boolean {
    this.#expandedChars -= count;
    return this.#expandedChars >= 0;
  }
}

const MAX_DEPTH = 64;
const MAX_ALIASES = 500;
const MAX_SYNTAX_FAULTS = 20;
const TOO_MANY_VALUES = 'too many values in one configuration, perhaps through aliases';
const TOO_MANY_CHARS = 'environment variables bring in too much text';

interface Reader {
  readonly document: Document.Parsed;
  readonly env: Environment | undefined;
  readonly budget: Budget;
  readonly faults: ConfigFault[];
  sourceOf(node: Node | null): string;
  aliases: number;
}

export interface DocumentOrigin {
  /** File name, or the option that brought the text; lines are counted in files only. */
  readonly name: string;
  readonly isFile: boolean;
  /** Where the text will stand in the configuration. */
  readonly path: YamlPath;
}

export interface DocumentResult {
  /** Undefined when the text is no YAML. */
  readonly tree: Tree | undefined;
  readonly faults: readonly ConfigFault[];
}

/** References stay unexpanded, as plain text, where `env` is undefined. */
export function readDocument(
  text: string,
  origin: DocumentOrigin,
  env: Environment | undefined,
  budget: Budget,
): DocumentResult {
  const lines = new LineCounter();
  const document = parseDocument(text, { uniqueKeys: false, prettyErrors: false, lineCounter: lines });
  const problems = [...document.errors, ...document.warnings];
  if (problems.length > 0) return { tree: undefined, faults: syntaxFaults(problems, origin, lines) };

  const sourceOf = (node: Node | null) => placeIn(origin, lines.linePos(node?.range?.[0] ?? 0).line);
  const reader: Reader = { document, env, budget, faults: [], sourceOf, aliases: 0 };
  const tree = readNode(reader, document.contents, origin.path, sourceOf(document.contents));
  return { tree, faults: reader.faults };
}

/** One fault a line: what follows on the same line is mostly a consequence. */
function syntaxFaults(problems: readonly YAMLError[], origin: DocumentOrigin, lines: LineCounter): ConfigFault[] {
  const byLine = new Map<number, string>();
  for (const { message, pos } of problems) {
    const { line, col } = lines.linePos(pos[0]);
    const place = placeIn(origin, `${line}:${col}`);
    if (!byLine.has(line)) byLine.set(line, `${place}: not valid YAML: ${message.split('\n', 1)[0]}`);
  }
  const path = formatPath(origin.path);
  const faults = [...byLine.values()].slice(0, MAX_SYNTAX_FAULTS).map((message) => ({ path, message }));
  const more = byLine.size - faults.length;
  if (more > 0) faults.push({ path, message: `${origin.name}: ${more} more lines are not valid YAML` });
  return faults;
}

const placeIn = ({ name, isFile }: DocumentOrigin, position: number | string) =>
  isFile ? `${name}:${position}` : name;

function readNode(reader: Reader, node: Node | null, path: YamlPath, source: string): Tree {
  if (path.length > MAX_DEPTH)
    return breakOnce(reader, path, source, `nested too deeply; allowed: ${MAX_DEPTH} levels`);
  if (!reader.budget.takeNode()) return breakOnce(reader, path, source, TOO_MANY_VALUES);
  if (isAlias(node)) return readAlias(reader, node, path, source);
  if (isMap(node)) return { kind: 'map', source, entries: readEntries(reader, node, path) };
  if (isScalar(node)) return readScalar(reader, node, path, source);
  if (!isSeq(node)) return { kind: 'scalar', source, value: null };
  const items = node.items.map((item, index) => readChild(reader, item, [...path, index]));
  return { kind: 'list', source, items };
}

function readChild(reader: Reader, value: unknown, path: YamlPath): Tree {
  const node = isNode(value) ? value : null;
  return readNode(reader, node, path, reader.sourceOf(node));
}

function readAlias(reader: Reader, alias: Alias, path: YamlPath, source: string): Tree {
  reader.aliases += 1;
  if (reader.aliases > MAX_ALIASES) return breakOnce(reader, path, source, `too many aliases; allowed: ${MAX_ALIASES}`);
  const target = alias.resolve(reader.document);
  if (target !== undefined) return readNode(reader, target, path, source);
  return breakAt(
    reader,
    path,
    source,
    `found the alias \`*${alias.source}\`; allowed: one whose anchor stands before it`,
  );
}

/** Keys given twice are a fault and the first one counts; `<<` brings in the keys of other maps that are not given. */
function readEntries(reader: Reader, map: YAMLMap, path: YamlPath): Map<string, Tree> {
  const entries = new Map<string, Tree>();
  const merged: Tree[] = [];
  for (const pair of map.items) {
    const key = keyText(pair.key);
    const keyPath = [...path, key ?? ''];
    const source = reader.sourceOf(isNode(pair.key) ? pair.key : null);
    if (key === undefined)
      breakAt(reader, path, source, 'found a key that is a list, a map or an alias; allowed: text');
    else if (key === '__proto__') breakAt(reader, keyPath, source, 'found a key of this name; allowed: any other');
    else if (key === '<<') merged.push(readChild(reader, pair.value, keyPath));
    else if (entries.has(key)) breakAt(reader, keyPath, source, givenTwice(entries.get(key), source));
    else entries.set(key, readNode(reader, isNode(pair.value) ? pair.value : null, keyPath, source));
  }
  for (const tree of merged) mergeKeys(reader, entries, tree, path);
  return entries;
}

/** As it is written, so that `0x10:` and `true:` are the texts they look like. Undefined for what is no scalar. */
function keyText(key: unknown): string | undefined {
  if (key === null) return '';
  if (!isScalar(key)) return undefined;
  return key.type === Scalar.PLAIN && key.source !== undefined ? key.source : String(key.value);
}

const givenTwice = (first: Tree | undefined, source: string) =>
  `found twice, at ${first?.source ?? 'an earlier line'} and ${source}; allowed: once`;

/** The `<<` of YAML 1.1, which Collector files use: a map or a list of maps, of which the earlier ones win. */
function mergeKeys(reader: Reader, entries: Map<string, Tree>, tree: Tree, path: YamlPath): void {
  if (tree.kind === 'broken') return;
  for (const item of tree.kind === 'list' ? tree.items : [tree]) {
    if (item.kind !== 'map') {
      breakAt(reader, [...path, '<<'], item.source, 'found something else; allowed: a map or a list of maps');
      continue;
    }
    for (const [key, value] of item.entries) if (!entries.has(key)) entries.set(key, value);
  }
}

function readScalar(reader: Reader, scalar: Scalar, path: YamlPath, source: string): Tree {
  const { value } = scalar;
  if (typeof value !== 'string' || reader.env === undefined || !value.includes('$')) {
    return { kind: 'scalar', source, value };
  }
  const { text, isSingleReference, problems } = expand(value, reader.env);
  for (const problem of problems) breakAt(reader, path, source, problem);
  if (problems.length > 0) return { kind: 'broken', source };
  if (!reader.budget.takeChars(text.length)) return breakOnce(reader, path, source, TOO_MANY_CHARS);
  if (!isSingleReference) return { kind: 'scalar', source, value: text };
  const isQuoted = scalar.type !== Scalar.PLAIN || scalar.tag !== undefined;
  return { kind: 'reference', source, text, typed: readTyped(reader, text, path, source), isQuoted };
}

/** The value of a variable as YAML; where it is none, it is a text, as in the Collector. */
function readTyped(reader: Reader, text: string, path: YamlPath, source: string): Tree {
  const { tree, faults } = readDocument(text, { name: source, isFile: false, path }, undefined, reader.budget);
  return tree === undefined || faults.length > 0 ? { kind: 'scalar', source, value: text } : tree;
}

function breakAt(reader: Reader, path: YamlPath, source: string, message: string): BrokenTree {
  reader.faults.push({ path: formatPath(path), message });
  return { kind: 'broken', source };
}

/** For a limit that is reached at one place and then at every later one: only the first is reported. */
function breakOnce(reader: Reader, path: YamlPath, source: string, message: string): BrokenTree {
  const isReported = reader.faults.some((fault) => fault.message === message);
  return isReported ? { kind: 'broken', source } : breakAt(reader, path, source, message);
}
