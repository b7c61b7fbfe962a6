/**
 * Checks a configuration against the registry: that its components exist, are used and fit their pipelines, and that
 * their sections are right. The shape of ids and lists was checked when it was read. The plan holds what is right, so
 * that the builder can go on and find the faults that only it can find.
 */
import type {
  ComponentFactory,
  ExporterFactory,
  ExtensionFactory,
  ProcessorFactory,
  ReceiverFactory,
} from '../component.ts';
import type { RawConfig } from '../config/load.ts';
import { parseComponentId, parseSection, type GatewayConfig } from '../config/schema.ts';
import { unknownName } from '../config/suggest.ts';
import { formatPath, isAtOrBelow } from '../config/yaml_path.ts';
import type { ConfigFault } from '../errors.ts';
import { SIGNALS, type Signal } from '../model/batch.ts';

interface Factories {
  receiver: ReceiverFactory<unknown>;
  processor: ProcessorFactory<unknown>;
  exporter: ExporterFactory<unknown>;
  extension: ExtensionFactory<unknown>;
}
type Kind = keyof Factories;
type PipelineKind = Exclude<Kind, 'extension'>;

/** A component section whose type is known. */
export interface Planned<K extends Kind = Kind> {
  readonly kind: K;
  readonly id: string;
  /** Where its section stands, such as `receivers.otlp`. */
  readonly path: string;
  readonly factory: Factories[K];
  /** What the factory's schema made of the section; undefined when the section has faults. */
  readonly section: { readonly config: unknown } | undefined;
}

export interface PlannedPipeline {
  readonly id: string;
  readonly signal: Signal;
  readonly receivers: readonly Planned<'receiver'>[];
  readonly processors: readonly Planned<'processor'>[];
  readonly exporters: readonly Planned<'exporter'>[];
}

export interface Plan {
  readonly extensions: readonly Planned<'extension'>[];
  readonly pipelines: readonly PlannedPipeline[];
  readonly faults: readonly ConfigFault[];
}

export interface PlanInput {
  readonly config: GatewayConfig;
  readonly raw: RawConfig;
  readonly registry: readonly ComponentFactory[];
}

export function planService(input: PlanInput): Plan {
  const faults: ConfigFault[] = [];
  const sections: AllSections = {
    receivers: readSections('receiver', input, faults),
    processors: readSections('processor', input, faults),
    exporters: readSections('exporter', input, faults),
    extensions: readSections('extension', input, faults),
  };
  const { service } = input.config;
  const extensions = resolve(sections.extensions, service.extensions, 'service.extensions', faults);
  const pipelines = Object.entries(service.pipelines).flatMap(
    ([id, lists]) => planPipeline(id, lists, sections, faults) ?? [],
  );
  for (const ofKind of Object.values(sections)) reportUnused(ofKind, faults);
  return { extensions, pipelines, faults };
}

/** An extension that a service has without being told to, with its defaults; undefined where the registry has none. */
export function impliedExtension(
  type: string,
  registry: readonly ComponentFactory[],
): Planned<'extension'> | undefined {
  const isWanted = (one: ComponentFactory) => one.kind === 'extension' && one.type === type;
  const factory = registry.find((one): one is ExtensionFactory<unknown> & ComponentFactory => isWanted(one));
  if (factory === undefined) return undefined;
  return {
    kind: 'extension',
    id: type,
    path: `extensions.${type}`,
    factory,
    section: { config: factory.config.parse({}) },
  };
}

/** What a configuration defines of one kind; undefined stands for a component of unknown type. */
interface Sections<K extends Kind> {
  readonly kind: K;
  readonly byId: ReadonlyMap<string, Planned<K> | undefined>;
  readonly usedIds: Set<string>;
  /** Places of the configuration that could not be read, and were reported. */
  readonly broken: ReadonlySet<string>;
  /** A list that uses them could not be read, so none of them can be called unused. */
  hasBrokenUse: boolean;
}

interface AllSections {
  readonly receivers: Sections<'receiver'>;
  readonly processors: Sections<'processor'>;
  readonly exporters: Sections<'exporter'>;
  readonly extensions: Sections<'extension'>;
}

