/** The dead letters of one database. */
import type { Pool } from 'pg';
import { DELIVERED } from '../../component.ts';
import { publicUrl } from '../../store/connection.ts';
import {
  deadLetterIds,
  dropDeadLetters,
  listDeadLetters,
  replayDeadLetters,
  showDeadLetter,
  type LetterFilter,
  type LetterSummary,
} from '../../store/dead_letters.ts';
import { requireSchema } from '../../store/migrate.ts';
import { withDatabase } from '../database.ts';
import type { Choice } from './choice.ts';
import type { Letter, OpenedLetter } from './letter.ts';
import type { Tally } from './tally.ts';

const UUID = /^[\da-f]{8}(?:-[\da-f]{4}){3}-[\da-f]{12}$/;

/** The newest first. */
export function listTable(url: string, filter: LetterFilter, limit: number): Promise<Letter[]> {
  return withLetters(url, async (pool) => {
    const { letters } = await listDeadLetters(pool, filter, { limit });
    return letters.map((letter) => placed(letter, url));
  });
}

/** Undefined when it has none with this id. */
export async function showInTable(url: string, id: string): Promise<OpenedLetter | undefined> {
  if (!UUID.test(id)) return undefined;
  const shown = await withLetters(url, (pool) => showDeadLetter(pool, id));
  if (shown === undefined) return undefined;
  const { values, ...letter } = shown;
  return { letter: placed(letter, url), content: values && { row: values } };
}

function placed(letter: LetterSummary, url: string): Letter {
  return { ...letter, where: publicUrl(url) };
}

/** Stores what the database takes now, also while gateways run. */
export async function replayTable(url: string, choice: Choice, tally: Tally, stop: AbortSignal): Promise<void> {
  await eachPage(url, choice, stop, async (pool, ids) => {
    for (const { id, outcome, reason } of await replayDeadLetters(pool, ids)) {
      if (outcome === 'stored') tally.replayed(id, DELIVERED);
      if (outcome === 'refused') tally.refused(id, reason ?? '');
    }
  });
}

/**
 * Resolves to how many there were.
 * @param missing loses the ids that are found
 */
export async function dropFromTable(
  url: string,
  choice: Choice,
  missing: Set<string>,
  stop: AbortSignal,
): Promise<number> {
  let dropped = 0;
  await eachPage(url, choice, stop, async (pool, ids) => {
    const count = await dropDeadLetters(pool, ids);
    if (count === ids.length) for (const id of ids) missing.delete(id);
    dropped += count;
  });
  return dropped;
}

/** Letters that were named come one by one, so that it is known of each what became of it. */
async function eachPage(
  url: string,
  { ids, filter }: Choice,
  stop: AbortSignal,
  work: (pool: Pool, ids: readonly string[]) => Promise<void>,
): Promise<void> {
  const named = ids && [...ids].filter((id) => UUID.test(id));
  if (named?.length === 0) return;
  await withLetters(url, async (pool) => {
    for await (const page of named === undefined ? deadLetterIds(pool, filter) : named.map((id) => [id])) {
      if (stop.aborted) return;
      await work(pool, page);
    }
  });
}

function withLetters<T>(url: string, work: (pool: Pool) => Promise<T>): Promise<T> {
  return withDatabase({ url, applicationName: 'sluice dead-letter' }, async (pool) => {
    await requireSchema(pool);
    return work(pool);
  });
}
