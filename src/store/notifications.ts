/**
 * Hears what is sent with NOTIFY, on a connection of its own that is made again whenever it is lost. A network that
 * drops packets, and a transaction pooler, which does not keep a LISTEN, are noticed by asking from time to time.
 */
import { Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { Client, escapeIdentifier } from 'pg';
import { connectionSettings } from './connection_tls.ts';

const CONNECT_TIMEOUT_MS = 10_000;
const ANSWER_TIMEOUT_MS = 5_000;
const CHECK_INTERVAL_MS = 10_000;
const FIRST_PAUSE_MS = 100;
const LONGEST_PAUSE_MS = 10_000;
/** How long the goodbye to a server that may be gone is waited for. */
const GOODBYE_MS = 1_000;

interface NotificationSettings {
  readonly url: string;
  readonly channel: string;
  /** Shown in `pg_stat_activity`. */
  readonly applicationName: string;
  onMessage(payload: string): void;
  /** Whatever is sent from now on is heard; what was sent before may have been missed. */
  onListening(): void;
  /** Nothing is heard until `onListening`. Called again for each attempt that fails. */
  onLost(error: unknown): void;
}

export interface Subscription {
  /** Ends the connection; nothing is called back afterwards. */
  close(): Promise<void>;
}

/** Connects at once, in the background, and never gives up. */
export function listenTo(settings: NotificationSettings): Subscription {
  const closing = new AbortController();
  const ended = keepListening(settings, closing.signal);
  return {
    async close() {
      closing.abort();
      await ended;
    },
  };
}

async function keepListening(settings: NotificationSettings, signal: AbortSignal): Promise<void> {
  let pauseMs = FIRST_PAUSE_MS;
  while (!signal.aborted) {
    try {
      await listenOnce(settings, signal, () => {
        pauseMs = FIRST_PAUSE_MS;
        settings.onListening();
      });
    } catch (error) {
      if (signal.aborted) return;
      settings.onLost(error);
    }
    await pause(pauseMs * (0.5 + Math.random() / 2), signal);
    pauseMs = Math.min(pauseMs * 2, LONGEST_PAUSE_MS);
  }
}

/** Rejects when the connection is lost or the signal aborts. */
async function listenOnce(settings: NotificationSettings, signal: AbortSignal, onListening: () => void): Promise<void> {
  const { url, channel, applicationName } = settings;
  // Our own, because only that can be given up while pg is still connecting.
  const socket = new Socket();
  const client = new Client({
    ...connectionSettings(url),
    application_name: applicationName,
    connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
    query_timeout: ANSWER_TIMEOUT_MS,
    keepAlive: true,
    stream: () => socket,
  });
  const lost = Promise.withResolvers<never>();
  const onAbort = (): void => lost.reject(signal.reason);
  signal.addEventListener('abort', onAbort, { once: true });
  client.on('error', lost.reject);
  client.on('end', () => lost.reject(new Error('Connection terminated')));
  client.on('notification', (message) => {
    if (message.channel === channel && !signal.aborted) settings.onMessage(message.payload ?? '');
  });
  try {
    await Promise.race([lost.promise, hold(client, channel, signal, onListening)]);
  } finally {
    signal.removeEventListener('abort', onAbort);
    await Promise.race([client.end().catch(() => undefined), delay(GOODBYE_MS, undefined, { ref: false })]);
    socket.destroy();
  }
}

async function hold(client: Client, channel: string, signal: AbortSignal, onListening: () => void): Promise<void> {
  await client.connect();
  await client.query(`LISTEN ${escapeIdentifier(channel)}`);
  await requireListening(client, channel);
  if (!signal.aborted) onListening();
  while (!signal.aborted) {
    await pause(CHECK_INTERVAL_MS, signal);
    if (!signal.aborted) await requireListening(client, channel);
  }
}

async function requireListening(client: Client, channel: string): Promise<void> {
  const { rowCount } = await client.query('SELECT FROM pg_listening_channels() AS name WHERE name = $1', [channel]);
  if (rowCount === 0) throw new Error('the connection does not keep LISTEN, as through a transaction pooler');
}

/** Ends early when the signal aborts. */
async function pause(ms: number, signal: AbortSignal): Promise<void> {
  await delay(ms, undefined, { signal, ref: false }).catch(() => undefined);
}
