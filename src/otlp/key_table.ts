/** A map from short ASCII keys that is asked with bytes: looking a JSON key up makes no string. */

/** A power of two. Messages have up to 32 spellings, so that most keys are found where they are first looked for. */
const SLOTS = 128;

interface Entry<V> {
  readonly key: Uint8Array;
  readonly value: V;
}

export class KeyTable<V> {
  private readonly slots: (Entry<V> | undefined)[] = Array.from({ length: SLOTS }, () => undefined);
  private size = 0;

  /** A key that is known already keeps its value. */
  add(key: string, value: V): void {
    const bytes = Buffer.from(key, 'latin1');
    if (this.get(bytes, 0, bytes.length) !== undefined) return;
    // A table without a free slot would make searches endless.
    if (++this.size >= SLOTS) throw new RangeError(`more than ${SLOTS - 1} keys`);
    let slot = slotOf(bytes, 0, bytes.length);
    while (this.slots[slot] !== undefined) slot = (slot + 1) % SLOTS;
    this.slots[slot] = { key: bytes, value };
  }

  get(bytes: Uint8Array, start: number, end: number): V | undefined {
    for (let slot = slotOf(bytes, start, end); ; slot = (slot + 1) % SLOTS) {
      const entry = this.slots[slot];
      if (entry === undefined) return undefined;
      if (equals(entry.key, bytes, start, end)) return entry.value;
    }
  }
}

/** Length, first, middle and last byte tell the keys of a message apart. */
function slotOf(bytes: Uint8Array, start: number, end: number): number {
  if (start === end) return 0;
  const first = bytes[start];
  const middle = bytes[(start + end) >>> 1];
  const last = bytes[end - 1];
  return ((end - start) * 5 + first * 3 + middle * 7 + last * 11) % SLOTS;
}

function equals(key: Uint8Array, bytes: Uint8Array, start: number, end: number): boolean {
  if (key.length !== end - start) return false;
  for (let i = 0; i < key.length; i++) if (key[i] !== bytes[start + i]) return false;
  return true;
}
