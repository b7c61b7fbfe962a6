import assert from 'node:assert/strict';
import {
  ROOT_CONTEXT,
  SeverityNumber,
  SpanKind,
  SpanStatusCode,
  trace,
  TraceFlags,
  type AnyValue,
  type Attributes,
} from '@opentelemetry/api';
import {
  JsonLogsSerializer,
  JsonMetricsSerializer,
  JsonTraceSerializer,
  ProtobufLogsSerializer,
  ProtobufMetricsSerializer,
  ProtobufTraceSerializer,
} from '@opentelemetry/otlp-transformer';
import { resourceFromAttributes } from '@opentelemetry/resources';
import { InMemoryLogRecordExporter, LoggerProvider, SimpleLogRecordProcessor } from '@opentelemetry/sdk-logs';
import { AggregationType, MeterProvider, MetricReader } from '@opentelemetry/sdk-metrics';
import { InMemorySpanExporter, SimpleSpanProcessor, TracerProvider } from '@opentelemetry/sdk-trace';
import { suite } from 'uvu';
import type { Batches, Signal } from '../../src/model/batch.ts';
import { content, pointsOf, recordsOf } from './content.ts';
import { decode, decodeJson } from './requests.ts';

const sdk = suite('what the JavaScript SDK serialises');

const resource = resourceFromAttributes({ 'service.name': 'checkout', 'process.pid': 4711 });

const ATTRIBUTES: Attributes = {
  text: 'grün \u{1f600}\n"\u0000',
  empty: '',
  yes: true,
  integer: 42,
  negative: -7,
  largest: Number.MAX_SAFE_INTEGER,
  ratio: 0.25,
  huge: 1e300,
  list: ['a', '', 'b'],
  numbers: [1, 2.5, -3],
};

const LINKED = { traceId: '01'.repeat(16), spanId: '02'.repeat(8), traceFlags: TraceFlags.SAMPLED };

/** Both encodings decode to the same; what they decode to. */
async function agreed<S extends Signal>(
  signal: S,
  protobuf: Uint8Array | undefined,
  json: Uint8Array | undefined,
): Promise<Batches[S]> {
  assert.ok(protobuf !== undefined && json !== undefined);
  const fromProtobuf = decode(signal, Buffer.from(protobuf));
  const fromJson = await decodeJson(signal, json);
  assert.deepEqual([fromProtobuf.rejections.message, fromJson.message], ['', '']);
  assert.deepEqual(content(fromJson.batch), content(fromProtobuf.batch));
  return fromProtobuf.batch;
}

sdk('spans', async () => {
  const exporter = new InMemorySpanExporter();
  const provider = new TracerProvider({ resource, spanProcessors: [new SimpleSpanProcessor({ exporter })] });
  const tracer = provider.getTracer('shop', '1.2.3', { schemaUrl: 'https://example.com/schema' });
  const root = tracer.startSpan('root', { kind: SpanKind.SERVER, startTime: [1_700_000_000, 123_456_789] });
  const child = tracer.startSpan(
    'child',
    { kind: SpanKind.CLIENT, attributes: ATTRIBUTES, links: [{ context: LINKED, attributes: { why: 'retry' } }] },
    trace.setSpan(ROOT_CONTEXT, root),
  );
  child.addEvent('cache miss', { key: 'k', size: 3 }, [1_700_000_000, 5]);
  child.recordException(new TypeError('no'));
  child.setStatus({ code: SpanStatusCode.ERROR, message: 'boom' });
  child.end();
  root.end([1_700_000_001, 987_654_321]);
  const spans = exporter.getFinishedSpans();

  const batch = await agreed(
    'traces',
    ProtobufTraceSerializer.serializeRequest(spans),
    JsonTraceSerializer.serializeRequest(spans),
  );
  const [first, second, ...more] = recordsOf(batch);
  assert.ok(first !== undefined && second !== undefined && more.length === 0);
  const { traceId, spanId } = root.spanContext();
  assert.deepEqual([first['traceId'], first['parentSpanId'], first['kind']], [traceId, spanId, 3]);
  assert.deepEqual(first['attributes'], Object.entries(ATTRIBUTES));
  assert.deepEqual(first['status'], [2, 'boom']);
  assert.deepEqual(first['counts'], [2, 1]);
  assert.deepEqual([second['spanId'], second['parentSpanId'], second['kind']], [spanId, '', 2]);
  assert.deepEqual([second['start'], second['end']], [1_700_000_000_123_456_789n, 1_700_000_001_987_654_321n]);
  const [group] = content(batch);
  assert.deepEqual(group?.attributes, [
    ['service.name', 'checkout'],
    ['process.pid', 4711],
  ]);
  const [scope] = group.scopes;
  assert.deepEqual([scope?.name, scope?.version, scope?.schemaUrl], ['shop', '1.2.3', 'https://example.com/schema']);
  await provider.shutdown();
});

