/** A gRPC receiver for tests, whose pipelines end in the test, and a client that sees all of an answer. */
import assert from 'node:assert/strict';
import {
  Client,
  credentials,
  Metadata,
  type ChannelCredentials,
  type ClientOptions,
  type ServiceError,
} from '@grpc/grpc-js';
import { Root } from 'protobufjs';
import {
  ACCEPTED,
  type Consumer,
  type Consumers,
  type Logger,
  type Outcome,
  type Settings,
} from '../../src/component.ts';
import type { AnyBatch } from '../../src/model/batch.ts';
import { DEFAULT_SHAPE_LIMITS } from '../../src/model/wire.ts';
import { createGrpcServer, grpcSection } from '../../src/receivers/otlp/grpc.ts';
import { SILENT, testSettings } from '../support/settings.ts';

export const TRACES = '/opentelemetry.proto.collector.trace.v1.TraceService/Export';
export const LOGS = '/opentelemetry.proto.collector.logs.v1.LogsService/Export';
export const METRICS = '/opentelemetry.proto.collector.metrics.v1.MetricsService/Export';

export interface GrpcReceiver {
  /** `host:port`. */
  readonly address: string;
  /** What its pipelines took. */
  readonly batches: AnyBatch[];
  /** What was logged, as level and sentence. */
  readonly log: string[];
  /** Cuts calls off at once, or after the deadline. */
  stop(deadline?: AbortSignal): Promise<void>;
}

export interface ReceiverOptions {
  /** The `grpc` section. */
  readonly section?: Readonly<Record<string, unknown>>;
  readonly settings?: Partial<Settings>;
  /** Stands for a pipeline. */
  readonly consume?: (batch: AnyBatch) => Promise<Outcome>;
  readonly next?: Consumers;
  /** Called with each sentence of the log. */
  readonly onLog?: (sentence: string) => void;
}

export async function grpcReceiver(options: ReceiverOptions = {}): Promise<GrpcReceiver> {
  const batches: AnyBatch[] = [];
  const log: string[] = [];
  let address = '';
  const write =
    (level: keyof Logger) =>
    (fields: object, sentence: string): void => {
      log.push(`${level}: ${sentence}`);
      if ('address' in fields && sentence.startsWith('OTLP/gRPC')) address = String(fields.address);
      options.onLog?.(sentence);
    };
  const logger: Logger = { ...SILENT, info: write('info'), warn: write('warn'), error: write('error') };
  const consumer: Consumer<AnyBatch> = {
    async consume(batch) {
      batches.push(batch);
      return options.consume?.(batch) ?? ACCEPTED;
    },
  };
  const server = createGrpcServer({
    config: grpcSection.parse({ endpoint: '127.0.0.1:0', ...options.section }),
    limits: DEFAULT_SHAPE_LIMITS,
    settings: {
      ...testSettings('otlp', logger),
      ...options.settings,
    },
    next: options.next ?? { traces: consumer, logs: consumer, metrics: consumer },
  });
  await server.start?.();
  return {
    address,
    batches,
    log,
    stop: async (deadline = AbortSignal.abort()) => server.shutdown?.(deadline),
  };
}

/** How a call ended. */
export interface Reply {
  /** google.rpc.Code; 0 for success. */
  readonly code: number;
  /** grpc-message. */
  readonly message: string;
  /** From grpc-status-details-bin. */
  readonly status: RpcStatus | undefined;
  /** The message of a success. */
  readonly body: Buffer | undefined;
}

interface RpcStatus {
  readonly code: number;
  readonly message: string;
  readonly details: readonly object[];
}

export interface GrpcClient {
  call(method: string, body: Uint8Array, headers?: Readonly<Record<string, string>>): Promise<Reply>;
  /** Starts a call whose end nobody waits for; returns what cancels it. */
  begin(method: string, body: Uint8Array): () => void;
  close(): void;
}

const DEADLINE_MS = 20_000;

const asItIs = (bytes: Buffer): Buffer => bytes;

export function grpcClient(
  address: string,
  channel: ChannelCredentials = credentials.createInsecure(),
  options: ClientOptions = {},
): GrpcClient {
  const client = new Client(address, channel, {
    'grpc.max_send_message_length': -1,
    'grpc.use_local_subchannel_pool': 1,
    'grpc.enable_retries': 0,
    ...options,
  });
  const send = (
    method: string,
    body: Uint8Array,
    headers: Readonly<Record<string, string>>,
    done: (error: ServiceError | null, response?: Buffer) => void,
  ) => {
    const metadata = new Metadata();
    for (const [name, value] of Object.entries(headers)) metadata.set(name, value);
    const deadline = Date.now() + DEADLINE_MS;
    return client.makeUnaryRequest(method, asItIs, asItIs, Buffer.from(body), metadata, { deadline }, done);
  };
  return {
    call(method, body, headers = {}) {
      const { promise, resolve } = Promise.withResolvers<Reply>();
      send(method, body, headers, (error, response) => resolve(replyOf(error, response)));
      return promise;
    },
    begin(method, body) {
      const call = send(method, body, {}, () => undefined);
      return () => call.cancel();
    },
    close: () => client.close(),
  };
}

function replyOf(error: ServiceError | null, response: Buffer | undefined): Reply {
  if (error === null) return { code: 0, message: '', status: undefined, body: response };
  const [details] = error.metadata.get('grpc-status-details-bin');
  const status = details === undefined ? undefined : readStatus(Buffer.from(details));
  return { code: error.code, message: error.details, status, body: undefined };
}

const DESCRIPTION = Root.fromJSON({
  nested: {
    Status: {
      fields: {
        code: { type: 'int32', id: 1 },
        message: { type: 'string', id: 2 },
        details: { rule: 'repeated', type: 'Any', id: 3 },
      },
    },
    Any: { fields: { typeUrl: { type: 'string', id: 1 }, value: { type: 'bytes', id: 2 } } },
    BadRequest: { fields: { fieldViolations: { rule: 'repeated', type: 'FieldViolation', id: 1 } } },
    FieldViolation: { fields: { field: { type: 'string', id: 1 }, description: { type: 'string', id: 2 } } },
    RetryInfo: { fields: { retryDelay: { type: 'Duration', id: 1 } } },
    Duration: { fields: { seconds: { type: 'int32', id: 1 }, nanos: { type: 'int32', id: 2 } } },
  },
});

/** A `google.rpc.Status` whose details are opened. */
function readStatus(bytes: Buffer): RpcStatus {
  const { code, message, details } = read('Status', bytes);
  assert(typeof code === 'number' && typeof message === 'string' && Array.isArray(details));
  return { code, message, details: details.map(openDetail) };
}

function openDetail({ typeUrl, value }: { typeUrl: string; value: Uint8Array }): object {
  const type = typeUrl.replace('type.googleapis.com/google.rpc.', '');
  return { type, ...read(type, value) };
}

function read(type: string, bytes: Uint8Array): Record<string, unknown> {
  const message = DESCRIPTION.lookupType(type);
  return message.toObject(message.decode(bytes), { defaults: true });
}
