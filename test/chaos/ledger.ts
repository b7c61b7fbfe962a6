/**
 * What the load promised itself: every request, and how each of its attempts ended. A success answer makes every item of a
 * request an obligation, a refusal alone a prohibition; anything else leaves it open, and the items may be there once.
 */
import type { Item, LoadRequest } from './traffic.ts';

/** `open`: time-out, broken connection, 503 and the like. */
export type Answer = 'acknowledged' | 'refused' | 'open';

export type Standing = 'obliged' | 'prohibited' | 'open';

export interface Entry {
  readonly request: LoadRequest;
  attempts: number;
  acknowledgements: number;
  refusals: number;
}

export class Ledger {
  readonly #entries: Entry[] = [];
  /** How attempts ended, by status code or error code. */
  readonly answers = new Map<string, number>();
  /** How long each attempt took, in milliseconds. */
  readonly latenciesMs: number[] = [];
  #obligedItems = 0;

  enter(request: LoadRequest): Entry {
    const entry = { request, attempts: 0, acknowledgements: 0, refusals: 0 };
    this.#entries.push(entry);
    return entry;
  }

  /** @param says a status code or an error code */
  record(entry: Entry, answer: Answer, says: string): void {
    this.answers.set(says, (this.answers.get(says) ?? 0) + 1);
    if (answer === 'refused') entry.refusals++;
    if (answer !== 'acknowledged') return;
    if (entry.acknowledgements++ === 0) this.#obligedItems += entry.request.items.length;
  }

  get entries(): readonly Entry[] {
    return this.#entries;
  }

  /** Items that somebody was told are safe. */
  get obligedItems(): number {
    return this.#obligedItems;
  }

  answered(says: string): number {
    return this.answers.get(says) ?? 0;
  }

  items(): Map<string, { readonly item: Item; readonly entry: Entry }> {
    const all = new Map<string, { item: Item; entry: Entry }>();
    for (const entry of this.#entries) for (const item of entry.request.items) all.set(item.id, { item, entry });
    return all;
  }
}

export function standingOf({ attempts, acknowledgements, refusals }: Entry): Standing {
  if (acknowledgements > 0) return 'obliged';
  return attempts > 0 && refusals === attempts ? 'prohibited' : 'open';
}
