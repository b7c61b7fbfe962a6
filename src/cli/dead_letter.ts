/**
 * `sluice dead-letter list`, `show`, `replay` and `drop`: what destinations refused, in the databases of `postgres`
 * exporters and in the files of storage directories, as if it were in one place.
 */
import { EXIT, UsageError, type Command, type CommandContext, type CommandOption } from './command.ts';
import { choiceOf, CHOICE_OPTIONS, FILTER_OPTIONS, filterOf } from './dead_letter/choice.ts';
import { Deliveries } from './dead_letter/deliveries.ts';
import { dropFromFile, listFile, replayFile, showInFile, type FileList } from './dead_letter/file.ts';
import type { Letter, OpenedLetter } from './dead_letter/letter.ts';
import { placesOf, type Places } from './dead_letter/places.ts';
import { tableOf, textOf, toJson } from './dead_letter/print.ts';
import { dropFromTable, listTable, replayTable, showInTable } from './dead_letter/table.ts';
import { Tally } from './dead_letter/tally.ts';
import { CONFIG_OPTIONS } from './gateway.ts';

const DEFAULT_LISTED = 50;
const MAX_LISTED = 10_000;

const JSON_OPTION = { type: 'boolean', describe: 'Print JSON.' } as const satisfies CommandOption;

export const deadLetterList: Command = {
  name: 'dead-letter list',
  summary: 'List what destinations refused, the newest first.',
  options: {
    ...FILTER_OPTIONS,
    limit: { type: 'string', value: 'N', describe: `Print no more than this. Default: ${DEFAULT_LISTED}.` },
    json: JSON_OPTION,
    ...CONFIG_OPTIONS,
  },
  async run(context) {
    const limit = limitOf(context);
    const choice = { ids: undefined, filter: filterOf(context) };
    const { databases, directories } = await placesOf(context);
    const failures = new Failures();
    const tables = await failures.collect(databases.map((url) => listTable(url, choice.filter, limit)));
    const files = await failures.collect(directories.map((directory) => listFile(directory, choice, limit)));
    const letters = [...tables, ...files.map((file) => file.letters)].flat().toSorted(newestFirst).slice(0, limit);
    if (isJson(context)) context.print(toJson(letters));
    else for (const line of [...listText(letters, limit), ...files.flatMap(remarks)]) context.print(line);
    failures.throw();
    if (letters.length === 0 && !isJson(context)) context.print('there are no dead letters');
    return EXIT.ok;
  },
};

export const deadLetterShow: Command = {
  name: 'dead-letter show',
  summary: 'Print all of a dead letter, and what is in it.',
  operands: ['ID'],
  options: { json: JSON_OPTION, ...CONFIG_OPTIONS },
  async run(context) {
    const id = String(context.values['ID']).toLowerCase();
    const { databases, directories } = await placesOf(context);
    const failures = new Failures();
    const searches = [
      ...databases.map((url) => showInTable(url, id)),
      ...directories.map((directory) => showInFile(directory, id)),
    ];
    const found = (await failures.collect(searches)).find((opened) => opened !== undefined);
    if (found === undefined) {
      failures.throw();
      throw unknownIds([id]);
    }
    for (const line of isJson(context) ? [openedJson(found)] : textOf(found)) context.print(line);
    return EXIT.ok;
  },
};

export const deadLetterReplay: Command = {
  name: 'dead-letter replay',
  summary: 'Send dead letters to their destinations again; those that are refused again stay.',
  rest: 'ID',
  options: { ...CHOICE_OPTIONS, ...CONFIG_OPTIONS },
  async run(context) {
    const choice = choiceOf(context);
    const places = await placesOf(context);
    const { stop } = context;
    const tally = new Tally(choice.ids ?? [], (line) => context.print(line));
    const deliveries = new Deliveries(places.exporter);
    const failures = await inTurn(
      places,
      (url) => replayTable(url, choice, tally, stop),
      (directory) => replayFile(directory, { choice, deliveries, tally, stop }),
    );
    await deliveries.close();
    context.print(tally.summary());
    finish(context, failures, tally.missing);
    return tally.isClean ? EXIT.ok : EXIT.failed;
  },
};

export const deadLetterDrop: Command = {
  name: 'dead-letter drop',
  summary: 'Remove dead letters for good.',
  rest: 'ID',
  options: { ...CHOICE_OPTIONS, ...CONFIG_OPTIONS },
  async run(context) {
    const choice = choiceOf(context);
    const missing = new Set(choice.ids);
    let dropped = 0;
    const failures = await inTurn(
      await placesOf(context),
      async (url) => void (dropped += await dropFromTable(url, choice, missing, context.stop)),
      async (directory) => void (dropped += await dropFromFile(directory, choice, missing)),
    );
    context.print(`${dropped} dropped`);
    finish(context, failures, missing);
    return EXIT.ok;
  },
};

/** What went wrong in some places while the others were worked on. */
class Failures {
  readonly #errors: unknown[] = [];

  /** What those resolve to that do. */
  async collect<T>(works: readonly Promise<T>[]): Promise<T[]> {
    const results = await Promise.allSettled(works);
    for (const result of results) if (result.status === 'rejected') this.#errors.push(result.reason);
    return results.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []));
  }

  throw(): void {
    const [first, ...others] = this.#errors;
    if (first === undefined) return;
    if (others.length === 0) throw first;
    const messages = this.#errors.map((error) => (error instanceof Error ? error.message : String(error)));
    throw new Error(messages.join('; '));
  }
}

/** Works on the databases, then on the storage directories; what fails in one is no concern of the next. */
async function inTurn(
  { databases, directories }: Places,
  onDatabase: (url: string) => Promise<void>,
  onDirectory: (directory: string) => Promise<void>,
): Promise<Failures> {
  const failures = new Failures();
  for (const url of databases) await failures.collect([onDatabase(url)]);
  for (const directory of directories) await failures.collect([onDirectory(directory)]);
  return failures;
}

/** Ids that were not found are known to be nowhere only when all places were searched. */
function finish({ stop }: CommandContext, failures: Failures, missing: ReadonlySet<string>): void {
  failures.throw();
  stop.throwIfAborted();
  if (missing.size > 0) throw unknownIds([...missing]);
}

function unknownIds(ids: readonly string[]): Error {
  return new Error(`there is no dead letter with the id ${ids.join(', ')}`);
}

function newestFirst(one: Letter, other: Letter): number {
  if (one.dead_at === other.dead_at) return one.id < other.id ? 1 : -1;
  return one.dead_at < other.dead_at ? 1 : -1;
}

function listText(letters: readonly Letter[], limit: number): string[] {
  const lines = tableOf(letters);
  return letters.length < limit ? lines : [...lines, `these are the newest ${limit}; there may be more, see --limit`];
}

function remarks({ directory, unknown, damagedBytes }: FileList): string[] {
  return [
    ...(unknown > 0 ? [`${unknown} more in ${directory} were written by another version`] : []),
    ...(damagedBytes > 0 ? [`${damagedBytes} bytes of the dead letters in ${directory} are damaged`] : []),
  ];
}

function openedJson({ letter, content }: OpenedLetter): string {
  return toJson({ ...letter, ...content });
}

function limitOf({ values }: CommandContext): number {
  const text = values['limit'] ?? String(DEFAULT_LISTED);
  const limit = typeof text === 'string' && /^\d{1,5}$/.test(text) ? Number(text) : 0;
  if (limit >= 1 && limit <= MAX_LISTED) return limit;
  throw new UsageError(`--limit must be a whole number from 1 to ${MAX_LISTED}`);
}

const isJson = ({ values }: CommandContext): boolean => values['json'] === true;