function readSections<K extends Kind>(kind: K, input: PlanInput, faults: ConfigFault[]): Sections<K> {
  const byId = new Map<string, Planned<K> | undefined>();
  for (const [id, value] of Object.entries(input.config[`${kind}s`])) {
    const path = formatPath([`${kind}s`, id]);
    const factory = findFactory(kind, id, path, input.registry, faults);
    if (!factory) {
      byId.set(id, undefined);
      continue;
    }
    const { value: parsed, faults: found } = parseSection<unknown>(factory.config, value, path, input.raw);
    faults.push(...found);
    byId.set(id, { kind, id, path, factory, section: parsed === undefined ? undefined : { config: parsed } });
  }
  return { kind, byId, usedIds: new Set(), broken: input.raw.broken, hasBrokenUse: false };
}

function findFactory<K extends Kind>(
  kind: K,
  id: string,
  path: string,
  registry: readonly ComponentFactory[],
  faults: ConfigFault[],
): Factories[K] | undefined {
  const candidates = registry.filter((factory): factory is Factories[K] & ComponentFactory => factory.kind === kind);
  const type = parseComponentId(id)?.type;
  if (type === undefined) return undefined;
  const factory = candidates.find((candidate) => candidate.type === type);
  if (!factory) {
    const types = candidates.map((candidate) => candidate.type).toSorted();
    faults.push({ path, message: unknownName(`${kind} type`, type, types) });
  }
  return factory;
}

type PipelineLists = GatewayConfig['service']['pipelines'][string];

/** Undefined when the id names no signal; its lists are checked all the same. An ill-formed id was reported before. */
function planPipeline(
  id: string,
  lists: PipelineLists,
  sections: AllSections,
  faults: ConfigFault[],
): PlannedPipeline | undefined {
  const path = formatPath(['service', 'pipelines', id]);
  const receivers = resolve(sections.receivers, lists.receivers, `${path}.receivers`, faults);
  const processors = resolve(sections.processors, lists.processors, `${path}.processors`, faults);
  const exporters = resolve(sections.exporters, lists.exporters, `${path}.exporters`, faults);
  const type = parseComponentId(id)?.type;
  const signal = SIGNALS.find((known) => known === type);
  if (!signal) {
    if (type !== undefined) faults.push({ path, message: unknownName('signal', type, SIGNALS) });
    return undefined;
  }
  const fitting = <K extends PipelineKind>(planned: readonly Planned<K>[]) =>
    planned.filter((component) => checkSignal(component, signal, `${path}.${component.kind}s`, faults));
  return { id, signal, receivers: fitting(receivers), processors: fitting(processors), exporters: fitting(exporters) };
}

/** The components of a list that are defined and of a known type. */
function resolve<K extends Kind>(
  sections: Sections<K>,
  ids: readonly string[],
  path: string,
  faults: ConfigFault[],
): Planned<K>[] {
  const { kind, byId, usedIds, broken } = sections;
  sections.hasBrokenUse ||= [...broken].some((place) => isAtOrBelow(place, path) || isAtOrBelow(path, place));
  for (const id of ids) {
    usedIds.add(id);
    if (!byId.has(id)) faults.push({ path, message: unknownName(kind, id, [...byId.keys()].toSorted()) });
  }
  return ids.flatMap((id) => byId.get(id) ?? []);
}

function checkSignal(
  { id, kind, factory }: Planned<PipelineKind>,
  signal: Signal,
  path: string,
  faults: ConfigFault[],
): boolean {
  const signals = factory.kind === 'processor' ? SIGNALS.filter((known) => factory.create[known]) : factory.signals;
  if (signals.includes(signal)) return true;
  faults.push({ path, message: `the ${kind} \`${id}\` does not take ${signal}; allowed: ${signals.join(', ')}` });
  return false;
}

function reportUnused<K extends Kind>({ kind, byId, usedIds, hasBrokenUse }: Sections<K>, faults: ConfigFault[]): void {
  if (hasBrokenUse) return;
  const reason = kind === 'extension' ? 'service.extensions does not list it' : 'no pipeline uses it';
  for (const [id, planned] of byId) {
    // A type that nobody knows is mostly a misspelt one, and its use a fault of its own: one mistake, one line.
    if (usedIds.has(id) || !planned) continue;
    faults.push({ path: formatPath([`${kind}s`, id]), message: `defined, but ${reason}` });
  }
}
