/**
 * Connections to PostgreSQL: pools, transactions, and the words for what goes wrong when there is no connection.
 * Nothing here depends on the session, so it works through a transaction pooler: settings are local to a transaction,
 * and none is asked for when connecting, which poolers refuse.
 */
import { Client, Pool, type PoolClient, type QueryResult } from 'pg';
import { PermanentError } from '../errors.ts';
import { connectionSettings, tlsFault } from './connection_tls.ts';

/** The oldest major version whose COPY, partitions and functions the statements rely on. */
const OLDEST_SERVER = 15;

const CONNECT_TIMEOUT_MS = 10_000;
const IDLE_TIMEOUT_MS = 30_000;
const KEEPALIVE_DELAY_MS = 10_000;
const DEFAULT_STATEMENT_TIMEOUT_MS = 30_000;
/** How long after the server should have cancelled a statement its silence means that the connection is dead. */
const DEAD_CONNECTION_MS = 5_000;

export interface PoolSettings {
  readonly url: string;
  /** The most connections; what needs one more waits. */
  readonly max: number;
  /** Shown in `pg_stat_activity`. */
  readonly applicationName: string;
  /**
   * How long one statement may take. In `transaction` the server cancels it; elsewhere the statement fails a few
   * seconds later by our own clock, and its connection is given up.
   */
  readonly statementTimeoutMs: number;
}

/** Connects at the first use. The caller ends the pool. A connection that breaks while idle is replaced in silence. */
export function createPool({ url, max, applicationName, statementTimeoutMs }: PoolSettings): Pool {
  const pool = new Pool({
    ...connectionSettings(url),
    max,
    application_name: applicationName,
    connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
    idleTimeoutMillis: IDLE_TIMEOUT_MS,
    keepAlive: true,
    keepAliveInitialDelayMillis: KEEPALIVE_DELAY_MS,
    query_timeout: statementTimeoutMs + DEAD_CONNECTION_MS,
  });
  // The pool has already dropped the connection; without a listener the event would end the process.
  pool.on('error', ignoreLoss);
  // A client reports a lost connection as an event besides failing its query; it may do so before whoever asked for it has
  // it, when the server says in one breath that it is ready and that it shuts down.
  pool.on('connect', (client) => void client.on('error', ignoreLoss));
  return pool;
}

function ignoreLoss(): void {}

export interface TransactionSettings {
  /** Limit of each statement; that of the pool when absent, and never above it. */
  readonly statementTimeoutMs?: number;
  /** How long one statement may wait for a lock; without it, as long as it may take. */
  readonly lockTimeoutMs?: number;
  /** How long the server waits for the next statement before it ends the session; without it, for ever. */
  readonly idleTimeoutMs?: number;
  readonly readOnly?: boolean;
}

/**
 * Runs `work` in one transaction, which is durable once this resolves, whatever the server's default says. An error of
 * `work` or of the COMMIT rolls back and is thrown as it is. When COMMIT fails without an answer from the server, the
 * transaction may have happened.
 */
export function transaction<T>(
  pool: Pool,
  work: (client: PoolClient) => Promise<T>,
  settings: TransactionSettings = {},
): Promise<T> {
  return withClient(pool, async (client) => {
    await client.query(`${settings.readOnly === true ? 'BEGIN READ ONLY' : 'BEGIN'}; ${localSettings(pool, settings)}`);
    const result = await work(client);
    await client.query('COMMIT');
    return result;
  });
}

/**
 * As `transaction`, in one round trip: the server makes one transaction of all statements that one message brings.
 * @param work sends `before` and its own statements, behind one another, as one text
 */
export function messageTransaction<T>(
  pool: Pool,
  work: (client: PoolClient, before: string) => Promise<T>,
  settings: TransactionSettings = {},
): Promise<T> {
  return withClient(pool, (client) => work(client, `${localSettings(pool, settings)}; `));
}

/** Lends a connection; one on which something failed is rolled back, and given up where that fails as well. */
async function withClient<T>(pool: Pool, work: (client: PoolClient) => Promise<T>): Promise<T> {
  const client = await pool.connect();
  let broken = false;
  try {
    return await work(client);
  } catch (error) {
    broken = !(await rollsBack(client));
    if (broken) void endSession(pool, client);
    throw error;
  } finally {
    client.release(broken);
  }
}

