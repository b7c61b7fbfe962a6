import assert from 'node:assert/strict';
import * as fc from 'fast-check';
import { suite } from 'uvu';
import { fileNameTemplate, NameTemplate } from '../../../src/exporters/file/names.ts';
import { SIGNALS } from '../../../src/model/batch.ts';

const Names = suite('names of files');

const AT_MS = Date.UTC(2026, 10, 20, 23, 59, 59, 999);
const DAY_END_MS = Date.UTC(2026, 10, 21);

const TEMPLATES: readonly (readonly [template: string, first: string, second: string])[] = [
  ['otel-{signal}-{date}.jsonl', 'otel-traces-20261120.jsonl', 'otel-traces-20261120.2.jsonl'],
  ['otel-{date}.jsonl', 'otel-20261120.jsonl', 'otel-20261120.2.jsonl'],
  ['{date}', '20261120', '20261120.2'],
  ['a.b.{signal}{date}', 'a.b.traces20261120', 'a.b.2.traces20261120'],
];

for (const [template, first, second] of TEMPLATES) {
  Names(`of ${template}`, () => {
    const names = new NameTemplate(fileNameTemplate().parse(template));
    const series = names.series('traces', AT_MS);
    assert.deepEqual([names.partOf(series, 1), names.partOf(series, 2)], [first, second]);
    const file = { series, dayEndMs: DAY_END_MS };
    assert.deepEqual(names.parse(first), { ...file, name: first, part: 1, form: 'plain' });
    assert.deepEqual(names.parse(`${second}.zst`), { ...file, name: `${second}.zst`, part: 2, form: 'compressed' });
    const unfinished = `${first}.zst.tmp`;
    assert.deepEqual(names.parse(unfinished), { ...file, name: unfinished, part: 1, form: 'unfinished' });
  });
}

Names('are read back whatever the day, the signal and the part', () => {
  const template = fc.constantFrom(...TEMPLATES.map(([text]) => new NameTemplate(text)));
  const day = fc.integer({ min: 0, max: Date.UTC(9999, 11, 31) });
  const part = fc.integer({ min: 1, max: 999_999_999 });
  fc.assert(
    fc.property(template, fc.constantFrom(...SIGNALS), day, part, (names, signal, ms, number) => {
      const series = names.series(signal, ms);
      const parsed = names.parse(names.partOf(series, number));
      assert.deepEqual([parsed?.series, parsed?.part, parsed?.form], [series, number, 'plain']);
    }),
  );
});

Names('of others are left alone', () => {
  const names = new NameTemplate('otel-{signal}-{date}.jsonl');
  for (const name of [
    'otel-traces-20261120.jsonl.bak',
    'otel-traces-20261120.1.jsonl',
    'otel-traces-20261120.02.jsonl',
    'otel-traces-20261320.jsonl',
    'otel-traces-20260230.jsonl',
    'otel-spans-20261120.jsonl',
    'xotel-traces-20261120.jsonl',
    'otel-traces-20261120xjsonl',
    'sluice.lock',
    '',
  ]) {
    assert.equal(names.parse(name), undefined, name);
  }
});

Names('templates that could leave the directory, or hide what they made, are refused', () => {
  for (const template of [
    'otel.jsonl',
    '../{date}',
    'a/{date}',
    '.{date}',
    '{date}-{date}',
    '{date}{tenant}',
    '{date}.zst',
    '{date}.tmp',
    '{date} x',
    '{date}\n',
    `{date}${'x'.repeat(100)}`,
  ]) {
    assert.equal(fileNameTemplate().safeParse(template).success, false, template);
  }
});

Names.run();
