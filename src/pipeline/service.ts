/**
 * Starts and stops the components of a built configuration. Whoever others depend on starts first and stops last:
 * extensions, exporters, processors from the last to the first, receivers.
 */
import assert from 'node:assert/strict';
import { setTimeout as delay } from 'node:timers/promises';
import type { Component, Health } from '../component.ts';
import { ConfigError } from '../errors.ts';
import type { Logger } from '../telemetry/logger.ts';

/** How long a component that ignores the deadline is waited for before the next one gets its turn. */
const GRACE_MS = 1000;

/** Requests under way get this part of the time to stop at the most: what they leave behind has to be sent yet. */
const REQUESTS_SHARE = 1 / 3;

/** A component under the name that logs and errors give it, such as `receiver otlp`. */
export interface Part {
  readonly name: string;
  readonly component: Component & {
    /** Once it has shut down: what data it still holds and where that stays; undefined when there is none. */
    leftover?(): string | undefined;
  };
}

export interface ServiceParts {
  /** One readable line for each pipeline, such as `traces: otlp → promote → postgres (commit)`. */
  readonly pipelines: readonly string[];
  /** Groups of components in the order in which they start; those of one group stop together. The last takes requests. */
  readonly stages: readonly (readonly Part[])[];
  readonly shutdownTimeoutMs: number;
  readonly logger: Logger;
}

export interface Service {
  readonly pipelines: readonly string[];
  /** How it and its components are; reasons of a component begin with its name. */
  health(): Health;
  /** Rejects with an error that names the component that failed; what was started before it is shut down again. */
  start(): Promise<void>;
  /**
   * Turns the service unready and resolves after a while, in which it goes on taking requests: those who send to it learn
   * late that they should not. At once where it is not running.
   */
  drain(ms: number): Promise<void>;
  /**
   * Resolves when all components are released or the deadline has passed; failures are logged. To what data stays behind
   * and where, a line for each component that has some. May be repeated.
   */
  shutdown(): Promise<readonly string[]>;
}

export function createService(parts: ServiceParts): Service {
  let starting: Promise<void> | undefined;
  let stopping: Promise<readonly string[]> | undefined;
  let state: 'starting' | 'running' | 'shutting down' = 'starting';

  const shutdown = () => {
    state = 'shutting down';
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
    if (stopping === undefined) state = 'running';
  };
  const drain = async (ms: number) => {
    if (state !== 'running') return;
    state = 'shutting down';
    await delay(ms);
  };
  const health = (): Health => {
    const own = state === 'running' ? [] : [state];
    return {
      unready: [...own, ...reasonsOf(parts, (component) => component.unready?.())],
      stuck: reasonsOf(parts, (component) => component.stuck?.()),
    };
  };
  return { pipelines: parts.pipelines, health, start, drain, shutdown };
}

function reasonsOf({ stages }: ServiceParts, reasonOf: (component: Part['component']) => string | undefined): string[] {
  return stages.flat().flatMap(({ name, component }) => {
    const reason = reasonOf(component);
    return reason === undefined ? [] : [`${name}: ${reason}`];
  });
}

async function startAll({ stages }: ServiceParts, isStopping: () => boolean): Promise<void> {
  for (const { name, component } of stages.flat()) {
    if (isStopping()) throw new Error(`shut down before ${name} was started`);
    try {
      await component.start?.();
    } catch (cause) {
      if (cause instanceof ConfigError) throw cause;
      throw new Error(`${name}: ${cause instanceof Error ? cause.message : String(cause)}`, { cause });
    }
  }
}

/** Also stops what never started: that is allowed, and releases what a failed start has left open. */
async function stopAll(parts: ServiceParts, starting = Promise.resolve()): Promise<readonly string[]> {
  const { stages, shutdownTimeoutMs, logger } = parts;
  const deadline = new Deadline(shutdownTimeoutMs);
  const requestDeadline = new Deadline(shutdownTimeoutMs * REQUESTS_SHARE);
  try {
    await untilAbandoned(starting, deadline.signal).catch(() => undefined);
    for (const [index, stage] of [...stages.entries()].toReversed()) {
      const { signal } = index === stages.length - 1 ? requestDeadline : deadline;
      await Promise.all(stage.map((part) => stopPart(part, signal, logger)));
    }
  } finally {
    deadline.clear();
    requestDeadline.clear();
  }
  return reasonsOf(parts, (component) => component.leftover?.());
}

/** A signal that aborts after a while; unlike `AbortSignal.timeout` it can be let go before. */
class Deadline {
  readonly #controller = new AbortController();
  readonly #timer: NodeJS.Timeout;

  constructor(ms: number) {
    this.#timer = setTimeout(() => this.#controller.abort(), ms);
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  clear(): void {
    clearTimeout(this.#timer);
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
