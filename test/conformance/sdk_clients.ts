/** What an application does to send one record of a signal with the JavaScript SDK, over each of its exporters. */
import assert from 'node:assert/strict';
import { Metadata } from '@grpc/grpc-js';
import { SpanStatusCode } from '@opentelemetry/api';
import { OTLPLogExporter as GrpcLogExporter } from '@opentelemetry/exporter-logs-otlp-grpc';
import { OTLPLogExporter as JsonLogExporter } from '@opentelemetry/exporter-logs-otlp-http';
import { OTLPLogExporter } from '@opentelemetry/exporter-logs-otlp-proto';
import { OTLPMetricExporter as GrpcMetricExporter } from '@opentelemetry/exporter-metrics-otlp-grpc';
import { OTLPMetricExporter as JsonMetricExporter } from '@opentelemetry/exporter-metrics-otlp-http';
import { OTLPMetricExporter } from '@opentelemetry/exporter-metrics-otlp-proto';
import { OTLPTraceExporter as GrpcTraceExporter } from '@opentelemetry/exporter-trace-otlp-grpc';
import { OTLPTraceExporter as JsonTraceExporter } from '@opentelemetry/exporter-trace-otlp-http';
import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-proto';
import { resourceFromAttributes } from '@opentelemetry/resources';
import { LoggerProvider, SimpleLogRecordProcessor } from '@opentelemetry/sdk-logs';
import { MeterProvider, PeriodicExportingMetricReader } from '@opentelemetry/sdk-metrics';
import { AlwaysOnSampler, BatchSpanProcessor, TracerProvider } from '@opentelemetry/sdk-trace';
import type { Signal } from '../../src/model/batch.ts';
import type { Endpoints, Wire } from './wires.ts';

export interface Client {
  readonly wire: Wire;
  readonly compression: 'none' | 'gzip';
  readonly token: string;
}

/** The enum of the exporters' option belongs to a package that is not ours to import; its values are these. */
type CompressionOption = NonNullable<NonNullable<ConstructorParameters<typeof OTLPTraceExporter>[0]>['compression']>;
const isCompression = (text: string): text is CompressionOption => text === 'none' || text === 'gzip';

export const SERVICE = 'sdk client';
const resource = resourceFromAttributes({ 'service.name': SERVICE });
const ATTRIBUTES = { 'pencheff.scan_id': 'scan-1', large: Number.MAX_SAFE_INTEGER, texts: ['a', 'b'] };

/** Sends one record and resolves once the SDK has nothing more to send, which it tells nobody whether that went well. */
export async function sendWithSdk(signal: Signal, client: Client, gateway: Endpoints): Promise<void> {
  await SENDERS[signal](client, gateway);
}

/** Options of the exporters over HTTP. */
function httpOptions(signal: Signal, { compression, token }: Client, { url }: Endpoints) {
  const text: string = compression;
  assert(isCompression(text));
  return { url: `${url}/v1/${signal}`, compression: text, headers: { authorization: `Bearer ${token}` } };
}

function grpcOptions({ compression, token }: Client, { grpcAddress }: Endpoints) {
  const metadata = new Metadata();
  metadata.set('authorization', `Bearer ${token}`);
  const text: string = compression;
  assert(isCompression(text));
  return { url: `http://${grpcAddress}`, compression: text, metadata };
}

const SENDERS: Readonly<Record<Signal, (client: Client, gateway: Endpoints) => Promise<void>>> = {
  async traces(client, gateway) {
    const provider = new TracerProvider({
      resource,
      sampler: new AlwaysOnSampler(),
      spanProcessors: [new BatchSpanProcessor({ exporter: spanExporter(client, gateway) })],
    });
    const span = provider.getTracer('sdk').startSpan('span', { attributes: ATTRIBUTES });
    span.setStatus({ code: SpanStatusCode.OK }).end();
    await provider.shutdown();
  },
  async logs(client, gateway) {
    const exporter = logExporter(client, gateway);
    const provider = new LoggerProvider({ resource, processors: [new SimpleLogRecordProcessor({ exporter })] });
    provider.getLogger('sdk').emit({ body: 'log', attributes: ATTRIBUTES });
    await provider.shutdown();
  },
  async metrics(client, gateway) {
    const exporter = metricExporter(client, gateway);
    const provider = new MeterProvider({ resource, readers: [new PeriodicExportingMetricReader({ exporter })] });
    provider.getMeter('sdk').createCounter('metric').add(1, ATTRIBUTES);
    await provider.shutdown();
  },
};

function spanExporter(client: Client, gateway: Endpoints) {
  if (client.wire === 'grpc') return new GrpcTraceExporter(grpcOptions(client, gateway));
  const options = httpOptions('traces', client, gateway);
  return client.wire === 'http/json' ? new JsonTraceExporter(options) : new OTLPTraceExporter(options);
}

function logExporter(client: Client, gateway: Endpoints) {
  if (client.wire === 'grpc') return new GrpcLogExporter(grpcOptions(client, gateway));
  const options = httpOptions('logs', client, gateway);
  return client.wire === 'http/json' ? new JsonLogExporter(options) : new OTLPLogExporter(options);
}

function metricExporter(client: Client, gateway: Endpoints) {
  if (client.wire === 'grpc') return new GrpcMetricExporter(grpcOptions(client, gateway));
  const options = httpOptions('metrics', client, gateway);
  return client.wire === 'http/json' ? new JsonMetricExporter(options) : new OTLPMetricExporter(options);
}
