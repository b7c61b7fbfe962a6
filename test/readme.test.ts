/** What the README tells people to type works: its SQL runs on the tables, its YAML is a valid configuration. */
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { suite } from 'uvu';
import { buildGateway } from '../src/cli/gateway.ts';
import { testDatabase, type TestDatabase } from './support/postgres.ts';
import { withConfigFile } from './support/gateway.ts';

const Readme = suite('README');
const README = await readFile(new URL('../README.md', import.meta.url), 'utf8');

let database: TestDatabase;
Readme.before(async () => {
  database = await testDatabase();
});
Readme.after(() => database.close());

/** The fenced blocks of a language. */
function blocks(language: string): string[] {
  const found = [...README.matchAll(new RegExp(`^\`\`\`${language}\\n([^]*?)^\`\`\``, 'gm'))];
  return found.map(([, text = '']) => text);
}

Readme('has SQL that runs', async () => {
  assert.ok(blocks('sql').length > 0);
  for (const statement of blocks('sql')) await database.pool.query(statement);
});

Readme('has whole configurations that are valid', async () => {
  const whole = blocks('yaml').filter((text) => text.includes('pipelines:'));
  assert.ok(whole.length > 0);
  for (const text of whole) {
    await withConfigFile(text, async (file) => {
      const env = { DATABASE_URL: 'postgres://localhost/none' };
      const { pipelines } = await buildGateway({ files: [file], sets: [], env });
      assert.ok(pipelines.length > 0);
    });
  }
});

Readme.run();
