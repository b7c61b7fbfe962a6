/** `sluice run`: the gateway of a configuration, until it is told to stop or cannot go on. */
import type { Command, CommandContext } from './command.ts';
import { EXIT, mayLinger } from './command.ts';
import {
  buildGateway,
  CONFIG_OPTIONS,
  configOrigins,
  farewell,
  startUnlessStopped,
  untilStopped,
  type BuiltGateway,
} from './gateway.ts';

export const run: Command = {
  name: 'run',
  summary: 'Run the gateway; the database must be migrated already.',
  options: CONFIG_OPTIONS,
  async run(context: CommandContext) {
    const gateway = await buildGateway(configOrigins(context));
    const failure = await serve(gateway, context);
    context.print(farewell(gateway, await gateway.shutdown()));
    if (failure !== undefined) throw new Error(failure);
    return EXIT.ok;
  },
};

/** Resolves when it is time to shut down: to why only a restart helps, or to undefined. */
async function serve(gateway: BuiltGateway, context: CommandContext): Promise<string | undefined> {
  const { stop } = context;
  if (!(await startUnlessStopped(gateway, stop))) return undefined;
  context.print(gateway.config.service.enabled ? `sluice: ready, ${gateway.pipelines.join(' | ')}` : DISABLED);
  const failure = await untilStopped(gateway, stop);
  if (mayLinger(stop)) await gateway.drain();
  return failure;
}

const DISABLED = 'sluice: disabled by service.enabled; every request is answered with 503';
