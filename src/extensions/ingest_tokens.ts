/**
 * Knows who a request is from by the bearer tokens in a database. What was asked once is remembered for some seconds;
 * a revocation is heard at once from the database, and in those seconds at the latest. While the database is away,
 * remembered tokens go on until their time is over, and all others are told to come again: never that they are bad.
 */
import { LRUCache } from 'lru-cache';
import { z } from 'zod';
import { extensionFactory, type Authenticator, type Logger } from '../component.ts';
import { duration } from '../config/duration.ts';
import { secret } from '../config/secret.ts';
import { PermanentError, RetryableError, UnauthenticatedError } from '../errors.ts';
import { hashToken, isToken } from '../model/token.ts';
import { createPool, describeConnectionError } from '../store/connection.ts';
import type { Subscription } from '../store/notifications.ts';
import { LastUses, tokenStore, watchTokens, type ValidToken } from '../store/tokens.ts';

const MAX_TTL_MS = 3_600_000;
const MAX_CACHE_SIZE = 1_000_000;
const MAX_CONNECTIONS = 4;
const STATEMENT_TIMEOUT_MS = 2_000;
/** Tokens that are asked for at once; the clients of more are told to come again. */
const MAX_LOOKUPS = 1_000;
const COME_AGAIN_MS = 1_000;

const cacheSection = z
  .strictObject({
    max_size: z
      .int()
      .min(1)
      .max(MAX_CACHE_SIZE)
      .default(10_000)
      .describe('The most valid tokens to remember, and the most invalid ones beside them.'),
    positive_ttl: duration({ min: 1, max: MAX_TTL_MS })
      .default(30_000)
      .describe('How long a valid token is remembered; also how late a revocation can be heard without LISTEN.'),
    negative_ttl: duration({ min: 1, max: MAX_TTL_MS })
      .default(5_000)
      .describe('How long an unknown or revoked token is remembered.'),
  })
  .prefault({})
  .describe('What is remembered of tokens that were asked for.');

export const ingestTokens = extensionFactory({
  type: 'ingest_tokens',
  config: z.strictObject({
    database_url: secret().describe('The database that holds the tokens, as libpq and psql take it; best with LISTEN.'),
    cache: cacheSection,
  }),
  create({ database_url, cache }, { logger }): TokenAuthenticator {
    const url = database_url.reveal();
    const applicationName = 'sluice tokens';
    const pool = createPool({ url, max: MAX_CONNECTIONS, applicationName, statementTimeoutMs: STATEMENT_TIMEOUT_MS });
    const store = tokenStore(pool);
    const log = new OutageLog(url, logger);
    const tokens = new TokenCache((hash) => log.lookup(store.find(hash)), {
      maxSize: cache.max_size,
      positiveTtlMs: cache.positive_ttl,
      negativeTtlMs: cache.negative_ttl,
    });
    const uses = new LastUses(store, (error) => log.usesNotWritten(error));
    let changes: Subscription | undefined;
    return {
      async authenticate(token) {
        const valid = isToken(token) ? await tokens.get(hashToken(token)) : undefined;
        if (valid === undefined) throw new UnauthenticatedError('the bearer token is unknown, expired or revoked');
        uses.note(valid.id, Date.now());
        return valid.identity;
      },
      isKnown: (token) => isToken(token) && tokens.isKnown(hashToken(token)),
      async start() {
        changes = watchTokens(url, {
          onChange: (hash) => tokens.forget(hash),
          onGap: () => {
            tokens.doubtAll();
            log.changesHeard();
          },
          onLost: (error) => log.changesLost(error),
        });
        uses.start();
      },
      async shutdown(deadline) {
        await Promise.all([changes?.close(), Promise.race([uses.stop(), aborted(deadline)])]);
        await pool.end();
      },
    };
  },
});

interface TokenAuthenticator extends Authenticator {
  /**
   * Whether the token was good when it was last asked for, however long ago, and has not expired or been revoked since.
   * Asks nobody. Spares good clients where their address is slowed for bad tokens.
   */
  isKnown(token: string): boolean;
}

export interface TokenCacheSettings {
  readonly maxSize: number;
  readonly positiveTtlMs: number;
  readonly negativeTtlMs: number;
}

export interface Clock {
  /** Since 1970: what expiry is measured by. */
  epochMs(): number;
  /** Never goes back: what the cache is measured by. */
  monotonicMs(): number;
}

const SYSTEM_CLOCK: Clock = { epochMs: () => Date.now(), monotonicMs: () => performance.now() };

/** Undefined for a hash of no token that is valid; may reject with anything. */
type FindToken = (hash: string) => Promise<ValidToken | undefined>;

interface Remembered {
  readonly token: ValidToken;
  freshUntilMs: number;
}

/**
 * Remembers what was found about tokens, by their hash. Each is looked up once however many ask at the same time. Valid
 * and invalid ones have places of their own, so that nobody can push valid ones out by trying many.
 */
