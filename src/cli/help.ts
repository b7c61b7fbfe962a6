/** What `--help` prints, and what it says of a name that was mistyped. */
import { closest } from '../config/suggest.ts';
import { EXIT } from './command.ts';
import type { Command, CommandOption } from './command.ts';

/** The options that every command has; `main.ts` answers them itself. */
export const GLOBAL_OPTIONS: Readonly<Record<string, CommandOption>> = {
  help: { type: 'boolean', short: 'h', describe: 'Print this help.' },
  version: { type: 'boolean', describe: 'Print the version.' },
};

export function overview(commands: readonly Command[]): string {
  return [
    'Sluice, an OpenTelemetry gateway that ends in Postgres.',
    '',
    'Usage: sluice COMMAND [OPTIONS]',
    '',
    'Commands:',
    ...columns(commands.map(({ name, summary }) => [name, summary])),
    '',
    'Options:',
    ...optionLines(GLOBAL_OPTIONS),
    '',
    'Exit codes:',
    ...columns([
      [String(EXIT.ok), 'done, or stopped by the first SIGINT, SIGTERM or SIGHUP'],
      [String(EXIT.failed), 'the command ran and failed'],
      [String(EXIT.usage), 'unknown command or option'],
      [String(EXIT.config), 'the configuration is wrong; nothing was started'],
      ['128 + n', 'ended at once by a second signal n'],
    ]),
    '',
    'sluice help COMMAND tells more about one of them.',
  ].join('\n');
}

/** Of commands that share their first word. */
export function groupHelp(word: string, commands: readonly Command[]): string {
  return [
    `Usage: sluice ${word} COMMAND [OPTIONS]`,
    '',
    'Commands:',
    ...columns(commands.map(({ name, summary }) => [name, summary])),
    '',
    `sluice help ${word} COMMAND tells more about one of them.`,
  ].join('\n');
}

export function commandHelp({ name, summary, operands = [], rest, options }: Command): string {
  const others = rest === undefined ? [] : [`[${rest}...]`];
  return [
    summary,
    '',
    `Usage: sluice ${[name, ...operands, ...others].join(' ')} [OPTIONS]`,
    '',
    'Options:',
    ...optionLines({ ...options, ...GLOBAL_OPTIONS }),
  ].join('\n');
}

/** ` (did you mean X?)`, or nothing when no candidate is near. */
export function suggestion(typed: string, candidates: readonly string[]): string {
  const nearest = closest(typed, candidates);
  return nearest === undefined ? '' : ` (did you mean ${nearest}?)`;
}

function optionLines(options: Readonly<Record<string, CommandOption>>): string[] {
  return columns(Object.entries(options).map(([name, option]) => [optionUsage(name, option), option.describe]));
}

function optionUsage(name: string, { type, short, value, multiple }: CommandOption): string {
  const flag = short === undefined ? `--${name}` : `-${short}, --${name}`;
  const argument = type === 'string' ? ` ${value ?? 'VALUE'}` : '';
  return `${flag}${argument}${multiple === true ? ' ...' : ''}`;
}

function columns(rows: readonly (readonly [string, string])[]): string[] {
  const width = Math.max(0, ...rows.map(([left]) => left.length));
  return rows.map(([left, right]) => `  ${left.padEnd(width)}  ${right}`);
}