/** What pg knows of the server's process, and does not tell its types. */
type Session = PoolClient & { readonly processID?: number | null };

/**
 * Ends the session of a connection that was given up: while its server waits for the rest of a COPY, and no time limit
 * applies to that, it keeps what it has inserted locked for whoever sends the same again. Never rejects. Behind a pooler
 * the process is another one, and nothing fits.
 */
async function endSession(pool: Pool, { processID }: Session): Promise<void> {
  if (typeof processID !== 'number') return;
  const text = `
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE pid = $1 AND usename = current_user AND state = 'active'
      AND application_name = current_setting('application_name') AND query LIKE 'SET LOCAL%COPY%'`;
  await pool.query(text, [processID]).catch(ignoreLoss);
}

/**
 * Each statement sees what is committed when it begins, and COMMIT is durable, whatever the defaults are. And a server
 * that waits for a gateway whose machine is gone finds out within a minute, not after hours: until then it holds what was
 * written, and whoever sends the same again waits for it.
 */
const WRITE_SETTINGS: readonly string[] = [
  "SET LOCAL transaction_isolation = 'read committed'",
  'SET LOCAL synchronous_commit = on',
  'SET LOCAL tcp_keepalives_idle = 30',
  'SET LOCAL tcp_keepalives_interval = 10',
  'SET LOCAL tcp_keepalives_count = 3',
];

function localSettings(pool: Pool, settings: TransactionSettings): string {
  const { statementTimeoutMs = poolStatementTimeoutMs(pool), lockTimeoutMs, idleTimeoutMs, readOnly } = settings;
  return [
    ...(readOnly === true ? [] : WRITE_SETTINGS),
    ...limitSetting('statement_timeout', statementTimeoutMs),
    ...limitSetting('lock_timeout', lockTimeoutMs),
    ...limitSetting('idle_in_transaction_session_timeout', idleTimeoutMs),
  ].join('; ');
}

function limitSetting(name: string, limitMs: number | undefined): string[] {
  return limitMs === undefined ? [] : [`SET LOCAL ${name} = ${Math.trunc(limitMs)}`];
}

function poolStatementTimeoutMs(pool: Pool): number {
  const clientLimitMs = pool.options.query_timeout;
  return clientLimitMs === undefined ? DEFAULT_STATEMENT_TIMEOUT_MS : clientLimitMs - DEAD_CONNECTION_MS;
}

/** A query with a limit of its own in place of the pool's: our clock's, so the transaction's must allow it too. */
export function queryWithin(
  client: PoolClient,
  limitMs: number,
  text: string,
  values: unknown[] = [],
): Promise<QueryResult> {
  const query = { text, query_timeout: limitMs, ...(values.length > 0 ? { values } : {}) };
  return client.query(query);
}

/** False when the connection is lost, or still busy with a statement that we stopped waiting for. */
async function rollsBack(client: PoolClient): Promise<boolean> {
  try {
    await queryWithin(client, DEAD_CONNECTION_MS, 'ROLLBACK');
    return true;
  } catch {
    return false;
  }
}

/** Rejects with PermanentError when the server is older than we support, and with pg's error when there is none. */
export async function requireServerVersion(pool: Pool): Promise<void> {
  const { rows } = await pool.query<{ number: number; version: string }>(
    "SELECT current_setting('server_version_num')::int AS number, current_setting('server_version') AS version",
  );
  const [server] = rows;
  if (server !== undefined && Math.trunc(server.number / 10_000) < OLDEST_SERVER) {
    throw new PermanentError(`PostgreSQL ${server.version} is too old: Sluice needs version ${OLDEST_SERVER} or newer`);
  }
}

