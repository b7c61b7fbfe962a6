/** Builds and starts the gateway of a configuration; shared by the commands that run or check one. */
import assert from 'node:assert/strict';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import type { Authenticator, Health } from '../component.ts';
import { loadConfig, withSources } from '../config/load.ts';
import type { ConfigOrigins, RawConfig } from '../config/load.ts';
import { exposureFaults, parseGateway } from '../config/schema.ts';
import type { GatewayConfig } from '../config/schema.ts';
import { ConfigError } from '../errors.ts';
import { buildService, type BuiltService } from '../pipeline/build.ts';
import { registry } from '../registry.ts';
import { createLogger } from '../telemetry/logger.ts';
import { createMetricsRegistry, serveMetrics } from '../telemetry/metrics.ts';
import type { CommandContext, CommandOption } from './command.ts';
import { standIn } from './disabled.ts';
import { receiverServers, type ReceiverServer } from './receiver_servers.ts';

export interface Gateway {
  /** One readable line each. */
  readonly pipelines: readonly string[];
  readonly config: GatewayConfig;
  /** Where receivers listen; several of them may share an address. */
  readonly servers: readonly ReceiverServer[];
  /** Who the query API asks: an extension of this gateway, which runs as long as the gateway does. */
  readonly queryAuthenticator: Authenticator | undefined;
  health(): Health;
  /** Turns it unready, and resolves after `service.shutdown_delay`, in which it goes on taking requests. */
  drain(): Promise<void>;
  /**
   * Lets what is under way end, up to the configured time; never rejects and may be repeated. Resolves to a line for each
   * queue that holds data yet.
   */
  shutdown(): Promise<readonly string[]>;
}

/** A gateway that is complete and has opened nothing. */
export interface BuiltGateway extends Gateway {
  /**
   * Resolves when every receiver listens or, with `service.enabled: false`, what says so in their place. Rejects with one
   * clear line, with everything shut down again.
   */
  start(): Promise<void>;
}

const DEFAULT_FILE = fileURLToPath(new URL('../../config/gateway.yaml', import.meta.url));

export const CONFIG_OPTIONS = {
  config: {
    type: 'string',
    multiple: true,
    value: 'FILE',
    describe:
      'Configuration file; several are merged, the last wins. Default: config/gateway.yaml of this installation.',
  },
  set: {
    type: 'string',
    multiple: true,
    value: 'KEY=VALUE',
    describe: 'Sets one key of the configuration, such as a.b=c.',
  },
} as const satisfies Readonly<Record<string, CommandOption>>;

/** What the options `CONFIG_OPTIONS` of a command line say. */
export function configOrigins({ values, env }: Pick<CommandContext, 'values' | 'env'>): ConfigOrigins {
  const files = textsOf(values['config']);
  return { files: files.length === 0 ? [DEFAULT_FILE] : files, sets: textsOf(values['set']), env };
}

/** Throws ConfigError with every fault, each with the file and line where it stands. */
export async function buildGateway(origins: ConfigOrigins): Promise<BuiltGateway> {
  const raw = await loadConfig(origins);
  // What a file that cannot be read would have said shows up as missing in every later check.
  if (!raw.isComplete) throw new ConfigError(raw.faults);
  try {
    return assemble(raw);
  } catch (error) {
    throw error instanceof ConfigError ? new ConfigError(withSources(raw, error.faults)) : error;
  }
}

function assemble(raw: RawConfig): BuiltGateway {
  const { config, faults } = parseGateway(raw);
  const { telemetry, enabled } = config.service;
  const { logs, metrics } = telemetry;
  const logger = createLogger(logs.level);
  const counters = createMetricsRegistry();
  faults.push(...exposureFaults(config.query));
  const built = buildService({ config, raw, faults, registry, logger, metrics: counters });
  // One that is switched off is checked as any other.
  const servers = receiverServers(config, raw, registry);
  const service = enabled ? built : standIn({ config, raw, servers, logger });
  const page =
    metrics.address === undefined ? undefined : serveMetrics({ address: metrics.address, registry: counters });
  const shutdown = async (): Promise<readonly string[]> => {
    const left = await service.shutdown();
    await page?.shutdown();
    return left;
  };
  const start = async (): Promise<void> => {
    try {
      await page?.start();
      await service.start();
    } catch (error) {
      await shutdown();
      throw error;
    }
  };
  return {
    pipelines: built.pipelines,
    config,
    servers,
    queryAuthenticator: queryAuthenticator(config, built),
    health: () => service.health(),
    start,
    drain: () => service.drain(config.service.shutdown_delay),
    shutdown,
  };
}

/** Whom the query API of a configuration asks who reads; undefined only where it is to ask nobody. */
export function queryAuthenticator({ query }: GatewayConfig, service: BuiltService): Authenticator | undefined {
  if (query.auth === undefined) return undefined;
  const found = service.authenticators.get(query.auth.authenticator);
  assert(found !== undefined, 'a service without the authenticator of query.auth is not built');
  return found;
}

/** Throws ConfigError before anything is started; other errors after everything is stopped again. */
export async function startGateway(origins: ConfigOrigins): Promise<Gateway> {
  const gateway = await buildGateway(origins);
  await gateway.start();
  return gateway;
}

/** Resolves to whether it runs: told to stop while it starts, it is shut down. Rejects when it cannot start. */
export async function startUnlessStopped(gateway: BuiltGateway, stop: AbortSignal): Promise<boolean> {
  if (stop.aborted) return false;
  const onStop = () => void gateway.shutdown();
  stop.addEventListener('abort', onStop, { once: true });
  try {
    await gateway.start();
  } catch (error) {
    if (!stop.aborted) throw error;
  } finally {
    stop.removeEventListener('abort', onStop);
  }
  return !stop.aborted;
}

const STUCK_CHECK_MS = 1000;

/** Resolves when a gateway that runs is to stop: to undefined when it is told to, else to why only a restart helps. */
export async function untilStopped(gateway: Gateway, stop: AbortSignal): Promise<string | undefined> {
  while (!stop.aborted) {
    const { stuck } = gateway.health();
    if (stuck.length > 0) return stuck.join('; ');
    // It rejects when the signal aborts.
    await delay(STUCK_CHECK_MS, undefined, { signal: stop }).catch(() => undefined);
  }
  return undefined;
}

/** The last line: what of the acknowledged data is not delivered. */
export function farewell({ config }: Gateway, left: readonly string[]): string {
  if (!config.service.enabled) return 'sluice: stopped; while it is disabled nobody looks into the queues';
  return `sluice: stopped; ${left.join('; ') || 'nothing is left in the queues'}`;
}

function textsOf(value: CommandContext['values'][string]): string[] {
  return [value ?? []].flat().filter((text) => typeof text === 'string');
}
