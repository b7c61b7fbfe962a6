/**
 * Turns a checked configuration into a service that is ready to start. Nothing is opened here: `validate` builds every
 * pipeline and starts none. One receiver and one exporter serve all pipelines that name them; processors are instances
 * of one pipeline. The counters of every edge are put in between, so components do not count.
 */
import assert from 'node:assert/strict';
import type { Registry } from 'prom-client';
import type {
  Admission,
  Authenticator,
  Component,
  ComponentFactory,
  Consumer,
  Exporter,
  Settings,
  Storage,
} from '../component.ts';
import type { RawConfig } from '../config/load.ts';
import type { GatewayConfig } from '../config/schema.ts';
import { ConfigError, type ConfigFault } from '../errors.ts';
import { forkBatch, type AnyBatch, type Signal } from '../model/batch.ts';
import type { Logger } from '../telemetry/logger.ts';
import { countPassing, countReceived, createCounters, type Counters } from './counters.ts';
import { createDestination, type Destination } from './destination.ts';
import { fanOut } from './fanout.ts';
import { pipelineEnd } from './pipeline_end.ts';
import { impliedExtension, planService, type Plan, type Planned, type PlannedPipeline } from './plan.ts';
import { createService, type Part, type Service } from './service.ts';
import { createShared } from './shared.ts';

export interface BuildInput {
  readonly config: GatewayConfig;
  readonly raw: RawConfig;
  /** What was found while the configuration was read; thrown together with what is found here. */
  readonly faults: readonly ConfigFault[];
  readonly registry: readonly ComponentFactory[];
  readonly logger: Logger;
  /** Takes the counters of one service. */
  readonly metrics: Registry;
}

export interface BuiltService extends Service {
  /** The extensions that can tell who a request is from, by id: for what is no component and asks them too. */
  readonly authenticators: ReadonlyMap<string, Authenticator>;
}

/** Throws ConfigError with every fault of the configuration, each once. */
export function buildService({ config, raw, faults, registry, logger, metrics }: BuildInput): BuiltService {
  // With a file missing, what it would have defined would be reported as unknown.
  if (!raw.isComplete) throw new ConfigError(faults);
  const plan = planService({ config, raw, registry });
  const builder = new Builder(registry, logger, createCounters(metrics));
  builder.build(plan);
  builder.checkQuery(config);
  const all = unique([...faults, ...plan.faults, ...builder.faults]);
  if (all.length > 0) throw new ConfigError(all);
  const service = createService({
    pipelines: plan.pipelines.map((pipeline) => builder.describe(pipeline)),
    stages: builder.stages(),
    shutdownTimeoutMs: config.service.shutdown_timeout,
    logger,
  });
  builder.health = () => service.health();
  return { ...service, authenticators: builder.authenticators };
}

/** Where the registry has no limiter. */
const BOUNDLESS: Admission = { admit: () => ({ grow: () => undefined, release: () => undefined }) };

/** Stands where a fault left a pipeline without its end, so that the rest can be built and checked. */
const NOWHERE: Consumer<AnyBatch> = { consume: () => assert.fail('a pipeline with faults is never started') };

class Builder {
  /** What the factories found wrong; paths are of the whole configuration. */
  readonly faults: ConfigFault[] = [];
  readonly authenticators = new Map<string, Authenticator>();
  /** Asked once the service is built. */
  health: Settings['health'] = () => ({ unready: [], stuck: [] });
  readonly #storages = new Map<string, Storage>();
  #admission: Admission | undefined;
  readonly #registry: readonly ComponentFactory[];
  readonly #logger: Logger;
  readonly #counters: Counters;
  readonly #extensions = new Map<string, Part>();
  readonly #destinations = new Map<string, Destination>();
  readonly #processors: Part[] = [];
  readonly #receivers: Part[] = [];
  readonly #shared = createShared();

  constructor(registry: readonly ComponentFactory[], logger: Logger, counters: Counters) {
    this.#registry = registry;
    this.#logger = logger;
    this.#counters = counters;
  }

