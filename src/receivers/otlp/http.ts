/**
 * OTLP over HTTP, as routes of a listener. Source: opentelemetry-proto, docs/specification.md, "OTLP/HTTP".
 */
import type { Consumers } from '../../component.ts';
import { SIGNALS, type Signal } from '../../model/batch.ts';
import type { ShapeLimits } from '../../model/wire.ts';
import { exportResponse, type Encoding } from '../../otlp/status.ts';
import { isSdkSpanJson } from '../http/json_shape.ts';
import type { Route } from '../http/route.ts';
import { takeRequest } from './take.ts';

/** What full success is answered with. The specification's is 200; some documented APIs promise 204. */
type SuccessStatus = 200 | 204;

export interface OtlpRoutes {
  readonly successStatus: SuccessStatus;
  readonly limits: ShapeLimits;
  readonly next: Consumers;
}

const ENCODINGS: ReadonlySet<Encoding> = new Set(['protobuf', 'json']);

/** A route for each signal that a pipeline takes. */
export function otlpRoutes({ next, ...served }: OtlpRoutes): Route[] {
  return SIGNALS.filter((signal) => next[signal] !== undefined).map((signal) => route(signal, { next, ...served }));
}

function route(signal: Signal, { successStatus, limits, next }: OtlpRoutes): Route {
  return {
    path: `/v1/${signal}`,
    scope: 'ingest',
    encodings: ENCODINGS,
    claims: (encoding, body) => encoding === 'protobuf' || !isSdkSpanJson(body),
    async handle(request) {
      const outcome = await takeRequest({ signal, ...request }, limits, next);
      const body = exportResponse(signal, outcome, request.encoding);
      // What is to be said of a partial success needs a body.
      const isFull = outcome.rejected === 0 && outcome.message === '';
      return isFull && successStatus === 204 ? { status: 204, body: NOTHING } : { status: 200, body };
    },
  };
}

const NOTHING = Buffer.alloc(0);
