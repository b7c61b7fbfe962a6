/** What the tests of the JavaScript SDK share: the ways to send, where the records say they are from, and attributes. */
import assert from 'node:assert/strict';
import { ROOT_CONTEXT, TraceFlags, trace, type HrTime, type SpanContext } from '@opentelemetry/api';
import type { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-proto';
import { resourceFromAttributes } from '@opentelemetry/resources';
import { suite } from 'uvu';
import type { Signal } from '../../src/model/batch.ts';
import { testGateway, type TestGateway } from '../support/gateway.ts';

type Encoding = 'protobuf' | 'json';
/** The enum of the exporters' option belongs to a package that is not ours to import; its values are these. */
type Compression = NonNullable<NonNullable<ConstructorParameters<typeof OTLPTraceExporter>[0]>['compression']>;
const isCompression = (text: string): text is Compression => text === 'none' || text === 'gzip';

export interface Wire {
  readonly encoding: Encoding;
  readonly compression: 'none' | 'gzip';
}

export const WIRES: readonly Wire[] = [
  { encoding: 'protobuf', compression: 'none' },
  { encoding: 'protobuf', compression: 'gzip' },
  { encoding: 'json', compression: 'none' },
  { encoding: 'json', compression: 'gzip' },
];

/** Options that every exporter takes. */
export function exporterOptions({ compression }: Wire, gatewayUrl: string, signal: Signal) {
  const text: string = compression;
  assert(isCompression(text));
  return { url: `${gatewayUrl}/v1/${signal}`, compression: text };
}

const SCHEMA_URL = 'https://opentelemetry.io/schemas/1.44.0';

export const RESOURCE = resourceFromAttributes(
  { 'service.name': 'shop', 'process.pid': 4711, 'process.command_args': ['node', 'a.js'] },
  { schemaUrl: SCHEMA_URL },
);

/** The columns that say where a record is from. */
export const ORIGIN = {
  service_name: 'shop',
  resource: { 'service.name': 'shop', 'process.pid': 4711, 'process.command_args': ['node', 'a.js'] },
  resource_dropped_attributes_count: null,
  resource_schema_url: SCHEMA_URL,
  scope_name: 'checkout',
  scope_version: '2.1.0',
  scope_attributes: null,
  scope_dropped_attributes_count: null,
  scope_schema_url: SCHEMA_URL,
  org_id: 'default',
  workspace_id: 'default',
  target_id: null,
};

export const SCOPE = ['checkout', '2.1.0', { schemaUrl: SCHEMA_URL }] as const;

/** Attributes of every type that the API knows, and the jsonb that they become. */
export const ATTRIBUTES = {
  text: 'naïve 😀 "quoted" \\ \n',
  empty: '',
  integer: -42,
  large: Number.MAX_SAFE_INTEGER,
  fraction: 0.1,
  yes: true,
  no: false,
  texts: ['a', '', 'c'],
  integers: [1, 2, 3],
  fractions: [1.5, -2.25],
  flags: [true, false],
  none: [],
};

const SECONDS = 1_763_640_000;

/** So many nanoseconds after 2025-11-20 12:00:00 UTC, as the SDK takes times, and since 1970. */
export const at = (nanoseconds: number): HrTime => [SECONDS, nanoseconds];
export const unixNano = (nanoseconds: number): bigint => BigInt(SECONDS) * 1_000_000_000n + BigInt(nanoseconds);

/** A span of another process, and the context in which it is the parent. */
export const REMOTE: SpanContext = {
  traceId: '0af7651916cd43dd8448eb211c80319c',
  spanId: 'b7ad6b7169203331',
  traceFlags: TraceFlags.SAMPLED,
  isRemote: true,
};
export const BELOW_REMOTE = trace.setSpanContext(ROOT_CONTEXT, REMOTE);

/** A suite with a gateway of its own, whose tables are empty before each test. */
export function gatewaySuite(name: string) {
  const test = suite(name);
  let started: TestGateway | undefined;
  const gateway = (): TestGateway => {
    assert(started !== undefined);
    return started;
  };
  test.before(async () => {
    started = await testGateway();
  });
  test.before.each(async () => {
    await gateway().pool.query(
      'DELETE FROM otel_spans; DELETE FROM otel_logs; DELETE FROM otel_metrics; DELETE FROM receipts',
    );
  });
  test.after(() => gateway().close());
  return { test, gateway };
}
