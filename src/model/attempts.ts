/**
 * Slows whoever tries tokens: after 20 bad ones from an address within a minute, the rest of that minute belongs to
 * tokens that are known to be good. One instance for all that authenticate. In use, with an authenticator that knows:
 *
 *     const waitMs = failures.check(address);
 *     if (waitMs > 0 && !authenticator.isKnown(token)) throw new QuotaError('too many bad tokens from this address', waitMs);
 *     // … authenticate; on UnauthenticatedError: failures.count(address)
 */

/** Bad tokens that an address may bring in one window. */
const MAX_FAILURES = 20;
/** A window begins with its first failure. */
const WINDOW_MS = 60_000;
/** Addresses remembered; above that the oldest window is forgotten. */
const MAX_ADDRESSES = 10_000;

interface Window {
  readonly endsAtMs: number;
  failures: number;
}

export class FailedAttempts {
  readonly #nowMs: () => number;
  /** By address. All windows are equally long, so the order of insertion is the order of ending. */
  readonly #windows = new Map<string, Window>();

  /** @param nowMs a clock that never goes back; its zero does not matter */
  constructor(nowMs: () => number = () => performance.now()) {
    this.#nowMs = nowMs;
  }

  /** Milliseconds for which tokens of this address that are not known to be good are refused unread; 0 for none. */
  check(address: string): number {
    const window = this.#windows.get(networkOf(address));
    if (window === undefined || window.failures < MAX_FAILURES) return 0;
    return Math.max(0, window.endsAtMs - this.#nowMs());
  }

  /** Notes a bad token. A request without any token is none. */
  count(address: string): void {
    const network = networkOf(address);
    const nowMs = this.#nowMs();
    const window = this.#windows.get(network);
    if (window !== undefined && window.endsAtMs > nowMs) {
      window.failures++;
      return;
    }
    this.#windows.delete(network);
    this.#makeRoom(nowMs);
    this.#windows.set(network, { endsAtMs: nowMs + WINDOW_MS, failures: 1 });
  }

  #makeRoom(nowMs: number): void {
    for (const [network, { endsAtMs }] of this.#windows) {
      if (endsAtMs > nowMs && this.#windows.size < MAX_ADDRESSES) return;
      this.#windows.delete(network);
    }
  }
}

const GROUPS = 8;
const NETWORK_GROUPS = 4;

/** An IPv6 host has the 2^64 addresses of its network to try from, so those count as one; IPv4 in IPv6 counts as IPv4. */
function networkOf(address: string): string {
  if (!address.includes(':')) return address;
  const lastGroup = address.slice(address.lastIndexOf(':') + 1);
  if (lastGroup.includes('.')) return lastGroup;
  const [head = [], tail = []] = address.split('::', 2).map((half) => half.split(':').filter(Boolean));
  const zeros = Math.max(0, GROUPS - head.length - tail.length);
  const groups = [...head, ...Array.from({ length: zeros }, () => '0'), ...tail].slice(0, NETWORK_GROUPS);
  return `${groups.map((group) => Number.parseInt(group, 16).toString(16)).join(':')}::/64`;
}
