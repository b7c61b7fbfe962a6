import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { suite } from 'uvu';
import { Span } from '../../src/model/traces.ts';
import { Reader } from '../../src/model/wire.ts';
import { withByteIds } from '../../src/otlp/text_ids.ts';
import { FULL_TRACE, SPAN_ID, TRACE_ID } from './golden_vectors.ts';
import { recordsOf } from './content.ts';
import { decode, field, request, wire } from './requests.ts';

const TextIds = suite('text ids as OTLP');

const read = (bytes: Uint8Array): Span => Span.read(new Reader(bytes), bytes.length);

/** The ids that a span with these texts is forwarded with. */
function forwarded(traceId: string, spanId: string, parentSpanId = ''): string[] {
  const parent = parentSpanId === '' ? '' : field(4, Buffer.from(parentSpanId));
  const span = read(wire(field(1, Buffer.from(traceId)), field(2, Buffer.from(spanId)), parent));
  span.textIds = true;
  const as = read(withByteIds(span));
  return [as.traceId, as.spanId, as.parentSpanId];
}

const hash = (text: string, digits: number): string => createHash('sha256').update(text).digest('hex').slice(0, digits);

TextIds('hex digits of the right number are the id, in either case', () => {
  assert.deepEqual(forwarded(TRACE_ID.toUpperCase(), SPAN_ID, SPAN_ID), [TRACE_ID, SPAN_ID, SPAN_ID]);
});

TextIds('any other text is hashed, and an absent parent stays absent', () => {
  assert.deepEqual(forwarded('trace-1', 'span-1'), [hash('trace-1', 32), hash('span-1', 16), '']);
  assert.deepEqual(forwarded('żółw', 'ab', 'span-1'), [hash('żółw', 32), hash('ab', 16), hash('span-1', 16)]);
  assert.deepEqual(forwarded(SPAN_ID, TRACE_ID), [hash(SPAN_ID, 32), hash(TRACE_ID, 16), '']);
});

TextIds('zeros would be no id', () => {
  assert.deepEqual(forwarded('0'.repeat(32), '0'.repeat(16)), [hash('0'.repeat(32), 32), hash('0'.repeat(16), 16), '']);
});

/** What the spans of a request say besides their ids. */
function besidesIds(sent: Uint8Array): object[] {
  return recordsOf(decode('traces', sent).batch).map(
    ({ traceId: _trace, spanId: _span, parentSpanId: _parent, ...rest }) => rest,
  );
}

TextIds('everything else stays as it is', () => {
  const [span] = decode('traces', FULL_TRACE).batch.resources.flatMap(({ scopes }) =>
    scopes.flatMap(({ records }) => records),
  );
  assert.ok(span);
  const sent = request(withByteIds(span));
  assert.deepEqual(besidesIds(sent), besidesIds(FULL_TRACE));
});

TextIds.run();
