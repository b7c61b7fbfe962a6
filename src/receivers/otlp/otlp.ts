/**
 * Receives OTLP from any OpenTelemetry SDK, agent or Collector: traces, logs and metrics, over HTTP (protobuf or JSON)
 * and gRPC. A request is answered with success once its pipelines have taken it for good.
 */
import { z } from 'zod';
import { receiverFactory, type Component, type Consumers, type Settings } from '../../component.ts';
import { ConfigError, type ConfigFault } from '../../errors.ts';
import { size } from '../../config/size.ts';
import { DEFAULT_SHAPE_LIMITS, type ShapeLimits } from '../../model/wire.ts';
import { serve } from '../http/listener.ts';
import { serverKeys } from '../http/server_config.ts';
import { createGrpcServer, grpcSection } from './grpc.ts';
import { otlpRoutes } from './http.ts';

const limits = z
  .strictObject({
    max_records: z
      .int()
      .min(1)
      .default(DEFAULT_SHAPE_LIMITS.max_records)
      .describe('Most spans, log records or data points in one request.'),
    max_nodes: z
      .int()
      .min(1)
      .default(DEFAULT_SHAPE_LIMITS.max_nodes)
      .describe('Most messages of all kinds (records, attributes, values, events, links) in one request.'),
    max_depth: z
      .int()
      .min(1)
      .max(64)
      .default(DEFAULT_SHAPE_LIMITS.max_depth)
      .describe('How deep attribute values may nest.'),
    max_record_bytes: size({ min: 1 })
      .prefault('8MiB')
      .describe('Largest span, log record, resource or scope. One that is larger is rejected by itself.'),
    max_record_nodes: z
      .int()
      .min(1)
      .default(DEFAULT_SHAPE_LIMITS.max_record_nodes)
      .describe('Most attributes, values, events and links of one span, log record, resource or scope.'),
  })
  .prefault({})
  .describe('Bounds on the shape of one request, checked before anything is built from it.');

const SUCCESS_STATUSES = [200, 204] as const;

const http = z
  .strictObject({
    ...serverKeys({ defaultEndpoint: '127.0.0.1:4318' }),
    success_status: z
      .literal(SUCCESS_STATUSES)
      .default(200)
      .describe('Status of full success: 200 as OTLP has it, or 204 without a body. Partial success is always 200.'),
  })
  .describe('OTLP/HTTP: POST /v1/traces, /v1/logs and /v1/metrics, protobuf or JSON, compressed or not.');

/** As in the Collector a protocol is served when it is listed; nothing behind its name stands for the defaults. */
const listed = <T extends z.ZodType>(section: T) => z.preprocess((value) => value ?? {}, section).optional();

const protocols = z
  .strictObject({ http: listed(http), grpc: listed(grpcSection) })
  .refine((given) => given.http !== undefined || given.grpc !== undefined, 'http, grpc or both')
  .prefault({ http: {} })
  .describe('The transports to serve; HTTP alone when nothing is said.');

export const otlp = receiverFactory({
  type: 'otlp',
  signals: ['traces', 'logs', 'metrics'],
  config: z.strictObject({ protocols, limits }),
  create(config, settings, next) {
    const parts = buildAll([() => httpPart(config, settings, next), () => grpcPart(config, settings, next)]);
    return {
      async start() {
        for (const part of parts) await part.start?.();
      },
      async shutdown(deadline) {
        await Promise.all(parts.map(async (part) => part.shutdown?.(deadline)));
      },
    };
  },
});

/** Throws one ConfigError with the faults of all. */
function buildAll(makers: readonly (() => Component | undefined)[]): Component[] {
  const faults: ConfigFault[] = [];
  const parts = makers.map((make) => {
    try {
      return make();
    } catch (error) {
      if (!(error instanceof ConfigError)) throw error;
      faults.push(...error.faults);
      return undefined;
    }
  });
  if (faults.length > 0) throw new ConfigError(faults);
  return parts.filter((part) => part !== undefined);
}

interface OtlpConfig {
  readonly protocols: z.output<typeof protocols>;
  readonly limits: ShapeLimits;
}

function httpPart(config: OtlpConfig, settings: Settings, next: Consumers): Component | undefined {
  if (config.protocols.http === undefined) return undefined;
  const { success_status, ...server } = config.protocols.http;
  const routes = otlpRoutes({ successStatus: success_status, limits: config.limits, next });
  return serve({ config: server, routes, settings, section: 'protocols.http' });
}

function grpcPart(
  { protocols: { grpc }, limits: shape }: OtlpConfig,
  settings: Settings,
  next: Consumers,
): Component | undefined {
  return grpc && createGrpcServer({ config: grpc, limits: shape, settings, next });
}
