/** Sends dead letters to the exporters that gave them up, outside any gateway. */
import type { DeadLetter, Exporter, SendOutcome } from '../../component.ts';
import { PermanentError } from '../../errors.ts';
import type { Places } from './places.ts';

const SHUTDOWN_MS = 10_000;

export type Delivery =
  | { readonly kind: 'delivered'; readonly outcome: SendOutcome }
  | { readonly kind: 'refused'; readonly reason: string }
  /** The exporter cannot send now, and is not asked again; only the first of its letters brings the reason. */
  | { readonly kind: 'untried'; readonly reason?: string };

export class Deliveries {
  readonly #build: Places['exporter'];
  readonly #exporters = new Map<string, Exporter | undefined>();
  readonly #started = new Set<string>();
  readonly #away = new Set<string>();

  constructor(build: Places['exporter']) {
    this.#build = build;
  }

  /**
   * Builds the exporter, to be started with its first letter.
   * @throws ConfigError when its section has faults
   */
  prepare(id: string): void {
    if (!this.#exporters.has(id)) this.#exporters.set(id, this.#build(id));
  }

  async deliver({ exporter: id, record }: DeadLetter, stop: AbortSignal): Promise<Delivery> {
    if (this.#away.has(id)) return { kind: 'untried' };
    try {
      const exporter = await this.#startedExporter(id);
      // The queue is done with the place that the record had in it, which a database takes for a proof that it is stored.
      return { kind: 'delivered', outcome: await exporter.send([{ ...record, id: undefined }], stop) };
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      if (error instanceof PermanentError && this.#started.has(id)) return { kind: 'refused', reason };
      this.#away.add(id);
      return { kind: 'untried', reason };
    }
  }

  /** Stops all exporters. */
  async close(): Promise<void> {
    const deadline = AbortSignal.timeout(SHUTDOWN_MS);
    await Promise.all([...this.#exporters.values()].map(async (exporter) => exporter?.shutdown?.(deadline)));
  }

  async #startedExporter(id: string): Promise<Exporter> {
    const exporter = this.#exporters.get(id);
    if (exporter === undefined) throw new Error('the configuration has no exporter of this id');
    if (!this.#started.has(id)) await exporter.start?.();
    this.#started.add(id);
    return exporter;
  }
}
