/** From the bytes of one OTLP request to the outcome in its pipelines, for every transport. */
import { ACCEPTED, type Consumer, type Consumers, type Outcome } from '../../component.ts';
import { PermanentError } from '../../errors.ts';
import { itemCount, type AnyBatch, type Signal } from '../../model/batch.ts';
import { hasTime, requestDigest } from '../../model/request_digest.ts';
import type { Tenant } from '../../model/tenant.ts';
import type { ShapeLimits } from '../../model/wire.ts';
import { decodeInSlices } from '../../otlp/decode.ts';
import { jsonToProtobuf } from '../../otlp/json_decode.ts';
import { Rejections } from '../../otlp/rejections.ts';
import type { Encoding } from '../../otlp/status.ts';

export interface OtlpRequest {
  readonly signal: Signal;
  readonly encoding: Encoding;
  /** Decompressed. */
  readonly body: Uint8Array;
  readonly tenant: Tenant;
  readonly receivedAtMs: number;
  /** How many gateways of ours have forwarded it before. */
  readonly hops: number;
}

/**
 * Resolves when the pipelines have taken what is valid of the request; the outcome counts the rest.
 * @throws InvalidDataError when the body is not such a request, and what the pipelines reject with
 */
export async function takeRequest(request: OtlpRequest, limits: ShapeLimits, next: Consumers): Promise<Outcome> {
  const { signal, encoding, body, tenant, receivedAtMs, hops } = request;
  const consumer: Consumer<AnyBatch> | undefined = next[signal];
  if (consumer === undefined) throw new PermanentError(`no pipeline takes ${signal} from this receiver`);
  const left = new Rejections();
  const bytes = encoding === 'json' ? await jsonToProtobuf(signal, body, limits, left) : body;
  const { batch, rejections } = await decodeInSlices<Signal>(signal, bytes, { tenant, receivedAtMs, limits });
  const items = itemCount(batch);
  const digest = hasTime(batch) ? await requestDigest(signal, body) : undefined;
  const taken = items === 0 ? ACCEPTED : await consumer.consume({ ...batch, digest, hops });
  const invalid = left.count + rejections.count;
  consumer.refuse?.(invalid);
  const hint = signal === 'traces' && items === 0 && invalid > 0 ? NO_VALID_SPAN : '';
  return {
    rejected: invalid + taken.rejected,
    message: [left.message, rejections.message, hint, taken.message].filter((part) => part !== '').join('; '),
  };
}

/** Any message of OTLP can be read as a span, though its ids give it away. */
const NO_VALID_SPAN = 'no span of the request is valid: are these logs or metrics, sent to the path of traces?';
