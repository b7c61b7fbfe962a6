import assert from 'node:assert/strict';
import * as fc from 'fast-check';
import { suite } from 'uvu';
import { SIGNALS, type Signal } from '../../src/model/batch.ts';
import { encodeRequest } from '../../src/otlp/encode.ts';
import { jsonToProtobuf } from '../../src/otlp/json_decode.ts';
import { protobufToJson } from '../../src/otlp/json_encode.ts';
import { Rejections } from '../../src/otlp/rejections.ts';
import { DEFAULT_SHAPE_LIMITS } from '../../src/model/wire.ts';
import { arbitraryRequest } from './arbitrary_request.ts';
import { content } from './content.ts';
import { expectedContent } from './expected_content.ts';
import { oracleDecode, oracleEncode, type Plain } from './oracle.ts';
import { decode } from './requests.ts';

const codec = suite('codec');
const RUNS = { numRuns: 300 } as const;

const property = (signal: Signal, holds: (bytes: Buffer, request: Plain) => void | Promise<void>): Promise<void> =>
  fc.assert(
    fc.asyncProperty(arbitraryRequest(signal), async (request) => {
      await holds(oracleEncode(signal, request), request);
    }),
    RUNS,
  );

async function fromJson(signal: Signal, json: string): Promise<Uint8Array> {
  const rejections = new Rejections();
  const bytes = await jsonToProtobuf(signal, Buffer.from(json), DEFAULT_SHAPE_LIMITS, rejections);
  assert.equal(rejections.count, 0, rejections.message);
  return bytes;
}

/** The same JSON in another spelling: snake_case keys, every character escaped, white space, members nobody knows. */
function respelt(value: unknown): string {
  if (typeof value === 'string') return escaped(value);
  if (Array.isArray(value)) return `[ ${value.map(respelt).join(' ,\n')}]`;
  if (typeof value !== 'object' || value === null) return Object.is(value, -0) ? '-0' : String(value);
  const members = Object.entries(value).map(([key, member]) => `${escaped(snakeCase(key))}\t:\r\n ${respelt(member)}`);
  return `{${[UNKNOWN_MEMBER, ...members].join(', ')} }`;
}

const UNKNOWN_MEMBER = String.raw`"future":[{"traceId":1,"\\\"":["}",null,1e-7,true]},"\\"]`;

function escaped(text: string): string {
  const units = text.split('').map((unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`);
  return `"${units.join('')}"`;
}

const snakeCase = (name: string): string => name.replaceAll(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);

for (const signal of SIGNALS) {
  codec(`${signal}: decoding and encoding gives the same request`, () =>
    property(signal, (bytes) => {
      const { batch, rejections } = decode(signal, bytes);
      assert.equal(rejections.message, '');
      assert.deepEqual(oracleDecode(signal, encodeRequest(batch)), oracleDecode(signal, bytes));
    }),
  );

  codec(`${signal}: views read what protobufjs was given, in every encoding`, () =>
    property(signal, async (bytes, request) => {
      const expected = expectedContent(signal, request);
      assert.deepEqual(content(decode(signal, bytes).batch), expected);
      assert.deepEqual(content(decode(signal, encodeRequest(decode(signal, bytes).batch)).batch), expected);
      const viaJson = await fromJson(signal, protobufToJson(signal, bytes));
      assert.deepEqual(content(decode(signal, viaJson).batch), expected);
    }),
  );

  codec(`${signal}: JSON says what protobufjs was given, and comes back the same`, () =>
    property(signal, async (bytes) => {
      const json = protobufToJson(signal, bytes);
      JSON.parse(json);
      const viaJson = await fromJson(signal, json);
      assert.deepEqual(oracleDecode(signal, viaJson), oracleDecode(signal, bytes));
      assert.equal(protobufToJson(signal, viaJson), json);
      assert.equal(protobufToJson(signal, encodeRequest(decode(signal, bytes).batch)), json);
    }),
  );

  codec(`${signal}: JSON in another spelling says the same`, () =>
    property(signal, async (bytes) => {
      const viaJson = await fromJson(signal, respelt(JSON.parse(protobufToJson(signal, bytes))));
      assert.deepEqual(oracleDecode(signal, viaJson), oracleDecode(signal, bytes));
    }),
  );

  codec(`${signal}: two requests, one behind the other, are one request with both`, () =>
    fc.assert(
      fc.property(arbitraryRequest(signal), arbitraryRequest(signal), (first, second) => {
        const [a, b] = [first, second].map((request) => decode(signal, oracleEncode(signal, request)).batch);
        assert.ok(a !== undefined && b !== undefined);
        const both = Buffer.concat([encodeRequest(a), encodeRequest(b)]);
        assert.deepEqual(content(decode(signal, both).batch), [...content(a), ...content(b)]);
      }),
      RUNS,
    ),
  );
}

codec.run();
