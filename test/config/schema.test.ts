import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import { z } from 'zod';
import { duration } from '../../src/config/duration.ts';
import { endpoint } from '../../src/config/endpoint.ts';
import type { Environment } from '../../src/config/environment.ts';
import { loadConfig } from '../../src/config/load.ts';
import { parseSection } from '../../src/config/schema.ts';
import { secret } from '../../src/config/secret.ts';
import { size } from '../../src/config/size.ts';
import type { ConfigFault } from '../../src/errors.ts';

const test = suite('schema');

let directory = '';
test.before(async () => {
  directory = await mkdtemp(join(tmpdir(), 'sluice-schema-'));
});
test.after(() => rm(directory, { recursive: true }));

async function load(text: string, env: Environment = {}) {
  const file = join(directory, 'config.yaml');
  await writeFile(file, text);
  return loadConfig({ files: [file], sets: [], env });
}

/** Parses the text as the section of a component `exporters.it`. */
async function parse<T>(schema: z.ZodType<T>, text: string, env: Environment = {}) {
  const raw = await load(`{exporters: {it: ${text}}}`, env);
  const root = z.object({ exporters: z.object({ it: z.unknown() }) }).parse(raw.root);
  const { value, faults } = parseSection(schema, root.exporters.it, 'exporters.it', raw);
  return { value, faults: [...raw.faults, ...faults] };
}

const component = z.strictObject({
  endpoint: endpoint().optional(),
  timeout: duration().default(5_000),
  limit: size().optional(),
  count: z.int().min(1).max(10).default(1),
  name: z.string().min(1).optional(),
  enabled: z.boolean().default(true),
  mode: z.enum(['15', 'fast', 'safe']).default('safe'),
  token: secret().optional(),
  url: z.url().optional(),
  hosts: z.array(z.string()).min(1).optional(),
  headers: z.record(z.string().regex(/^[a-z-]+$/), z.string()).optional(),
  tls: z.strictObject({ cert_file: z.string(), key_file: z.string() }).optional(),
  http: z.strictObject({ path: z.string().default('/') }).optional(),
  backoff: z.union([z.literal('off'), duration(), z.strictObject({ base: duration() })]).optional(),
  rule: z
    .discriminatedUnion('kind', [
      z.strictObject({ kind: z.literal('keep') }),
      z.strictObject({ kind: z.literal('drop'), share: z.number() }),
    ])
    .optional(),
  free: z.unknown().optional(),
});

const KEYS = Object.keys(component.shape).join(', ');

