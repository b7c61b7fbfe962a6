/**
 * Memory that the allocator keeps though little of it is alive, with the process above its hard limit. The limit stands:
 * nobody can tell how much of such memory will be used again. But one peak must not make a gateway refuse for ever.
 */

/** For so long all requests are refused, which gives the allocator time to return what it can. */
const PATIENCE_MS = 60_000;

export interface KeptMemorySettings {
  readonly hardBytes: number;
  /** At which size of the process it is over. */
  readonly reliefBytes: number;
  /** Called once each time that it begins to last. */
  readonly onLasting: (rss: number) => void;
}

export class KeptMemory {
  readonly #settings: KeptMemorySettings;
  /** When it was first seen. */
  #sinceMs: number | undefined;
  #isLasting = false;

  constructor(settings: KeptMemorySettings) {
    this.#settings = settings;
  }

  /**
   * Tells how it stands: `lasting` once it was so, with little alive, for as long as one may wait. It stays lasting until the
   * process is smaller, also when more is alive for a while: that is what those requests take that are then let in.
   */
  look(rss: number, isLittleAlive: boolean, nowMs: number): 'none' | 'recent' | 'lasting' {
    const { hardBytes, reliefBytes, onLasting } = this.#settings;
    if (rss <= (this.#sinceMs === undefined ? hardBytes : reliefBytes)) {
      this.#sinceMs = undefined;
      this.#isLasting = false;
      return 'none';
    }
    if (this.#isLasting) return 'lasting';
    this.#sinceMs = isLittleAlive ? (this.#sinceMs ?? nowMs) : nowMs;
    if (nowMs < this.#sinceMs + PATIENCE_MS) return 'recent';
    this.#isLasting = true;
    onLasting(rss);
    return 'lasting';
  }
}
