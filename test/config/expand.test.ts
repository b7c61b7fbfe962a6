import assert from 'node:assert/strict';
import * as fc from 'fast-check';
import { suite } from 'uvu';
import { expand } from '../../src/config/expand.ts';

const test = suite('expand');

const env = { HOST: 'db', PORT: '5432', EMPTY: '', MONEY: 'a$$b${env:HOST}' };

const EXPANDED: [behaviour: string, input: string, text: string, isSingleReference: boolean][] = [
  ['a text without references stays', 'plain', 'plain', false],
  ['a reference is replaced', '${env:PORT}', '5432', true],
  ['the short form of the Collector too', '${PORT}', '5432', true],
  ['a reference inside a text', 'tcp://${env:HOST}:${env:PORT}/', 'tcp://db:5432/', false],
  ['two references are not one', '${env:HOST}${env:PORT}', 'db5432', false],
  ['the default of a set variable is not used', '${env:PORT:-1}', '5432', true],
  ['the default of an unset variable', '${env:NONE:-127.0.0.1:4318}', '127.0.0.1:4318', true],
  ['an empty default', '${env:NONE:-}', '', true],
  ['a variable set to nothing is set', '${env:EMPTY:-1}', '', true],
  ['a default with a reference', '${env:NONE:-${env:HOST}:1}', 'db:1', true],
  ['a default that is not needed may name unset variables', '${env:PORT:-${env:NONE}}', '5432', true],
  ['two dollars are one', 'a$$b', 'a$b', false],
  ['an escaped reference', '$${env:HOST}', '${env:HOST}', false],
  ['a dollar before a reference', '$$${env:HOST}', '$db', false],
  ['a single dollar is itself', '^a$ $HOST $', '^a$ $HOST $', false],
  ['the value of a variable is data', '${env:MONEY}', 'a$$b${env:HOST}', true],
];
for (const [behaviour, input, text, isSingleReference] of EXPANDED) {
  test(behaviour, () => assert.deepEqual(expand(input, env), { text, isSingleReference, problems: [] }));
}

const FORMS = '${env:NAME}, ${env:NAME:-default}, or $${ for the characters themselves';
const REFUSED: [behaviour: string, input: string, problem: string][] = [
  ['an unset variable', 'a${env:NONE}', 'environment variable `NONE` is not set; set it or write ${env:NONE:-default}'],
  [
    'a name that is inherited',
    '${env:toString}',
    'environment variable `toString` is not set; set it or write ${env:toString:-default}',
  ],
  [
    'a reference that does not end',
    '${env:HOST',
    'found `${env:HOST` without its closing brace; allowed: ${env:NAME}, or $${ for the characters themselves',
  ],
  [
    'a default that does not end',
    '${env:NONE:-x',
    'found `${env:NONE:-x` without its closing brace; allowed: ${env:NAME}, or $${ for the characters themselves',
  ],
  ['another source', '${file:/etc/x}', `found the reference \`\${file:/etc/x}\`; allowed: ${FORMS}`],
  ['no name', '${}', `found the reference \`\${}\`; allowed: ${FORMS}`],
  ['a name that is none', '${env:9X}', `found the reference \`\${env:9X}\`; allowed: ${FORMS}`],
  ['nesting without end', `${'${A:-'.repeat(11)}${'}'.repeat(11)}`, 'references nest deeper than 10; allowed: fewer'],
];
for (const [behaviour, input, problem] of REFUSED) {
  test(`reports ${behaviour}`, () => assert.deepEqual(expand(input, env).problems, [problem]));
}

test('all unset variables of a text are reported, each once', () => {
  const { problems } = expand('${env:A}${env:B}${env:A}', {});
  assert.equal(problems.length, 2);
});

test('escaping makes any text literal', () => {
  fc.assert(
    fc.property(fc.string({ unit: fc.constantFrom('$', '{', '}', 'env:', 'A', ':-') }), (text) => {
      const escaped = text.replaceAll('$', () => '$$');
      assert.deepEqual(expand(escaped, {}), { text, isSingleReference: false, problems: [] });
    }),
  );
});

test.run();
