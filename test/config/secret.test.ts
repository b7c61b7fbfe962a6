import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { inspect } from 'node:util';
import { suite } from 'uvu';
import { loadConfig } from '../../src/config/load.ts';
import { parseSection } from '../../src/config/schema.ts';
import { Secret, secret } from '../../src/config/secret.ts';

const test = suite('secret');

test('only reveal tells the value', () => {
  const value = randomUUID();
  const held = new Secret(value);
  assert.equal(held.reveal(), value);
  const printed = [
    held.toString(),
    String(held),
    JSON.stringify({ held }),
    inspect({ held }),
    inspect(held, { showHidden: true }),
  ];
  for (const text of [...printed, inspect(held, { customInspect: false }), JSON.stringify(Object.entries(held))]) {
    assert.ok(!text.includes(value), text);
  }
  for (const text of printed) assert.ok(text.includes('[REDACTED]'), text);
});

test('the type takes text and quotes nothing else in its faults', async () => {
  const raw = await loadConfig({ files: [], sets: [], env: {} });
  const value = randomUUID();
  assert.equal(secret().parse(value).reveal(), value);
  const faultOf = (found: unknown) => parseSection(secret(), found, 'token', raw).faults;
  assert.deepEqual(faultOf(12_345), [{ path: 'token', message: 'found [REDACTED]; allowed: text' }]);
  assert.deepEqual(faultOf([value]), [{ path: 'token', message: 'found [REDACTED]; allowed: text' }]);
  assert.deepEqual(faultOf(''), [{ path: 'token', message: 'found ""; allowed: a text that is not empty' }]);
  assert.deepEqual(faultOf(null), [{ path: 'token', message: 'missing; allowed: text' }]);
});

test.run();
