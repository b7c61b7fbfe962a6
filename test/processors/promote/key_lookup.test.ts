import assert from 'node:assert/strict';
import * as fc from 'fast-check';
import { suite } from 'uvu';
import { KeyLookup } from '../../../src/processors/promote/key_lookup.ts';

const Lookup = suite('key lookup');

function find(lookup: KeyLookup<number>, key: string): number | undefined {
  const bytes = Buffer.from(`<${key}>`);
  return lookup.get(bytes, 1, bytes.length - 1);
}

Lookup('it answers as a map does', () => {
  const key = fc.string({ minLength: 1, maxLength: 6, unit: fc.constantFrom('a', 'b', 'é', '.') });
  fc.assert(
    fc.property(fc.array(key, { maxLength: 60 }), fc.array(key), (keys, others) => {
      const map = new Map(keys.map((known, index) => [known, index]));
      const lookup = new KeyLookup(map);
      for (const asked of [...keys, ...others]) assert.equal(find(lookup, asked), map.get(asked));
    }),
  );
});

Lookup('an empty key is never found', () => {
  assert.equal(find(new KeyLookup(new Map([['a', 1]])), ''), undefined);
  assert.equal(find(new KeyLookup(new Map<string, number>()), 'a'), undefined);
});

Lookup.run();
