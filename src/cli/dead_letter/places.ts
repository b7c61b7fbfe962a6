/** Where a configuration keeps dead letters, and the exporters that can send them. */
import path from 'node:path';
import type { z } from 'zod';
import type { ComponentFactory, Exporter, ExporterFactory, Settings } from '../../component.ts';
import { loadConfig, withSources, type RawConfig } from '../../config/load.ts';
import { parseComponentId, parseGateway, parseSection, type GatewayConfig } from '../../config/schema.ts';
import { formatPath } from '../../config/yaml_path.ts';
import { ConfigError, type ConfigFault } from '../../errors.ts';
import { postgres } from '../../exporters/postgres.ts';
import { fileStorage } from '../../extensions/file_storage.ts';
import { createShared } from '../../pipeline/shared.ts';
import { registry } from '../../registry.ts';
import { createLogger } from '../../telemetry/logger.ts';
import type { CommandContext } from '../command.ts';
import { configOrigins } from '../gateway.ts';

export interface Places {
  /** URLs of the databases of `postgres` exporters, each once. */
  readonly databases: readonly string[];
  /** Storage directories, which need not be there. */
  readonly directories: readonly string[];
  /**
   * Builds the exporter of that id, as a gateway would; undefined where the configuration has none.
   * @throws ConfigError with every fault of its section
   */
  readonly exporter: (id: string) => Exporter | undefined;
}

/** Throws ConfigError with the faults of the top level and of what is looked at; other components are no concern here. */
export async function placesOf(context: Pick<CommandContext, 'values' | 'env'>): Promise<Places> {
  const raw = await loadConfig(configOrigins(context));
  if (!raw.isComplete) throw new ConfigError(raw.faults);
  const { config, faults } = parseGateway(raw);
  const urls = sectionsOf(postgres, 'exporters', { config, raw, faults }).map((section) =>
    section.database_url.reveal(),
  );
  const storages = sectionsOf(fileStorage, 'extensions', { config, raw, faults });
  if (faults.length > 0) throw new ConfigError(withSources(raw, faults));
  const found = storages.length > 0 ? storages : [fileStorage.config.parse({})];
  return {
    databases: [...new Set(urls)],
    directories: [...new Set(found.map(({ directory }) => path.resolve(directory)))],
    exporter: (id) => buildExporter(id, config, raw),
  };
}

interface Reading {
  readonly config: GatewayConfig;
  readonly raw: RawConfig;
  /** Grows by what is found. */
  readonly faults: ConfigFault[];
}

/** The sections of all components of one type that have no fault. */
function sectionsOf<C>(
  factory: { readonly type: string; readonly config: z.ZodType<C> },
  kind: 'exporters' | 'extensions',
  { config, raw, faults }: Reading,
): C[] {
  return Object.entries(config[kind]).flatMap(([id, section]) => {
    if (parseComponentId(id)?.type !== factory.type) return [];
    const parsed = parseSection(factory.config, section, formatPath([kind, id]), raw);
    faults.push(...parsed.faults);
    return parsed.value === undefined ? [] : [parsed.value];
  });
}

function buildExporter(id: string, config: GatewayConfig, raw: RawConfig): Exporter | undefined {
  const type = parseComponentId(id)?.type;
  const factory = registry.find(
    (one): one is ExporterFactory<unknown> & ComponentFactory => one.kind === 'exporter' && one.type === type,
  );
  if (factory === undefined || !(id in config.exporters)) return undefined;
  const parsed = parseSection<unknown>(factory.config, config.exporters[id], formatPath(['exporters', id]), raw);
  if (parsed.faults.length > 0) throw new ConfigError(withSources(raw, parsed.faults));
  return factory.create(parsed.value, settingsOf(id));
}

/** What an exporter is lent outside a gateway: it shares with nobody, and asks nobody who sends. */
function settingsOf(id: string): Settings {
  return {
    id,
    logger: createLogger('error').child({ component: `exporter ${id}` }),
    authenticator: (wanted) => {
      throw new ConfigError([
        { path: `exporters.${id}`, message: `found the authenticator "${wanted}"; there is none` },
      ]);
    },
    shared: createShared(),
    admission: { admit: () => ({ grow: () => undefined, release: () => undefined }) },
    health: () => ({ unready: [], stuck: [] }),
  };
}
