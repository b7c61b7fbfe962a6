import assert from 'node:assert/strict';
import * as fc from 'fast-check';
import { suite } from 'uvu';
import { decodeHead, encodeHead, type RecordHead } from '../../src/model/record.ts';

const test = suite('record');

const heads: fc.Arbitrary<RecordHead> = fc.record(
  {
    signal: fc.constantFrom('traces', 'logs', 'metrics'),
    tenant: fc.record(
      {
        orgId: fc.string({ unit: 'grapheme' }),
        workspaceId: fc.string(),
        targetId: fc.option(fc.string(), { nil: undefined }),
      },
      { noNullPrototype: true },
    ),
    receivedAtMs: fc.integer({ min: 0 }),
    receipt: fc.option(
      fc.uint8Array({ minLength: 32, maxLength: 32 }).map((bytes) => Buffer.from(bytes)),
      { nil: undefined },
    ),
    format: fc.string(),
    items: fc.nat(),
  },
  { noNullPrototype: true },
);

test('a head is read as it was written', () => {
  fc.assert(fc.property(heads, (head) => assert.deepEqual(decodeHead(encodeHead(head)), head)));
});

test('what is no head is none', () => {
  const head: RecordHead = {
    signal: 'logs',
    tenant: { orgId: 'a', workspaceId: 'b', targetId: undefined },
    receivedAtMs: 1,
    receipt: Buffer.alloc(32),
    format: 'f/1',
    items: 1,
  };
  const fields: Record<string, unknown> = JSON.parse(Buffer.from(encodeHead(head)).toString('utf8'));
  const broken = ['', '7', 'null', '{', JSON.stringify({ ...fields, receipt: 'ab' })];
  for (const key of ['signal', 'tenant', 'receivedAtMs', 'format', 'items']) {
    broken.push(JSON.stringify({ ...fields, [key]: undefined }), JSON.stringify({ ...fields, [key]: [] }));
  }
  for (const text of broken) assert.equal(decodeHead(Buffer.from(text)), undefined, text);
  assert(decodeHead(Buffer.from(JSON.stringify({ ...fields, later: 'key' }))), 'a later program may add to it');
});

test.run();
