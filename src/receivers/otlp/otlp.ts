/**
 * Receives OTLP from any OpenTelemetry SDK, agent or Collector: traces, logs and metrics over HTTP, as protobuf or JSON.
 * A request is answered with success once its pipelines have taken it for good.
 */
import { z } from 'zod';
import { receiverFactory } from '../../component.ts';
import { endpoint } from '../../config/endpoint.ts';
import { size } from '../../config/size.ts';
import { DEFAULT_SHAPE_LIMITS } from '../../model/wire.ts';
import { httpServer } from './http.ts';

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
  })
  .prefault({})
  .describe('Bounds on the shape of one request, checked before anything is built from it.');

const http = z
  .strictObject({
    endpoint: endpoint().prefault('127.0.0.1:4318').describe('Where to listen, `host:port`.'),
    max_request_body_size: size({ min: 1 })
      .prefault('64MiB')
      .describe('Largest body of a request, before and after decompression.'),
  })
  .prefault({})
  .describe('OTLP/HTTP: POST /v1/traces, /v1/logs and /v1/metrics, protobuf or JSON, gzip or not.');

export const otlp = receiverFactory({
  type: 'otlp',
  signals: ['traces', 'logs', 'metrics'],
  config: z.strictObject({
    protocols: z.strictObject({ http }).prefault({}).describe('The transports to serve.'),
    limits,
  }),
  create({ protocols, limits: shapeLimits }, { id, logger }, next) {
    return httpServer({
      ...protocols.http,
      limits: shapeLimits,
      setting: `receivers.${id}.protocols.http.endpoint`,
      logger,
      next,
    });
  },
});