const BODY: AnyValue = {
  text: 't',
  nothing: null,
  nested: { list: [1, 'two', [3], { four: 4.5 }, null], bytes: Uint8Array.of(0, 255) },
};

sdk('log records', async () => {
  const exporter = new InMemoryLogRecordExporter();
  const provider = new LoggerProvider({ resource, processors: [new SimpleLogRecordProcessor({ exporter })] });
  const logger = provider.getLogger('shop', '1.2.3');
  const context = trace.setSpanContext(ROOT_CONTEXT, LINKED);
  logger.emit({ body: 'plain', severityNumber: SeverityNumber.WARN, severityText: 'WARN', context });
  logger.emit({
    body: BODY,
    attributes: { ...ATTRIBUTES, map: BODY },
    eventName: 'ordered',
    timestamp: [1_700_000_000, 7],
  });
  logger.emit({});
  const records = exporter.getFinishedLogRecords();

  const batch = await agreed(
    'logs',
    ProtobufLogsSerializer.serializeRequest(records),
    JsonLogsSerializer.serializeRequest(records),
  );
  const [plain, rich, empty, ...more] = recordsOf(batch);
  assert.ok(plain !== undefined && rich !== undefined && empty !== undefined && more.length === 0);
  assert.deepEqual([plain['body'], plain['severity']], ['plain', [13, 'WARN']]);
  assert.deepEqual([plain['traceId'], plain['spanId'], plain['flags']], [LINKED.traceId, LINKED.spanId, 1]);
  assert.deepEqual([rich['eventName'], rich['time']], ['ordered', 1_700_000_000_000_000_007n]);
  assert.deepEqual(
    rich['body'],
    new Map<string, unknown>([
      ['text', 't'],
      ['nothing', null],
      [
        'nested',
        new Map<string, unknown>([
          ['list', [1, 'two', [3], new Map([['four', 4.5]]), null]],
          ['bytes', Buffer.of(0, 255)],
        ]),
      ],
    ]),
  );
  assert.deepEqual([empty['body'], empty['traceId']], [null, '']);
  await provider.shutdown();
});

/** Collects when it is asked to. */
class ManualReader extends MetricReader {
  protected override onForceFlush(): Promise<void> {
    return Promise.resolve();
  }

  protected override onShutdown(): Promise<void> {
    return Promise.resolve();
  }
}

sdk('metrics of every kind that it makes', async () => {
  const reader = new ManualReader();
  const exponential = { type: AggregationType.EXPONENTIAL_HISTOGRAM } as const;
  const provider = new MeterProvider({
    resource,
    readers: [reader],
    views: [{ instrumentName: 'sizes', aggregation: exponential }],
  });
  const meter = provider.getMeter('shop', '1.2.3');
  meter.createCounter('requests', { unit: '{request}', description: 'so many' }).add(3, { route: '/' });
  meter.createUpDownCounter('open').add(-2.5);
  meter.createGauge('load').record(0.75, ATTRIBUTES);
  const histogram = meter.createHistogram('durations', { advice: { explicitBucketBoundaries: [1, 10, 100] } });
  const sizes = meter.createHistogram('sizes');
  for (const value of [0, 0.5, 5, 50, 5000]) {
    histogram.record(value);
    sizes.record(value);
  }
  const { resourceMetrics } = await reader.collect();

  const batch = await agreed(
    'metrics',
    ProtobufMetricsSerializer.serializeRequest(resourceMetrics),
    JsonMetricsSerializer.serializeRequest(resourceMetrics),
  );
  const metrics = recordsOf(batch);
  assert.deepEqual(
    metrics.map(({ name, type, temporality, isMonotonic }) => [name, type, temporality, isMonotonic]),
    [
      ['sizes', 'exponential_histogram', 2, false],
      ['requests', 'sum', 2, true],
      ['open', 'sum', 2, false],
      ['load', 'gauge', 0, false],
      ['durations', 'histogram', 2, false],
    ],
  );
  const [bySize, requests, open, load, durations] = pointsOf(batch);
  assert.equal(requests?.['asDouble'] ?? Number(requests?.['asInt']), 3);
  assert.equal(open?.['asDouble'], -2.5);
  assert.deepEqual([load?.['asDouble'], load?.['attributes']], [0.75, Object.entries(ATTRIBUTES)]);
  assert.deepEqual(
    [durations?.['counts'], durations?.['bounds']],
    [
      [2n, 1n, 1n, 1n],
      [1, 10, 100],
    ],
  );
  assert.deepEqual([bySize?.['count'], bySize?.['zeroCount'], bySize?.['sum']], [5n, 1n, 5055.5]);
  await provider.shutdown();
});

sdk.run();
