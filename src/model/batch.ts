/**
 * What one request carried, for one signal. A batch is the tree that OTLP sends (resource, scope, record); its leaves
 * are views over the request's own bytes in OTLP protobuf form, whatever encoding the client used. Views are read-only;
 * a processor drops records by building smaller groups and changes one by replacing its view.
 */
import type { LogRecord } from './logs.ts';
import type { Metric } from './metrics.ts';
import type { Resource, Scope } from './resource.ts';
import type { Tenant } from './tenant.ts';
import type { Span } from './traces.ts';

export interface Batch<S extends Signal, R> {
  readonly signal: S;
  readonly tenant: Tenant;
  /** Milliseconds since 1970, by the gateway's clock. */
  readonly receivedAtMs: number;
  /**
   * SHA-256 of the signal and the decompressed body of the request, by which a repeat is known; absent where the body has
   * no time in it, since two such bodies may be equal by chance. Who hands on a batch in parts gives each a digest of
   * its own, made from this one.
   */
  readonly digest?: Uint8Array | undefined;
  /** How many gateways of ours have forwarded it before; absent is 0. */
  readonly hops?: number | undefined;
  readonly resources: readonly ResourceGroup<R>[];
}

export interface ResourceGroup<R> {
  readonly resource: Resource;
  readonly schemaUrl: string;
  readonly scopes: readonly ScopeGroup<R>[];
}

export interface ScopeGroup<R> {
  readonly scope: Scope;
  readonly schemaUrl: string;
  readonly records: readonly R[];
}

export type Traces = Batch<'traces', Span>;
export type Logs = Batch<'logs', LogRecord>;
export type Metrics = Batch<'metrics', Metric>;

/** The batch of each signal; `keyof` it is the list of signals. */
export interface Batches {
  traces: Traces;
  logs: Logs;
  metrics: Metrics;
}

export type Signal = 'traces' | 'logs' | 'metrics';
export type AnyBatch = Batches[Signal];

export const SIGNALS: readonly Signal[] = ['traces', 'logs', 'metrics'];

/** How many spans, log records or data points the batch holds: the unit of every counter and of partial success. */
export function itemCount(batch: AnyBatch): number {
  let count = 0;
  for (const { scopes } of batch.resources) {
    for (const { records } of scopes) count += batch.signal === 'metrics' ? pointCount(records) : records.length;
  }
  return count;
}

function pointCount(records: readonly (Span | LogRecord | Metric)[]): number {
  let count = 0;
  for (const record of records) count += 'points' in record ? record.points.length : 0;
  return count;
}

/**
 * A batch whose records can be promoted or replaced without anybody else seeing it: the same bytes under views of its
 * own. Made where one batch goes to several pipelines.
 */
export function forkBatch<B extends AnyBatch>(batch: B): B {
  const resources = batch.resources.map((group) => ({
    ...group,
    scopes: group.scopes.map((scope) => ({ ...scope, records: scope.records.map(forkRecord) })),
  }));
  return { ...batch, resources };
}

function forkRecord<R extends Span | LogRecord | Metric>(record: R): R {
  const copy = copyView(record);
  if ('points' in copy) copy.points = copy.points.map(copyView);
  return copy;
}

function copyView<T extends object>(view: T): T {
  const copy: T = Object.create(Object.getPrototypeOf(view));
  return Object.assign(copy, view);
}
