/**
 * OTLP over gRPC. Source: opentelemetry-proto, docs/specification.md, "OTLP/gRPC". Requests are taken as bytes and
 * decoded as those over HTTP are; every failure carries a google.rpc.Status among its trailers.
 */
import {
  logVerbosity,
  Server,
  setLogVerbosity,
  type handleUnaryCall,
  type MethodDefinition,
  type ServerOptions,
} from '@grpc/grpc-js';
import { z } from 'zod';
import type { Authenticator, Component, Consumers, Logger, Settings } from '../../component.ts';
import { duration } from '../../config/duration.ts';
import { ConfigError } from '../../errors.ts';
import { SIGNALS, type Signal } from '../../model/batch.ts';
import type { ShapeLimits } from '../../model/wire.ts';
import { exportResponse } from '../../otlp/status.ts';
import { failedAttempts } from '../http/authentication.ts';
import { requireAuthentication, serverKeys } from '../http/server_config.ts';
import { admission, type Admission, type Caller } from './grpc_admission.ts';
import { grpcListener } from './grpc_listener.ts';
import { statusOf } from './grpc_status.ts';
import { takeRequest, type OtlpRequest } from './take.ts';

const DEFAULT_ENDPOINT = '127.0.0.1:4317';
const BYTES_PER_MIB = 1_048_576;
/** What a timer of Node can hold. */
const MAX_DURATION_MS = 2_147_483_647;

const period = () => duration({ max: MAX_DURATION_MS });

const keepalive = z
  .strictObject({
    server_parameters: z
      .strictObject({
        time: period().prefault('1m').describe('After so long without a sign of life a client is pinged. 0 for never.'),
        timeout: period()
          .prefault('20s')
          .describe('How long the answer to a ping may take before the connection is cut.'),
        max_connection_idle: period()
          .prefault('0s')
          .describe('Closes a connection without calls after so long. 0 for never.'),
        max_connection_age: period()
          .prefault('0s')
          .describe('Asks clients to connect anew after so long, which spreads them over replicas. 0 for never.'),
        max_connection_age_grace: period()
          .prefault('0s')
          .describe('How long calls may then go on before the connection is cut. 0 for as long as they take.'),
      })
      .prefault({}),
    enforcement_policy: z
      .strictObject({
        min_time: period().optional().describe('Without effect.'),
        permit_without_stream: z.boolean().optional().describe('Without effect.'),
      })
      .optional()
      .describe('Accepted as the Collector has it, without effect: clients may ping as often as they like.'),
  })
  .prefault({})
  .describe('How connections are kept, checked and ended.');

const shared = serverKeys({ defaultEndpoint: DEFAULT_ENDPOINT });
const SHARED_DEFAULTS = z.strictObject(shared).parse({});

/** The `grpc` section of the receiver's protocols: the Collector's keys (configgrpc) beside those of our HTTP server. */
export const grpcSection = z.strictObject({
  endpoint: shared.endpoint,
  tls: shared.tls.describe('Speaks TLS. Without it connections are in plain text.'),
  auth: shared.auth,
  allow_unauthenticated: shared.allow_unauthenticated,
  max_recv_msg_size_mib: z
    .int()
    .min(1)
    .max(1024)
    .default(64)
    .describe('Largest message of a request, before and after decompression, in MiB.'),
  max_concurrent_streams: z.int().min(1).max(100_000).default(100).describe('Calls at once on one connection.'),
  max_concurrent_requests: shared.max_concurrent_requests.describe(
    'Calls at once on all connections; more are told to come again (UNAVAILABLE).',
  ),
  max_connections: shared.max_connections,
  read_timeout: shared.read_timeout.describe('How long a client may take for the message of a call.'),
  keepalive,
});

type GrpcConfig = z.output<typeof grpcSection>;

export interface GrpcSettings {
  readonly config: GrpcConfig;
  readonly limits: ShapeLimits;
  readonly settings: Settings;
  readonly next: Consumers;
}

/** Where the configuration stands in the receiver's own. */
const SECTION = 'protocols.grpc';

const METHODS: Readonly<Record<Signal, string>> = {
  traces: '/opentelemetry.proto.collector.trace.v1.TraceService/Export',
  logs: '/opentelemetry.proto.collector.logs.v1.LogsService/Export',
  metrics: '/opentelemetry.proto.collector.metrics.v1.MetricsService/Export',
};

