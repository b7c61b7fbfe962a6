/**
 * The contract between the gateway and its components. A component knows its own configuration and the next consumer,
 * nothing else: what it needs besides arrives through `Settings`. Building one has no side effects; sockets, files and
 * connections open in `start`.
 */
import type { z } from 'zod';
import type { AnyBatch, Batches, Logs, Metrics, Signal, Traces } from './model/batch.ts';
import type { Identity } from './model/identity.ts';
import type { EncodedBatch, QueueRecord, RecordId } from './model/record.ts';

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

/** Something with a lifetime. `start` and `shutdown` are called at most once; `shutdown` also where `start` never was. */
export interface Component {
  start?(): Promise<void>;
  /** Finishes what is under way, then releases everything; cut short when the signal aborts. */
  shutdown?(deadline: AbortSignal): Promise<void>;
  /** Why no data should be sent to this gateway now, in a few words; undefined while it may. Cheap: probes ask often. */
  unready?(): string | undefined;
  /** Why only a restart can help; undefined while all turns. */
  stuck?(): string | undefined;
}

type Processor<S extends Signal> = Component & Consumer<Batches[S]>;

/** How an exporter wants its records queued: the `sending_queue` section of its configuration. */
export interface QueueSettings {
  /**
   * When a request is answered. `disk`: once its record is on disk for good. `commit`: when the destination has it;
   * requests that wait together are sent together. `memory`: at once; a crash loses what waits.
   */
  readonly durability: 'disk' | 'commit' | 'memory';
  /** Id of the storage extension for `disk`; that of the service when absent. */
  readonly storage?: string | undefined;
  /** How many sends may be under way at once. */
  readonly num_consumers: number;
  /** The most that may wait, in units of `sizer`. */
  readonly queue_size: number;
  readonly sizer: 'bytes' | 'items' | 'requests';
  /** Which part of the queue the records of one credential's tenant may take, above 0 to 1. */
  readonly max_tenant_share: number;
  /** The gateway is not ready for more once the oldest record has waited so many milliseconds; 0 for never. */
  readonly unready_after: number;
  /** Without it each record is sent alone. */
  readonly batch?: {
    /** The most items that one send takes from several records. */
    readonly max_size: number;
  };
}

/** When a failed send is tried again: the `retry_on_failure` section. Times in milliseconds. */
export interface RetrySettings {
  readonly enabled: boolean;
  readonly initial_interval: number;
  readonly max_interval: number;
  readonly multiplier: number;
  /** The wait is drawn from the interval, this part more or less. */
  readonly randomization_factor: number;
  /** After so long since its first failure a record is given up and becomes a dead letter; 0 for never. */
  readonly max_elapsed_time: number;
}

/** What became of the items of a send that were not stored by it. */
export interface SendOutcome {
  /** The destination had them before: repeats of a request, or of this record. */
  readonly duplicates: number;
  /** The destination will never take them; the exporter keeps them as dead letters. */
  readonly deadLettered: number;
  /** The destination refused them and told no more than their number. */
  readonly refused: number;
  /** What the destination will never take and the caller has to keep as dead letters; not in the numbers above. */
  readonly refusedParts?: readonly RefusedPart[];
}

/** A part of a record that was refused while the rest was delivered. */
export interface RefusedPart {
  readonly record: QueueRecord;
  readonly items: number;
  /** In the format of the record, so that they can be sent in its place. */
  readonly bytes: Uint8Array;
  /** For people: what the destination said. Never holds what a client sent. */
  readonly reason: string;
}

export const DELIVERED: SendOutcome = Object.freeze({ duplicates: 0, deadLettered: 0, refused: 0 });

/** Encodes batches to records that concatenate, and sends any number of them at once. */
export interface Exporter extends Component {
  /** Without it every request is encoded and sent by itself, in its own time. */
  readonly queue?: QueueSettings | undefined;
  /** Applies to queues that answer before the destination has the data: `disk` and `memory`. */
  readonly retry?: RetrySettings | undefined;
  encode(batch: AnyBatch): Promise<EncodedBatch>;
  /** About how many bytes `encode` makes of a batch, found out without encoding it; bounds what is in memory at once. */
  sizeOf?(batch: AnyBatch): number;
  /**
   * Delivers all records (of one signal and format) or none, but for single items that the destination refuses for good
   * and the exporter keeps as dead letters. Rejects with PermanentError when the destination will never take them, with
   * RetryableError when it may later.
   * @param signal aborts when nobody waits any more: the gateway stops
   */
  send(records: readonly QueueRecord[], signal: AbortSignal): Promise<SendOutcome>;
  /** Takes back bytes that `encode` made, or any others of a record, once nobody reads them any more: to use them again. */
  recycle?(bytes: Uint8Array): void;
  /** No record of that queue below `seq` will be sent again, so nothing that tells whether it was need be kept. */
  forget?(queueId: string, seq: number): Promise<void>;
}

