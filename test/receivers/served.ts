/** Receivers over HTTP by themselves: built from configuration as the gateway does it, with pipelines that end in memory. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import {
  ACCEPTED,
  type Authenticator,
  type Component,
  type Consumer,
  type Outcome,
  type Settings,
} from '../../src/component.ts';
import { ConfigError } from '../../src/errors.ts';
import { staticTokens } from '../../src/extensions/static_tokens.ts';
import type { AnyBatch } from '../../src/model/batch.ts';
import type { Scope } from '../../src/model/identity.ts';
import { createShared } from '../../src/pipeline/shared.ts';
import { otlp } from '../../src/receivers/otlp/otlp.ts';
import { sdkSpans } from '../../src/receivers/sdk_spans.ts';
import { SILENT, testSettings } from '../support/settings.ts';

interface TestToken {
  readonly token: string;
  readonly org: string;
  readonly scopes?: readonly Scope[];
}

export interface ServiceOptions {
  /** Known to the authenticator `static_tokens`. */
  readonly tokens?: readonly TestToken[];
  /** Stands for `static_tokens`. */
  readonly authenticator?: Component;
  /** What else the service lends, such as an admission. */
  readonly settings?: Partial<Settings>;
  /** What the pipelines do with a batch. */
  readonly consume?: (batch: AnyBatch) => Promise<Outcome>;
}

/** Receivers that share what those of one service share. */
export interface TestService {
  /** What reached the pipelines. */
  readonly batches: AnyBatch[];
  /** `host:port` of each listener, in the order of starting. */
  readonly addresses: string[];
  /** By `type` or `type/name`, with the receiver's own section; throws ConfigError. */
  build(id: string, config: unknown): Component;
}

export function testService(options: ServiceOptions = {}): TestService {
  const { tokens = [], consume = async () => ACCEPTED } = options;
  const batches: AnyBatch[] = [];
  const addresses: string[] = [];
  const shared = createShared();
  const authenticator = asAuthenticator(options.authenticator ?? staticAuthenticator(tokens));
  const consumer: Consumer<AnyBatch> = {
    consume: async (batch) => {
      batches.push(batch);
      return consume(batch);
    },
  };
  const next = { traces: consumer, logs: consumer, metrics: consumer };
  const info = (fields: object): void => {
    if ('address' in fields) addresses.push(String(fields.address));
  };
  const settings = (id: string): Settings => ({
    ...testSettings(id, { ...SILENT, info }),
    authenticator: (wanted) => {
      if (wanted === 'static_tokens') return authenticator;
      throw new ConfigError([{ path: 'auth.authenticator', message: `found "${wanted}"` }]);
    },
    shared,
    ...options.settings,
  });
  const build = (id: string, config: unknown): Component =>
    id.startsWith('sdk_spans')
      ? sdkSpans.create(sdkSpans.config.parse(config), settings(id), next)
      : otlp.create(otlp.config.parse(config), settings(id), next);
  return { batches, addresses, build };
}

function staticAuthenticator(tokens: readonly TestToken[]): Component {
  const nobody: TestToken = { token: 'nobody'.repeat(5), org: 'nobody' };
  const entries = [nobody, ...tokens].map(({ token, org, scopes }) => {
    return { token, org_id: org, workspace_id: 'w', scopes };
  });
  return staticTokens.create(staticTokens.config.parse({ tokens: entries }), testSettings('static_tokens'));
}

function asAuthenticator(extension: Component): Authenticator {
  assert.ok(isAuthenticator(extension), 'an authenticator');
  return extension;
}

function isAuthenticator(extension: Component): extension is Authenticator {
  return 'authenticate' in extension && 'isKnown' in extension;
}

export interface Running extends TestService {
  readonly host: string;
  readonly port: number;
  /** Base URL, without a slash at its end. */
  readonly url: string;
  /** May be repeated. */
  stop(): Promise<void>;
}

const running = new Set<Running>();

/** For `after.each`: a test that fails leaves its receivers behind, and they would keep the process alive. */
export async function stopAll(): Promise<void> {
  await Promise.all([...running].map(async (gateway) => gateway.stop()));
}

/** One otlp receiver on a free port; `http` are its server's other settings. */
export async function runningOtlp(http: object = {}, options: ServiceOptions = {}): Promise<Running> {
  const service = testService(options);
  const receiver = service.build('otlp', { protocols: { http: { endpoint: '127.0.0.1:0', ...http } } });
  await receiver.start?.();
  const [address = ''] = service.addresses;
  const { hostname: host, port } = new URL(`http://${address}`);
  const gateway: Running = {
    ...service,
    host,
    port: Number(port),
    url: `http://${address}`,
    async stop() {
      if (running.delete(gateway)) await receiver.shutdown?.(AbortSignal.timeout(5000));
    },
  };
  running.add(gateway);
  return gateway;
}

/** A request as it is written on a socket; the lines are those after the Host. */
export function head(path: string, ...lines: readonly string[]): string {
  return [`POST ${path} HTTP/1.1`, 'Host: gateway', ...lines, '', ''].join('\r\n');
}

/** Opens a connection, writes bytes and leaves it open. */
export async function openSocket(port: number, ...parts: readonly (string | Uint8Array)[]): Promise<Socket> {
  const socket = connect(port, '127.0.0.1');
  await once(socket, 'connect');
  for (const part of parts) socket.write(part);
  return socket;
}

/** What arrives on the socket until it matches. */
export async function received(socket: Socket, pattern: RegExp): Promise<string> {
  let got = '';
  for await (const chunk of socket.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
    got += chunk.toString('latin1');
    if (pattern.test(got)) return got;
  }
  throw new Error(`the connection was closed after ${JSON.stringify(got)}`);
}
