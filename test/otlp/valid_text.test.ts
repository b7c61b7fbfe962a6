import assert from 'node:assert/strict';
import * as fc from 'fast-check';
import { suite } from 'uvu';
import { SIGNALS } from '../../src/model/batch.ts';
import { withValidText } from '../../src/otlp/valid_text.ts';
import { any, attribute } from '../support/otlp_messages.ts';
import { arbitraryRequest } from './arbitrary_request.ts';
import { content } from './content.ts';
import { FULL_TRACE, LEGACY_TRACE, LOG, METRICS } from './golden_vectors.ts';
import { oracleEncode } from './oracle.ts';
import { decode, field, request, SPAN_IDS, wire } from './requests.ts';

const ValidText = suite('valid text');

ValidText('what is valid stays the same bytes', async () => {
  for (const [signal, bytes] of [
    ['traces', FULL_TRACE],
    ['traces', LEGACY_TRACE],
    ['logs', LOG],
    ['metrics', METRICS],
  ] as const) {
    assert.equal(await withValidText(signal, bytes), bytes);
  }
});

for (const signal of SIGNALS) {
  ValidText(`${signal}: any request of valid text stays as it is`, () =>
    fc.assert(
      fc.asyncProperty(arbitraryRequest(signal), async (plain) => {
        const bytes = oracleEncode(signal, plain);
        assert.equal(await withValidText(signal, bytes), bytes);
      }),
    ),
  );
}

/** Cut in the middle of a character, as JSON and other receivers would refuse it. */
const CUT = Buffer.from('2a02e4bd', 'hex');
const REPLACED = '*\u0002\ufffd';
const LONG = Buffer.concat([Buffer.alloc(200, 'a'), CUT]);

const PLACES: readonly (readonly [name: string, span: Uint8Array])[] = [
  ['a name', wire(SPAN_IDS, field(5, CUT))],
  ['a long name', wire(SPAN_IDS, field(5, LONG))],
  ['an attribute', wire(SPAN_IDS, attribute(9, 'k', any.string(CUT)))],
  ['a key', wire(SPAN_IDS, attribute(9, CUT, any.int(1)))],
  ['a value in a list in a map', wire(SPAN_IDS, attribute(9, 'k', any.kvlist([CUT, any.array(any.string(CUT))])))],
  ['an event', wire(SPAN_IDS, field(11, field(2, CUT)))],
  ['a status', wire(SPAN_IDS, field(15, field(2, CUT)))],
];

for (const [name, span] of PLACES) {
  ValidText(`replaces what is not UTF-8 in ${name}, and nothing else`, async () => {
    const bytes = request(span, wire(SPAN_IDS, field(5, '62')));
    const repaired = await withValidText('traces', bytes);
    assert.equal(await withValidText('traces', repaired), repaired);
    assert.ok(Buffer.from(repaired).includes(REPLACED));
    // Views replace it too when they read it.
    assert.deepEqual(content(decode('traces', repaired).batch), content(decode('traces', bytes).batch));
  });
}

ValidText('bytes and ids may hold anything', async () => {
  const bytes = request(wire(SPAN_IDS, attribute(9, 'k', any.bytes(CUT))));
  assert.equal(await withValidText('traces', bytes), bytes);
});

ValidText.run();
