/**
 * A set of sequence numbers that grows: all below a low-water mark, and ranges above it. Takes memory for the ranges only,
 * of which there are few where numbers come nearly in order.
 */
export class SeqRanges {
  #low: number;
  /** Ascending, apart from one another and from the mark; both ends are in the set. */
  readonly #above: Range[];

  constructor(low = 1, above: readonly Range[] = []) {
    this.#low = low;
    this.#above = [...above];
  }

  /** The least number that is not in the set. */
  get low(): number {
    return this.#low;
  }

  get above(): readonly Range[] {
    return this.#above;
  }

  /** The least number that is above all in the set. */
  get end(): number {
    return (this.#above.at(-1)?.last ?? this.#low - 1) + 1;
  }

  has(seq: number): boolean {
    if (seq < this.#low) return true;
    const range = this.#above[this.#firstEndingAt(seq)];
    return range !== undefined && range.first <= seq;
  }

  /** Both ends included; nothing when `last` is below `first`. */
  add(first: number, last: number): void {
    if (last < this.#low || last < first) return;
    let [from, to] = [Math.max(first, this.#low), last];
    const at = this.#firstEndingAt(from - 1);
    let end = at;
    for (let range = this.#above[end]; range !== undefined && range.first <= to + 1; range = this.#above[end]) {
      from = Math.min(from, range.first);
      to = Math.max(to, range.last);
      end += 1;
    }
    if (from > this.#low) {
      this.#above.splice(at, end - at, { first: from, last: to });
    } else {
      this.#above.splice(at, end - at);
      this.#low = to + 1;
    }
  }

  /** How many from `first` to `last`, both included, are not in the set. */
  missing(first: number, last: number): number {
    const from = Math.max(first, this.#low);
    if (last < from) return 0;
    let count = last - from + 1;
    for (let at = this.#firstEndingAt(from); at < this.#above.length; at += 1) {
      const range = this.#above[at];
      if (range === undefined || range.first > last) break;
      count -= Math.min(range.last, last) - Math.max(range.first, from) + 1;
    }
    return count;
  }

  /** The least number from there on that is not in the set. */
  firstMissing(from: number): number {
    if (from < this.#low) return this.#low;
    const range = this.#above[this.#firstEndingAt(from)];
    return range !== undefined && range.first <= from ? range.last + 1 : from;
  }

  /** A copy with no more than so many ranges, the lowest. */
  copy(maxRanges = this.#above.length): SeqRanges {
    return new SeqRanges(this.#low, this.#above.slice(0, maxRanges));
  }

  /** The index of the first range whose last number is at least `seq`. */
  #firstEndingAt(seq: number): number {
    let [low, high] = [0, this.#above.length];
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#above[middle]?.last ?? Infinity) < seq) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

export interface Range {
  readonly first: number;
  readonly last: number;
}
