/** Turns a script into telemetry: every step becomes a span, its logs are emitted inside it, its numbers are measured. */
import {
  ROOT_CONTEXT,
  SeverityNumber,
  SpanStatusCode,
  trace,
  type Context,
  type Link,
  type Span,
  type SpanContext,
} from '@opentelemetry/api';
import type { Measure } from './measure.ts';
import type { Service } from './service.ts';
import type { LogLine, ServiceName, Step } from './step.ts';

export interface Stage {
  readonly scanId: string;
  readonly services: Readonly<Record<ServiceName, Service>>;
  readonly measures: Readonly<Record<ServiceName, Measure>>;
}

export interface Played {
  readonly step: Step;
  readonly span: SpanContext;
}

/** Where and when a root step happens. */
export interface Opening {
  readonly service: ServiceName;
  /** Milliseconds since 1970. */
  readonly startMs: number;
  readonly links?: readonly Link[];
}

interface Place extends Opening {
  readonly parent: Context;
}

/** Plays a root step and all below it, and returns every span it made, parents first. */
export function play(stage: Stage, root: Step, opening: Opening): Played[] {
  const played: Played[] = [];
  playStep(stage, root, { ...opening, parent: ROOT_CONTEXT }, played);
  return played;
}

/** A script is a handful of levels deep, so recursion is safe here. */
function playStep(stage: Stage, step: Step, place: Place, played: Played[]): void {
  const service = stage.services[place.service];
  const span = service.tracer(step.scope).startSpan(
    step.name,
    {
      kind: step.kind,
      startTime: place.startMs,
      links: [...(place.links ?? [])],
      attributes: { ...scanAttributes(stage, step), ...step.attributes },
    },
    place.parent,
  );
  const context = trace.setSpan(place.parent, span);
  played.push({ step, span: span.spanContext() });
  for (const child of step.children ?? []) {
    const startMs = place.startMs + child.atMs;
    playStep(stage, child, { service: child.service ?? place.service, startMs, parent: context }, played);
  }
  const endMs = place.startMs + step.tookMs;
  conclude(span, step, endMs);
  emitLogs(stage, service, step, place.startMs, context);
  stage.measures[place.service](step, context);
}

function scanAttributes(stage: Stage, step: Step): { 'pencheff.scan_id'?: string } {
  return step.scope.knowsScan ? { 'pencheff.scan_id': stage.scanId } : {};
}

function conclude(span: Span, step: Step, endMs: number): void {
  if (step.ok) span.setStatus({ code: SpanStatusCode.OK });
  if (step.failure) {
    const { type, message, stack } = step.failure;
    span.setAttribute('error.type', type);
    span.setStatus({ code: SpanStatusCode.ERROR, ...(message !== undefined && { message }) });
    if (stack !== undefined) span.recordException({ name: type, message: message ?? type, stack }, endMs);
  }
  span.end(endMs);
}

function emitLogs(stage: Stage, service: Service, step: Step, startMs: number, context: Context): void {
  const logger = service.logger(step.scope);
  const common = scanAttributes(stage, step);
  for (const line of step.logs ?? []) {
    logger.emit({
      timestamp: startMs + line.part * step.tookMs,
      severityNumber: SeverityNumber[line.severity],
      severityText: line.severity,
      body: line.body,
      attributes: { ...common, ...line.attributes, ...exceptionAttributes(step, line) },
      context,
    });
  }
  for (const finding of step.findings ?? []) {
    logger.emit({
      timestamp: startMs + step.tookMs,
      severityNumber: SeverityNumber.WARN,
      severityText: 'WARN',
      eventName: 'pencheff.finding',
      body: { title: finding.title, severity: finding.severity, found_by: step.name },
      attributes: common,
      context,
    });
  }
}

/** An error's log record carries the exception too: the form that replaces span events (exception conventions). */
function exceptionAttributes({ failure }: Step, line: LogLine): Record<string, string> {
  if (line.severity !== 'ERROR' || failure?.stack === undefined) return {};
  return {
    'exception.type': failure.type,
    'exception.message': failure.message ?? failure.type,
    'exception.stacktrace': failure.stack,
  };
}
