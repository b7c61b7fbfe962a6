import assert from 'node:assert/strict';
import { ROOT_CONTEXT, SpanKind, SpanStatusCode, trace, type Span, type Tracer } from '@opentelemetry/api';
import { OTLPTraceExporter as JsonTraceExporter } from '@opentelemetry/exporter-trace-otlp-http';
import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-proto';
import { AlwaysOnSampler, BatchSpanProcessor, TracerProvider } from '@opentelemetry/sdk-trace';
import { storedRows, withoutArrival, type StoredRow } from '../support/gateway.ts';
import {
  at,
  ATTRIBUTES,
  BELOW_REMOTE,
  exporterOptions,
  gatewaySuite,
  ORIGIN,
  REMOTE,
  RESOURCE,
  SCOPE,
  unixNano,
  WIRES,
  type Wire,
} from './sdk_wire.ts';

const { test, gateway } = gatewaySuite("the JavaScript SDK's spans");

/** Bits of `Span.flags`: the W3C flags, and whether the parent is known to be remote. */
const SAMPLED = 0x101;
const SAMPLED_REMOTE = 0x301;

const CHILD_KINDS = [SpanKind.INTERNAL, SpanKind.CLIENT, SpanKind.PRODUCER, SpanKind.CONSUMER] as const;

interface Sent {
  readonly server: Span;
  readonly children: readonly Span[];
}

async function send(wire: Wire): Promise<Sent> {
  const options = exporterOptions(wire, gateway().url, 'traces');
  const exporter = wire.encoding === 'json' ? new JsonTraceExporter(options) : new OTLPTraceExporter(options);
  const provider = new TracerProvider({
    resource: RESOURCE,
    sampler: new AlwaysOnSampler(),
    spanProcessors: [new BatchSpanProcessor({ exporter })],
  });
  const tracer = provider.getTracer(...SCOPE);
  const server = startServer(tracer);
  const children = CHILD_KINDS.map((kind, i) => makeChild(tracer, server, kind, i));
  server.end(at(1_123_456_790));
  await provider.shutdown();
  return { server, children };
}

/** A span with everything that a span can have. */
function startServer(tracer: Tracer): Span {
  const span = tracer.startSpan(
    'GET /cart',
    {
      kind: SpanKind.SERVER,
      startTime: at(123_456_789),
      attributes: { ...ATTRIBUTES, 'pencheff.scan_id': 'scan-1' },
      links: [
        { context: REMOTE, attributes: { why: 'queued', count: 2 } },
        { context: { ...REMOTE, isRemote: false } },
      ],
    },
    BELOW_REMOTE,
  );
  span.addEvent('cache.miss', { key: 'cart:1', tries: [1, 2] }, at(200_000_001));
  span.recordException(
    { name: 'TypeError', message: 'no cart', stack: 'TypeError: no cart\n    at a.js' },
    at(300_000_000),
  );
  span.setStatus({ code: SpanStatusCode.ERROR, message: 'no cart' });
  return span;
}

function makeChild(tracer: Tracer, parent: Span, kind: SpanKind, i: number): Span {
  const startTime = at(400_000_000 + i);
  const child = tracer.startSpan(`child ${kind}`, { kind, startTime }, trace.setSpan(ROOT_CONTEXT, parent));
  if (i === 0) child.setStatus({ code: SpanStatusCode.OK });
  child.end(at(500_000_000 + i * 2));
  return child;
}

const COMMON = {
  trace_id: REMOTE.traceId,
  trace_state: null,
  dropped_attributes_count: null,
  dropped_events_count: null,
  dropped_links_count: null,
  span_type: null,
  adjusted_count: null,
  ...ORIGIN,
};

const LINK = { trace_id: REMOTE.traceId, span_id: REMOTE.spanId };

function serverRow(server: Span): StoredRow {
  return {
    ...COMMON,
    span_id: server.spanContext().spanId,
    parent_span_id: REMOTE.spanId,
    name: 'GET /cart',
    kind: 1,
    started_at: '2025-11-20 12:00:00.123456+00',
    started_ns_rest: 789,
    ended_at: '2025-11-20 12:00:01.123456+00',
    duration_ns: 1_000_000_001n,
    status_code: 2,
    status_message: 'no cart',
    flags: BigInt(SAMPLED_REMOTE),
    attributes: { ...ATTRIBUTES, 'pencheff.scan_id': 'scan-1' },
    events: [
      { time_unix_nano: unixNano(200_000_001), name: 'cache.miss', attributes: { key: 'cart:1', tries: [1, 2] } },
      {
        time_unix_nano: unixNano(300_000_000),
        name: 'exception',
        attributes: {
          'exception.type': 'TypeError',
          'exception.message': 'no cart',
          'exception.stacktrace': 'TypeError: no cart\n    at a.js',
        },
      },
    ],
    links: [
      { ...LINK, attributes: { why: 'queued', count: 2 }, flags: SAMPLED_REMOTE },
      { ...LINK, attributes: {}, flags: SAMPLED },
    ],
    scan_id: 'scan-1',
  };
}

function childRow(child: Span, parent: Span, kind: SpanKind, i: number): StoredRow {
  return {
    ...COMMON,
    span_id: child.spanContext().spanId,
    parent_span_id: parent.spanContext().spanId,
    name: `child ${kind}`,
    kind,
    started_at: '2025-11-20 12:00:00.4+00',
    started_ns_rest: i,
    ended_at: '2025-11-20 12:00:00.5+00',
    duration_ns: BigInt(100_000_000 + i),
    status_code: i === 0 ? 1 : 0,
    status_message: null,
    flags: BigInt(SAMPLED),
    attributes: {},
    events: null,
    links: null,
    scan_id: null,
  };
}

for (const wire of WIRES) {
  test(`arrive whole: ${wire.encoding}, compression ${wire.compression}`, async () => {
    const { server, children } = await send(wire);
    const rows = await storedRows(gateway().pool, 'otel_spans', 'started_at, started_ns_rest');
    assert.deepEqual(rows.map(withoutArrival), [
      serverRow(server),
      ...children.map((child, i) => childRow(child, server, CHILD_KINDS[i] ?? SpanKind.INTERNAL, i)),
    ]);
  });
}

test.run();
