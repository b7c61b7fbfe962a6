/** Batches of empty records, for tests that look at counts only. */
import { LogRecord } from '../../src/model/logs.ts';
import type { Logs, Signal, Traces } from '../../src/model/batch.ts';
import { Resource, Scope } from '../../src/model/resource.ts';
import { DEFAULT_TENANT } from '../../src/model/tenant.ts';
import { Span } from '../../src/model/traces.ts';

const NO_BYTES = new Uint8Array(0);

export function tracesOf(spans: number): Traces {
  return batchOf('traces', spans, () => new Span(NO_BYTES, 0, 0));
}

export function logsOf(records: number): Logs {
  return batchOf('logs', records, () => new LogRecord(NO_BYTES, 0, 0));
}

function batchOf<S extends Signal, R>(signal: S, count: number, create: () => R) {
  const scope = {
    scope: new Scope(NO_BYTES, 0, 0),
    schemaUrl: '',
    records: Array.from({ length: count }, create),
  };
  const resource = { resource: new Resource(NO_BYTES, 0, 0), schemaUrl: '', scopes: [scope] };
  return { signal, tenant: DEFAULT_TENANT, receivedAtMs: 0, resources: [resource] };
}
