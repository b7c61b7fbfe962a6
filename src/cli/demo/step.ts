/**
 * What a script of the demo is made of: a tree of steps, each one span with its logs and findings, as plain data. Times
 * are milliseconds relative to the parent's start, so a script can be played at any time; a parent is built from its
 * children and therefore always encloses them.
 */
import { SpanKind, type Attributes } from '@opentelemetry/api';

export type ServiceName = 'pencheff-api' | 'pencheff-worker' | 'pencheff-mcp';

/** The instrumentation that makes a span. */
export interface Scope {
  readonly name: string;
  readonly version: string;
  /** Pencheff's own code puts the scan id on what it makes; a library has never heard of scans. */
  readonly knowsScan: boolean;
}

export interface LogLine {
  /** Where in its span: 0 is the start, 1 the end. */
  readonly part: number;
  readonly severity: 'DEBUG' | 'INFO' | 'WARN' | 'ERROR';
  readonly body: string;
  readonly attributes?: Attributes;
}

interface Finding {
  readonly severity: 'info' | 'medium' | 'high' | 'critical';
  readonly title: string;
}

/** Why a span failed. With a stack it was an exception, otherwise an answer that means failure (HTTP 404). */
export interface Failure {
  readonly type: string;
  readonly message?: string;
  readonly stack?: string;
}

export interface Step {
  readonly name: string;
  readonly scope: Scope;
  /** Inherited from the parent when absent. */
  readonly service?: ServiceName;
  readonly kind: SpanKind;
  readonly atMs: number;
  readonly tookMs: number;
  readonly attributes: Attributes;
  /** Says that the work succeeded, which most instrumentations leave open. */
  readonly ok?: boolean;
  readonly failure?: Failure;
  readonly logs?: readonly LogLine[];
  readonly findings?: readonly Finding[];
  readonly children?: readonly Step[];
}

/** What a builder may add to the step it makes. */
export type Extra = Partial<Omit<Step, 'name' | 'scope' | 'atMs' | 'tookMs'>>;

export function leaf(scope: Scope, name: string, tookMs: number, extra: Extra = {}): Step {
  return { kind: SpanKind.INTERNAL, attributes: {}, ...extra, name, scope, atMs: 0, tookMs };
}

/** A span around its children: as long as they take, and a little for its own work. */
export function parent(scope: Scope, name: string, children: readonly Step[], extra: Extra = {}): Step {
  const ownMs = 2;
  const lastEndMs = Math.max(...children.map((child) => child.atMs + child.tookMs));
  return { ...leaf(scope, name, lastEndMs + ownMs, extra), children };
}

/** One after the other, with a pause before each; a step that has a time of its own already waits that much longer. */
export function inSequence(pauseMs: number, steps: readonly Step[]): Step[] {
  let nowMs = 0;
  return steps.map((step) => {
    const atMs = nowMs + pauseMs + step.atMs;
    nowMs = atMs + step.tookMs;
    return { ...step, atMs };
  });
}

/** As many at a time as there are lanes: each step takes the lane that is free first. */
export function inLanes(lanes: number, steps: readonly Step[]): Step[] {
  const freeAtMs = Array.from({ length: lanes }, (_, lane) => lane + 1);
  return steps.map((step) => {
    const atMs = Math.min(...freeAtMs);
    freeAtMs[freeAtMs.indexOf(atMs)] = atMs + step.tookMs;
    return { ...step, atMs };
  });
}

/** The same steps, all of them later. */
export function later(delayMs: number, steps: readonly Step[]): Step[] {
  return steps.map((step) => ({ ...step, atMs: step.atMs + delayMs }));
}