/** Server answers and system errors that say by their code alone what is wrong; `where` is host and port. */
const REASONS: Readonly<Record<string, (target: Target) => string>> = {
  ENOTFOUND: ({ host }) => `there is no host named ${host}`,
  EAI_AGAIN: ({ host }) => `the host name ${host} cannot be resolved now`,
  ECONNREFUSED: ({ where }) => `nothing listens on ${where}`,
  EHOSTUNREACH: ({ where }) => `there is no route to ${where}`,
  ENETUNREACH: ({ where }) => `there is no route to ${where}`,
  ETIMEDOUT: ({ where }) => `${where} does not answer`,
  ECONNRESET: ({ where }) => `${where} closed the connection`,
  EPIPE: ({ where }) => `${where} closed the connection`,
  ENOENT: ({ where }) => `there is no socket ${where}`,
  '28P01': ({ user, where }) => `${where} refuses the password of user ${user}`,
  '3D000': ({ database, where }) => `${where} has no database named ${database}`,
  '53300': ({ where }) => `${where} has no connection left for us`,
  '57P03': ({ where }) => `the server at ${where} is starting up or shutting down`,
  '42501': ({ user, database }) => `user ${user} lacks the rights it needs on ${database}`,
  CERT_HAS_EXPIRED: ({ where }) => `the TLS certificate of ${where} has expired`,
  ERR_TLS_CERT_ALTNAME_INVALID: ({ where }) => `the TLS certificate of ${where} is for another host`,
  DEPTH_ZERO_SELF_SIGNED_CERT: untrusted,
  SELF_SIGNED_CERT_IN_CHAIN: untrusted,
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: untrusted,
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: untrusted,
};

/** The same for what pg tells only in words. */
const REASONS_BY_TEXT: readonly (readonly [RegExp, (target: Target) => string])[] = [
  [/timeout exceeded when trying to connect|connection timeout/, ({ where }) => `${where} does not answer`],
  [/does not support SSL/, ({ where }) => `${where} does not speak TLS: set sslmode=disable in the URL`],
  [/no pg_hba\.conf entry.*no encryption/, ({ where }) => `${where} demands TLS: add sslmode=require to the URL`],
  [/no pg_hba\.conf entry/, ({ user, database }) => `the server lets no user ${user} from here into ${database}`],
  [/password must be a (non-empty )?string/, ({ where, user }) => `${where} asks for a password of user ${user}`],
  [/Connection terminated/, ({ where }) => `${where} closed the connection`],
];

interface Target {
  readonly host: string;
  /** Host and port, or the path of a socket. */
  readonly where: string;
  readonly user: string;
  readonly database: string;
}

/** Why the database of that URL cannot be used: one line for an operator, which never holds the password. */
export function describeConnectionError(error: unknown, url: string): string {
  const target = targetOf(url);
  if (target === undefined) {
    return 'the database URL cannot be read: it should look like postgres://user:password@host:5432/database';
  }
  return `the database cannot be used: ${tlsFault(url) ?? reasonOf(error, target)}`;
}

/** A database URL for people to read: without password and options. */
export function publicUrl(url: string): string {
  const target = targetOf(url);
  return target === undefined ? 'a database' : `postgres://${target.user}@${target.where}/${target.database}`;
}

function reasonOf(error: unknown, target: Target): string {
  const message = (error instanceof Error ? error.message : String(error)).split('\n', 1)[0] ?? '';
  const byText = REASONS_BY_TEXT.find(([pattern]) => pattern.test(message));
  if (byText !== undefined) return byText[1](target);
  const byCode = REASONS[codeOf(error)];
  return byCode === undefined ? `${target.where} says: ${message.replace(/\.$/, '')}` : byCode(target);
}

/** A host with several addresses gives one error for each: the last speaks for all. */
function codeOf(error: unknown): string {
  const single: unknown = error instanceof AggregateError ? error.errors.at(-1) : error;
  return single instanceof Error && 'code' in single ? String(single.code) : '';
}

function untrusted({ where }: Target): string {
  return `the TLS certificate of ${where} is signed by nobody we trust: name its authority with sslrootcert in the URL`;
}

/** Read by pg itself, so that the words fit what it connects to; undefined when it cannot read the URL. */
function targetOf(url: string): Target | undefined {
  try {
    const { host, port, user, database } = new Client(connectionSettings(url));
    const where = host.startsWith('/') ? host : `${host}:${port}`;
    return { host, where, user: user ?? '', database: database ?? '' };
  } catch {
    return undefined;
  }
}
