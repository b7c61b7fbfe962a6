import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import type { Environment } from '../../src/config/environment.ts';
import { loadConfig, withSources } from '../../src/config/load.ts';
import type { ConfigFault } from '../../src/errors.ts';

const test = suite('load');

let directory = '';
test.before(async () => {
  directory = await mkdtemp(join(tmpdir(), 'sluice config '));
});
test.after(() => rm(directory, { recursive: true }));

/** Loads texts as files `0.yaml`, `1.yaml`, …; faults name them without their directory. */
async function load(texts: readonly (string | Uint8Array)[], sets: readonly string[] = [], env: Environment = {}) {
  const files = texts.map((_, index) => join(directory, `${index}.yaml`));
  await Promise.all(texts.map((text, index) => writeFile(files[index] ?? '', text)));
  const raw = await loadConfig({ files, sets, env });
  const faults = withSources(raw, raw.faults).map(({ path, message }) => ({ path, message: short(message) }));
  return { ...raw, faults };
}

const short = (message: string) => message.replaceAll(`${directory}/`, '');

const MERGED: [behaviour: string, texts: string[], sets: string[], root: unknown][] = [
  ['an empty file is an empty map', ['', '# nothing\n'], [], {}],
  ['no file at all is an empty map', [], [], {}],
  [
    'maps merge deep, later files win',
    ['a: {b: 1, c: {d: 2}}', 'a: {c: {e: 3}, b: 4}'],
    [],
    { a: { b: 4, c: { d: 2, e: 3 } } },
  ],
  ['lists replace', ['a: [1, 2, 3]', 'a: [4]'], [], { a: [4] }],
  ['an empty value replaces', ['a: {b: 1}', 'a:'], [], { a: null }],
  [
    'a map replaces a scalar and the other way round',
    ['a: 1\nb: {c: 1}', 'a: {b: 1}\nb: 2'],
    [],
    { a: { b: 1 }, b: 2 },
  ],
  ['--set comes last', ['a: {b: 1}', 'a: {b: 2}'], ['a.b=3', 'a.c=true'], { a: { b: 3, c: true } }],
  [
    '--set takes YAML',
    [],
    ['a=[x, 1]', 'b={c: 1.5}', 'd=', 'e="1"', 'f=x=y'],
    { a: ['x', 1], b: { c: 1.5 }, d: null, e: '1', f: 'x=y' },
  ],
  ['--set takes component ids', [], ['exporters.otlp/2.x=1'], { exporters: { 'otlp/2': { x: 1 } } }],
  ['--set takes keys with dots in brackets', [], ['a["b.c"].d=1'], { a: { 'b.c': { d: 1 } } }],
  [
    'anchors, aliases and merge keys',
    ['x: &x {a: 1, b: 2}\ny: *x\nz: {<<: *x, b: 3}\nv: {<<: [{c: 1}, *x]}'],
    [],
    { x: { a: 1, b: 2 }, y: { a: 1, b: 2 }, z: { b: 3, a: 1 }, v: { c: 1, a: 1, b: 2 } },
  ],
  ['keys are what is written', ['1: a\ntrue: b\n0x10: c\n"d": e'], [], { 1: 'a', true: 'b', '0x10': 'c', d: 'e' }],
];
for (const [behaviour, texts, sets, root] of MERGED) {
  test(behaviour, async () => {
    const raw = await load(texts, sets);
    assert.deepEqual(raw.faults, []);
    assert.deepEqual(raw.root, root);
    assert.ok(raw.isComplete);
  });
}

