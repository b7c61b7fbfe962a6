/**
 * The list of commands. Each is loaded when it is needed, so that `sluice --version` does not wait for a database driver.
 */
import type { Command } from './command.ts';

const LOADERS: ReadonlyMap<string, () => Promise<Command>> = new Map([
  ['up', async () => (await import('./up.ts')).up],
  ['run', async () => (await import('./run.ts')).run],
  ['query', async () => (await import('./query.ts')).query],
  ['migrate', async () => (await import('./migrate.ts')).migrate],
  ['validate', async () => (await import('./validate.ts')).validate],
  ['token create', async () => (await import('./token.ts')).tokenCreate],
  ['token list', async () => (await import('./token.ts')).tokenList],
  ['token revoke', async () => (await import('./token.ts')).tokenRevoke],
  ['queue list', async () => (await import('./queue.ts')).queueList],
  ['queue verify', async () => (await import('./queue.ts')).queueVerify],
  ['queue dump', async () => (await import('./queue.ts')).queueDump],
  ['dead-letter list', async () => (await import('./dead_letter.ts')).deadLetterList],
  ['dead-letter show', async () => (await import('./dead_letter.ts')).deadLetterShow],
  ['dead-letter replay', async () => (await import('./dead_letter.ts')).deadLetterReplay],
  ['dead-letter drop', async () => (await import('./dead_letter.ts')).deadLetterDrop],
  ['components', async () => (await import('./components.ts')).components],
  ['demo', async () => (await import('./demo.ts')).demo],
]);

/** In the order in which `--help` lists them. */
export const commandNames: readonly string[] = [...LOADERS.keys()];

/** Names of the commands whose first word this is and that have a second one. */
export function groupNames(word: string): readonly string[] {
  return commandNames.filter((name) => name.startsWith(`${word} `));
}

/** Undefined when there is no such command. */
export async function loadCommand(name: string): Promise<Command | undefined> {
  return LOADERS.get(name)?.();
}

export async function loadAllCommands(): Promise<readonly Command[]> {
  return Promise.all([...LOADERS.values()].map((load) => load()));
}
