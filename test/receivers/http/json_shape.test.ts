import assert from 'node:assert/strict';
import { suite } from 'uvu';
import { isSdkSpanJson } from '../../../src/receivers/http/json_shape.ts';

const JsonShape = suite('json shape');

for (const [what, body, expected] of [
  ['the documented order', '{"trace_id":"t","spans":[]}', true],
  ['spans first', '{"spans":[],"trace_id":"t"}', true],
  ['no trace id', '{"spans":[]}', true],
  ['a key that is spelt with an escape', '{"tr\\u0061ce_id":"t"}', true],
  [
    'unknown keys before, of every kind',
    '{"a":1,"b":"\\"}","c":[{"spans":[[]]},null],"d":{"resourceSpans":{}},"spans":[]}',
    true,
  ],
  ['white space and a byte order mark', '\uFEFF \n{ "a" : true , "trace_id" : "t" }', true],
  ['a text that goes on behind what is read', `{"trace_id":"t","spans":[{"name":"${'x'.repeat(100_000)}"}]}`, true],
  ['OTLP', '{"resourceSpans":[]}', false],
  ['OTLP with spans inside', '{"resourceSpans":[{"scopeSpans":[{"spans":[]}]}]}', false],
  ['OTLP in snake case', '{"resource_spans":[]}', false],
  ['OTLP, with a key of the other format behind', '{"resourceSpans":[],"spans":[]}', false],
  ['an empty object', '{}', false],
  ['no object', '["trace_id"]', false],
  ['a value that is called so', '{"a":"trace_id"}', false],
  ['nothing', '', false],
  ['no JSON', '{"a" "trace_id":1}', false],
  ['a value that has no end', '{"a":[', false],
  ['a deciding key far behind', `{"a":"${'x'.repeat(100_000)}","trace_id":"t"}`, false],
  ['deep nesting', '{"a":'.repeat(20_000), false],
] as const) {
  JsonShape(`${what} is ${expected ? '' : 'not '}SDK span JSON`, () => {
    assert.equal(isSdkSpanJson(Buffer.from(body)), expected);
  });
}

JsonShape.run();
