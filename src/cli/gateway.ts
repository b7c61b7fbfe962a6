/** Builds and starts the gateway of a configuration; shared by the commands that run or check one. */
import { fileURLToPath } from 'node:url';
import { loadConfig, withSources } from '../config/load.ts';
import type { ConfigOrigins, RawConfig } from '../config/load.ts';
import { parseGateway } from '../config/schema.ts';
import type { GatewayConfig } from '../config/schema.ts';
import { ConfigError } from '../errors.ts';
import { buildService } from '../pipeline/build.ts';
import { registry } from '../registry.ts';
import { createLogger } from '../telemetry/logger.ts';
import { createMetricsRegistry, serveMetrics } from '../telemetry/metrics.ts';
import type { CommandContext, CommandOption } from './command.ts';

export interface Gateway {
  /** One readable line each. */
  readonly pipelines: readonly string[];
  readonly config: GatewayConfig;
  /** Lets what is under way end, up to the configured time; never rejects and may be repeated. */
  shutdown(): Promise<void>;
}

/** A gateway that is complete and has opened nothing. */
export interface BuiltGateway extends Gateway {
  /** Resolves when every receiver listens. Rejects with one clear line, with everything shut down again. */
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
  const { logs, metrics } = config.service.telemetry;
  const logger = createLogger(logs.level);
  const counters = createMetricsRegistry();
  const service = buildService({ config, raw, faults, registry, logger, metrics: counters });
  const page =
    metrics.address === undefined ? undefined : serveMetrics({ address: metrics.address, registry: counters });
  const shutdown = async (): Promise<void> => {
    await service.shutdown();
    await page?.shutdown();
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
  return { pipelines: service.pipelines, config, start, shutdown };
}

/** Throws ConfigError before anything is started; other errors after everything is stopped again. */
export async function startGateway(origins: ConfigOrigins): Promise<Gateway> {
  const gateway = await buildGateway(origins);
  await gateway.start();
  return gateway;
}

function textsOf(value: CommandContext['values'][string]): string[] {
  return [value ?? []].flat().filter((text) => typeof text === 'string');
}
