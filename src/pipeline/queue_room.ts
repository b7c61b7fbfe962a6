/**
 * The bounds of one exporter's queue: how much may wait in it altogether, and of one tenant. Room is reserved before a
 * batch is encoded, so that it goes into all queues of a pipeline or into none.
 */
import type { QueueSettings } from '../component.ts';
import { RetryableError } from '../errors.ts';
import { DEFAULT_TENANT, type Tenant } from '../model/tenant.ts';

/** When the sender of a refused record should come back. Longer than SDKs wait in all, it would be given up at once. */
const RETRY_AFTER_MS = 1000;

/** What a record takes up. */
export interface Load {
  readonly items: number;
  readonly bytes: number;
}

/** Room in the queue, held until it is released. */
export interface Place {
  /** The record turned out to be so large. */
  resize(load: Load): void;
  release(): void;
}

type Bounds = Pick<QueueSettings, 'queue_size' | 'sizer' | 'max_tenant_share'>;

export class QueueRoom {
  readonly #bounds: Bounds;
  readonly #byTenant = new Map<string, number>();
  #used = 0;
  #items = 0;
  #bytes = 0;
  #records = 0;
  /** Since something was refused nothing has left. */
  #isRefusing = false;

  constructor(bounds: Bounds) {
    this.#bounds = bounds;
  }

  get items(): number {
    return this.#items;
  }

  get bytes(): number {
    return this.#bytes;
  }

  get records(): number {
    return this.#records;
  }

  /** In units of `sizer`. */
  get used(): number {
    return this.#used;
  }

  get capacity(): number {
    return this.#bounds.queue_size;
  }

  /** No room for what came last, or for anything. */
  get isFull(): boolean {
    return this.#isRefusing || this.#used >= this.#bounds.queue_size;
  }

  /** Throws RetryableError when there is no room. One record always finds room in an empty queue, else it never would. */
  reserve(tenant: Tenant, load: Load): Place {
    this.#check(tenant, this.#sizeOf(load));
    let held = load;
    this.add(tenant, held);
    return {
      resize: (next) => {
        this.remove(tenant, held);
        held = next;
        this.add(tenant, held);
      },
      release: () => this.remove(tenant, held),
    };
  }

  /** Counts what is in the queue, whether it fits or not. */
  add(tenant: Tenant, load: Load): void {
    this.#count(tenant, load, 1);
  }

  /** @param records how many records the load is of */
  remove(tenant: Tenant, load: Load, records = 1): void {
    this.#isRefusing = false;
    this.#count(tenant, load, -1, records);
  }

  #check(tenant: Tenant, size: number): void {
    const { queue_size, max_tenant_share, sizer } = this.#bounds;
    if (this.#used > 0 && this.#used + size > queue_size) {
      this.#isRefusing = true;
      throw refusal(`the sending queue is full: ${this.#used} of ${queue_size} ${sizer} wait`);
    }
    if (tenant === DEFAULT_TENANT) return;
    const ofTenant = this.#byTenant.get(keyOf(tenant)) ?? 0;
    const share = queue_size * max_tenant_share;
    if (ofTenant > 0 && ofTenant + size > share) {
      throw refusal(
        `the tenant's share of the sending queue is full: ${ofTenant} of ${Math.floor(share)} ${sizer} wait`,
      );
    }
  }

  #count(tenant: Tenant, load: Load, sign: 1 | -1, records = 1): void {
    const size = sign * (this.#bounds.sizer === 'requests' ? records : this.#sizeOf(load));
    this.#used += size;
    this.#items += sign * load.items;
    this.#bytes += sign * load.bytes;
    this.#records += sign * records;
    const key = keyOf(tenant);
    const ofTenant = (this.#byTenant.get(key) ?? 0) + size;
    if (ofTenant > 0) this.#byTenant.set(key, ofTenant);
    else this.#byTenant.delete(key);
  }

  #sizeOf({ items, bytes }: Load): number {
    const { sizer } = this.#bounds;
    if (sizer === 'requests') return 1;
    return sizer === 'items' ? items : bytes;
  }
}

function keyOf({ orgId, workspaceId }: Tenant): string {
  return JSON.stringify([orgId, workspaceId]);
}

function refusal(message: string): RetryableError {
  return new RetryableError(message, { retryAfterMs: RETRY_AFTER_MS });
}
