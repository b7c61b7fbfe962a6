/**
 * Requests as the queue holds them: always in protobuf form, which concatenates. JSON is made of them only when they are
 * sent, so a change of `encoding` concerns what waits too.
 */
import { DEFAULT_TENANT } from '../../model/tenant.ts';
import { itemCount, type AnyBatch, type Signal } from '../../model/batch.ts';
import type { EncodedBatch } from '../../model/record.ts';
import { decodeInSlices } from '../../otlp/decode.ts';
import { encodeRequest } from '../../otlp/encode.ts';
import { protobufToJson } from '../../otlp/json_encode.ts';
import { halves, joinSlices, writeSlices } from '../../otlp/split.ts';
import { UNLIMITED, withValidText } from '../../otlp/valid_text.ts';

const SLICE_BYTES = 1_048_576;

/** As JSON a slice takes longer. */
const JSON_SLICE_BYTES = 262_144;

const FORMAT = /^otlp_proto\/1(?: hops=(?<hops>\d{1,3}))?$/;

/** Part of a queue record, or several that are sent together. */
export interface Request {
  readonly signal: Signal;
  readonly items: number;
  readonly bytes: Uint8Array;
}

/** Only requests that came the same way may be sent together, so the format says how many gateways they have passed. */
export async function encode(batch: AnyBatch): Promise<EncodedBatch> {
  const { signal, hops = 0 } = batch;
  const slices = await writeSlices(batch, SLICE_BYTES, (slice) => withValidText(signal, encodeRequest(slice)));
  const bytes = await joinSlices(slices);
  return { format: hops === 0 ? 'otlp_proto/1' : `otlp_proto/1 hops=${hops}`, items: itemCount(batch), bytes };
}

/** How many gateways of ours the request has passed before this one; undefined for a format that we do not know. */
export function hopsOf(format: string): number | undefined {
  const match = FORMAT.exec(format);
  return match === null ? undefined : Number(match.groups?.['hops'] ?? 0);
}

/** Two requests with half of the items each; undefined for a single item. The same request always gives the same halves. */
export async function splitRequest(request: Request): Promise<readonly [Request, Request] | undefined> {
  const parts = halves(await decoded(request));
  return parts && [requestOf(parts[0]), requestOf(parts[1])];
}

const requestOf = (batch: AnyBatch): Request => ({
  signal: batch.signal,
  items: itemCount(batch),
  bytes: encodeRequest(batch),
});

/** The request as OTLP/JSON. */
export async function toJson(request: Request): Promise<Uint8Array> {
  const { signal } = request;
  let isFirst = true;
  const slices = await writeSlices(await decoded(request), JSON_SLICE_BYTES, (slice) => {
    const json = protobufToJson(signal, encodeRequest(slice));
    // Every slice is `{"resourceSpans":[…]}`; the lists become one.
    const list = json.indexOf('[') + 1;
    const before = isFirst ? json.slice(0, list) : ',';
    isFirst = false;
    return Buffer.from(before + json.slice(list, -2));
  });
  return joinSlices([...slices, Buffer.from(']}')]);
}

async function decoded({ signal, bytes }: Request): Promise<AnyBatch> {
  const context = { tenant: DEFAULT_TENANT, receivedAtMs: 0, limits: UNLIMITED };
  const { batch } = await decodeInSlices<Signal>(signal, bytes, context);
  return batch;
}