/** A crash-safe log in a directory of its own. One reader and any number of appends at once. */
export interface DurableLog {
  /**
   * Finds what earlier processes left, and calls `visit` for each entry that was not released, oldest first, one in memory
   * at a time. Damage is repaired, counted and never a reason to reject: only what keeps the directory from being used is.
   */
  open(events: LogEvents): Promise<LogRecovery>;
  /**
   * Resolves once the entry is on disk for good, in the order of the calls. Rejects with RetryableError when it is not
   * (disk full, log failed): nothing of it will then be read by this process.
   */
  append(head: Uint8Array, body: Uint8Array): Promise<Appended>;
  /**
   * The durable entries from there on, at least one if there is one, up to about so many bytes. None that was released in
   * an earlier life; of this life's released ones some may be among them. `next` is where the entry behind them stands.
   */
  read(from: LogPlace, maxBytes: number): Promise<{ readonly entries: readonly LogEntry[]; readonly next: LogPlace }>;
  /** The entry is not needed any more. Becomes durable soon, in the background; its space is freed after that. */
  release(id: RecordId): void;
  /** Why nothing can be appended now; undefined when it can. */
  unable(): string | undefined;
  /** Set once a write could not be made durable: nothing more is ever appended, what was is still read and released. */
  readonly failure: Error | undefined;
  /** Makes what was released durable, and closes all files. */
  close(): Promise<void>;
}

export interface LogEvents {
  /** Called while the log opens. The bytes are valid during the call only. */
  visit(entry: LogEntry): void;
  /** Damage that was found, at opening or later: that many entries, as far as they can be told apart, in this file. */
  corrupt(entries: number, file: string): void;
  /** Every entry of the queue below `seq` is released, durably. */
  settled(queueId: string, seq: number): void;
  /** The log has failed for good (see `failure`). */
  failed(error: Error): void;
}

/** What `open` found. */
export interface LogRecovery {
  /** Where the oldest entry that was not released stands. */
  readonly start: LogPlace;
  /** Where the next entry will stand. The same as `start` where there is none. */
  readonly end: LogPlace;
  readonly entries: number;
  /** An unfinished entry at the end, which was cut off: so many bytes, normally 0. */
  readonly tornBytes: number;
}

export interface LogEntry {
  readonly id: RecordId;
  readonly head: Uint8Array;
  readonly body: Uint8Array;
}

export interface Appended {
  readonly id: RecordId;
  /** Where the entry behind it will stand. */
  readonly next: LogPlace;
}

/** A place in a log, for reading on. Means something to the log that gave it only. */
export interface LogPlace {
  readonly segment: number;
  readonly offset: number;
}

/** An extension that keeps logs, each under a name of its own: `file_storage`. */
export interface Storage extends Component {
  /** The same log for the same name. It is opened by whoever asked, after this extension has started. */
  log(name: string): DurableLog;
  /** Where records go that a destination will never take, and whose exporter has no place of its own for them. */
  readonly deadLetters: DeadLetterFile;
}

interface DeadLetterFile {
  /** Resolves once it is on disk for good. Rejects with RetryableError when the file is full or the disk is. */
  add(letter: DeadLetter): Promise<void>;
}

export interface DeadLetter {
  readonly exporter: string;
  /** For people: what the destination said. Never holds what a client sent. */
  readonly reason: string;
  readonly at: Date;
  readonly record: QueueRecord;
}

/** Decides whether there is memory for one more request. Asked before its body is read. */
export interface Admission {
  /** @throws RetryableError when there is none */
  admit(): RequestMemory;
}

/** The memory that one request holds. */
export interface RequestMemory {
  /**
   * Holds so many bytes more.
   * @throws RetryableError when that is too much for now; what was held before stays held
   */
  grow(bytes: number): void;
  /** Lets all go; may be repeated. */
  release(): void;
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
  /** Whom receivers ask before they read a body. */
  readonly admission: Admission;
  /** How all components of the service are, for probes: reasons that begin with a component's name. */
  health(): Health;
}

/** Empty lists when all is well. */
export interface Health {
  readonly unready: readonly string[];
  readonly stuck: readonly string[];
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
