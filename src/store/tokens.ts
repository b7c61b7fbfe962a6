/**
 * The bearer tokens in `engagement_ingest_tokens`. Nothing here sees a token: the table and its callers know the SHA-256
 * in lowercase hex.
 */
import { DatabaseError, type Pool, type PoolClient } from 'pg';
import { PermanentError } from '../errors.ts';
import type { Identity, Scope } from '../model/identity.ts';
import type { Tenant } from '../model/tenant.ts';
import { scopeOf } from '../model/token.ts';
import { transaction } from './connection.ts';
import { listenTo, type Subscription } from './notifications.ts';

/** What an authenticator needs of a token that is not revoked. */
export interface ValidToken {
  readonly id: string;
  readonly identity: Identity;
  /** Since 1970; Infinity for a token that does not expire. It may lie in the past. */
  readonly expiresAtMs: number;
}

export interface NewToken {
  readonly hash: string;
  readonly prefix: string;
  readonly name: string;
  readonly tenant: Tenant;
  readonly scopes: readonly Scope[];
  readonly expiresAt: Date | undefined;
}

/** All of a row but the hash. */
export interface TokenRow {
  readonly id: string;
  readonly name: string;
  readonly prefix: string;
  readonly org_id: string;
  readonly workspace_id: string;
  readonly target_id: string | null;
  readonly scopes: readonly string[];
  readonly created_at: Date;
  readonly created_by: string;
  readonly expires_at: Date | null;
  readonly revoked_at: Date | null;
  readonly last_used_at: Date | null;
}

interface TokenUse {
  readonly id: string;
  readonly at: Date;
}

/** The pool stays the caller's. Each method rejects with PermanentError where the database was not migrated. */
export interface TokenStore {
  /** Undefined for a token that is unknown or revoked. */
  find(hash: string): Promise<ValidToken | undefined>;
  create(token: NewToken): Promise<TokenRow>;
  /** The newest first. */
  list(limit: number): Promise<TokenRow[]>;
  /** A token that is revoked already keeps its time. Undefined for an unknown id. */
  revoke(id: string): Promise<TokenRow | undefined>;
  /** Notes when tokens were used; rows that somebody else is changing at this moment are left out. */
  touch(uses: readonly TokenUse[]): Promise<void>;
}

const COLUMNS = `id, name, prefix, org_id, workspace_id, target_id, scopes,
  created_at, created_by, expires_at, revoked_at, last_used_at`;

const FIND = `
  SELECT id, org_id, workspace_id, target_id, scopes, expires_at
  FROM engagement_ingest_tokens WHERE token_hash = decode($1, 'hex') AND revoked_at IS NULL`;

const CREATE = `
  INSERT INTO engagement_ingest_tokens (token_hash, prefix, name, org_id, workspace_id, target_id, scopes, expires_at)
  VALUES (decode($1, 'hex'), $2, $3, $4, $5, $6, $7, $8) RETURNING ${COLUMNS}`;

const LIST = `SELECT ${COLUMNS} FROM engagement_ingest_tokens ORDER BY created_at DESC, id LIMIT $1`;

const REVOKE = `
  UPDATE engagement_ingest_tokens SET revoked_at = coalesce(revoked_at, now()) WHERE id = $1 RETURNING ${COLUMNS}`;

// Replicas note uses of the same tokens: without SKIP LOCKED two of them could wait for each other.
const TOUCH = `
  WITH used AS (SELECT * FROM unnest($1::uuid[], $2::timestamptz[]) AS used (id, at)),
       free AS (SELECT id FROM engagement_ingest_tokens WHERE id = ANY ($1::uuid[]) FOR NO KEY UPDATE SKIP LOCKED)
  UPDATE engagement_ingest_tokens AS token SET last_used_at = used.at
  FROM used JOIN free USING (id)
  WHERE token.id = used.id AND (token.last_used_at IS NULL OR token.last_used_at < used.at)`;

type FoundRow = Pick<TokenRow, 'id' | 'org_id' | 'workspace_id' | 'target_id' | 'scopes' | 'expires_at'>;

