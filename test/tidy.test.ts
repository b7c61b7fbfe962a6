/**
 * The shape of the code, checked: which part may import which, what lives in one place only, and how files look. The
 * checks read the text of the files, so a fixture can be a string; the last suite shows that each of them bites.
 */
import assert from 'node:assert/strict';
import { glob, readFile } from 'node:fs/promises';
import path from 'node:path/posix';
import { suite } from 'uvu';

/** Path from the root of the repository, with forward slashes, to the text of the file. */
type Sources = ReadonlyMap<string, string>;

/** Which part may import which others; itself always. */
const CONTRACT = ['component', 'config', 'errors', 'model'];
const MAY_IMPORT: Readonly<Record<string, readonly string[] | 'anything'>> = {
  model: [],
  errors: [],
  // Binding a socket, shared by all that serve one; holding a directory, shared by all that own one.
  listen: [],
  directory_lock: ['errors'],
  config: ['errors'],
  telemetry: ['errors', 'listen'],
  // Of the contract its types alone.
  spool: ['component', 'directory_lock', 'errors'],
  component: ['errors', 'model'],
  otlp: ['errors', 'model'],
  store: ['directory_lock', 'errors', 'model'],
  processors: CONTRACT,
  receivers: [...CONTRACT, 'listen', 'otlp', 'store', 'spool'],
  extensions: [...CONTRACT, 'directory_lock', 'listen', 'otlp', 'store', 'spool'],
  exporters: [...CONTRACT, 'directory_lock', 'otlp', 'store'],
  registry: ['component', 'receivers', 'processors', 'exporters', 'extensions'],
  pipeline: [...CONTRACT, 'telemetry'],
  retention: ['errors', 'store', 'telemetry'],
  query: ['errors', 'listen', 'model', 'store', 'telemetry'],
  ui: [],
  cli: 'anything',
  main: 'anything',
};

/** Their files, or their folders, are components: those never import one another. */
const COMPONENT_PARTS = new Set(['receivers', 'processors', 'exporters', 'extensions']);

/** What receivers have in common, so no component: the HTTP listener and TLS. */
const SHARED_BY_COMPONENTS = new Set(['src/receivers/http', 'src/receivers/tls.ts']);

const FILE_MAX_LINES = 400;
/** Each with the reason why it is one thing. */
const LONGER_FILES: ReadonlyMap<string, string> = new Map();

const SQL_STATEMENT =
  /^\s*(?:SELECT|INSERT INTO|UPDATE|DELETE FROM|COPY|CREATE|ALTER|DROP|TRUNCATE|LOCK TABLE|WITH [\w ]+ AS|BEGIN|COMMIT|ROLLBACK|SET LOCAL)(?:\s|;|$)/;
