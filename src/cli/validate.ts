/** `sluice validate`: builds everything that a configuration describes, and starts none of it. */
import type { Command, CommandContext } from './command.ts';
import { EXIT } from './command.ts';
import { buildGateway, CONFIG_OPTIONS, configOrigins } from './gateway.ts';

/** Faults leave as the ConfigError that carries them: one line each on standard error, exit code `EXIT.config`. */
export const validate: Command = {
  name: 'validate',
  summary: 'Check a configuration and print its pipelines, one a line; starts nothing.',
  options: CONFIG_OPTIONS,
  async run(context: CommandContext) {
    const { pipelines } = await buildGateway(configOrigins(context));
    for (const pipeline of pipelines) context.print(pipeline);
    for (const [durability, promise] of Object.entries(PROMISES)) {
      if (pipelines.some((pipeline) => pipeline.includes(`(${durability})`)))
        context.print(`${durability}: ${promise}`);
    }
    return EXIT.ok;
  },
};

/** What an acknowledgement of each `durability` means, where the pipelines name it. */
const PROMISES: Readonly<Record<string, string>> = {
  disk: 'what is acknowledged is on disk for good, and is delivered also after a crash',
  commit: 'what is acknowledged is at the destination',
  memory: 'what is acknowledged is in memory, and lost when the process dies before it is delivered',
};
