/**
 * The counters on every edge of a pipeline, under the names of the OpenTelemetry Collector (its internal telemetry
 * page), so that its dashboards work here. All count items: spans, log records, data points.
 */
import { Counter, type Registry } from 'prom-client';
import type { Consumer } from '../component.ts';
import { itemCount, type AnyBatch, type Signal } from '../model/batch.ts';

const ITEMS: Readonly<Record<Signal, string>> = { traces: 'spans', logs: 'log_records', metrics: 'metric_points' };

type Count = (items: number) => void;

/** Each method returns what counts on one edge; the counters of the edge show up as 0 from then on. */
export interface Counters {
  receiver(id: string, signal: Signal): { readonly accepted: Count; readonly refused: Count };
  processor(id: string, signal: Signal): { readonly incoming: Count; readonly outgoing: Count };
  exporter(id: string, signal: Signal): { readonly sent: Count; readonly failed: Count };
}

/** Registers the counters; a registry takes them once. */
export function createCounters(registry: Registry): Counters {
  const accepted = perSignal(registry, 'receiver', 'accepted', 'taken by every exporter of the pipelines');
  const refused = perSignal(registry, 'receiver', 'refused', 'refused; the client was told');
  const incoming = processorItems(registry, 'incoming', 'handed to the processor');
  const outgoing = processorItems(registry, 'outgoing', 'handed on by the processor');
  const sent = perSignal(registry, 'exporter', 'sent', 'taken by the destination');
  const failed = perSignal(registry, 'exporter', 'send_failed', 'not taken by the destination');
  return {
    receiver: (id, signal) => ({ accepted: accepted(id, signal), refused: refused(id, signal) }),
    processor: (id, signal) => ({ incoming: incoming(id, signal), outgoing: outgoing(id, signal) }),
    exporter: (id, signal) => ({ sent: sent(id, signal), failed: failed(id, signal) }),
  };
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

function processorItems(registry: Registry, event: string, help: string): EdgeCounter {
  const name = `otelcol_processor_${event}_items`;
  const labelNames = ['processor', 'otel_signal'];
  const counter = new Counter({ name, help: `Items ${help}.`, labelNames, registers: [registry] });
  return (id, signal) => startAtZero(counter, { processor: id, otel_signal: signal });
}

/** A counter that is missing until its first event hides that event from Prometheus' `rate`. */
function startAtZero(counter: Counter, labels: Record<string, string>): Count {
  const child = counter.labels(labels);
  child.inc(0);
  return (items) => child.inc(items);
}
