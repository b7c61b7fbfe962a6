/**
 * The contract between the gateway and its components. A component knows its own configuration and the next consumer,
 * nothing else: what it needs besides arrives through `Settings`. Building one has no side effects; sockets, files and
 * connections open in `start`.
 */
import type { z } from 'zod';
import type { AnyBatch, Batches, Logs, Metrics, Signal, Traces } from './model/batch.ts';
import type { Identity } from './model/identity.ts';
import type { Tenant } from './model/tenant.ts';

/** What became of a batch that was not refused as a whole. */
export interface Outcome {
  /** Items the gateway will not keep, by its own decision about each: OTLP partial success. */
  readonly rejected: number;
  /** Says why, and how to fix it; empty when there is nothing to say. */
  readonly message: string;
}

export const ACCEPTED: Outcome = Object.freeze({ rejected: 0, message: '' });

/**
 * Takes a batch and resolves once its promise holds (stored, or durably queued), or rejects with one of the errors of
 * `errors.ts`, in which case nothing of the batch counts as taken.
 */
export interface Consumer<B extends AnyBatch> {
  consume(batch: B): Promise<Outcome>;
  /** Counts items that the receiver itself left out of a batch, so that nothing vanishes uncounted. */
  refuse?(items: number): void;
}

/** The first consumer of each signal that a receiver's pipelines carry. */
export type Consumers = { readonly [S in Signal]?: Consumer<Batches[S]> };

/** Something with a lifetime. Each method is called at most once; `shutdown` also where `start` never was. */
export interface Component {
  start?(): Promise<void>;
  /** Finishes what is under way, then releases everything; cut short when the signal aborts. */
  shutdown?(deadline: AbortSignal): Promise<void>;
}

type Processor<S extends Signal> = Component & Consumer<Batches[S]>;

/** One batch encoded for one exporter: finished bytes, which `send` writes as they are. */
export interface QueueRecord {
  readonly signal: Signal;
  readonly tenant: Tenant;
  /** Names the layout of the bytes; only records of one format are sent together. */
  readonly format: string;
  readonly items: number;
  readonly bytes: Uint8Array;
}

/** How an exporter wants its records queued: the `sending_queue` section of its configuration. */
export interface QueueSettings {
  /** `commit`: a request is answered when the destination has its data; requests that wait together are sent together. */
  readonly durability: 'commit';
  /** How many sends may be under way at once. */
  readonly num_consumers: number;
  /** The most items that one send takes from several records. */
  readonly batch: { readonly max_size: number };
}

/** Encodes batches to records that concatenate, and sends any number of them at once. */
export interface Exporter extends Component {
  /** Without it every request is encoded and sent by itself, in its own time. */
  readonly queue?: QueueSettings;
  encode(batch: AnyBatch): Promise<QueueRecord>;
  /** About how many bytes `encode` makes of a batch, found out without encoding it; bounds what is in memory at once. */
  sizeOf?(batch: AnyBatch): number;
  /**
   * Delivers all records (of one signal and format) or none. Rejects with PermanentError when the destination will never
   * take them, with RetryableError when it may later.
   */
  send(records: readonly QueueRecord[]): Promise<void>;
}

/** An extension that receivers and the query API ask who a request is from. */
export interface Authenticator extends Component {
  /**
   * @param token what stood behind `Bearer `; never logged
   * @throws UnauthenticatedError when it is malformed, unknown, expired or revoked
   * @throws RetryableError when that cannot be found out now
   */
  authenticate(token: string): Promise<Identity>;
  /** Whether the token was good when it was last asked about. Asks nobody; bad tokens of others must not slow this one. */
  isKnown(token: string): boolean;
}

/** Structured log: fields first, then a sentence. A subset of pino's. */
export interface Logger {
  debug(fields: object, message: string): void;
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
}

/** What the gateway lends to a component. */
export interface Settings {
  /** `type` or `type/name`. */
  readonly id: string;
  readonly logger: Logger;
  /** The authenticator of that id. Throws ConfigError when the service has none. */
  authenticator(id: string): Authenticator;
  /** What components of one service have in common, such as a listener: made at the first call with a key. */
  shared<T>(key: string, make: () => T): T;
}

/** The part that all factories share. `config` declares keys, defaults and documentation of the component at once. */
interface Factory<C> {
  readonly type: string;
  readonly config: z.ZodType<C>;
}

export interface ReceiverFactory<C> extends Factory<C> {
  readonly kind: 'receiver';
  readonly signals: readonly Signal[];
  /** One instance serves every pipeline that names it. */
  create(config: C, settings: Settings, next: Consumers): Component;
}

export interface ProcessorFactory<C> extends Factory<C> {
  readonly kind: 'processor';
  /** A method for each signal that the processor understands. */
  readonly create: {
    traces?(config: C, settings: Settings, next: Consumer<Traces>): Processor<'traces'>;
    logs?(config: C, settings: Settings, next: Consumer<Logs>): Processor<'logs'>;
    metrics?(config: C, settings: Settings, next: Consumer<Metrics>): Processor<'metrics'>;
  };
}

export interface ExporterFactory<C> extends Factory<C> {
  readonly kind: 'exporter';
  readonly signals: readonly Signal[];
  /** One instance serves every pipeline that names it. */
  create(config: C, settings: Settings): Exporter;
}

export interface ExtensionFactory<C> extends Factory<C> {
  readonly kind: 'extension';
  create(config: C, settings: Settings): Component;
}

export type ComponentFactory =
  ReceiverFactory<unknown> | ProcessorFactory<unknown> | ExporterFactory<unknown> | ExtensionFactory<unknown>;

export const receiverFactory = <C>(parts: Omit<ReceiverFactory<C>, 'kind'>): ReceiverFactory<C> => ({
  kind: 'receiver',
  ...parts,
});

export const processorFactory = <C>(parts: Omit<ProcessorFactory<C>, 'kind'>): ProcessorFactory<C> => ({
  kind: 'processor',
  ...parts,
});

export const exporterFactory = <C>(parts: Omit<ExporterFactory<C>, 'kind'>): ExporterFactory<C> => ({
  kind: 'exporter',
  ...parts,
});

export const extensionFactory = <C>(parts: Omit<ExtensionFactory<C>, 'kind'>): ExtensionFactory<C> => ({
  kind: 'extension',
  ...parts,
});
