/**
 * Receives SDK span JSON, the plain format for spans of one trace, at `POST /v1/traces`. It shares path and listener with
 * an `otlp` receiver of the same endpoint; the body tells which of the two a request is for.
 */
import { z } from 'zod';
import { receiverFactory } from '../component.ts';
import { serve } from './http/listener.ts';
import { serverKeys } from './http/server_config.ts';
import { DEFAULT_SDK_LIMITS } from './sdk_spans/parse.ts';
import { sdkSpanRoute } from './sdk_spans/route.ts';

const limits = z
  .strictObject({
    max_spans: z.int().min(1).max(10_000).default(DEFAULT_SDK_LIMITS.max_spans).describe('Most spans in one request.'),
    max_nodes: z
      .int()
      .min(1)
      .default(DEFAULT_SDK_LIMITS.max_nodes)
      .describe('Most spans, attributes and values, nested ones included, in one request.'),
    max_depth: z
      .int()
      .min(1)
      .max(64)
      .default(DEFAULT_SDK_LIMITS.max_depth)
      .describe('How deep attribute values may nest.'),
  })
  .prefault({})
  .describe('Bounds on the shape of one request.');

export const sdkSpans = receiverFactory({
  type: 'sdk_spans',
  signals: ['traces'],
  config: z.strictObject({ ...serverKeys({ defaultEndpoint: '127.0.0.1:4318' }), limits }),
  create({ limits: sdkLimits, ...config }, settings, { traces }) {
    const routes = traces === undefined ? [] : [sdkSpanRoute({ next: traces, limits: sdkLimits })];
    return serve({ config, routes, settings, section: '' });
  },
});
