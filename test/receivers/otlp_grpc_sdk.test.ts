import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { credentials, Metadata, type ChannelCredentials } from '@grpc/grpc-js';
import { OTLPLogExporter } from '@opentelemetry/exporter-logs-otlp-grpc';
import { OTLPMetricExporter } from '@opentelemetry/exporter-metrics-otlp-grpc';
import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-grpc';
import { LoggerProvider, SimpleLogRecordProcessor } from '@opentelemetry/sdk-logs';
import { MeterProvider, PeriodicExportingMetricReader } from '@opentelemetry/sdk-metrics';
import { AlwaysOnSampler, BatchSpanProcessor, TracerProvider } from '@opentelemetry/sdk-trace';
import { suite } from 'uvu';
import { certificateAuthority, testFiles, type TestFiles } from '../support/certificates.ts';
import { freePort, testGateway, type SignalTable, type TestGateway } from '../support/gateway.ts';

const Sdk = suite('the JavaScript SDK over OTLP/gRPC');
const authority = certificateAuthority('gateways');
const token = randomBytes(16).toString('hex');
let files: TestFiles;
let gateway: TestGateway;
let ports: { plain: number; tls: number };

Sdk.before(async () => {
  files = await testFiles();
  const { cert, key } = authority.issue('gateway', ['localhost']);
  const tls = { cert_file: await files.write('cert.pem', cert), key_file: await files.write('key.pem', key) };
  ports = { plain: await freePort(), tls: await freePort() };
  const auth = { authenticator: 'static_tokens' };
  const pipeline = { receivers: ['otlp', 'otlp/tls'], exporters: ['postgres'] };
  // YAML takes JSON as it is.
  const config = JSON.stringify({
    extensions: { static_tokens: { tokens: [{ token, org_id: 'acme', workspace_id: 'main' }] } },
    receivers: {
      otlp: { protocols: { grpc: { endpoint: `127.0.0.1:${ports.plain}`, auth } } },
      'otlp/tls': { protocols: { grpc: { endpoint: `127.0.0.1:${ports.tls}`, auth, tls } } },
    },
    exporters: { postgres: { database_url: '${env:DATABASE_URL}' } },
    service: {
      extensions: ['static_tokens'],
      pipelines: { traces: pipeline, logs: pipeline, metrics: pipeline },
      telemetry: { logs: { level: 'error' } },
    },
  });
  gateway = await testGateway({ config });
});
Sdk.before.each(async () => {
  await gateway.pool.query(
    'DELETE FROM otel_spans; DELETE FROM otel_logs; DELETE FROM otel_metrics; DELETE FROM receipts',
  );
});
Sdk.after(async () => {
  await gateway.close();
  await files.remove();
});

/** The enum of the exporters' option belongs to a package that is not ours to import; its values are these. */
type Compression = NonNullable<NonNullable<ConstructorParameters<typeof OTLPTraceExporter>[0]>['compression']>;
const isCompression = (text: string): text is Compression => text === 'none' || text === 'gzip';

interface Wire {
  readonly name: string;
  readonly url: () => string;
  readonly channel: () => ChannelCredentials;
  readonly compression: string;
}

const plain = { url: () => `http://127.0.0.1:${ports.plain}`, channel: () => credentials.createInsecure() };
const tls = {
  url: () => `https://localhost:${ports.tls}`,
  channel: () => credentials.createSsl(Buffer.from(authority.cert)),
};

const WIRES: readonly Wire[] = [
  { name: 'as it is', compression: 'none', ...plain },
  { name: 'with gzip', compression: 'gzip', ...plain },
  { name: 'with gzip over TLS', compression: 'gzip', ...tls },
];

function optionsOf({ url, channel, compression }: Wire) {
  assert(isCompression(compression));
  const metadata = new Metadata();
  metadata.set('authorization', `Bearer ${token}`);
  return { url: url(), credentials: channel(), metadata, compression };
}

/** One of each signal; resolves when all were acknowledged. */
async function send(wire: Wire): Promise<void> {
  const spanProcessors = [new BatchSpanProcessor({ exporter: new OTLPTraceExporter(optionsOf(wire)) })];
  const tracers = new TracerProvider({ sampler: new AlwaysOnSampler(), spanProcessors });
  const processors = [new SimpleLogRecordProcessor({ exporter: new OTLPLogExporter(optionsOf(wire)) })];
  const loggers = new LoggerProvider({ processors });
  const readers = [new PeriodicExportingMetricReader({ exporter: new OTLPMetricExporter(optionsOf(wire)) })];
  const meters = new MeterProvider({ readers });
  tracers.getTracer('t').startSpan('a span').end();
  loggers.getLogger('t').emit({ body: 'a record' });
  meters.getMeter('t').createCounter('a_counter').add(1);
  await Promise.all([tracers.shutdown(), loggers.shutdown(), meters.shutdown()]);
}

async function stored(table: SignalTable, column: string): Promise<unknown[]> {
  const { rows } = await gateway.pool.query(`SELECT ${column} AS name, org_id FROM ${table}`);
  return rows;
}

for (const wire of WIRES) {
  Sdk(`is understood ${wire.name}, and known by its token`, async () => {
    await send(wire);
    assert.deepEqual(await stored('otel_spans', 'name'), [{ name: 'a span', org_id: 'acme' }]);
    assert.deepEqual(await stored('otel_logs', 'body'), [{ name: 'a record', org_id: 'acme' }]);
    assert.deepEqual(await stored('otel_metrics', 'metric_name'), [{ name: 'a_counter', org_id: 'acme' }]);
  });
}

Sdk.run();
