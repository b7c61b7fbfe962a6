/**
 * Reads the configuration: files in order, then `--set` assignments in order, each laid over what came before. A map over
 * a map merges key by key; anything else replaces what was there, lists and empty values included. Nothing is thrown for
 * a faulty configuration: all faults are collected, so that the operator sees them together with those of later checks.
 */
import { open, type FileHandle } from 'node:fs/promises';
import type { ConfigFault } from '../errors.ts';
import { Budget, readDocument, type MapTree, type Tree } from './document.ts';
import type { Environment } from './environment.ts';
import { formatPath, parsePathPrefix, type YamlPath } from './yaml_path.ts';

export interface ConfigOrigins {
  readonly files: readonly string[];
  /**
   * Assignments `path=value`, with the path as faults print it (`exporters.postgres/archive.database_url`, or
   * `["a.b"]` for a key with a dot) and the value in YAML. Lists are set as a whole.
   */
  readonly sets: readonly string[];
  readonly env: Environment;
}

/** The merged configuration as plain data, and what cannot be seen in it any more. All keys are texts of paths. */
export interface RawConfig {
  /** Always a map. Variables are expanded; what a fault has been reported for is undefined. */
  readonly root: unknown;
  readonly faults: readonly ConfigFault[];
  /** False when a file or an assignment could not be read: then checks of the rest would report what is not wrong. */
  readonly isComplete: boolean;
  /** What a value that is one `${env:X}` means besides: its text, or for a quoted one what the text means in YAML. */
  readonly alternatives: ReadonlyMap<string, unknown>;
  /** Where a fault has been reported already. */
  readonly broken: ReadonlySet<string>;
  /** `file:line` or `--set path` of every value. */
  readonly sources: ReadonlyMap<string, string>;
}

const MAX_FILE_BYTES = 1 << 20;

export async function loadConfig({ files, sets, env }: ConfigOrigins): Promise<RawConfig> {
  const loading: Loading = { env, budget: new Budget(), faults: [], layers: [], isComplete: true };
  for (const file of files) addLayer(loading, await readFileLayer(loading, file));
  for (const set of sets) addLayer(loading, readSetLayer(loading, set));

  const empty: Tree = { kind: 'map', source: '', entries: new Map() };
  const { faults, isComplete } = loading;
  const raw = { faults, isComplete, alternatives: new Map(), broken: new Set<string>(), sources: new Map() };
  return { ...raw, root: toPlain(loading.layers.reduce(merge, empty), [], raw) };
}

/** The same faults, each followed by where in the files the value stands, or the nearest map around a missing one. */
export function withSources(raw: RawConfig, faults: readonly ConfigFault[]): ConfigFault[] {
  return faults.map(({ path, message }) => {
    const source = nearestSource(raw, path);
    return { path, message: source === undefined ? message : `${message} (${source})` };
  });
}

function nearestSource({ sources }: RawConfig, path: string): string | undefined {
  const segments = [...parsePathPrefix(path).path];
  for (; segments.length > 0; segments.pop()) {
    const source = sources.get(formatPath(segments));
    if (source !== undefined) return source;
  }
  return undefined;
}

interface Loading {
  readonly env: Environment;
  readonly budget: Budget;
  readonly faults: ConfigFault[];
  readonly layers: Tree[];
  isComplete: boolean;
}

function addLayer(loading: Loading, layer: Tree | undefined): void {
  if (layer === undefined) loading.isComplete = false;
  else loading.layers.push(layer);
}

async function readFileLayer(loading: Loading, file: string): Promise<Tree | undefined> {
  const text = await readBounded(file).catch((error: unknown) =>
    refuse(loading, `cannot read ${file}: ${reason(error)}`),
  );
  if (text === undefined) return undefined;
  const { tree, faults } = readDocument(text, { name: file, isFile: true, path: [] }, loading.env, loading.budget);
  loading.faults.push(...faults);
  if (tree?.kind === 'scalar' && tree.value === null) return { kind: 'map', source: tree.source, entries: new Map() };
  if (tree === undefined || tree.kind === 'map') return tree;
  return refuse(loading, `${file}: found no map at the top; allowed: keys such as \`receivers:\` and \`service:\``);
}