const TYPED: [behaviour: string, text: string, value: string, root: unknown, alternative: unknown][] = [
  ['a number', 'a: ${env:X}', '12345', 12_345, '12345'],
  ['a number with zeros before it', 'a: ${env:X}', '007', 7, '007'],
  ['a truth value', 'a: ${env:X}', 'true', true, 'true'],
  ['a list', 'a: ${env:X}', '[b, 1]', ['b', 1], '[b, 1]'],
  ['a map', 'a: ${env:X}', 'b: {c: 1}', { b: { c: 1 } }, 'b: {c: 1}'],
  ['nothing', 'a: ${env:X}', '', null, ''],
  ['what is no YAML is text', 'a: ${env:X}', '@x: [', '@x: [', '@x: ['],
  ['what has a duplicate key is text', 'a: ${env:X}', '{b: 1, b: 2}', '{b: 1, b: 2}', '{b: 1, b: 2}'],
  ['dollars in it are data', 'a: ${env:X}', '[$$, "${env:X}"]', ['$$', '${env:X}'], '[$$, "${env:X}"]'],
  ['a quoted reference is text', 'a: "${env:X}"', '12345', '12345', 12_345],
  ['a reference tagged as text is text', 'a: !!str ${env:X}', '12345', '12345', 12_345],
  ['a default', 'a: ${env:NONE:-5s}', '', '5s', '5s'],
  ['a reference in a text is text', 'a: x${env:X}', '1', 'x1', undefined],
  ['two references are text', 'a: ${env:X}${env:X}', '1', '11', undefined],
];
for (const [behaviour, text, value, root, alternative] of TYPED) {
  test(`the type of a reference: ${behaviour}`, async () => {
    const raw = await load([text], [], { X: value });
    assert.deepEqual(raw.faults, []);
    assert.deepEqual(raw.root, { a: root });
    assert.deepEqual(raw.alternatives.get('a'), alternative);
  });
}

const unset = (name: string) => `environment variable \`${name}\` is not set; set it or write \${env:${name}:-default}`;

const FAULTS: [behaviour: string, texts: (string | Uint8Array)[], sets: string[], faults: ConfigFault[]][] = [
  [
    'syntax, with line and column',
    ['a: 1\nb: [1, 2\nc: 3\n'],
    [],
    [
      {
        path: '',
        message:
          '0.yaml:3:1: not valid YAML: Flow sequence in block collection must be sufficiently indented and end with a ]',
      },
    ],
  ],
  [
    'syntax in each of several files',
    ['a: "', 'a: }'],
    [],
    [
      { path: '', message: '0.yaml:1:5: not valid YAML: Missing closing "quote' },
      { path: '', message: '1.yaml:1:4: not valid YAML: Unexpected flow-map-end token in YAML stream: "}"' },
    ],
  ],
  [
    'an unknown tag',
    ['a: !include b'],
    [],
    [{ path: '', message: '0.yaml:1:4: not valid YAML: Unresolved tag: !include' }],
  ],
  [
    'no map at the top',
    ['- a'],
    [],
    [{ path: '', message: '0.yaml: found no map at the top; allowed: keys such as `receivers:` and `service:`' }],
  ],
  [
    'a file that is not UTF-8',
    [new Uint8Array([0x61, 0x3a, 0x20, 0xff])],
    [],
    [{ path: '', message: 'cannot read 0.yaml: it is not UTF-8' }],
  ],
  [
    'a file that is too large',
    ['#'.repeat(1_048_577)],
    [],
    [{ path: '', message: 'cannot read 0.yaml: larger than 1048576 bytes' }],
  ],
  [
    'duplicate components',
    ['receivers:\n  otlp:\n  otlp/2:\n  otlp: {}\n'],
    [],
    [{ path: 'receivers.otlp', message: 'found twice, at 0.yaml:2 and 0.yaml:4; allowed: once (0.yaml:2)' }],
  ],
  [
    'every unset variable, where it stands',
    ['a:\n  - ${env:A}\n  - b: x${env:B}y\n', 'c: ${env:C:-${env:D}}'],
    ['e=${env:E}'],
    [
      { path: 'a[0]', message: `${unset('A')} (0.yaml:2)` },
      { path: 'a[1].b', message: `${unset('B')} (0.yaml:3)` },
      { path: 'c', message: `${unset('D')} (1.yaml:1)` },
      { path: 'e', message: `${unset('E')} (--set e)` },
    ],
  ],
  [
    'keys that are no text',
    ['? [a, b]\n: 1\n'],
    [],
    [{ path: '', message: 'found a key that is a list, a map or an alias; allowed: text' }],
  ],
  [
    'a prototype',
    ['a:\n  __proto__: {b: 1}'],
    [],
    [{ path: 'a.__proto__', message: 'found a key of this name; allowed: any other (0.yaml:1)' }],
  ],
  [
    'an alias without anchor',
    ['a: *b'],
    [],
    [{ path: 'a', message: 'found the alias `*b`; allowed: one whose anchor stands before it (0.yaml:1)' }],
  ],
  [
    'a merge key of something else',
    ['a: {<<: 1}'],
    [],
    [{ path: 'a.<<', message: 'found something else; allowed: a map or a list of maps (0.yaml:1)' }],
  ],
  [
    'assignments that are none, without their values',
    [],
    ['a', '=1', 'a..b=hidden', '__proto__.a=1', 'a[0]=1', 'a=]'],
    [
      ...['a', '', 'a..b', '__proto__.a'].map((found) => ({
        path: '',
        message: `found --set "${found}"; allowed: path=value, such as exporters.debug.verbosity=detailed`,
      })),
      { path: '', message: 'found --set a[0], a place in a list; allowed: the whole list, such as a.b=[x, y]' },
      { path: 'a', message: '--set a: not valid YAML: Unexpected flow-seq-end token in YAML document: "]"' },
    ],
  ],
];
for (const [behaviour, texts, sets, faults] of FAULTS) {
  test(`reports ${behaviour}`, async () => assert.deepEqual((await load(texts, sets)).faults, faults));
}