const SETS_HTTP_STATUS = /\bwriteHead\(|\bres\w*\.statusCode\s*=(?!=)|\.status\(\d|\bstatus:\s*[1-5]\d\d\b/;

/** Plays an application whose telemetry tells of queries and requests; it makes none. */
const DEMO_SCRIPT = 'src/cli/demo/scan.ts';

interface OneHome {
  readonly rule: string;
  readonly found: (file: Scanned) => boolean;
  /** Parts and files where it belongs. */
  readonly home: readonly string[];
}

const ONE_HOME: readonly OneHome[] = [
  { rule: 'process.env', found: ({ code }) => /\bprocess\s*\??\.\s*env\b/.test(code), home: ['config'] },
  {
    rule: 'node:process, which hides process.env',
    found: ({ literals }) => literals.includes('node:process'),
    home: [],
  },
  {
    rule: 'SQL',
    found: ({ literals }) => literals.some((text) => SQL_STATEMENT.test(text)),
    home: ['store', DEMO_SCRIPT],
  },
  {
    rule: 'an HTTP status code',
    found: ({ code }) => SETS_HTTP_STATUS.test(code),
    home: ['receivers', 'query', 'src/telemetry/metrics.ts', 'src/extensions/health_check.ts', DEMO_SCRIPT],
  },
  { rule: 'process.exit', found: ({ code }) => /\bprocess\s*\.\s*(?:exit\(|exitCode\b)/.test(code), home: ['main'] },
];

/** Every violation, as `path: what is wrong`. Knows only the files it is given. */
function violations(sources: Sources): string[] {
  const scanned = new Map([...sources].map(([file, text]) => [file, scan(text)]));
  const found: string[] = [];
  for (const [file, contents] of scanned) {
    const rules = file.startsWith('test/') ? [] : [...sourceRules(file, contents, sources.get(file) ?? '')];
    for (const problem of [...formRules(file, contents), ...rules, ...testRules(file, contents)]) {
      found.push(`${file}: ${problem}`);
    }
  }
  return [...found, ...cycles(scanned)];
}

function* formRules(file: string, { code, lines }: Scanned): Generator<string> {
  if (!/^(?:[a-z0-9_]+\/)*[a-z0-9_]+(?:\.test)?\.ts$/.test(file)) yield 'is not spelt in snake_case';
  if (/\bexport\s+default\b|\bas\s+default\b/.test(code)) yield 'has a default export';
  if (lines > FILE_MAX_LINES && !LONGER_FILES.has(file)) yield `has ${lines} lines, more than ${FILE_MAX_LINES}`;
}

function* sourceRules(file: string, contents: Scanned, text: string): Generator<string> {
  if (!/^\s*\/[/*]/.test(text)) yield 'does not open with a comment that says what it is for';
  if (isBarrel(file, contents.code)) yield 'only re-exports';
  for (const specifier of contents.imports) yield* importRules(file, specifier);
  for (const { rule, found, home } of ONE_HOME) {
    if (found(contents) && !home.includes(file) && !home.includes(partOf(file))) yield `contains ${rule}`;
  }
}

function* testRules(file: string, { code }: Scanned): Generator<string> {
  if (!file.endsWith('.test.ts')) return;
  if (!/\.run\(\)/.test(code)) yield 'never calls .run(), so that none of its tests runs';
  if (/\.(?:only|skip)\(/.test(code)) yield 'leaves tests out with .only or .skip';
}

function* importRules(file: string, specifier: string): Generator<string> {
  if (!specifier.startsWith('.')) return;
  const target = path.join(path.dirname(file), specifier);
  const [from, to] = [partOf(file), partOf(target)];
  const allowed = MAY_IMPORT[from];
  if (allowed === undefined) yield `belongs to ${from}, which the import table does not know`;
  else if (allowed === 'anything') return;
  else if (!target.startsWith('src/')) yield `imports ${target}, which is not source`;
  else if (from !== to && !allowed.includes(to)) yield `imports ${target}; ${from} must not import ${to}`;
  else if (from === to && !mayShare(target) && componentOf(file) !== componentOf(target)) {
    yield `imports another component, ${target}`;
  }
}

/** `src/otlp/decode.ts` belongs to `otlp`, `src/errors.ts` to `errors`. */
function partOf(file: string): string {
  return (file.split('/')[1] ?? '').replace(/\.ts$/, '');
}

/** `src/receivers/otlp/http.ts` belongs to the component `otlp`; undefined in parts that hold no components. */
function componentOf(file: string): string | undefined {
  return COMPONENT_PARTS.has(partOf(file)) ? (file.split('/')[2] ?? '').replace(/\.ts$/, '') : undefined;
}

function mayShare(target: string): boolean {
  return [...SHARED_BY_COMPONENTS].some((shared) => target === shared || target.startsWith(`${shared}/`));
}

function isBarrel(file: string, code: string): boolean {
  if (path.basename(file) === 'index.ts') return true;
  const reExports = /\bexport\s+(?:type\s+)?(?:\*(?:\s+as\s+\w+)?|\{[^}]*\})\s*from\s*''\s*;?/g;
  const imports = /\bimport\s+[^;']*from\s*''\s*;?/g;
  return reExports.test(code) && code.replaceAll(reExports, '').replaceAll(imports, '').trim() === '';
}

function cycles(scanned: ReadonlyMap<string, Scanned>): string[] {
  const found: string[] = [];
  const done = new Set<string>();
  const visit = (file: string, trail: readonly string[]): void => {
    const start = trail.indexOf(file);
    if (start !== -1) found.push(`cycle: ${[...trail.slice(start), file].join(' -> ')}`);
    if (start !== -1 || done.has(file)) return;
    const relative = scanned.get(file)?.imports.filter((specifier) => specifier.startsWith('.')) ?? [];
    for (const specifier of relative) visit(path.join(path.dirname(file), specifier), [...trail, file]);
    done.add(file);
  };
  for (const file of scanned.keys()) visit(file, []);
  return found;
}

interface Scanned {
  /** The source without its comments; string and regular expression literals are empty quotes. */
  readonly code: string;
  /** The contents of string literals, and of template literals up to their first `${`. */
  readonly literals: readonly string[];
  /** The specifiers of imports, re-exports and dynamic imports. */
  readonly imports: readonly string[];
  readonly lines: number;
}

const TOKEN =
  /(?<comment>\/\/[^\n]*|\/\*[\s\S]*?\*\/)|(?<string>'(?:\\[\s\S]|[^'\\\n])*'|"(?:\\[\s\S]|[^"\\\n])*")|(?<tick>`)|(?<regexp>\/(?:\\.|\[(?:\\.|[^\]\\\n])*\]|[^/\\[\n])+\/[a-z]*)|(?<brace>[{}])/g;
/** Where a slash after this text divides rather than opens a regular expression. */
const OPERAND_BEFORE = /(?:[\w$)\]}'"`])\s*$/;
const KEYWORD_BEFORE = /\b(?:return|typeof|case|in|of|await|yield|void|throw|else|do)\s*$/;

function scan(source: string): Scanned {
  const literals: string[] = [];
  const imports: string[] = [];
  /** For each open `${`, how many braces are open inside it. */
  const substitutions: number[] = [];
  let code = '';
  let at = 0;
  const readTemplate = (): void => {
    const [chunk = ''] = /^(?:\\[\s\S]|\$(?!\{)|[^`\\$])*/.exec(source.slice(at)) ?? [];
    literals.push(chunk);
    at += chunk.length;
    if (source.startsWith('${', at)) {
      substitutions.push(0);
      at += 2;
    } else {
      at += 1;
    }
    code += "''";
  };
  const onBrace = (brace: string): void => {
    const depth = substitutions.at(-1);
    if (brace === '}' && depth === 0) {
      substitutions.pop();
      readTemplate();
      return;
    }
    code += brace;
    if (depth !== undefined) substitutions[substitutions.length - 1] = depth + (brace === '{' ? 1 : -1);
  };
  while (at < source.length) {
    TOKEN.lastIndex = at;
    const token = TOKEN.exec(source);
    code += source.slice(at, token?.index);
    if (token === null) break;
    const [text] = token;
    const { comment, string, tick, regexp, brace } = token.groups ?? {};
    at = token.index + text.length;
    if (string !== undefined) {
      const content = text.slice(1, -1);
      literals.push(content);
      if (/\b(?:from|import)\s*\(?\s*$/.test(code)) imports.push(content);
      code += "''";
    } else if (tick !== undefined) {
      readTemplate();
    } else if (regexp !== undefined) {
      const divides = OPERAND_BEFORE.test(code) && !KEYWORD_BEFORE.test(code);
      code += divides ? '/' : "''";
      if (divides) at = token.index + 1;
    } else if (brace !== undefined) {
      onBrace(brace);
    } else if (comment !== undefined) {
      code += ' ';
    }
  }
  return { code, literals, imports, lines: source.trimEnd().split('\n').length };
}

async function readSources(): Promise<Sources> {
  const cwd = new URL('..', import.meta.url);
  const files = await Array.fromAsync(glob(['src/**/*.ts', 'test/**/*.ts'], { cwd }));
  const texts = files.toSorted().map(async (file) => [file, await readFile(new URL(file, cwd), 'utf8')] as const);
  return new Map(await Promise.all(texts));
}

const tidy = suite('tidy');

tidy('the code has the shape that ARCHITECTURE.md describes', async () => {
  assert.deepEqual(violations(await readSources()), []);
});

tidy.run();

const bites = suite('tidy bites');

const HEADER = '/** Purpose. */\n';

/** What each file contains below its header, and what the check has to say about it. */
const CASES: readonly (readonly [
  name: string,
  files: Readonly<Record<string, string>>,
  expected: readonly string[],
])[] = [
  [
    'a part imports what the table forbids',
    { 'src/model/a.ts': "import type { B } from '../store/b.ts';", 'src/store/b.ts': 'export const b = 1;' },
    ['src/model/a.ts: imports src/store/b.ts; model must not import store'],
  ],
  [
    'the import is dynamic, or a re-export beside other code',
    { 'src/ui/a.ts': "await import('../query/b.ts');\nexport { c } from '../otlp/c.ts';" },
    [
      'src/ui/a.ts: imports src/query/b.ts; ui must not import query',
      'src/ui/a.ts: imports src/otlp/c.ts; ui must not import otlp',
    ],
  ],
  [
    'a component imports another',
    { 'src/exporters/a.ts': "import { b } from './b/rows.ts';\nexport const a = b;" },
    ['src/exporters/a.ts: imports another component, src/exporters/b/rows.ts'],
  ],
  [
    'what components share imports one of them',
    { 'src/receivers/http/a.ts': "import { b } from '../otlp/b.ts';\nexport const a = b;" },
    ['src/receivers/http/a.ts: imports another component, src/receivers/otlp/b.ts'],
  ],
  [
    'a part is new',
    { 'src/lib/a.ts': "import './b.ts';" },
    ['src/lib/a.ts: belongs to lib, which the import table does not know'],
  ],
  [
    'source imports a test',
    { 'src/otlp/a.ts': "import '../../test/b.ts';" },
    ['src/otlp/a.ts: imports test/b.ts, which is not source'],
  ],
  [
    'files import one another',
    { 'src/otlp/a.ts': "import './b.ts';", 'src/otlp/b.ts': "import './a.ts';" },
    ['cycle: src/otlp/a.ts -> src/otlp/b.ts -> src/otlp/a.ts'],
  ],
  [
    'a file only re-exports',
    { 'src/otlp/a.ts': "export * from './b.ts';\nexport { type C } from './c.ts';" },
    ['src/otlp/a.ts: only re-exports'],
  ],
  ['a file is called index', { 'src/otlp/index.ts': 'export const a = 1;' }, ['src/otlp/index.ts: only re-exports']],
  ['a default export', { 'src/otlp/a.ts': 'export default 1;' }, ['src/otlp/a.ts: has a default export']],
  [
    'a renamed default export',
    { 'src/otlp/a.ts': 'const a = 1;\nexport { a as default };' },
    ['src/otlp/a.ts: has a default export'],
  ],
  ['a camel-case file name', { 'src/otlp/aB.ts': '' }, ['src/otlp/aB.ts: is not spelt in snake_case']],
  [
    'the environment is read',
    { 'src/store/a.ts': 'const a = process.env["A"];' },
    ['src/store/a.ts: contains process.env'],
  ],
  [
    'the environment is imported',
    { 'src/store/a.ts': "import { env } from 'node:process';" },
    ['src/store/a.ts: contains node:process, which hides process.env'],
  ],
  ['SQL in a string', { 'src/query/a.ts': "const a = 'SELECT 1';" }, ['src/query/a.ts: contains SQL']],
  [
    'SQL in a template',
    { 'src/query/a.ts': 'const a = `\n  DELETE FROM ${`b${{}}`} WHERE c`;' },
    ['src/query/a.ts: contains SQL'],
  ],
  [
    'SQL after a regular expression with a quote',
    { 'src/query/a.ts': "const a = b.split(/['\"`]/);\nf('COPY t');" },
    ['src/query/a.ts: contains SQL'],
  ],
  [
    'an HTTP status',
    { 'src/exporters/a.ts': 'response.statusCode = 500;' },
    ['src/exporters/a.ts: contains an HTTP status code'],
  ],
  ['the process is ended', { 'src/cli/a.ts': 'process.exit(1);' }, ['src/cli/a.ts: contains process.exit']],
  [
    'a file that is too long',
    { 'src/otlp/a.ts': 'f();\n'.repeat(400) },
    ['src/otlp/a.ts: has 401 lines, more than 400'],
  ],
  [
    'a test file that runs nothing',
    { 'test/a.test.ts': "test('a', () => {});" },
    ['test/a.test.ts: never calls .run(), so that none of its tests runs'],
  ],
  [
    'a test that is left out',
    { 'test/a.test.ts': "a.skip('b');\na.run();" },
    ['test/a.test.ts: leaves tests out with .only or .skip'],
  ],
];

for (const [name, files, expected] of CASES) {
  bites(name, () => {
    const sources = new Map(Object.entries(files).map(([file, body]) => [file, HEADER + body]));
    assert.deepEqual(violations(sources), expected);
  });
}

bites('a file without an opening comment', () => {
  assert.deepEqual(violations(new Map([['src/otlp/a.ts', 'export const a = 1;']])), [
    'src/otlp/a.ts: does not open with a comment that says what it is for',
  ]);
});

bites('what is allowed passes, also where comments and strings look like violations', () => {
  const body = [
    "import { b } from '../otlp/b.ts';",
    '// process.exit(1); export default 2;',
    "const text = 'process.env' + `export default ${b / 2} / ${'}'}`; // 'SELECT 1'",
    "const half = (b) / 2; f('/* not a comment'); export const a = text + half; g('*/');",
    "if (response.statusCode === 404) log('COPYING is not SQL, nor is Create');",
  ].join('\n');
  assert.deepEqual(violations(new Map([['src/exporters/a.ts', HEADER + body]])), []);
});

bites.run();