/**
 * A receiver of one endpoint. Building it opens nothing.
 * @throws ConfigError for an unknown authenticator, and where anybody on the network could send without a token
 */
export function createGrpcServer({ config, limits, settings, next }: GrpcSettings): Component {
  const { logger } = settings;
  const admitted = admission({
    authenticator: authenticatorOf(config, settings),
    failures: failedAttempts(settings),
    memory: settings.admission,
    maxRequests: config.max_concurrent_requests,
    receiveTimeoutMs: config.read_timeout,
    logger,
  });
  const server = new Server({ ...serverOptions(config), interceptors: [admitted.interceptor] });
  // Of a signal that no pipeline takes the method is not implemented.
  for (const signal of SIGNALS.filter((one) => next[one] !== undefined)) {
    const Export = exportHandler({ signal, limits, next, logger, admitted });
    server.addService({ Export: definition(METHODS[signal]) }, { Export });
  }
  const { endpoint, tls, max_connections } = config;
  const setting = `receivers.${settings.id}.${SECTION}`;
  const listener = grpcListener(server, { endpoint, tls, max_connections, setting, logger });
  return {
    async start() {
      // It would print metadata that it cannot parse on stderr, tokens included; what matters reaches us as an error.
      setLogVerbosity(logVerbosity.NONE);
      await listener.start();
    },
    shutdown: listener.shutdown,
  };
}

/** Every fault at once. */
function authenticatorOf(config: GrpcConfig, settings: Settings): Authenticator | undefined {
  try {
    requireAuthentication({ ...SHARED_DEFAULTS, ...config });
    return config.auth === undefined ? undefined : settings.authenticator(config.auth.authenticator);
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    throw new ConfigError(error.faults.map(({ path, message }) => ({ path: `${SECTION}.${path}`, message })));
  }
}

const limit = (name: string, ms: number): ServerOptions => (ms === 0 ? {} : { [name]: Math.ceil(ms) });

function serverOptions({ max_recv_msg_size_mib, max_concurrent_streams, keepalive: given }: GrpcConfig): ServerOptions {
  const { time, timeout, max_connection_idle, max_connection_age, max_connection_age_grace } = given.server_parameters;
  return {
    'grpc.enable_channelz': 0,
    'grpc.max_receive_message_length': max_recv_msg_size_mib * BYTES_PER_MIB,
    'grpc.max_concurrent_streams': max_concurrent_streams,
    'grpc.keepalive_timeout_ms': Math.ceil(timeout),
    ...limit('grpc.keepalive_time_ms', time),
    ...limit('grpc.max_connection_idle_ms', max_connection_idle),
    ...limit('grpc.max_connection_age_ms', max_connection_age),
    ...limit('grpc.max_connection_age_grace_ms', max_connection_age_grace),
  };
}

const asItIs = (bytes: Buffer): Buffer => bytes;

/** A unary method whose messages stay bytes. */
const definition = (path: string): MethodDefinition<Buffer, Buffer> => ({
  path,
  requestStream: false,
  responseStream: false,
  requestSerialize: asItIs,
  requestDeserialize: asItIs,
  responseSerialize: asItIs,
  responseDeserialize: asItIs,
});

interface ExportSettings {
  readonly signal: Signal;
  readonly limits: ShapeLimits;
  readonly next: Consumers;
  readonly logger: Logger;
  readonly admitted: Admission;
}

function exportHandler({ signal, limits, next, logger, admitted }: ExportSettings): handleUnaryCall<Buffer, Buffer> {
  const answer = async (body: Buffer, { tenant, hops }: Caller): Promise<Buffer> => {
    const request: OtlpRequest = { signal, encoding: 'protobuf', body, tenant, receivedAtMs: Date.now(), hops };
    return exportResponse(signal, await takeRequest(request, limits, next), 'protobuf');
  };
  return ({ request, metadata }, respond) => {
    admitted
      .run(metadata, (caller) => answer(request, caller))
      .then(
        (response) => respond(null, response),
        (error: unknown) => {
          const { status, unexpected } = statusOf(error);
          if (unexpected) logger.error({ err: error, signal }, status.details);
          respond(status);
        },
      );
  };
}
