/**
 * Starts and stops the components of a built configuration. Whoever others depend on starts first and stops last:
 * extensions, exporters, processors from the last to the first, receivers.
 */
import assert from 'node:assert/strict';
import type { Component } from '../component.ts';
import type { Logger } from '../telemetry/logger.ts';

/** How long a component that ignores the deadline is waited for before the next one gets its turn. */
const GRACE_MS = 1000;

/** A component under the name that logs and errors give it, such as `receiver otlp`. */
export interface Part {
  readonly name: string;
  readonly component: Component;
}

export interface ServiceParts {
  /** One readable line for each pipeline, such as `traces: otlp → promote → postgres (commit)`. */
  readonly pipelines: readonly string[];
  /** Groups of components in the order in which they start; those of one group stop together. */
  readonly stages: readonly (readonly Part[])[];
  readonly shutdownTimeoutMs: number;
  readonly logger: Logger;
}

export interface Service {
  readonly pipelines: readonly string[];
  /** Rejects with an error that names the component that failed; what was started before it is shut down again. */
  start(): Promise<void>;
  /** Resolves when all components are released or the deadline has passed; failures are logged. May be repeated. */
  shutdown(): Promise<void>;
}

export function createService(parts: ServiceParts): Service {
  let starting: Promise<void> | undefined;
  let stopping: Promise<void> | undefined;

  const shutdown = () => {
    stopping ??= stopAll(parts, starting);
    return stopping;
  };
  const start = async () => {
    assert(!starting, 'a service starts once');
    starting = startAll(parts, () => stopping !== undefined);
    try {
      await starting;
    } catch (error) {
      await shutdown();
      throw error;
    }
  };
  return { pipelines: parts.pipelines, start, shutdown };
}

async function startAll({ stages }: ServiceParts, isStopping: () => boolean): Promise<void> {
  for (const { name, component } of stages.flat()) {
    if (isStopping()) throw new Error(`shut down before ${name} was started`);
    try {
      await component.start?.();
    } catch (cause) {
      throw new Error(`${name}: ${cause instanceof Error ? cause.message : String(cause)}`, { cause });
    }
  }
}

/** Also stops what never started: that is allowed, and releases what a failed start has left open. */
async function stopAll(
  { stages, shutdownTimeoutMs, logger }: ServiceParts,
  starting = Promise.resolve(),
): Promise<void> {
  const deadline = new AbortController();
  const timer = setTimeout(() => deadline.abort(), shutdownTimeoutMs);
  try {
    await untilAbandoned(starting, deadline.signal).catch(() => undefined);
    for (const stage of stages.toReversed()) {
      await Promise.all(stage.map((part) => stopPart(part, deadline.signal, logger)));
    }
  } finally {
    clearTimeout(timer);
  }
}

async function stopPart({ name, component }: Part, deadline: AbortSignal, logger: Logger): Promise<void> {
  try {
    const stopped = component.shutdown?.(deadline);
    if (stopped) await untilAbandoned(stopped, deadline);
  } catch (error) {
    logger.error({ err: error, component: name }, 'shutdown failed');
  }
}

/** Settles with the work, or rejects when it has not ended `GRACE_MS` after the deadline. */
async function untilAbandoned(work: Promise<void>, deadline: AbortSignal): Promise<void> {
  const abandoned = Promise.withResolvers<never>();
  let timer: NodeJS.Timeout | undefined;
  const onAbort = () => {
    timer = setTimeout(() => abandoned.reject(new Error('still busy after the shutdown deadline')), GRACE_MS);
  };
  if (deadline.aborted) onAbort();
  else deadline.addEventListener('abort', onAbort, { once: true });
  try {
    await Promise.race([work, abandoned.promise]);
  } finally {
    clearTimeout(timer);
    deadline.removeEventListener('abort', onAbort);
  }
}
