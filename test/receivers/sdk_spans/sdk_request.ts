/** Sends bodies of SDK span JSON to the route, as a listener would, and keeps what reaches the next consumer. */
import { ACCEPTED, type Outcome } from '../../../src/component.ts';
import type { AttributeValue } from '../../../src/model/attributes.ts';
import type { Traces } from '../../../src/model/batch.ts';
import { DEFAULT_TENANT } from '../../../src/model/tenant.ts';
import type { Span } from '../../../src/model/traces.ts';
import { DEFAULT_SDK_LIMITS, type SdkLimits } from '../../../src/receivers/sdk_spans/parse.ts';
import { sdkSpanRoute } from '../../../src/receivers/sdk_spans/route.ts';

const RECEIVED_MS = Date.UTC(2026, 5, 8, 10, 0, 0, 250);
export const RECEIVED_NS = BigInt(RECEIVED_MS) * 1_000_000n;

interface Handled {
  readonly status: number;
  readonly answer: unknown;
  readonly batches: readonly Traces[];
  readonly spans: readonly Span[];
}

/** @param body text as it is, or an object as JSON */
export async function handle(
  body: unknown,
  { limits = {}, outcome = ACCEPTED }: { limits?: Partial<SdkLimits>; outcome?: Outcome } = {},
): Promise<Handled> {
  const batches: Traces[] = [];
  const next = {
    async consume(batch: Traces) {
      batches.push(batch);
      return outcome;
    },
  };
  const route = sdkSpanRoute({ next, limits: { ...DEFAULT_SDK_LIMITS, ...limits } });
  const bytes = Buffer.from(typeof body === 'string' ? body : JSON.stringify(body));
  const caller = { tenant: DEFAULT_TENANT, receivedAtMs: RECEIVED_MS, hops: 0 };
  const reply = await route.handle({ encoding: 'json', body: bytes, ...caller });
  const spans = batches.flatMap(({ resources }) =>
    resources.flatMap(({ scopes }) => scopes.flatMap(({ records }) => records)),
  );
  return { status: reply.status, answer: JSON.parse(Buffer.from(reply.body).toString()), batches, spans };
}

export const request = (...spans: readonly unknown[]) => ({ trace_id: 't', spans });

/** The one span that comes of these fields. */
export async function handleSpan(fields: object): Promise<Span> {
  const { spans } = await handle(request({ span_id: 's', name: 'n', ...fields }));
  const [span, ...more] = spans;
  if (span === undefined || more.length > 0) throw new Error(`${spans.length} spans came of one`);
  return span;
}

/** The attributes that come of this JSON text. */
export async function handleAttributes(json: string): Promise<Map<string, AttributeValue>> {
  const { spans } = await handle(
    `{"trace_id":"t","spans":[{"span_id":"s","name":"n","start_time":"${START}","attributes":${json}}]}`,
  );
  return spans[0]?.attributes.entries() ?? new Map();
}

export const START = '2026-06-08T10:00:00Z';
