/** Keeps count of a replay, and prints a line for each letter that was not delivered whole. */
import type { SendOutcome } from '../../component.ts';
import { oneLine } from './print.ts';

export class Tally {
  /** Of the ids that were asked for, those that nobody has found. */
  readonly missing: Set<string>;
  readonly #print: (line: string) => void;
  #replayed = 0;
  #refused = 0;
  #untried = 0;
  #hasLosses = false;

  constructor(ids: Iterable<string>, print: (line: string) => void) {
    this.missing = new Set(ids);
    this.#print = print;
  }

  /** The destination has it, or had it before, but for items that it says it will never take. */
  replayed(id: string, { deadLettered, refused }: Pick<SendOutcome, 'deadLettered' | 'refused'>): void {
    this.missing.delete(id);
    this.#replayed += 1;
    this.#hasLosses ||= deadLettered + refused > 0;
    if (refused > 0) this.#print(`${id}: delivered, but for ${refused} items that the destination refused for good`);
    if (deadLettered > 0)
      this.#print(`${id}: delivered, but for ${deadLettered} items, now dead letters of the database`);
  }

  refused(id: string, reason: string): void {
    this.missing.delete(id);
    this.#refused += 1;
    this.#print(`${id}: ${oneLine(reason)}`);
  }

  /** Its destination is away, so nothing is known about it. */
  untried(id: string): void {
    this.missing.delete(id);
    this.#untried += 1;
  }

  /** An exporter cannot send at all now. */
  away(exporter: string, reason: string): void {
    this.#print(`${exporter} cannot send now: ${oneLine(reason)}`);
  }

  /** Whether all of it went where it should. */
  get isClean(): boolean {
    return this.#refused + this.#untried === 0 && !this.#hasLosses;
  }

  summary(): string {
    const untried = this.#untried > 0 ? `, ${this.#untried} not tried` : '';
    return `${this.#replayed} replayed, ${this.#refused} refused${untried}`;
  }
}
