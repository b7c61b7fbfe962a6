/** `sluice components`: what a configuration can name, with the keys, defaults and documentation of each schema. */
import { z } from 'zod';
import type { ComponentFactory } from '../component.ts';
import { SIGNALS } from '../model/batch.ts';
import type { Signal } from '../model/batch.ts';
import { registry } from '../registry.ts';
import { EXIT } from './command.ts';
import type { Command, CommandContext } from './command.ts';

type Kind = ComponentFactory['kind'];
type Schema = z.core.JSONSchema._JSONSchema;

/** A key of a component's configuration; a dot goes into a map, `[]` into the entries of a list. */
interface Key {
  readonly key: string;
  readonly type: string;
  readonly required: boolean;
  readonly default?: unknown;
  readonly description?: string;
}

/** What `--json` prints of each component. */
interface Description {
  readonly kind: Kind;
  readonly type: string;
  /** Empty for an extension, which carries none. */
  readonly signals: readonly Signal[];
  readonly config: readonly Key[];
}

const KINDS: readonly Kind[] = ['receiver', 'processor', 'exporter', 'extension'];

export const components: Command = {
  name: 'components',
  summary: 'List receivers, processors, exporters and extensions with their configuration keys.',
  options: { json: { type: 'boolean', describe: 'Print JSON.' } },
  async run(context: CommandContext) {
    const all = KINDS.flatMap((kind) => registry.filter((factory) => factory.kind === kind).map(describe));
    if (context.values['json'] === true) context.print(JSON.stringify(all, undefined, 2));
    else for (const line of textOf(all)) context.print(line);
    return EXIT.ok;
  },
};

function describe(factory: ComponentFactory): Description {
  const { kind, type } = factory;
  return { kind, type, signals: signalsOf(factory), config: keysOf(factory.config) };
}

function signalsOf(factory: ComponentFactory): readonly Signal[] {
  if (factory.kind === 'extension') return [];
  if (factory.kind === 'processor') return SIGNALS.filter((signal) => factory.create[signal] !== undefined);
  return factory.signals;
}

/** What the user writes is the input of a schema; the default of one that transforms shows only in its output. */
function keysOf(schema: z.ZodType): Key[] {
  const input = z.toJSONSchema(schema, { io: 'input', unrepresentable: 'any' });
  const output = z.toJSONSchema(schema, { io: 'output', unrepresentable: 'any' });
  return [...flatten(input, output, '')];
}

function* flatten(input: Schema, output: Schema | undefined, prefix: string): Generator<Key> {
  if (typeof input === 'boolean') return;
  const required = new Set(input.required);
  for (const [name, property] of Object.entries(input.properties ?? {})) {
    const result = typeof output === 'object' ? output.properties?.[name] : undefined;
    const key = `${prefix}${name}`;
    if (isMapOfKeys(property)) {
      yield* flatten(property, result, `${key}.`);
    } else {
      yield keyOf(key, property, result, required.has(name));
      const entries = entriesOf(property);
      if (entries !== undefined) yield* flatten(entries, entriesOf(result), `${key}[].`);
    }
  }
}

function keyOf(key: string, input: Schema, output: Schema | undefined, required: boolean): Key {
  const value = defaultOf(input) ?? defaultOf(output);
  const description = typeof input === 'object' ? input.description : undefined;
  return {
    key,
    type: typeName(input),
    required: required && value === undefined,
    ...(value === undefined ? {} : { default: value }),
    ...(description === undefined ? {} : { description }),
  };
}

function defaultOf(schema: Schema | undefined): unknown {
  return typeof schema === 'object' ? schema.default : undefined;
}

function isMapOfKeys(schema: Schema): boolean {
  return typeof schema === 'object' && schema.properties !== undefined;
}

/** The schema of a list's entries, where those have keys. */
function entriesOf(schema: Schema | undefined): Schema | undefined {
  if (typeof schema !== 'object' || schema.items === undefined || Array.isArray(schema.items)) return undefined;
  return isMapOfKeys(schema.items) ? schema.items : undefined;
}

function typeName(schema: Schema): string {
  if (typeof schema === 'boolean') return 'any';
  const { title, type, anyOf, items } = schema;
  if (title !== undefined) return title;
  if (schema.const !== undefined) return String(schema.const);
  if (schema.enum !== undefined) return schema.enum.map(String).join(' | ');
  if (anyOf !== undefined) return anyOf.map(typeName).join(' | ');
  if (type === 'array' && items !== undefined && !Array.isArray(items)) return `list of ${typeName(items)}`;
  if (type === 'object') return 'map';
  return type === undefined ? 'any' : [type].flat().join(' | ');
}

function* textOf(all: readonly Description[]): Generator<string> {
  for (const kind of KINDS) {
    yield `${kind}s:`;
    const ofKind = all.filter((description) => description.kind === kind);
    if (ofKind.length === 0) yield '  none';
    for (const { type, signals, config } of ofKind) {
      yield `  ${[type, signals.join(', ')].filter(Boolean).join('  ')}`;
      yield* tableOf(config);
    }
  }
}

function tableOf(keys: readonly Key[]): string[] {
  const rows = keys.map((key) => ({ key: key.key, value: valueOf(key), description: key.description ?? '' }));
  const keyWidth = Math.max(0, ...rows.map(({ key }) => key.length));
  const valueWidth = Math.max(0, ...rows.map(({ value }) => value.length));
  return rows.map(({ key, value, description }) =>
    `    ${key.padEnd(keyWidth)}  ${value.padEnd(valueWidth)}  ${description}`.trimEnd(),
  );
}

function valueOf({ type, required, default: value }: Key): string {
  if (value !== undefined)
    return `${type} = ${typeof value === 'string' && value !== '' ? value : JSON.stringify(value)}`;
  return required ? `${type}, required` : type;
}