export function tokenStore(pool: Pool): TokenStore {
  const writing = <T>(work: (client: PoolClient) => Promise<T>) => explained(transaction(pool, work));
  return {
    async find(hash) {
      const { rows } = await explained(pool.query<FoundRow>(FIND, [hash]));
      return rows[0] && toValidToken(rows[0]);
    },
    async create({ hash, prefix, name, tenant: { orgId, workspaceId, targetId }, scopes, expiresAt }) {
      const values = [hash, prefix, name, orgId, workspaceId, targetId, scopes, expiresAt];
      const { rows } = await writing((client) => client.query<TokenRow>(CREATE, values));
      const [created] = rows;
      if (created === undefined) throw new PermanentError('the database did not keep the token');
      return created;
    },
    async list(limit) {
      const reading = transaction(pool, (client) => client.query<TokenRow>(LIST, [limit]), { readOnly: true });
      return (await explained(reading)).rows;
    },
    async revoke(id) {
      return (await writing((client) => client.query<TokenRow>(REVOKE, [id]))).rows[0];
    },
    async touch(uses) {
      const values = [uses.map(({ id }) => id), uses.map(({ at }) => at)];
      await writing((client) => client.query(TOUCH, values));
    },
  };
}

/** A scope that only a newer program knows allows nothing here. */
function toValidToken({ id, org_id, workspace_id, target_id, scopes, expires_at }: FoundRow): ValidToken {
  const tenant = { orgId: org_id, workspaceId: workspace_id, targetId: target_id ?? undefined };
  const known = new Set(scopes.flatMap((scope) => scopeOf(scope) ?? []));
  return { id, identity: { tenant, scopes: known }, expiresAtMs: expires_at?.getTime() ?? Infinity };
}

/** SQLSTATE undefined_table (PostgreSQL manual, appendix A). */
const UNDEFINED_TABLE = '42P01';

async function explained<T>(work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (cause) {
    if (!(cause instanceof DatabaseError) || cause.code !== UNDEFINED_TABLE) throw cause;
    throw new PermanentError('the database has no table of tokens; `sluice migrate` makes it', { cause });
  }
}

/** The channel of migrations/0002_ingest_tokens.sql. */
const CHANNEL = 'sluice_ingest_tokens';

interface TokenChanges {
  /** The token of this hash was revoked, deleted or changed. */
  readonly onChange: (hash: string) => void;
  /** Any token may have been changed; from now on changes are heard. */
  readonly onGap: () => void;
  /** Changes are not heard until `onGap`. Called again for each attempt to connect that fails. */
  readonly onLost: (error: unknown) => void;
}

/** Tells of each change within moments of its commit. The caller closes it. */
export function watchTokens(url: string, { onChange, onGap, onLost }: TokenChanges): Subscription {
  return listenTo({
    url,
    channel: CHANNEL,
    applicationName: 'sluice token changes',
    onMessage: (hash) => (hash === '' ? onGap() : onChange(hash)),
    onListening: onGap,
    onLost,
  });
}

/** How long uses are gathered, and so the most often that one token's row is written. */
const GATHER_MS = 60_000;
/** Tokens whose use is remembered; of more, some are not noted. */
const MAX_GATHERED = 10_000;
const MAX_TOUCHED = 1_000;

/** Notes the last use of tokens behind the requests: gathered in memory, written once a minute. */
export class LastUses {
  readonly #store: Pick<TokenStore, 'touch'>;
  readonly #onError: (error: unknown) => void;
  #used = new Map<string, number>();
  #timer: NodeJS.Timeout | undefined;

  constructor(store: Pick<TokenStore, 'touch'>, onError: (error: unknown) => void) {
    this.#store = store;
    this.#onError = onError;
  }

  start(): void {
    this.#timer = setInterval(() => void this.flush(), GATHER_MS).unref();
  }

  /** @param atMs since 1970 */
  note(id: string, atMs: number): void {
    if (this.#used.size < MAX_GATHERED || this.#used.has(id)) this.#used.set(id, atMs);
  }

  /** Writes what was gathered; never rejects. What could not be written is gathered again. */
  async flush(): Promise<void> {
    const used = this.#used;
    this.#used = new Map();
    const uses = [...used].map(([id, atMs]) => ({ id, at: new Date(atMs) }));
    try {
      while (uses.length > 0) {
        await this.#store.touch(uses.slice(0, MAX_TOUCHED));
        uses.splice(0, MAX_TOUCHED);
      }
    } catch (error) {
      for (const { id, at } of uses) if (!this.#used.has(id)) this.note(id, at.getTime());
      this.#onError(error);
    }
  }

  /** Writes the rest. */
  async stop(): Promise<void> {
    clearInterval(this.#timer);
    await this.flush();
  }
}
