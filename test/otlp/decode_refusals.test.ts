import assert from 'node:assert/strict';
import { suite } from 'uvu';
import { InvalidDataError } from '../../src/errors.ts';
import { SIGNALS, type Signal } from '../../src/model/batch.ts';
import { encodeRequest } from '../../src/otlp/encode.ts';
import { content } from './content.ts';
import { FULL_TRACE, LOG, METRICS, MINIMAL_TRACE } from './golden_vectors.ts';
import { decode, field, request, SPAN_IDS, wire } from './requests.ts';

const refusals = suite('refusing requests');

/** The malformed bodies that servers meet, and what is said about them. */
const MALFORMED: readonly (readonly [string, Uint8Array, RegExp, Signal?])[] = [
  ['field number 0', wire('0200'), /field number 0 before byte 1/],
  ['a truncated message', wire('0a100102'), /field at byte 1 is longer than the message that holds it/],
  ['gzip', wire('1f8b0800'), /invalid wire type 7.*looks like gzip: is the header Content-Encoding missing\?/],
  ['JSON', Buffer.from('{}'), /truncated fixed32.*looks like JSON, which is sent with Content-Type: application\/json/],
  ['HTML', Buffer.from('<html>'), /invalid wire type 4/],
  ['text', Buffer.from('not-a-valid-otlp-payload'), /invalid wire type 6/],
  ['a request and a zero', wire(MINIMAL_TRACE, 0), /truncated varint|field number 0/],
  [
    'a varint of 11 bytes as a kind',
    request(wire(SPAN_IDS, '30ffffffffffffffffffff01')),
    /varint longer than 10 bytes/,
  ],
  [
    'a varint of 11 bytes in an unknown field',
    wire('98ff0180808080808080808080', '01'),
    /varint longer than|field number/,
  ],
  ['a tag of six bytes', wire('8a808080808000'), /varint longer than 5 bytes/],
  ['a tag beyond 32 bits', wire('8a80808010', '00'), /tag or length beyond 32 bits at byte 0/],
  ['a length beyond 32 bits', wire('0a', '8180808010', '00'), /tag or length beyond 32 bits at byte 1/],
  ['a length of 4 GiB', wire('0a', 'ffffffff0f'), /longer than the message/],
  ['a group without an end', wire('0b'), /truncated varint/],
  ['a group that another field ends', wire('0b14'), /group ends with another field/],
  ['the end of a group alone', wire('0c'), /invalid wire type 4/],
  [
    'packed numbers of seven bytes',
    request(field(9, field(1, field(6, '01'.repeat(7))))),
    /not a multiple of 8 bytes/,
    'metrics',
  ],
  [
    'a truncated varint among packed ones',
    request(field(10, field(1, field(8, field(2, '80'))))),
    /truncated varint/,
    'metrics',
  ],
  ['a truncated flag', request(field(7, wire('1880'))), /truncated varint/, 'metrics'],
];

for (const [name, bytes, message, signal = 'traces'] of MALFORMED) {
  refusals(`${name} is not a request`, () => {
    const error = attempt(signal, bytes);
    assert.match(error?.message ?? '', message);
    assert.ok(error?.message.startsWith(`not a valid OTLP ${signal} request: `));
  });
}

/** Decodes and reads all of it; the error when it is not a request. */
function attempt(signal: Signal, bytes: Uint8Array): InvalidDataError | undefined {
  try {
    const { batch } = decode(signal, bytes);
    content(batch);
    encodeRequest(batch);
    return undefined;
  } catch (error) {
    if (error instanceof InvalidDataError) return error;
    throw error;
  }
}

for (const [name, signal, bytes] of [
  ['the full span', 'traces', FULL_TRACE],
  ['the log record', 'logs', LOG],
  ['the metrics', 'metrics', METRICS],
] as const) {
  refusals(`${name}, cut anywhere, is refused`, () => {
    for (let length = 1; length < bytes.length; length++) {
      assert.ok(attempt(signal, bytes.subarray(0, length)), `${length} bytes`);
    }
  });

  refusals(`${name} with any byte changed is read or refused, never more`, () => {
    const changed = Buffer.from(bytes);
    for (let at = 0; at < bytes.length; at++) {
      for (let bit = 0; bit < 8; bit++) {
        changed[at] = (bytes[at] ?? 0) ^ (1 << bit);
        for (const other of SIGNALS) attempt(other, changed);
      }
      changed[at] = bytes[at] ?? 0;
    }
    assert.equal(attempt(signal, changed), undefined);
  });
}

refusals.run();
