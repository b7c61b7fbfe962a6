/**
 * The process: finds the command of a command line, gives it signals and a standard output, and turns how it ended into
 * an exit code. Nothing else in the program exits.
 */
import { AssertionError } from 'node:assert';
import { constants } from 'node:os';
import { inspect, parseArgs } from 'node:util';
import packageJson from '../package.json' with { type: 'json' };
import { EXIT, StopRequest, UsageError } from './cli/command.ts';
import type { Command, CommandContext } from './cli/command.ts';
import { commandNames, groupNames, loadAllCommands, loadCommand } from './cli/commands.ts';
import { GLOBAL_OPTIONS, commandHelp, groupHelp, overview, suggestion } from './cli/help.ts';
import { processEnvironment } from './config/environment.ts';
import { ConfigError } from './errors.ts';

/**
 * One key press can arrive several times: from the terminal, and forwarded by npm and by `bin/sluice.js`. Signals within
 * this time of the first are the same request to stop.
 */
const SAME_REQUEST_MS = 250;

process.on('uncaughtException', (error) => {
  complain(describe(error));
  process.stderr.write(`${inspect(error)}\n`);
  process.exit(EXIT.failed);
});
for (const stream of [process.stdout, process.stderr]) stream.on('error', ignoreClosedPipe);

const stop = stopOnSignals();
const exitCode = await runCommandLine(process.argv.slice(2), stop).catch((error: unknown) => failureCode(error, stop));
await flushed(process.stdout);
process.exit(exitCode);

async function runCommandLine(argv: readonly string[], signal: AbortSignal): Promise<number> {
  const [first, ...rest] = argv;
  if (first === undefined || first === '--help' || first === '-h') return say(overview(await loadAllCommands()));
  if (first === '--version') return say(packageJson.version);
  if (first === 'help') return help(rest);
  if (first.startsWith('-')) throw unknownOption(first, GLOBAL_OPTIONS, 'sluice');
  if (isGroupHelp(first, rest)) return help([first]);
  const { command, args } = await findCommand(argv);
  return runCommand(command, args, signal);
}

async function help(names: readonly string[]): Promise<number> {
  const [first, ...rest] = names;
  if (first === undefined || first === '--help' || first === '-h') return say(overview(await loadAllCommands()));
  const group = groupNames(first);
  if (group.length > 0 && rest.length === 0) return say(groupHelp(first, await loadGroup(group)));
  const { command, args } = await findCommand(names);
  if (args.length > 0) throw new UsageError('help takes the name of one command');
  return say(commandHelp(command));
}

function isGroupHelp(first: string, [second = '']: readonly string[]): boolean {
  return groupNames(first).length > 0 && (second === '--help' || second === '-h');
}

async function loadGroup(names: readonly string[]): Promise<Command[]> {
  const commands = await Promise.all(names.map(loadCommand));
  return commands.filter((command) => command !== undefined);
}

/** The command that the first word or two name, and what stands behind them. */
async function findCommand([first = '', ...rest]: readonly string[]): Promise<{ command: Command; args: string[] }> {
  const [second, ...others] = rest;
  const group = groupNames(first);
  if (group.length > 0 && (second === undefined || second.startsWith('-'))) {
    throw new UsageError(`${first} needs the name of a command: ${group.join(', ')}`);
  }
  const [name, args] = group.length > 0 ? [`${first} ${second}`, others] : [first, rest];
  const command = await loadCommand(name);
  if (command === undefined) throw new UsageError(`unknown command ${name}${suggestion(name, commandNames)}`);
  return { command, args };
}

async function runCommand(command: Command, args: string[], signal: AbortSignal): Promise<number> {
  const { values, positionals } = parseArguments(command, args);
  if (values['help'] === true) return say(commandHelp(command));
  if (values['version'] === true) return say(packageJson.version);
  const operands = nameOperands(command, positionals);
  return command.run({ values: { ...values, ...operands }, env: processEnvironment(), print: say, stop: signal });
}

interface Arguments {
  readonly values: CommandContext['values'];
  readonly positionals: readonly string[];
}

