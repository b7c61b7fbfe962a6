/**
 * The metrics of the simulated services: what the instrumentations behind the spans would count. Instruments and units
 * are those of the semantic conventions where they have one (durations in seconds).
 */
import { SpanKind, ValueType, type Attributes, type Context, type Meter } from '@opentelemetry/api';
import type { Step } from './step.ts';

/** Records what one finished step amounts to; the context ties a measurement to its span. */
export type Measure = (step: Step, context: Context) => void;

const REQUEST_SECONDS = [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10];
const TOOL_SECONDS = [1, 5, 10, 20, 30, 60, 120];
const TOKENS = [1, 4, 16, 64, 256, 1024, 4096, 16384, 65536];

export function measureWith(meter: Meter, scanId: string): Measure {
  const scan = { 'pencheff.scan_id': scanId };
  const seconds = (name: string, bounds: number[]) =>
    meter.createHistogram(name, { unit: 's', advice: { explicitBucketBoundaries: bounds } });
  const clientDuration = seconds('http.client.request.duration', REQUEST_SECONDS);
  const serverDuration = seconds('http.server.request.duration', REQUEST_SECONDS);
  const mcpDuration = seconds('mcp.server.operation.duration', REQUEST_SECONDS);
  const toolDuration = seconds('pencheff.tool.duration', TOOL_SECONDS);
  const tokens = meter.createHistogram('gen_ai.client.token.usage', {
    unit: '{token}',
    valueType: ValueType.INT,
    advice: { explicitBucketBoundaries: TOKENS },
  });
  const toolRuns = meter.createCounter('pencheff.tool.runs', { unit: '{run}', valueType: ValueType.INT });
  const findings = meter.createCounter('pencheff.scan.findings', { unit: '{finding}', valueType: ValueType.INT });
  const queued = meter.createGauge('pencheff.scans.queued', { unit: '{scan}', valueType: ValueType.INT });
  const progress = meter.createGauge('pencheff.scan.progress', { unit: '1' });

  return (step, context) => {
    const { attributes } = step;
    const took = step.tookMs / 1000;
    if ('http.request.method' in attributes) {
      const duration = step.kind === SpanKind.SERVER ? serverDuration : clientDuration;
      duration.record(took, only(step, 'http.request.method', 'http.response.status_code', 'http.route'), context);
    }
    if ('mcp.method.name' in attributes && step.kind === SpanKind.SERVER) {
      mcpDuration.record(took, only(step, 'mcp.method.name', 'gen_ai.tool.name'), context);
    }
    if ('tool.name' in attributes) {
      toolDuration.record(took, { ...only(step, 'tool.name'), ...scan }, context);
      toolRuns.add(1, { ...only(step, 'tool.name', 'tool.exit_code'), ...scan }, context);
    }
    for (const type of ['input', 'output']) {
      const used = attributes[`gen_ai.usage.${type}_tokens`];
      if (typeof used !== 'number') continue;
      const model = only(step, 'gen_ai.provider.name', 'gen_ai.request.model');
      tokens.record(used, { ...model, 'gen_ai.token.type': type, ...scan }, context);
    }
    for (const { severity } of step.findings ?? []) findings.add(1, { severity, ...scan }, context);
    if (step.kind === SpanKind.PRODUCER) queued.record(1, { 'messaging.destination.name': 'scans' }, context);
    if (step.name === 'scan.execute') progress.record(1, scan, context);
  };
}

function only({ attributes, failure }: Step, ...keys: readonly string[]): Attributes {
  const kept = keys.filter((key) => key in attributes).map((key) => [key, attributes[key]]);
  return { ...Object.fromEntries(kept), ...(failure && { 'error.type': failure.type }) };
}
