/**
 * The counters on every edge of a pipeline, under the names of the OpenTelemetry Collector (its internal telemetry
 * page), so that its dashboards work here. All count items: spans, log records, data points.
 */
import { Counter, Gauge, type Registry } from 'prom-client';
import type { Consumer } from '../component.ts';
import { itemCount, type AnyBatch, type Signal } from '../model/batch.ts';

const ITEMS: Readonly<Record<Signal, string>> = { traces: 'spans', logs: 'log_records', metrics: 'metric_points' };

type Count = (items: number) => void;

/** What becomes of the items that an exporter was given. Each ends in one of these, is returned as failed, or waits. */
export interface ExporterCounts {
  /** Taken by the destination. */
  readonly sent: Count;
  /** The destination had them before. */
  readonly duplicate: Count;
  /** Kept as dead letters. */
  readonly deadLettered: Count;
  /** The destination refused them and told only how many. */
  readonly refused: Count;
  /** Gone: in memory when the process ended, given up with nowhere to keep them, or damaged on disk. */
  readonly lost: Count;
  /** Not taken by the destination: returned to the client, or given up. */
  readonly failed: Count;
  /** Not taken by the queue; the client was told. */
  readonly enqueueFailed: Count;
  /** Found in the queue at the start. */
  readonly recovered: Count;
}

/** What the gauges of a queue read. */
interface Measured {
  readonly room: {
    readonly used: number;
    readonly capacity: number;
    readonly items: number;
    readonly bytes: number;
    readonly records: number;
  };
  oldestAgeMs?(): number;
}

/** Each method returns what counts on one edge; the counters of the edge show up as 0 from then on. */
export interface Counters {
  receiver(id: string, signal: Signal): { readonly accepted: Count; readonly refused: Count };
  processor(id: string, signal: Signal): { readonly incoming: Count; readonly outgoing: Count };
  exporter(id: string, signal: Signal): ExporterCounts;
  /** Damaged records in an exporter's queue: their items are unknown. */
  corrupt(id: string): Count;
  /** Shows how full an exporter's queue is. */
  queue(id: string, queue: Measured): void;
}

/** Registers the counters; a registry takes them once. */
export function createCounters(registry: Registry): Counters {
  const accepted = perSignal(registry, 'receiver', 'accepted', 'taken by every exporter of the pipelines');
  const refused = perSignal(registry, 'receiver', 'refused', 'refused; the client was told');
  const incoming = itemsOf(registry, 'otelcol_processor_incoming_items', 'processor', 'handed to the processor');
  const outgoing = itemsOf(registry, 'otelcol_processor_outgoing_items', 'processor', 'handed on by the processor');
  const exporter = exporterCounts(registry);
  const corrupt = counterOf(registry, 'sluice_exporter_corrupt_records', ['exporter'], 'Damaged records in the queue.');
  return {
    receiver: (id, signal) => ({ accepted: accepted(id, signal), refused: refused(id, signal) }),
    processor: (id, signal) => ({ incoming: incoming(id, signal), outgoing: outgoing(id, signal) }),
    exporter,
    corrupt: (id) => startAtZero(corrupt, { exporter: id }),
    queue: queueGauges(registry),
  };
}

function exporterCounts(registry: Registry): Counters['exporter'] {
  const sent = perSignal(registry, 'exporter', 'sent', 'taken by the destination');
  const failed = perSignal(registry, 'exporter', 'send_failed', 'not taken by the destination, and not tried again');
  const enqueueFailed = perSignal(
    registry,
    'exporter',
    'enqueue_failed',
    'not taken by the queue; the client was told',
  );
  const own = (event: string, help: string) => itemsOf(registry, `sluice_exporter_${event}_items`, 'exporter', help);
  const duplicate = own('duplicate', 'that the destination had before');
  const deadLettered = own('dead_lettered', 'kept as dead letters');
  const refused = own('refused', 'that the destination refused, telling only how many');
  const lost = own(
    'lost',
    'that were in memory only when the process ended, given up with nowhere to keep them, or damaged on disk',
  );
  const recovered = own('recovered', 'found in the queue at the start');
  const known = new Map<string, ExporterCounts>();
  return (id, signal) => {
    const key = `${signal} ${id}`;
    const found = known.get(key);
    if (found !== undefined) return found;
    const made = {
      sent: sent(id, signal),
      duplicate: duplicate(id, signal),
      deadLettered: deadLettered(id, signal),
      refused: refused(id, signal),
      lost: lost(id, signal),
      failed: failed(id, signal),
      enqueueFailed: enqueueFailed(id, signal),
      recovered: recovered(id, signal),
    };
    known.set(key, made);
    return made;
  };
}

