/** Choices that the same seed repeats. Mulberry32: 32 bits of state, good enough to choose faults and contents by. */
import assert from 'node:assert/strict';

const TWO_TO_32 = 4_294_967_296;

export class Random {
  #state: number;

  constructor(seed: number) {
    this.#state = seed >>> 0;
  }

  /** From 0 to below 1. */
  next(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let mixed = this.#state;
    mixed = Math.imul(mixed ^ (mixed >>> 15), mixed | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / TWO_TO_32;
  }

  /** A whole number from `from` to `to`, both possible. */
  between(from: number, to: number): number {
    return from + Math.floor(this.next() * (to - from + 1));
  }

  chance(probability: number): boolean {
    return this.next() < probability;
  }

  pick<T>(list: readonly T[]): T {
    const picked = list[this.between(0, list.length - 1)];
    assert(picked !== undefined, 'nothing to pick from');
    return picked;
  }

  bytes(length: number): Buffer {
    const bytes = Buffer.alloc(length);
    for (let at = 0; at < length; at++) bytes[at] = this.between(0, 255);
    return bytes;
  }

  /** For somebody who chooses at times of their own: so many of their choices do not change ours. */
  fork(): Random {
    return new Random(this.between(0, TWO_TO_32 - 1));
  }
}
