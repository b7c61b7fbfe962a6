import assert from 'node:assert/strict';
import { suite } from 'uvu';
import { closest, unknownName } from '../../src/config/suggest.ts';

const test = suite('suggest');

const GUESSES: [word: string, candidates: string[], guess: string | undefined][] = [
  ['endpont', ['endpoint', 'tls'], 'endpoint'],
  ['recievers', ['receivers', 'processors'], 'receivers'],
  ['htpp', ['grpc', 'http'], 'http'],
  ['maxsize', ['max_size'], 'max_size'],
  ['tls', ['tsl', 'endpoint'], 'tsl'],
  ['color', ['endpoint', 'tls'], undefined],
  ['x', ['abc'], undefined],
  ['', [], undefined],
];
for (const [word, candidates, guess] of GUESSES) {
  test(`${word || 'nothing'} stands for ${guess ?? 'nothing known'}`, () =>
    assert.equal(closest(word, candidates), guess));
}

test('one wording for all names', () => {
  assert.equal(
    unknownName('key', 'endpont', ['endpoint', 'tls']),
    'unknown key `endpont`; did you mean `endpoint`? allowed: endpoint, tls',
  );
  assert.equal(unknownName('receiver', 'zipkin', ['otlp']), 'unknown receiver `zipkin`; allowed: otlp');
  assert.equal(unknownName('key', 'a', []), 'unknown key `a`; allowed: none here');
});

test.run();
