/** `sluice run`: the gateway of a configuration, until it is told to stop. */
import type { Command, CommandContext } from './command.ts';
import { aborted, EXIT } from './command.ts';
import { CONFIG_OPTIONS, configOrigins, startGateway } from './gateway.ts';

export const run: Command = {
  name: 'run',
  summary: 'Run the gateway; the database must be migrated already.',
  options: CONFIG_OPTIONS,
  async run(context: CommandContext) {
    const gateway = await startGateway(configOrigins(context));
    context.print(gateway.config.service.enabled ? `sluice: ready, ${gateway.pipelines.join(' | ')}` : DISABLED);
    await aborted(context.stop);
    await gateway.shutdown();
    return EXIT.ok;
  },
};

const DISABLED = 'sluice: disabled by service.enabled; every request is answered with 503';