const FAULTS: [behaviour: string, text: string, faults: ConfigFault[]][] = [
  ['a section that is no map', '5', [{ path: 'exporters.it', message: 'found 5; allowed: a map' }]],
  [
    'a misspelt key',
    '{endpont: "x"}',
    [{ path: 'exporters.it.endpont', message: `unknown key \`endpont\`; did you mean \`endpoint\`? allowed: ${KEYS}` }],
  ],
  [
    'every unknown key, with dots too',
    '{colour.x: 1, "free.way": 1}',
    [
      { path: 'exporters.it["colour.x"]', message: `unknown key \`colour.x\`; allowed: ${KEYS}` },
      { path: 'exporters.it["free.way"]', message: `unknown key \`free.way\`; allowed: ${KEYS}` },
    ],
  ],
  [
    'an unknown key deep inside, and not the key it stands for as missing',
    '{tls: {cert_fle: a}}',
    [
      { path: 'exporters.it.tls.key_file', message: 'missing; allowed: text' },
      {
        path: 'exporters.it.tls.cert_fle',
        message: 'unknown key `cert_fle`; did you mean `cert_file`? allowed: cert_file, key_file',
      },
    ],
  ],
  [
    'an inherited name',
    '{constructor: 1}',
    [{ path: 'exporters.it.constructor', message: `unknown key \`constructor\`; allowed: ${KEYS}` }],
  ],
  [
    'a duration without unit',
    '{timeout: 5}',
    [{ path: 'exporters.it.timeout', message: 'found 5; allowed: a duration such as 200ms, 5s or 1h30m' }],
  ],
  [
    'a size of no unit',
    '{limit: 5 apples}',
    [
      {
        path: 'exporters.it.limit',
        message: 'found "5 apples"; allowed: a size such as 64MiB, 500KB or a number of bytes',
      },
    ],
  ],
  [
    'an endpoint, without the password in it',
    `{endpoint: "http://me:${randomUUID()}@host/"}`,
    [
      {
        path: 'exporters.it.endpoint',
        message:
          'found "http://me:[REDACTED]@host/"; allowed: host:port such as 127.0.0.1:4318, [::1]:4318, or :4318 for all interfaces',
      },
    ],
  ],
  [
    'a text that should be a number',
    '{count: "5"}',
    [{ path: 'exporters.it.count', message: 'found "5"; allowed: a number' }],
  ],
  ['a fraction', '{count: 1.5}', [{ path: 'exporters.it.count', message: 'found 1.5; allowed: a whole number' }]],
  ['a number below its range', '{count: 0}', [{ path: 'exporters.it.count', message: 'found 0; allowed: at least 1' }]],
  [
    'a number above its range',
    '{count: 11}',
    [{ path: 'exporters.it.count', message: 'found 11; allowed: at most 10' }],
  ],
  ['a number that should be text', '{name: 12}', [{ path: 'exporters.it.name', message: 'found 12; allowed: text' }]],
  [
    'a text that is empty',
    '{name: ""}',
    [{ path: 'exporters.it.name', message: 'found ""; allowed: at least 1 character' }],
  ],
  [
    'a text for a truth value',
    '{enabled: yes}',
    [{ path: 'exporters.it.enabled', message: 'found "yes"; allowed: true or false' }],
  ],
  [
    'a choice that is none',
    '{mode: slow}',
    [{ path: 'exporters.it.mode', message: 'found "slow"; allowed: 15, fast, safe' }],
  ],
  ['a URL', '{url: nowhere}', [{ path: 'exporters.it.url', message: 'found "nowhere"; allowed: a URL' }]],
  [
    'a secret of the wrong type',
    '{token: 12}',
    [{ path: 'exporters.it.token', message: 'found [REDACTED]; allowed: text' }],
  ],
  ['an empty list', '{hosts: []}', [{ path: 'exporters.it.hosts', message: 'found a list; allowed: at least 1 item' }]],
  [
    'items of lists',
    '{hosts: [a, 1, {b: 1}]}',
    [
      { path: 'exporters.it.hosts[1]', message: 'found 1; allowed: text' },
      { path: 'exporters.it.hosts[2]', message: 'found a map; allowed: text' },
    ],
  ],
  ['an empty item', '{hosts: [a, null]}', [{ path: 'exporters.it.hosts[1]', message: 'found nothing; allowed: text' }]],
  ['a list where a map belongs', '{tls: [a]}', [{ path: 'exporters.it.tls', message: 'found a list; allowed: a map' }]],
  [
    'a key of free choice',
    '{headers: {Bad: x}}',
    [{ path: 'exporters.it.headers.Bad', message: 'found the key "Bad"; allowed: text that matches /^[a-z-]+$/' }],
  ],
  [
    'such a key with an empty value',
    '{headers: {Bad: }}',
    [{ path: 'exporters.it.headers.Bad', message: 'found the key "Bad"; allowed: text that matches /^[a-z-]+$/' }],
  ],
  [
    'what fits no branch',
    '{backoff: 5}',
    [
      {
        path: 'exporters.it.backoff',
        message: 'found 5; allowed: off or a duration such as 200ms, 5s or 1h30m or a map',
      },
    ],
  ],
  [
    'the branch that was meant',
    '{backoff: {base: 5}}',
    [{ path: 'exporters.it.backoff.base', message: 'found 5; allowed: a duration such as 200ms, 5s or 1h30m' }],
  ],
  [
    'a kind that is none',
    '{rule: {kind: hide}}',
    [{ path: 'exporters.it.rule.kind', message: 'found "hide"; allowed: keep, drop' }],
  ],
  [
    'a kind that is missing',
    '{rule: {}}',
    [{ path: 'exporters.it.rule.kind', message: 'missing; allowed: keep, drop' }],
  ],
  [
    'a long text, cut',
    `{mode: ${'x'.repeat(100)}}`,
    [{ path: 'exporters.it.mode', message: `found "${'x'.repeat(80)}…"; allowed: 15, fast, safe` }],
  ],
];
for (const [behaviour, text, faults] of FAULTS) {
  test(`reports ${behaviour}`, async () => assert.deepEqual((await parse(component, text)).faults, faults));
}