test('reports files that cannot be read, and still reads the others', async () => {
  await writeFile(join(directory, 'ok.yaml'), 'a: ${env:X}');
  const files = [join(directory, 'none.yaml'), directory, join(directory, 'ok.yaml')];
  const raw = await loadConfig({ files, sets: [], env: {} });
  assert.deepEqual(
    raw.faults.map(({ message }) => message),
    [`cannot read ${files[0]}: no such file`, `cannot read ${directory}: it is a directory`, unset('X')],
  );
  assert.equal(raw.isComplete, false);
});

test('an unset variable leaves nothing behind', async () => {
  const raw = await load(['a: ${env:A}\nb: 1']);
  assert.deepEqual(raw.root, { a: undefined, b: 1 });
  assert.ok(raw.broken.has('a') && raw.isComplete);
});

const HOSTILE: [behaviour: string, text: string, messages: RegExp[]][] = [
  ['aliases that multiply', aliasBomb(), [/^too many aliases; allowed: 500/]],
  [
    'aliases of something large',
    `a: &a [${'1,'.repeat(200)}]\nb: [${'*a, '.repeat(400)}]`,
    [/^too many values in one/],
  ],
  ['an alias to what it is in', 'a: &a [*a]', [/^nested too deeply; allowed: 64 levels/]],
  ['deep nesting', '['.repeat(100) + ']'.repeat(100), [/^nested too deeply/]],
  ['very deep nesting', '['.repeat(100_000), [/not valid YAML/]],
  ['many aliases', `a: &a 1\nb: [${'*a, '.repeat(600)}]`, [/^too many aliases; allowed: 500/]],
  ['many values', `[${'1,'.repeat(60_000)}]`, [/^too many values/]],
  ['variables that multiply', `a: [${'"${env:BIG}",'.repeat(6)}]`, [/^environment variables bring in too much text/]],
  [
    'many syntax errors',
    'a: }\n'.repeat(50),
    [...Array.from({ length: 20 }, () => /not valid YAML/), /30 more lines are not valid YAML/],
  ],
];
for (const [behaviour, text, messages] of HOSTILE) {
  test(`bounds ${behaviour}`, async () => {
    const { faults } = await load([text.startsWith('[') ? `a: ${text}` : text], [], { BIG: 'x'.repeat(1_000_000) });
    const found = faults.map(({ message }) => message);
    assert.equal(found.length, messages.length, found.join('\n').slice(0, 2_000));
    for (const [index, message] of messages.entries()) assert.match(found[index] ?? '', message);
  });
}

/** Nine levels of nine aliases each would be some 400 million values. */
function aliasBomb(): string {
  const levels = Array.from({ length: 9 }, (_, level) => `l${level}: &l${level} [${`*l${level - 1}, `.repeat(9)}]`);
  return ['l0: &l0 [x]', ...levels.slice(1)].join('\n');
}

test.run();
