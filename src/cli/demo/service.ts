/**
 * One simulated program: a resource with the OpenTelemetry SDK's three providers, which export over OTLP/HTTP. Nothing
 * is registered globally, so several services live side by side in one process.
 */
import type { Logger, Meter, Tracer } from '@opentelemetry/api';
import { OTLPLogExporter as JsonLogExporter } from '@opentelemetry/exporter-logs-otlp-http';
import { OTLPLogExporter } from '@opentelemetry/exporter-logs-otlp-proto';
import { OTLPMetricExporter as JsonMetricExporter } from '@opentelemetry/exporter-metrics-otlp-http';
import { OTLPMetricExporter } from '@opentelemetry/exporter-metrics-otlp-proto';
import { OTLPTraceExporter as JsonTraceExporter } from '@opentelemetry/exporter-trace-otlp-http';
import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-proto';
import { defaultResource, resourceFromAttributes } from '@opentelemetry/resources';
import { BatchLogRecordProcessor, LoggerProvider } from '@opentelemetry/sdk-logs';
import { MeterProvider, PeriodicExportingMetricReader } from '@opentelemetry/sdk-metrics';
import { AlwaysOnSampler, BatchSpanProcessor, TracerProvider, type SpanExporter } from '@opentelemetry/sdk-trace';
import { randomUUID } from 'node:crypto';
import type { Scope, ServiceName } from './step.ts';

export type Encoding = 'protobuf' | 'json';

/** What the gateway acknowledged, and the first thing that went wrong. */
interface Tally {
  spans: number;
  logRecords: number;
  dataPoints: number;
  failure?: string;
}

export interface Service {
  readonly name: ServiceName;
  readonly encoding: Encoding;
  readonly sent: Readonly<Tally>;
  readonly meter: Meter;
  tracer(scope: Scope): Tracer;
  logger(scope: Scope): Logger;
  /** Sends what is left and closes the connections. Failures are in `sent`, never thrown. */
  close(): Promise<void>;
}

/** `endpoint` is the gateway's base URL, without a trailing slash. */
export function startService(name: ServiceName, encoding: Encoding, endpoint: string): Service {
  const sent: Tally = { spans: 0, logRecords: 0, dataPoints: 0 };
  const resource = defaultResource().merge(
    resourceFromAttributes({
      'service.namespace': 'pencheff',
      'service.name': name,
      'service.version': '1.8.0',
      'service.instance.id': randomUUID(),
      'deployment.environment.name': 'staging',
    }),
  );
  const exporters = makeExporters(encoding, endpoint);
  const tracers = new TracerProvider({
    resource,
    sampler: new AlwaysOnSampler(),
    spanProcessors: [
      new BatchSpanProcessor({
        exporter: counting(exporters.traces, sent, (spans) => (sent.spans += spans.length)),
      }),
    ],
  });
  const loggers = new LoggerProvider({
    resource,
    processors: [
      new BatchLogRecordProcessor({
        exporter: counting(exporters.logs, sent, (records) => (sent.logRecords += records.length)),
      }),
    ],
  });
  const metricExporter = counting(exporters.metrics, sent, (batch) => (sent.dataPoints += pointCount(batch)));
  const meters = new MeterProvider({
    resource,
    readers: [new PeriodicExportingMetricReader({ exporter: metricExporter })],
  });
  return {
    name,
    encoding,
    sent,
    meter: meters.getMeter('pencheff', '1.8.0'),
    tracer: (scope) => tracers.getTracer(scope.name, scope.version),
    logger: (scope) => loggers.getLogger(scope.name, scope.version),
    async close() {
      await Promise.allSettled([tracers.shutdown(), loggers.shutdown(), meters.shutdown()]);
    },
  };
}

function makeExporters(encoding: Encoding, endpoint: string) {
  const to = (path: string) => ({ url: `${endpoint}/v1/${path}` });
  return encoding === 'json'
    ? {
        traces: new JsonTraceExporter(to('traces')),
        logs: new JsonLogExporter(to('logs')),
        metrics: new JsonMetricExporter(to('metrics')),
      }
    : {
        traces: new OTLPTraceExporter(to('traces')),
        logs: new OTLPLogExporter(to('logs')),
        metrics: new OTLPMetricExporter(to('metrics')),
      };
}

type Report = Parameters<SpanExporter['export']>[1];

/** What the exporters of the three signals have in common. */
interface Exporter<T> {
  export(items: T, report: Report): void;
  forceFlush(): Promise<void>;
  shutdown(): Promise<void>;
}

/** Tells what an exporter got through; the batch processors themselves do not say. */
function counting<T>(exporter: Exporter<T>, sent: Tally, count: (items: T) => void): Exporter<T> {
  return {
    export(items, report) {
      exporter.export(items, (result) => {
        if (result.error) sent.failure ??= result.error.message;
        else count(items);
        report(result);
      });
    },
    forceFlush: () => exporter.forceFlush(),
    shutdown: () => exporter.shutdown(),
  };
}

/** The part of the SDK's ResourceMetrics that counting needs. */
interface Points {
  readonly scopeMetrics: readonly { readonly metrics: readonly { readonly dataPoints: readonly unknown[] }[] }[];
}

function pointCount({ scopeMetrics }: Points): number {
  const metrics = scopeMetrics.flatMap((scope) => scope.metrics);
  return metrics.reduce((count, metric) => count + metric.dataPoints.length, 0);
}
