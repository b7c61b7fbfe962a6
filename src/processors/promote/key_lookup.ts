/** A map from attribute keys that is asked with the bytes of a key, and mostly for keys that it does not have. */

interface Entry<V> {
  readonly key: Uint8Array;
  readonly value: V;
}

/** A power of two, and so many for each key that most places are free: an unknown key is then known at once. */
const SLOTS_PER_KEY = 8;

export class KeyLookup<V> {
  readonly #slots: (Entry<V> | undefined)[];
  readonly #mask: number;

  constructor(values: ReadonlyMap<string, V>) {
    const size = 2 ** Math.ceil(Math.log2((values.size + 1) * SLOTS_PER_KEY));
    this.#slots = Array.from({ length: size }, () => undefined);
    this.#mask = size - 1;
    for (const [key, value] of values) this.#add(Buffer.from(key, 'utf8'), value);
  }

  #add(key: Uint8Array, value: V): void {
    let slot = slotOf(key, 0, key.length) & this.#mask;
    while (this.#slots[slot] !== undefined) slot = (slot + 1) & this.#mask;
    this.#slots[slot] = { key, value };
  }

  get(bytes: Uint8Array, start: number, end: number): V | undefined {
    if (start === end) return undefined;
    for (let slot = slotOf(bytes, start, end) & this.#mask; ; slot = (slot + 1) & this.#mask) {
      const entry = this.#slots[slot];
      if (entry === undefined) return undefined;
      if (equals(bytes, start, end, entry.key)) return entry.value;
    }
  }
}

/** Length, the last byte and one near the middle tell keys with a common prefix apart. */
function slotOf(bytes: Uint8Array, start: number, end: number): number {
  return (end - start) * 37 + bytes[end - 1] * 5 + bytes[(start + end) >>> 1] * 11 + bytes[start];
}

function equals(bytes: Uint8Array, start: number, end: number, key: Uint8Array): boolean {
  if (end - start !== key.length) return false;
  for (let i = 0; i < key.length; i++) if (bytes[start + i] !== key[i]) return false;
  return true;
}