export class TokenCache {
  readonly #findStored: FindToken;
  readonly #settings: TokenCacheSettings;
  readonly #clock: Clock;
  readonly #valid: LRUCache<string, Remembered>;
  /** Until when a hash counts as invalid. */
  readonly #invalid: LRUCache<string, number>;
  /** What is being found out. A lookup that is not here any more was overtaken by a change and is not remembered. */
  readonly #lookups = new Map<string, Promise<ValidToken | undefined>>();

  constructor(findStored: FindToken, settings: TokenCacheSettings, clock = SYSTEM_CLOCK) {
    this.#findStored = findStored;
    this.#settings = settings;
    this.#clock = clock;
    this.#valid = new LRUCache({ max: settings.maxSize });
    this.#invalid = new LRUCache({ max: settings.maxSize });
  }

  /** Undefined for a token that is unknown, expired or revoked. Rejects with RetryableError when that is not known now. */
  async get(hash: string): Promise<ValidToken | undefined> {
    const token = await this.#find(hash);
    return token === undefined || this.#isExpired(token) ? undefined : token;
  }

  isKnown(hash: string): boolean {
    const remembered = this.#valid.peek(hash);
    return remembered !== undefined && !this.#isExpired(remembered.token);
  }

  forget(hash: string): void {
    this.#valid.delete(hash);
    this.#invalid.delete(hash);
    this.#lookups.delete(hash);
  }

  /** Every token is looked up again at its next use. */
  doubtAll(): void {
    for (const remembered of this.#valid.values()) remembered.freshUntilMs = -Infinity;
    this.#invalid.clear();
    this.#lookups.clear();
  }

  #isExpired({ expiresAtMs }: ValidToken): boolean {
    return this.#clock.epochMs() >= expiresAtMs;
  }

  async #find(hash: string): Promise<ValidToken | undefined> {
    const nowMs = this.#clock.monotonicMs();
    const valid = this.#valid.get(hash);
    if (valid !== undefined && nowMs < valid.freshUntilMs) return valid.token;
    if (nowMs < (this.#invalid.get(hash) ?? -Infinity)) return undefined;
    return this.#lookups.get(hash) ?? this.#lookUp(hash, nowMs);
  }

  #lookUp(hash: string, startedAtMs: number): Promise<ValidToken | undefined> {
    if (this.#lookups.size >= MAX_LOOKUPS) throw cannotTell('too many tokens are being checked at once');
    const lookup = this.#findStored(hash).then(
      (token) => {
        if (this.#lookups.get(hash) === lookup) this.#remember(hash, token, startedAtMs);
        return token;
      },
      (cause: unknown) => {
        if (this.#lookups.get(hash) === lookup) this.#lookups.delete(hash);
        throw cannotTell('tokens cannot be checked now', cause);
      },
    );
    this.#lookups.set(hash, lookup);
    return lookup;
  }

  #remember(hash: string, token: ValidToken | undefined, startedAtMs: number): void {
    this.forget(hash);
    const { positiveTtlMs, negativeTtlMs } = this.#settings;
    if (token === undefined) this.#invalid.set(hash, startedAtMs + negativeTtlMs);
    else this.#valid.set(hash, { token, freshUntilMs: startedAtMs + positiveTtlMs });
  }
}

function cannotTell(message: string, cause?: unknown): RetryableError {
  return new RetryableError(message, { cause, retryAfterMs: COME_AGAIN_MS });
}

/** Logs the beginning and the end of an outage, not each request in it. */
class OutageLog {
  readonly #url: string;
  readonly #logger: Logger;
  #isAway = false;
  #isDeaf = false;

  constructor(url: string, logger: Logger) {
    this.#url = url;
    this.#logger = logger;
  }

  /** Hands on what it is given. */
  async lookup<T>(found: Promise<T>): Promise<T> {
    try {
      const token = await found;
      if (this.#isAway) this.#logger.info({}, 'tokens can be checked again');
      this.#isAway = false;
      return token;
    } catch (error) {
      if (!this.#isAway) this.#logger.error(this.#reason(error), 'tokens that are not remembered cannot be checked');
      this.#isAway = true;
      throw error;
    }
  }

  changesHeard(): void {
    if (this.#isDeaf) this.#logger.info({}, 'revocations of tokens are heard at once again');
    this.#isDeaf = false;
  }

  changesLost(error: unknown): void {
    if (!this.#isDeaf)
      this.#logger.warn(this.#reason(error), 'revocations of tokens wait for cache.positive_ttl to pass');
    this.#isDeaf = true;
  }

  usesNotWritten(error: unknown): void {
    this.#logger.warn(this.#reason(error), 'the last use of tokens could not be written; it is tried again');
  }

  #reason(error: unknown): { reason: string } {
    return { reason: error instanceof PermanentError ? error.message : describeConnectionError(error, this.#url) };
  }
}

async function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return;
  await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }));
}
