/** Which dead letters a command line means. */
import { unknownName } from '../../config/suggest.ts';
import { SIGNALS, type Signal } from '../../model/batch.ts';
import type { LetterFilter } from '../../store/dead_letters.ts';
import { UsageError, type CommandContext, type CommandOption } from '../command.ts';

export const FILTER_OPTIONS = {
  exporter: { type: 'string', value: 'ID', describe: 'Only what this exporter could not deliver.' },
  signal: { type: 'string', value: 'SIGNAL', describe: `Only one of ${SIGNALS.join(', ')}.` },
  org: { type: 'string', value: 'ID', describe: 'Only of this organisation.' },
  workspace: { type: 'string', value: 'ID', describe: 'Only of this workspace.' },
} as const satisfies Readonly<Record<string, CommandOption>>;

export const CHOICE_OPTIONS = {
  all: { type: 'boolean', describe: 'All letters, or those that the options below leave.' },
  ...FILTER_OPTIONS,
} as const satisfies Readonly<Record<string, CommandOption>>;

/** A letter is chosen when its id is among `ids` or, without those, when it matches the filter. */
export interface Choice {
  readonly ids: ReadonlySet<string> | undefined;
  readonly filter: LetterFilter;
}

/** Of the options `FILTER_OPTIONS`. */
export function filterOf(context: CommandContext): LetterFilter {
  return {
    exporter: textOf(context, 'exporter'),
    signal: signalOf(textOf(context, 'signal')),
    orgId: textOf(context, 'org'),
    workspaceId: textOf(context, 'workspace'),
  };
}

/** Of the arguments `ID` and the options `CHOICE_OPTIONS`. Nothing is chosen by saying nothing. */
export function choiceOf(context: CommandContext): Choice {
  const filter = filterOf(context);
  const ids = [context.values['ID'] ?? []].flat().map((id) => String(id).toLowerCase());
  const isAll = context.values['all'] === true;
  if (isAll === ids.length > 0) throw new UsageError('say which letters: either their ids, or --all');
  if (!isAll && !isEverything(filter)) throw new UsageError(`${Object.keys(FILTER_OPTIONS).join(', ')} go with --all`);
  return { ids: isAll ? undefined : new Set(ids), filter };
}

export function isEverything(filter: LetterFilter): boolean {
  return Object.values(filter).every((value) => value === undefined);
}

interface Chosen {
  readonly id: string;
  readonly exporter: string;
  readonly signal: string;
  readonly org_id: string;
  readonly workspace_id: string;
}

export function isChosen({ ids, filter }: Choice, letter: Chosen): boolean {
  if (ids !== undefined) return ids.has(letter.id);
  const { exporter, signal, orgId, workspaceId } = filter;
  const wanted = [exporter, signal, orgId, workspaceId];
  const found = [letter.exporter, letter.signal, letter.org_id, letter.workspace_id];
  return wanted.every((value, i) => value === undefined || value === found[i]);
}

function signalOf(text: string | undefined): Signal | undefined {
  const signal = SIGNALS.find((known) => known === text);
  if (text !== undefined && signal === undefined) throw new UsageError(unknownName('signal', text, SIGNALS));
  return signal;
}

function textOf({ values }: CommandContext, name: string): string | undefined {
  const value = values[name];
  return typeof value === 'string' ? value : undefined;
}