const DEFAULTS = { timeout: 5_000, count: 1, enabled: true, mode: 'safe' };

const READ: [behaviour: string, text: string, env: Environment, value: object][] = [
  ['an empty section', '', {}, {}],
  ['an empty map inside', '{http: }', {}, { http: { path: '/' } }],
  ['empty values count as not given', '{timeout: , count: , endpoint: , free: }', {}, { free: null }],
  ['a number from a variable', '{count: "${env:X}"}', { X: '5' }, { count: 5 }],
  ['a text of digits from a variable', '\n  name: ${env:X}', { X: '0012345' }, { name: '0012345' }],
  ['a text that looks like a truth value', '\n  name: ${env:X}', { X: 'true' }, { name: 'true' }],
  ['a text that looks like a list', '\n  name: ${env:X}', { X: '[a, b]' }, { name: '[a, b]' }],
  ['a choice of digits from a variable', '\n  mode: ${env:X}', { X: '15' }, { mode: '15' }],
  [
    'text in lists and maps from variables',
    '\n  hosts:\n    - ${env:X}\n  headers:\n    x: ${env:X}',
    { X: '1' },
    { hosts: ['1'], headers: { x: '1' } },
  ],
  ['a list from a variable', '\n  hosts: ${env:X}', { X: '[a, b]' }, { hosts: ['a', 'b'] }],
  ['no text where anything goes', '\n  free: ${env:X}', { X: '15' }, { free: 15 }],
];
for (const [behaviour, text, env, value] of READ) {
  test(`reads ${behaviour}`, async () => {
    const block = text.startsWith('\n')
      ? `exporters:\n  it:${text.replaceAll('\n', '\n  ')}`
      : `{exporters: {it: ${text}}}`;
    const raw = await load(block, env);
    const root = z.object({ exporters: z.object({ it: z.unknown() }) }).parse(raw.root);
    const parsed = parseSection(component, root.exporters.it, 'exporters.it', raw);
    assert.deepEqual(parsed.faults, []);
    assert.deepEqual(parsed.value, { ...DEFAULTS, ...value });
  });
}

test('a password of digits stays a secret text', async () => {
  const digits = String(10_000 + process.pid);
  const raw = await load('token: ${env:X}', { X: digits });
  const { value } = parseSection(z.strictObject({ token: secret() }), raw.root, '', raw);
  assert.equal(value?.token.reveal(), digits);
});

test('a type that fits neither way is reported once, as the YAML says it', async () => {
  const raw = await load('count: ${env:X}', { X: 'many' });
  assert.deepEqual(parseSection(component, raw.root, '', raw).faults, [
    { path: 'count', message: 'found "many"; allowed: a number' },
  ]);
});

test('an unset variable is reported once', async () => {
  const raw = await load('cert_file: ${env:X}\nkey_file: 1');
  const tls = z.strictObject({ cert_file: z.string(), key_file: z.string() });
  assert.deepEqual(parseSection(tls, raw.root, '', raw).faults, [
    { path: 'key_file', message: 'found 1; allowed: text' },
  ]);
});

test.run();