  build({ extensions, pipelines }: Plan): void {
    for (const planned of extensions) this.#addExtension(planned);
    if (this.#admission === undefined) this.#imply('memory_limiter');
    this.#addExporters(uniqueById(pipelines.flatMap((pipeline) => pipeline.exporters)));
    const heads = new Map(pipelines.map((pipeline) => [pipeline, this.#chain(pipeline)]));
    for (const planned of uniqueById(pipelines.flatMap((pipeline) => pipeline.receivers))) {
      this.#addReceiver(planned, heads);
    }
  }

  #addExtension(planned: Planned<'extension'>): void {
    const extension = this.#create(planned, {}, (config, settings) => planned.factory.create(config, settings));
    if (!extension) return;
    this.#extensions.set(planned.id, { name: nameOf(planned), component: extension });
    this.#learn(planned.id, extension);
  }

  /** Adds an extension that a service has unless it names one that does the same. */
  #imply(type: string): void {
    const planned = impliedExtension(type, this.#registry);
    if (planned) this.#addExtension(planned);
  }

  /** What an extension can be asked for. */
  #learn(id: string, extension: Component): void {
    if (isAuthenticator(extension)) this.authenticators.set(id, extension);
    if (isStorage(extension)) this.#storages.set(id, extension);
    if (isAdmission(extension)) this.#admission = extension;
  }

  /** The query API is no component; whom it asks is checked here, where extensions are known. */
  checkQuery({ query, service }: GatewayConfig): void {
    const id = query.auth?.authenticator;
    // One that is listed and was not built has faults of its own.
    if (id === undefined || (service.extensions.includes(id) && !this.#extensions.has(id))) return;
    if (!this.authenticators.has(id))
      this.faults.push({ path: 'query.auth.authenticator', message: this.#unknown(id) });
  }

  /** In the order of starting. A processor may hand on what it holds when it stops, so those before it stop first. */
  stages(): Part[][] {
    const exporters: Part[] = [];
    const queues: Part[] = [];
    for (const [id, { exporter, queue }] of this.#destinations) {
      exporters.push({ name: `exporter ${id}`, component: exporter });
      queues.push({ name: `sending queue of exporter ${id}`, component: queue });
    }
    const oneByOne = [...this.#extensions.values(), exporters, queues, ...this.#processors, this.#receivers];
    return oneByOne.map((stage) => (Array.isArray(stage) ? stage : [stage]));
  }

  describe({ id, receivers, processors, exporters }: PlannedPipeline): string {
    const ends = exporters.map((exporter) => {
      const durability = this.#destinations.get(exporter.id)?.exporter.queue?.durability ?? 'commit';
      return `${exporter.id} (${durability})`;
    });
    const starts = receivers.map((receiver) => receiver.id).join(', ');
    return `${id}: ${[starts, ...processors.map((processor) => processor.id), ends.join(', ')].join(' → ')}`;
  }

  #addExporters(all: readonly Planned<'exporter'>[]): void {
    const exporters = all.flatMap((planned) => {
      const exporter = this.#create(planned, {}, (config, settings) => planned.factory.create(config, settings));
      return exporter ? [{ planned, exporter }] : [];
    });
    const isDiskWanted = exporters.some(({ exporter }) => exporter.queue?.durability === 'disk');
    if (isDiskWanted && this.#storages.size === 0) this.#imply('file_storage');
    for (const { planned, exporter } of exporters) this.#addDestination(planned, exporter);
  }

  #addDestination(planned: Planned<'exporter'>, exporter: Exporter): void {
    const storage = this.#storageFor(planned, exporter);
    if (exporter.queue?.durability === 'disk' && !storage) return;
    const { id } = planned;
    const parts = { id, exporter, storage, counters: this.#counters, logger: this.#loggerOf(planned) };
    this.#destinations.set(id, createDestination(parts));
  }

  /** The one that the queue names, else the only one there is; a queue on disk needs one. */
  #storageFor({ path }: Planned, { queue }: Exporter): Storage | undefined {
    const [only, ...others] = this.#storages.values();
    const named = queue?.storage === undefined ? undefined : this.#storages.get(queue.storage);
    if (named) return named;
    if (queue?.storage === undefined && (others.length === 0 || queue?.durability !== 'disk')) return only;
    const ids = [...this.#storages.keys()].join(', ') || 'none';
    const found = queue?.storage === undefined ? 'several storages' : `"${queue.storage}"`;
    const message = `found ${found}; allowed: the id of a storage extension of service.extensions (${ids})`;
    this.faults.push({ path: `${path}.sending_queue.storage`, message });
    return undefined;
  }

  /** Builds a pipeline from its end; returns its first consumer. */
  #chain({ id, signal, processors, exporters }: PlannedPipeline): Consumer<AnyBatch> {
    const ends = exporters.flatMap((exporter) => {
      const destination = this.#destinations.get(exporter.id);
      // Its counters show up as 0 from the start.
      destination?.counts(signal);
      return destination ?? [];
    });
    let head = ends.length === 0 ? NOWHERE : pipelineEnd(id, ends);
    for (const planned of processors.toReversed()) head = this.#addProcessor(planned, id, signal, head);
    return head;
  }

  #addProcessor(
    planned: Planned<'processor'>,
    pipeline: string,
    signal: Signal,
    next: Consumer<AnyBatch>,
  ): Consumer<AnyBatch> {
    const edge = this.#counters.processor(planned.id, signal);
    const processor = this.#create(planned, { pipeline }, (config, settings) =>
      planned.factory.create[signal]?.(config, settings, countPassing(edge.outgoing, next)),
    );
    if (!processor) return next;
    this.#processors.push({ name: `${nameOf(planned)} in ${pipeline}`, component: processor });
    return countPassing(edge.incoming, processor);
  }

  #addReceiver(planned: Planned<'receiver'>, heads: ReadonlyMap<PlannedPipeline, Consumer<AnyBatch>>): void {
    const next: { [S in Signal]?: Consumer<AnyBatch> } = {};
    for (const signal of planned.factory.signals) {
      const consumers = [...heads]
        .filter(([pipeline]) => pipeline.signal === signal && pipeline.receivers.includes(planned))
        .map(([, head]) => head);
      if (consumers.length === 0) continue;
      next[signal] = countReceived(
        this.#counters.receiver(planned.id, signal),
        fanOut(consumers.length === 1 ? consumers : consumers.map(forking)),
      );
    }
    const receiver = this.#create(planned, {}, (config, settings) => planned.factory.create(config, settings, next));
    if (receiver) this.#receivers.push({ name: nameOf(planned), component: receiver });
  }

  /** Undefined when the section has faults or the factory finds some, whose paths are relative to the section. */
  #create<T extends Component | undefined>(
    planned: Planned,
    fields: object,
    create: (config: unknown, settings: Settings) => T,
  ): T | undefined {
    if (!planned.section) return undefined;
    try {
      return create(planned.section.config, this.#settings(planned, fields));
    } catch (error) {
      if (!(error instanceof ConfigError)) throw error;
      for (const { path, message } of error.faults) {
        const separator = path === '' || path.startsWith('[') ? '' : '.';
        this.faults.push({ path: `${planned.path}${separator}${path}`, message });
      }
      return undefined;
    }
  }

  #settings(planned: Planned, fields: object): Settings {
    return {
      id: planned.id,
      logger: this.#loggerOf(planned, fields),
      authenticator: (id) => this.#authenticator(id),
      shared: this.#shared,
      admission: this.#admission ?? BOUNDLESS,
      health: () => this.health(),
    };
  }

  #authenticator(id: string): Authenticator {
    const found = this.authenticators.get(id);
    if (found) return found;
    throw new ConfigError([{ path: 'auth.authenticator', message: this.#unknown(id) }]);
  }

  #unknown(id: string): string {
    const known = [...this.authenticators.keys()].join(', ') || 'none';
    return `found "${id}"; allowed: an authenticator of service.extensions (${known})`;
  }

  #loggerOf(planned: Planned, fields: object = {}): Logger {
    return this.#logger.child({ component: nameOf(planned), ...fields });
  }
}

function isStorage(component: Component): component is Storage {
  return 'log' in component && 'deadLetters' in component;
}

function isAdmission(component: Component): component is Component & Admission {
  return 'admit' in component;
}

/** Pipelines change what they hand on; none must see what another one did. */
function forking(next: Consumer<AnyBatch>): Consumer<AnyBatch> {
  return { consume: async (batch) => next.consume(forkBatch(batch)) };
}

function isAuthenticator(component: Component): component is Authenticator {
  return 'authenticate' in component && 'isKnown' in component;
}

function nameOf({ kind, id }: Planned): string {
  return `${kind} ${id}`;
}

function uniqueById<T extends { readonly id: string }>(planned: readonly T[]): T[] {
  return [...new Map(planned.map((one) => [one.id, one])).values()];
}

/** A processor's section is read once for each of its pipelines, and says the same each time. */
function unique(faults: readonly ConfigFault[]): ConfigFault[] {
  return [...new Map(faults.map((fault) => [`${fault.path}\n${fault.message}`, fault])).values()];
}