function parseArguments(command: Command, args: string[]): Arguments {
  const options = { ...command.options, ...GLOBAL_OPTIONS };
  const allowPositionals = command.operands !== undefined || command.rest !== undefined;
  try {
    return parseArgs({ args, options, strict: true, allowPositionals });
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
    const { tokens } = parseArgs({ args, options, strict: false, tokens: true });
    const unknown = tokens.find((token) => token.kind === 'option' && !Object.hasOwn(options, token.name));
    if (unknown?.kind === 'option') throw unknownOption(unknown.rawName, options, `sluice ${command.name}`);
    const positional = tokens.find((token) => token.kind === 'positional');
    if (positional?.kind === 'positional' && !allowPositionals) throw unexpected(positional.value);
    throw new UsageError(firstLine(error.message));
  }
}

function nameOperands({ name, operands = [], rest }: Command, given: readonly string[]): CommandContext['values'] {
  const others = given.slice(operands.length);
  const [extra] = others;
  if (extra !== undefined && rest === undefined) throw unexpected(extra);
  const [missing] = operands.slice(given.length);
  if (missing !== undefined) throw new UsageError(`${name} needs ${missing}`);
  const named = Object.fromEntries(operands.map((operand, index) => [operand, given[index]]));
  return rest === undefined ? named : { ...named, [rest]: others };
}

function unexpected(argument: string): UsageError {
  return new UsageError(`unexpected argument ${argument}`);
}

function unknownOption(typed: string, known: Readonly<Record<string, unknown>>, where: string): UsageError {
  const flags = Object.keys(known).map((name) => `--${name}`);
  return new UsageError(`unknown option ${typed} for ${where}${suggestion(typed, flags)}`);
}

function failureCode(error: unknown, signal: AbortSignal): number {
  if (signal.aborted && error instanceof Error && error.name === 'AbortError') return EXIT.ok;
  if (error instanceof UsageError) {
    complain(`${error.message}; see sluice --help`);
    return EXIT.usage;
  }
  if (error instanceof ConfigError) {
    for (const fault of error.faults)
      process.stderr.write(`${new ConfigError([fault]).message.replaceAll('\n', ' ')}\n`);
    return EXIT.config;
  }
  complain(describe(error));
  if (isBug(error)) process.stderr.write(`${inspect(error)}\n`);
  return EXIT.failed;
}

/** The first signal asks the command to stop; the second ends the process at once. */
function stopOnSignals(): AbortSignal {
  const controller = new AbortController();
  let firstAtMs = 0;
  const onSignal = (signal: StopRequest['signal']): void => {
    if (!controller.signal.aborted) {
      firstAtMs = performance.now();
      controller.abort(new StopRequest(signal));
    } else if (performance.now() - firstAtMs > SAME_REQUEST_MS) {
      process.exit(128 + constants.signals[signal]);
    }
  };
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, onSignal);
  return controller.signal;
}

function say(text: string): 0 {
  process.stdout.write(`${text}\n`);
  return EXIT.ok;
}

function complain(text: string): void {
  process.stderr.write(`sluice: ${text}\n`);
}

/** The message and those of its causes, on one line. */
function describe(error: unknown): string {
  const messages: string[] = [];
  for (let cause = error; cause !== undefined && messages.length < 8; cause = nextCause(cause)) {
    const message = cause instanceof Error ? cause.message : inspect(cause);
    // What the system said, somebody above has put into words.
    if (messages.length > 0 && cause instanceof Error && 'syscall' in cause) break;
    if (message !== '' && !messages.some((earlier) => earlier.includes(message))) messages.push(message);
  }
  return messages.join(': ').replaceAll(/\s*\n\s*/g, ' ') || 'failed without saying why';
}

function nextCause(error: unknown): unknown {
  if (error instanceof AggregateError && error.message === '') return error.errors[0];
  return error instanceof Error ? error.cause : undefined;
}

/** Errors that the runtime raises for a mistake in the program; the libraries' own carry a code or a cause. */
function isBug(error: unknown): boolean {
  if (error instanceof AssertionError) return true;
  const raised = error instanceof TypeError || error instanceof ReferenceError || error instanceof RangeError;
  return raised && error.cause === undefined && !('code' in error);
}

function firstLine(text: string): string {
  return text.split('\n', 1)[0] ?? '';
}

/** A reader such as `head` that has seen enough is no failure. */
function ignoreClosedPipe(error: NodeJS.ErrnoException): void {
  if (error.code !== 'EPIPE') throw error;
}

async function flushed(stream: NodeJS.WriteStream): Promise<void> {
  await new Promise<void>((resolve) => void stream.write('', () => resolve()));
}
