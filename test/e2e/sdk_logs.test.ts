import assert from 'node:assert/strict';
import { ROOT_CONTEXT, SeverityNumber } from '@opentelemetry/api';
import { OTLPLogExporter as JsonLogExporter } from '@opentelemetry/exporter-logs-otlp-http';
import { OTLPLogExporter } from '@opentelemetry/exporter-logs-otlp-proto';
import { LoggerProvider, SimpleLogRecordProcessor } from '@opentelemetry/sdk-logs';
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
  WIRES,
  type Wire,
} from './sdk_wire.ts';

const { test, gateway } = gatewaySuite("the JavaScript SDK's log records");

const STRUCTURED = {
  title: 'found',
  score: 7.5,
  tags: ['a', 1, true],
  nested: { deep: { nothing: null } },
  none: {},
};

/** Values that log records may have, besides those of spans, and the jsonb that they become. */
const MORE_ATTRIBUTES = { map: { a: { b: [null, 'x'] } }, bytes: Uint8Array.of(0, 255) };
const MORE_ATTRIBUTES_JSON = { map: { a: { b: [null, 'x'] } }, bytes: 'AP8=' };

async function send(wire: Wire): Promise<void> {
  const options = exporterOptions(wire, gateway().url, 'logs');
  const exporter = wire.encoding === 'json' ? new JsonLogExporter(options) : new OTLPLogExporter(options);
  const provider = new LoggerProvider({ resource: RESOURCE, processors: [new SimpleLogRecordProcessor({ exporter })] });
  const logger = provider.getLogger(...SCOPE);
  logger.emit({
    timestamp: at(1),
    observedTimestamp: at(1002),
    severityNumber: SeverityNumber.WARN2,
    severityText: 'WARN',
    body: 'a "plain" body',
    attributes: { ...ATTRIBUTES, ...MORE_ATTRIBUTES, 'scan.id': 77 },
    context: BELOW_REMOTE,
  });
  const context = ROOT_CONTEXT;
  logger.emit({ timestamp: at(2000), observedTimestamp: at(3000), eventName: 'finding', body: STRUCTURED, context });
  logger.emit({ timestamp: at(4000), observedTimestamp: at(4000), body: ['list', 2], context });
  await provider.shutdown();
}

const COMMON = {
  ts_ns_rest: 0,
  observed_ns_rest: 0,
  trace_id: null,
  span_id: null,
  severity_number: null,
  severity_text: null,
  body_json: null,
  event_name: null,
  flags: null,
  attributes: {},
  dropped_attributes_count: null,
  span_type: null,
  adjusted_count: null,
  scan_id: null,
  ...ORIGIN,
};

const EXPECTED: readonly StoredRow[] = [
  {
    ...COMMON,
    ts: '2025-11-20 12:00:00+00',
    ts_ns_rest: 1,
    observed_at: '2025-11-20 12:00:00.000001+00',
    observed_ns_rest: 2,
    trace_id: REMOTE.traceId,
    span_id: REMOTE.spanId,
    severity_number: 14,
    severity_text: 'WARN',
    body: 'a "plain" body',
    flags: 1n,
    attributes: { ...ATTRIBUTES, ...MORE_ATTRIBUTES_JSON, 'scan.id': 77 },
    scan_id: '77',
  },
  {
    ...COMMON,
    ts: '2025-11-20 12:00:00.000002+00',
    observed_at: '2025-11-20 12:00:00.000003+00',
    body: JSON.stringify(STRUCTURED),
    body_json: STRUCTURED,
    event_name: 'finding',
  },
  {
    ...COMMON,
    ts: '2025-11-20 12:00:00.000004+00',
    observed_at: '2025-11-20 12:00:00.000004+00',
    body: '["list",2]',
    body_json: ['list', 2],
  },
];

for (const wire of WIRES) {
  test(`arrive whole: ${wire.encoding}, compression ${wire.compression}`, async () => {
    await send(wire);
    const rows = await storedRows(gateway().pool, 'otel_logs', 'ts, ts_ns_rest');
    assert.deepEqual(rows.map(withoutArrival), EXPECTED);
  });
}

test.run();
