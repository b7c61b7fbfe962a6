/** The bytes that the bodies of requests under way take, and the bound on all of them together. */
import type { Admission, RequestMemory } from '../../component.ts';
import { RetryableError } from '../../errors.ts';
import type { MemoryPressure } from './pressure.ts';

const RETRY_AFTER_MS = 1000;

export class RequestBytes implements Admission {
  readonly #maxBytes: number;
  readonly #pressure: Pick<MemoryPressure, 'demandRoom' | 'grow'>;
  #bytes = 0;
  /** Requests that were let in and hold on to it, be it nothing yet. */
  #underWay = 0;

  constructor(maxBytes: number, pressure: Pick<MemoryPressure, 'demandRoom' | 'grow'>) {
    this.#maxBytes = maxBytes;
    this.#pressure = pressure;
  }

  get bytes(): number {
    return this.#bytes;
  }

  admit(): RequestMemory {
    this.#pressure.demandRoom(this.#underWay);
    if (this.#bytes >= this.#maxBytes) throw this.#full();
    let held = 0;
    let isOver = false;
    this.#underWay += 1;
    return {
      grow: (bytes) => {
        // What is larger than the bound would never come if it were not taken when it comes alone.
        const isAlone = this.#bytes === held;
        if (!isAlone && this.#bytes + bytes > this.#maxBytes) throw this.#full();
        this.#pressure.grow(bytes);
        held += bytes;
        this.#bytes += bytes;
      },
      release: () => {
        this.#bytes -= held;
        held = 0;
        if (!isOver) this.#underWay -= 1;
        isOver = true;
      },
    };
  }

  #full(): RetryableError {
    return new RetryableError(
      `requests under way take max_request_bytes_in_flight (${this.#maxBytes} bytes); send the request again`,
      { retryAfterMs: RETRY_AFTER_MS },
    );
  }
}