function readSetLayer(loading: Loading, set: string): Tree | undefined {
  const { path, length } = parsePathPrefix(set);
  const keys = path.filter((segment) => typeof segment === 'string');
  if (set[length] !== '=' || keys.length === 0 || keys.includes('__proto__')) {
    return refuse(
      loading,
      `found --set ${JSON.stringify(keyPart(set))}; allowed: path=value, such as exporters.debug.verbosity=detailed`,
    );
  }
  if (keys.length < path.length) {
    return refuse(
      loading,
      `found --set ${formatPath(path)}, a place in a list; allowed: the whole list, such as a.b=[x, y]`,
    );
  }
  const name = `--set ${formatPath(path)}`;
  const { tree, faults } = readDocument(
    set.slice(length + 1),
    { name, isFile: false, path },
    loading.env,
    loading.budget,
  );
  loading.faults.push(...faults);
  if (tree === undefined) return undefined;
  return keys.reduceRight<Tree>(
    (inner, key) => ({ kind: 'map', source: name, entries: new Map([[key, inner]]) }),
    tree,
  );
}

/** Without the value, which may be a secret. */
const keyPart = (set: string) => (set.split('=', 1)[0] ?? '').slice(0, 100);

function refuse(loading: Loading, message: string): undefined {
  loading.faults.push({ path: '', message });
}

async function readBounded(file: string): Promise<string> {
  const handle = await open(file, 'r');
  try {
    const bytes = await readUpTo(handle, MAX_FILE_BYTES + 1);
    if (bytes.length > MAX_FILE_BYTES) throw new RangeError(`larger than ${MAX_FILE_BYTES} bytes`);
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } finally {
    await handle.close();
  }
}

/** Not by the size that the file system states: pipes and devices have none. */
async function readUpTo(handle: FileHandle, maxBytes: number): Promise<Uint8Array> {
  const buffer = new Uint8Array(maxBytes);
  let filled = 0;
  while (filled < maxBytes) {
    const { bytesRead } = await handle.read(buffer, filled, maxBytes - filled, null);
    if (bytesRead === 0) break;
    filled += bytesRead;
  }
  return buffer.subarray(0, filled);
}

const REASONS: Readonly<Record<string, string>> = {
  ENOENT: 'no such file',
  EACCES: 'permission denied',
  EISDIR: 'it is a directory',
  ERR_ENCODING_INVALID_ENCODED_DATA: 'it is not UTF-8',
};

function reason(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const code = 'code' in error && typeof error.code === 'string' ? error.code : '';
  return REASONS[code] ?? error.message;
}

function merge(under: Tree, over: Tree): Tree {
  if (under.kind !== 'map' || over.kind !== 'map') return over;
  const entries = new Map(under.entries);
  for (const [key, value] of over.entries) {
    const below = entries.get(key);
    entries.set(key, below === undefined ? value : merge(below, value));
  }
  return { ...under, entries };
}

interface Notes {
  readonly alternatives: Map<string, unknown>;
  readonly broken: Set<string>;
  readonly sources: Map<string, string>;
}

function toPlain(tree: Tree, path: YamlPath, notes: Notes): unknown {
  const place = formatPath(path);
  notes.sources.set(place, tree.source);
  switch (tree.kind) {
    case 'scalar':
      return tree.value;
    case 'list':
      return tree.items.map((item, index) => toPlain(item, [...path, index], notes));
    case 'map':
      return plainMap(tree, path, notes);
    case 'reference': {
      const typed = toPlain(tree.typed, path, notes);
      notes.alternatives.set(place, tree.isQuoted ? typed : tree.text);
      return tree.isQuoted ? tree.text : typed;
    }
    default:
      notes.broken.add(place);
      return undefined;
  }
}

const plainMap = (tree: MapTree, path: YamlPath, notes: Notes) =>
  Object.fromEntries([...tree.entries].map(([key, value]) => [key, toPlain(value, [...path, key], notes)]));
