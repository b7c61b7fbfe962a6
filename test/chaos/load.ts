/**
 * The load: requests at about an even rate, until it is stopped. A request that is not answered with a success or a refusal
 * is sent again, byte for byte, as SDKs do; so is now and then one that was acknowledged, as a client whose answer was lost
 * would.
 */
import { setTimeout as delay } from 'node:timers/promises';
import type { Entry, Ledger } from './ledger.ts';
import type { Random } from './random.ts';
import type { Sender } from './sender.ts';
import { makeRequest, PROFILE, type LoadRequest, type Profile } from './traffic.ts';

export interface LoadSettings {
  readonly sender: Sender;
  readonly ledger: Ledger;
  readonly random: Random;
  readonly profile?: Partial<Profile>;
}

const TICK_MS = 10;
const RETRY_PAUSE_MS = [100, 400] as const;
const REPEAT_PAUSE_MS = [0, 2_000] as const;
/** How long a stopped load still tries to have its open requests acknowledged. */
const GIVE_UP_MS = 15_000;

export class Load {
  readonly #sender: Sender;
  readonly #ledger: Ledger;
  readonly #random: Random;
  readonly #underWay = new Set<Promise<Entry>>();
  readonly #stopping = new AbortController();
  #profile: Profile;
  #numbers = 0;
  #isOn = false;
  #pump: Promise<void> = Promise.resolve();
  #giveUpAt = Infinity;

  constructor({ sender, ledger, random, profile = {} }: LoadSettings) {
    this.#sender = sender;
    this.#ledger = ledger;
    this.#random = random.fork();
    this.#profile = { ...PROFILE, ...profile };
  }

  start(): void {
    if (this.#isOn) return;
    this.#isOn = true;
    this.#giveUpAt = Infinity;
    this.#pump = this.#run();
  }

  change(profile: Partial<Profile>): void {
    this.#profile = { ...this.#profile, ...profile };
  }

  /** Makes no new requests; resolves when all are acknowledged or refused, or were given up. */
  async stop(giveUpMs = GIVE_UP_MS): Promise<void> {
    await this.pause();
    this.#giveUpAt = performance.now() + giveUpMs;
    await Promise.all(this.#underWay);
  }

  /** Makes no new requests; those under way go on, and are tried again, in the background. */
  async pause(): Promise<void> {
    this.#isOn = false;
    await this.#pump;
  }

  /** A request as the load would send it. */
  make(): LoadRequest {
    return makeRequest(this.#random, this.#numbers++, this.#profile);
  }

  /** Sends a request until it is acknowledged or refused, or the load gives up. */
  async deliver(request: LoadRequest): Promise<Entry> {
    const entry = this.#ledger.enter(request);
    if (!request.isTimed) {
      await this.#attempt(entry);
      return entry;
    }
    while ((await this.#attempt(entry)) === 'open' && performance.now() < this.#giveUpAt) {
      await this.#pause(RETRY_PAUSE_MS);
    }
    if (entry.acknowledgements > 0 && this.#random.chance(this.#profile.repeats)) {
      await this.#pause(REPEAT_PAUSE_MS);
      await this.#attempt(entry);
    }
    return entry;
  }

  close(): void {
    this.#isOn = false;
    this.#giveUpAt = 0;
    this.#stopping.abort();
    this.#sender.close();
  }

  async #attempt(entry: Entry): Promise<string> {
    entry.attempts++;
    const sentAt = performance.now();
    const { answer, says, hasRetryAfter } = await this.#sender.send(entry.request);
    this.#ledger.latenciesMs.push(performance.now() - sentAt);
    this.#ledger.record(entry, answer, hasRetryAfter ? `${says} with Retry-After` : says);
    return answer;
  }

  async #run(): Promise<void> {
    let due = 0;
    let lastAt = performance.now();
    while (this.#isOn) {
      const now = performance.now();
      due += ((now - lastAt) / 1000) * this.#profile.requestsPerSecond;
      lastAt = now;
      for (; due >= 1 && this.#underWay.size < this.#profile.underWay; due--) this.#begin();
      due = Math.min(due, this.#profile.underWay);
      await delay(TICK_MS);
    }
  }

  #begin(): void {
    const delivery = this.deliver(this.make());
    this.#underWay.add(delivery);
    void delivery.finally(() => this.#underWay.delete(delivery));
  }

  async #pause([from, to]: readonly [number, number]): Promise<void> {
    await delay(this.#random.between(from, to), undefined, { signal: this.#stopping.signal }).catch(() => undefined);
  }
}
