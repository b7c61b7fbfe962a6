import assert from 'node:assert/strict';
import * as fc from 'fast-check';
import { suite } from 'uvu';
import { itemCount, SIGNALS, type AnyBatch } from '../../src/model/batch.ts';
import { encodeRequest } from '../../src/otlp/encode.ts';
import { halves, joinSlices, requestBytes, writeSlices } from '../../src/otlp/split.ts';
import { any, attribute, field, request as groupOf, spanIds } from '../support/otlp_messages.ts';
import { arbitraryRequest } from './arbitrary_request.ts';
import { pointsOf, recordsOf } from './content.ts';
import { oracleEncode } from './oracle.ts';
import { decode } from './requests.ts';

const Split = suite('batches in parts');

const itemsOf = (batch: AnyBatch): object[] => (batch.signal === 'metrics' ? pointsOf(batch) : recordsOf(batch));

for (const signal of SIGNALS) {
  Split(`${signal}: halves hold every item once, in its order, and differ by one at most`, () => {
    fc.assert(
      fc.property(arbitraryRequest(signal), (plain) => {
        const { batch } = decode(signal, oracleEncode(signal, plain));
        const parts = halves(batch);
        if (parts === undefined) return assert.ok(itemCount(batch) < 2);
        assert.deepEqual(parts.flatMap(itemsOf), itemsOf(batch));
        const [first, second] = parts.map(itemCount);
        return assert.ok(first !== undefined && second !== undefined && first - second >= 0 && first - second <= 1);
      }),
    );
  });

  Split(`${signal}: a size is predicted without writing`, () => {
    fc.assert(
      fc.property(arbitraryRequest(signal), (plain) => {
        const { batch } = decode(signal, oracleEncode(signal, plain));
        const { length } = encodeRequest(batch);
        assert.ok(Math.abs(requestBytes(batch) - length) < 64 + length / 2, `${requestBytes(batch)}, not ${length}`);
      }),
    );
  });
}

const span = (number: number): Buffer => Buffer.concat([spanIds(number), field(5, 'x'.repeat(1000))]);

/** So many spans of about 1 KiB, under a resource of that size. */
const spansUnder = (spans: number, resourceBytes: number): AnyBatch => {
  const resource = attribute(1, 'r', any.string('r'.repeat(resourceBytes)));
  return decode(
    'traces',
    groupOf(
      Array.from({ length: spans }, (_, i) => span(i)),
      { resource },
    ),
  ).batch;
};

Split('slices are requests that concatenate, none much larger than asked for', async () => {
  const batch = spansUnder(1000, 100);
  const sizes: number[] = [];
  const slices = await writeSlices(batch, 65_536, (slice) => {
    const bytes = encodeRequest(slice);
    sizes.push(bytes.length);
    return bytes;
  });
  const all = await joinSlices(slices);
  assert.ok(sizes.length >= 16 && sizes.length <= 32, String(sizes.length));
  assert.ok(
    sizes.every((bytes) => bytes <= 66_000),
    String(Math.max(...sizes)),
  );
  assert.deepEqual(recordsOf(decode('traces', all).batch), recordsOf(batch));
});

Split('a large resource is not repeated for each of many small spans', async () => {
  const batch = spansUnder(1000, 300_000);
  const all = await joinSlices(await writeSlices(batch, 65_536, encodeRequest));
  assert.ok(all.length < 3 * encodeRequest(batch).length);
  assert.equal(itemCount(decode('traces', all).batch), 1000);
});

Split('what fits is written as it is', async () => {
  const batch = spansUnder(3, 10);
  assert.deepEqual(await joinSlices(await writeSlices(batch, 65_536, encodeRequest)), encodeRequest(batch));
});

Split('pieces are joined however many and long they are', async () => {
  for (const lengths of [[0], [1, 2], [9_000_000, 0, 9_000_000, 5]]) {
    const pieces = lengths.map((length, i) => Buffer.alloc(length, i + 1));
    assert.ok(Buffer.concat(pieces).equals(await joinSlices(pieces)));
  }
});

Split.run();
