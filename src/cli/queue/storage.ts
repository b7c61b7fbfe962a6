/** Where the queues on disk are that a `sluice queue` command looks at. */
import { readdir } from 'node:fs/promises';
import path from 'node:path';
import { loadConfig, withSources } from '../../config/load.ts';
import { parseComponentId, parseGateway, parseSection } from '../../config/schema.ts';
import { formatPath } from '../../config/yaml_path.ts';
import { ConfigError } from '../../errors.ts';
import { fileStorage } from '../../extensions/file_storage.ts';
import { logOfDirectory } from '../../extensions/file_storage/names.ts';
import type { CommandContext, CommandOption } from '../command.ts';
import { CONFIG_OPTIONS, configOrigins } from '../gateway.ts';

export const STORAGE_OPTIONS = {
  directory: {
    type: 'string',
    value: 'DIR',
    describe: 'The storage directory; without it those of the file_storage extensions in the configuration.',
  },
  queue: { type: 'string', value: 'NAME', describe: 'Only this queue, by the id of its exporter.' },
  ...CONFIG_OPTIONS,
} as const satisfies Readonly<Record<string, CommandOption>>;

export interface StoredQueue {
  readonly name: string;
  readonly directory: string;
}

/** Those that the options `STORAGE_OPTIONS` choose, by name. Rejects where a directory or the chosen queue is not there. */
export async function storedQueues(context: CommandContext): Promise<StoredQueue[]> {
  const chosen = textOf(context, 'queue');
  const given = textOf(context, 'directory');
  const directories = given === undefined ? await configuredDirectories(context) : [given];
  const all = (await Promise.all(directories.map(queuesIn))).flat();
  const queues = chosen === undefined ? all : all.filter(({ name }) => name === chosen);
  if (chosen !== undefined && queues.length === 0)
    throw new Error(`there is no queue ${chosen} in ${directories.join()}`);
  return queues.toSorted((one, other) => (one.name < other.name ? -1 : 1));
}

/** Throws ConfigError with every fault of the top level and of the storage; other components are no concern here. */
async function configuredDirectories(context: Pick<CommandContext, 'values' | 'env'>): Promise<string[]> {
  const raw = await loadConfig(configOrigins(context));
  if (!raw.isComplete) throw new ConfigError(raw.faults);
  const { config, faults } = parseGateway(raw);
  const directories: string[] = [];
  for (const [id, section] of Object.entries(config.extensions)) {
    if (parseComponentId(id)?.type !== fileStorage.type) continue;
    const parsed = parseSection(fileStorage.config, section, formatPath(['extensions', id]), raw);
    faults.push(...parsed.faults);
    if (parsed.value !== undefined) directories.push(parsed.value.directory);
  }
  if (faults.length > 0) throw new ConfigError(withSources(raw, faults));
  return directories.length > 0 ? directories : [fileStorage.config.parse({}).directory];
}

async function queuesIn(directory: string): Promise<StoredQueue[]> {
  const names = await readdir(directory).catch((error: unknown) => {
    const reason = error instanceof Error ? error.message : String(error);
    throw new Error(`the storage directory cannot be read: ${reason}`, { cause: error });
  });
  return names.flatMap((folder) => {
    const name = logOfDirectory(folder);
    return name === undefined ? [] : [{ name, directory: path.join(directory, folder) }];
  });
}

function textOf({ values }: CommandContext, name: string): string | undefined {
  const value = values[name];
  return typeof value === 'string' ? value : undefined;
}
