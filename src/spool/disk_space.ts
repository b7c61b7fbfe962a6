/** Watches how much room the disk of a log has left, so that the log stops before others on that disk are harmed. */
import type { Files } from './files.ts';

const CHECK_INTERVAL_MS = 1000;

export interface DiskSpaceSettings {
  readonly files: Files;
  readonly directory: string;
  /** With less than this nothing is appended; 0 for no watching. */
  readonly minFreeBytes: number;
  /** Any clock that never goes back. */
  readonly nowMs: () => number;
}

export class DiskSpace {
  readonly #settings: DiskSpaceSettings;
  #isLow = false;
  #checkedAtMs = -Infinity;
  #checking: Promise<void> | undefined;

  constructor(settings: DiskSpaceSettings) {
    this.#settings = settings;
  }

  /** By the last look, at most a second old. */
  async isLow(): Promise<boolean> {
    await this.#look();
    return this.#isLow;
  }

  /** By the last look; takes another one for the next call. */
  wasLow(): boolean {
    void this.#look();
    return this.#isLow;
  }

  async #look(): Promise<void> {
    const { minFreeBytes, nowMs } = this.#settings;
    if (minFreeBytes > 0 && nowMs() - this.#checkedAtMs >= CHECK_INTERVAL_MS) this.#checking ??= this.#check();
    await this.#checking;
  }

  async #check(): Promise<void> {
    const { files, directory, minFreeBytes, nowMs } = this.#settings;
    try {
      this.#isLow = (await files.freeBytes(directory)) < minFreeBytes;
    } catch {
      // Whoever cannot say it is no reason to refuse what may well be written.
      this.#isLow = false;
    }
    this.#checkedAtMs = nowMs();
    this.#checking = undefined;
  }
}
