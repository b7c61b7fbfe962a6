import assert from 'node:assert/strict';
import * as fc from 'fast-check';
import { suite } from 'uvu';
import { formatPath, isAtOrBelow, parsePathPrefix } from '../../src/config/yaml_path.ts';

const test = suite('yaml_path');

test('reads as one expects', () => {
  assert.equal(formatPath(['receivers', 'otlp/2', 'protocols']), 'receivers.otlp/2.protocols');
  assert.equal(formatPath(['exporters', 0, 'name']), 'exporters[0].name');
  assert.equal(formatPath(['resource', 'service.name', '']), 'resource["service.name"][""]');
});

test('every path survives writing and reading, and ends where the assignment begins', () => {
  const key = fc.oneof(
    fc.string({ unit: 'grapheme' }),
    fc.constantFrom('a', 'a.b', '__proto__', '"', '\\', '[0]', 'a=b'),
  );
  const segments = fc.array(fc.oneof(key, fc.nat({ max: 999_999 })), { minLength: 1, maxLength: 6 });
  fc.assert(
    fc.property(segments, (path) => {
      const text = formatPath(path);
      assert.deepEqual(parsePathPrefix(`${text}=value`), { path, length: text.length });
    }),
  );
});

test('stops at what is no path', () => {
  assert.deepEqual(parsePathPrefix('a..b=1'), { path: ['a'], length: 1 });
  assert.deepEqual(parsePathPrefix('.a=1'), { path: [], length: 0 });
  assert.deepEqual(parsePathPrefix('a[x]=1'), { path: ['a'], length: 1 });
});

test('knows what lies below', () => {
  assert.ok(isAtOrBelow('a.b', 'a.b') && isAtOrBelow('a.b.c', 'a.b') && isAtOrBelow('a.b[0]', 'a.b'));
  assert.ok(!isAtOrBelow('a.bc', 'a.b') && !isAtOrBelow('a', 'a.b'));
});

test.run();
