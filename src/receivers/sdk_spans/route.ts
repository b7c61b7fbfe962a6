/**
 * `POST /v1/traces` with SDK span JSON. The answer, 202 with the number of spans taken, is sent once the pipelines have
 * them for good. A request with any fault is refused whole: the format has no partial success.
 */
import { ACCEPTED, type Consumer } from '../../component.ts';
import type { Traces } from '../../model/batch.ts';
import { requestDigest } from '../../model/request_digest.ts';
import { Resource, Scope } from '../../model/resource.ts';
import type { Span } from '../../model/traces.ts';
import { isSdkSpanJson } from '../http/json_shape.ts';
import type { Route, RoutedRequest } from '../http/route.ts';
import { parseSdkSpans, type SdkLimits } from './parse.ts';
import { toSpans } from './spans.ts';

export function sdkSpanRoute({ next, limits }: { next: Consumer<Traces>; limits: SdkLimits }): Route {
  return {
    path: '/v1/traces',
    scope: 'proxy:write',
    encodings: new Set(['json']),
    claims: (encoding, body) => encoding === 'json' && isSdkSpanJson(body),
    async handle(request) {
      const parsed = await parseSdkSpans(request.body, limits);
      const spans = await toSpans(parsed, request.receivedAtMs);
      const isTimed = parsed.spans.some(({ startNs, endNs }) => startNs !== undefined || endNs !== undefined);
      const digest = isTimed ? await requestDigest('traces', request.body) : undefined;
      const batch = { ...toBatch(request, spans), digest };
      const { rejected } = spans.length === 0 ? ACCEPTED : await next.consume(batch);
      const answer = { trace_id: parsed.traceId, accepted: spans.length - rejected };
      return { status: 202, body: Buffer.from(JSON.stringify(answer)) };
    },
  };
}

const NO_BYTES = new Uint8Array();

/** The format knows neither resource nor scope. */
function toBatch({ tenant, receivedAtMs, hops }: RoutedRequest, records: readonly Span[]): Traces {
  const scopes = [{ scope: new Scope(NO_BYTES, 0, 0), schemaUrl: '', records }];
  const resources = [{ resource: new Resource(NO_BYTES, 0, 0), schemaUrl: '', scopes }];
  return { signal: 'traces', tenant, receivedAtMs, hops, resources };
}
