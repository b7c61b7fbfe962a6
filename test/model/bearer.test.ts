import assert from 'node:assert/strict';
import { suite } from 'uvu';
import { authorizations, parseBearer, type Bearer } from '../../src/model/bearer.ts';

const test = suite('bearer');

const CASES: readonly (readonly [string, readonly string[], Bearer])[] = [
  ['a token', ['Bearer abc'], { token: 'abc' }],
  ['the scheme in any case, and spaces', [' bEARER   a.b~c= '], { token: 'a.b~c=' }],
  ['a space that was left percent-encoded', ['Bearer%20a%3D'], { token: 'a=' }],
  ['a percent sign in a token', ['Bearer a%3D'], { token: 'a%3D' }],
  ['512 characters', [`Bearer ${'x'.repeat(512)}`], { token: 'x'.repeat(512) }],
  ['more', [`Bearer ${'x'.repeat(513)}`], { fault: 'malformed' }],
  ['nothing', [], { fault: 'missing' }],
  ['an empty value', [' '], { fault: 'missing' }],
  ['two values', ['Bearer a', 'Bearer a'], { fault: 'several' }],
  ['another scheme', ['Basic abc'], { fault: 'other_scheme' }],
  ['no scheme', ['abc'], { fault: 'other_scheme' }],
  ['a longer scheme', ['Bearers abc'], { fault: 'other_scheme' }],
  ['a broken percent-encoding', ['Bearer%20a%'], { fault: 'other_scheme' }],
  ['no token', ['Bearer'], { fault: 'malformed' }],
  ['two tokens', ['Bearer a b'], { fault: 'malformed' }],
  ['what is no ASCII', ['Bearer ä'], { fault: 'malformed' }],
];
for (const [name, values, expected] of CASES) {
  test(name, () => assert.deepEqual(parseBearer(values), expected));
}

test('all headers of the name count, in any case', () => {
  assert.deepEqual(authorizations(['Authorization', 'a', 'X', 'authorization', 'AUTHORIZATION', 'b']), ['a', 'b']);
});

test.run();
