/** Requests that are almost right, and such as are not at all. */
import * as fc from 'fast-check';
import { deflateRawSync, deflateSync, gzipSync, zstdCompressSync } from 'node:zlib';
import { SIGNALS, type Signal } from '../../src/model/batch.ts';
import { protobufToJson } from '../../src/otlp/json_encode.ts';
import { arbitraryRequest } from '../otlp/arbitrary_request.ts';
import { oracleEncode } from '../otlp/oracle.ts';

export interface FuzzedRequest {
  readonly signal: Signal;
  readonly body: Uint8Array;
  readonly contentType: string;
  readonly contentEncoding: string;
}

type Mutate = (body: Buffer) => Buffer;

/** Where in a body, as a share of its length, so that a shrunk body keeps its fault. */
const place = fc.double({ min: 0, max: 1, noNaN: true, maxExcluded: true });
const fewBytes = fc.uint8Array({ minLength: 1, maxLength: 16 }).map((bytes) => Buffer.from(bytes));

const at = (body: Buffer, share: number): number => Math.floor(body.length * share);
const splice = (body: Buffer, from: number, to: number, by: Uint8Array): Buffer =>
  Buffer.concat([body.subarray(0, from), by, body.subarray(to)]);

const mutation: fc.Arbitrary<Mutate> = fc.oneof(
  fc.tuple(place, fc.integer({ min: 1, max: 255 })).map(([share, bits]): Mutate => (body) => {
    const copy = Buffer.from(body);
    const where = at(copy, share);
    const old = copy[where];
    if (old !== undefined) copy[where] = old ^ bits;
    return copy;
  }),
  fc.tuple(place, fewBytes).map(
    ([share, bytes]): Mutate =>
      (body) =>
        splice(body, at(body, share), at(body, share), bytes),
  ),
  fc.tuple(place, fewBytes).map(
    ([share, bytes]): Mutate =>
      (body) =>
        splice(body, at(body, share), at(body, share) + bytes.length, bytes),
  ),
  fc.tuple(place, place).map(
    ([from, to]): Mutate =>
      (body) =>
        splice(body, at(body, from), at(body, Math.max(from, to)), Buffer.alloc(0)),
  ),
  fc.tuple(place, place, place).map(([from, to, into]): Mutate => (body) => {
    const piece = body.subarray(at(body, from), at(body, Math.max(from, to)));
    return splice(body, at(body, into), at(body, into), piece);
  }),
  place.map(
    (share): Mutate =>
      (body) =>
        body.subarray(0, at(body, share)),
  ),
);

/** Tokens of JSON that mean something where they stand. */
const jsonPiece = fc
  .constantFrom(
    '{',
    '}',
    '[',
    ']',
    ':',
    ',',
    '"',
    '\\',
    '\\u',
    '\\ud800',
    'null',
    '1e999',
    '-',
    'NaN',
    '"resourceSpans":',
    '\uFEFF',
    '\0',
  )
  .map((text) => Buffer.from(text));

const jsonMutation: fc.Arbitrary<Mutate> = fc.tuple(place, jsonPiece).map(
  ([share, piece]): Mutate =>
    (body) =>
      splice(body, at(body, share), at(body, share), piece),
);

interface Plainly {
  readonly body: Buffer;
  readonly contentType: string;
}

const PROTOBUF = 'application/x-protobuf';
const JSON_TYPE = 'application/json';

const mutated = (base: fc.Arbitrary<Plainly>, kinds: fc.Arbitrary<Mutate>): fc.Arbitrary<Plainly> =>
  fc.tuple(base, fc.array(kinds, { maxLength: 4 })).map(([{ body, contentType }, mutations]) => ({
    body: mutations.reduce((changed, mutate) => mutate(changed), body),
    contentType,
  }));

function content(signal: Signal): fc.Arbitrary<Plainly> {
  const protobuf = arbitraryRequest(signal).map((plain) => ({
    body: oracleEncode(signal, plain),
    contentType: PROTOBUF,
  }));
  const json = protobuf.map(({ body }) => ({
    body: Buffer.from(protobufToJson(signal, body)),
    contentType: JSON_TYPE,
  }));
  const bytes = fc.uint8Array({ maxLength: 600 }).map((array) => ({ body: Buffer.from(array), contentType: PROTOBUF }));
  const values = fc.json().map((text) => ({ body: Buffer.from(text), contentType: JSON_TYPE }));
  return fc.oneof(
    { weight: 4, arbitrary: mutated(protobuf, mutation) },
    { weight: 4, arbitrary: mutated(json, fc.oneof(mutation, jsonMutation)) },
    { weight: 1, arbitrary: bytes },
    { weight: 1, arbitrary: mutated(values, fc.oneof(mutation, jsonMutation)) },
  );
}

/** How the body is compressed, if the header says the truth; else the body stays as it is, which is garbage then. */
const COMPRESS: Readonly<Record<string, Mutate>> = {
  '': (body) => body,
  identity: (body) => body,
  gzip: (body) => gzipSync(body, { level: 1 }),
  'x-gzip': (body) => Buffer.concat([gzipSync(body), gzipSync('')]),
  deflate: (body) => deflateSync(body, { level: 1 }),
  Deflate: (body) => deflateRawSync(body),
  zstd: (body) => zstdCompressSync(body),
  br: (body) => body,
};

const header = fc.stringMatching(/^[!-~]([ -~]{0,30}[!-~])?$/);

const contentType = (right: string): fc.Arbitrary<string> =>
  fc.oneof(
    { weight: 16, arbitrary: fc.constant(right) },
    {
      weight: 2,
      arbitrary: fc.constantFrom(PROTOBUF, JSON_TYPE, `${JSON_TYPE}; charset=utf-8`, 'application/protobuf'),
    },
    { weight: 1, arbitrary: header },
  );

const encoding: fc.Arbitrary<{ readonly contentEncoding: string; readonly compress: Mutate }> = fc.oneof(
  { weight: 8, arbitrary: fc.constant({ contentEncoding: '', compress: (body: Buffer) => body }) },
  {
    weight: 4,
    arbitrary: fc
      .tuple(fc.constantFrom(...Object.entries(COMPRESS)), fc.array(mutation, { maxLength: 2 }))
      .map(([[contentEncoding, compress], mutations]) => ({
        contentEncoding,
        compress: (body: Buffer) => mutations.reduce((changed, mutate) => mutate(changed), compress(body)),
      })),
  },
  {
    weight: 1,
    arbitrary: fc
      .constantFrom('gzip', 'deflate', 'zstd')
      .map((contentEncoding) => ({ contentEncoding, compress: (body: Buffer) => body })),
  },
  { weight: 1, arbitrary: header.map((contentEncoding) => ({ contentEncoding, compress: (body: Buffer) => body })) },
);

const fuzzedOf = (signal: Signal): fc.Arbitrary<FuzzedRequest> =>
  fc
    .tuple(content(signal), encoding, contentType(PROTOBUF), contentType(JSON_TYPE))
    .map(([{ body, contentType: right }, { contentEncoding, compress }, protobuf, json]) => ({
      signal,
      body: compress(body),
      contentType: right === PROTOBUF ? protobuf : json,
      contentEncoding,
    }));

/** Built once: following the field tables costs more than what they then make. */
export const fuzzedRequest: fc.Arbitrary<FuzzedRequest> = fc.oneof(...SIGNALS.map(fuzzedOf));