const MS_PER_SECOND = 1000;

function queueGauges(registry: Registry): Counters['queue'] {
  const queues = new Map<string, Measured>();
  const gauge = (name: string, help: string, read: (queue: Measured) => number) =>
    new Gauge({
      name,
      help,
      labelNames: ['exporter'],
      registers: [registry],
      collect() {
        for (const [exporter, queue] of queues) this.set({ exporter }, read(queue));
      },
    });
  gauge('otelcol_exporter_queue_size', 'What waits, in the unit of the queue.', ({ room }) => room.used);
  gauge(
    'otelcol_exporter_queue_capacity',
    'The most that may wait, in the unit of the queue.',
    ({ room }) => room.capacity,
  );
  gauge('sluice_exporter_queue_items', 'Items that wait.', ({ room }) => room.items);
  gauge('sluice_exporter_queue_bytes', 'Bytes that wait.', ({ room }) => room.bytes);
  gauge('sluice_exporter_queue_records', 'Requests that wait.', ({ room }) => room.records);
  gauge(
    'sluice_exporter_queue_oldest_seconds',
    'How long the oldest record has waited.',
    (queue) => (queue.oldestAgeMs?.() ?? 0) / MS_PER_SECOND,
  );
  return (id, queue) => void queues.set(id, queue);
}

/** What the next stages take counts as accepted; what they reject, or fail to take, as refused. */
export function countReceived(edge: ReturnType<Counters['receiver']>, next: Consumer<AnyBatch>): Consumer<AnyBatch> {
  return {
    consume: async (batch) => {
      const items = itemCount(batch);
      try {
        const outcome = await next.consume(batch);
        // A counter throws at a negative step, and this batch has been taken.
        const refused = Math.min(outcome.rejected, items);
        edge.accepted(items - refused);
        edge.refused(refused);
        return outcome;
      } catch (error) {
        edge.refused(items);
        throw error;
      }
    },
    refuse: (items) => edge.refused(items),
  };
}

/** Counts what passes, whatever becomes of it. */
export function countPassing(count: Count, next: Consumer<AnyBatch>): Consumer<AnyBatch> {
  return {
    consume: (batch) => {
      count(itemCount(batch));
      return next.consume(batch);
    },
  };
}

type EdgeCounter = (id: string, signal: Signal) => Count;

function perSignal(registry: Registry, kind: 'receiver' | 'exporter', event: string, help: string): EdgeCounter {
  const register = (signal: Signal) => {
    const name = `otelcol_${kind}_${event}_${ITEMS[signal]}`;
    return new Counter({ name, help: `Items ${help}.`, labelNames: [kind], registers: [registry] });
  };
  const counters = { traces: register('traces'), logs: register('logs'), metrics: register('metrics') };
  return (id, signal) => startAtZero(counters[signal], { [kind]: id });
}

function itemsOf(registry: Registry, name: string, kind: 'processor' | 'exporter', help: string): EdgeCounter {
  const counter = counterOf(registry, name, [kind, 'otel_signal'], `Items ${help}.`);
  return (id, signal) => startAtZero(counter, { [kind]: id, otel_signal: signal });
}

function counterOf(registry: Registry, name: string, labelNames: string[], help: string): Counter {
  return new Counter({ name, help, labelNames, registers: [registry] });
}

/** A counter that is missing until its first event hides that event from Prometheus' `rate`. */
function startAtZero(counter: Counter, labels: Record<string, string>): Count {
  const child = counter.labels(labels);
  child.inc(0);
  return (items) => child.inc(items);
}
