import assert from 'node:assert/strict';
import { suite } from 'uvu';
import { FailedAttempts } from '../../src/model/attempts.ts';

const Attempts = suite('failed attempts');

const MINUTE_MS = 60_000;
let nowMs: number;
let failures: FailedAttempts;

Attempts.before.each(() => {
  nowMs = 5;
  failures = new FailedAttempts(() => nowMs);
});

function fail(address: string, times: number): void {
  for (let time = 0; time < times; time++) failures.count(address);
}

Attempts('nineteen bad tokens slow nobody, the twentieth does until its minute is over', () => {
  fail('192.0.2.1', 19);
  assert.equal(failures.check('192.0.2.1'), 0);
  nowMs += 10_000;
  fail('192.0.2.1', 1);
  assert.equal(failures.check('192.0.2.1'), MINUTE_MS - 10_000);
  nowMs += MINUTE_MS - 10_000 - 1;
  assert.equal(failures.check('192.0.2.1'), 1);
  nowMs += 1;
  assert.equal(failures.check('192.0.2.1'), 0);
});

Attempts('more bad tokens do not make it longer, and the next minute begins anew', () => {
  fail('192.0.2.1', 100);
  nowMs += MINUTE_MS;
  fail('192.0.2.1', 19);
  assert.equal(failures.check('192.0.2.1'), 0);
  fail('192.0.2.1', 1);
  assert.equal(failures.check('192.0.2.1'), MINUTE_MS);
});

const NEIGHBOURS: readonly (readonly [name: string, first: string, second: string, isSame: boolean])[] = [
  ['two IPv4 addresses are two', '192.0.2.1', '192.0.2.2', false],
  ['IPv4 in IPv6 is IPv4', '192.0.2.1', '::ffff:192.0.2.1', true],
  ['two hosts of an IPv6 network are one', '2001:db8:1:2:3:4:5:6', '2001:db8:1:2::9', true],
  ['two IPv6 networks are two', '2001:db8:1:2::1', '2001:db8:1:3::1', false],
  ['zeros in the network part count', '2001:db8::1', '2001:db8:0:0:5::2', true],
  ['zeros before groups of the network part count', '1::2:3:4:5:6:7', '1:0:2:3::', true],
  ['spelling does not matter', '2001:0DB8:0001:2::1', '2001:db8:1:2::2', true],
  ['a zone does not matter', 'fe80::1%eth0', 'fe80::2', true],
  ['the loopback addresses are two', '::1', '127.0.0.1', false],
  ['what is no address counts as itself', '', 'unix', false],
];
for (const [name, first, second, isSame] of NEIGHBOURS) {
  Attempts(name, () => {
    fail(first, 20);
    assert.equal(failures.check(first), MINUTE_MS);
    assert.equal(failures.check(second), isSame ? MINUTE_MS : 0);
  });
}

Attempts('ten thousand addresses are remembered; of more, the oldest is forgotten', () => {
  fail('oldest', 20);
  nowMs += 1;
  fail('second', 20);
  for (let number = 0; number < 9_998; number++) failures.count(`address ${number}`);
  assert(failures.check('oldest') > 0);
  failures.count('one more');
  assert.equal(failures.check('oldest'), 0);
  assert(failures.check('second') > 0);
});

Attempts('minutes that are over make room first', () => {
  for (let number = 0; number < 9_999; number++) failures.count(`address ${number}`);
  nowMs += MINUTE_MS;
  fail('first', 20);
  for (let number = 0; number < 9_999; number++) failures.count(`other ${number}`);
  assert(failures.check('first') > 0);
});

Attempts.run();
