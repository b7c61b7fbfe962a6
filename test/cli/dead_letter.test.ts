/** `sluice dead-letter` on what PostgreSQL refused: real rows, refused by a CHECK, in the table of a gateway's database. */
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { suite } from 'uvu';
import { z } from 'zod';
import { UsageError, type Command, type CommandContext } from '../../src/cli/command.ts';
import { deadLetterDrop, deadLetterList, deadLetterReplay } from '../../src/cli/dead_letter.ts';
import { field, request, spanIds } from '../support/otlp_messages.ts';
import { post, testGateway, type TestGateway } from '../support/gateway.ts';
import { withDirectory } from '../spool/opened_log.ts';
import { refuseBad, takeAll } from '../store/poison.ts';
import { storedNames } from '../store/span_records.ts';
import { sluice, type Ended } from './sluice.ts';

const DeadLetter = suite('sluice dead-letter');
let gateway: TestGateway;

DeadLetter.before(async () => {
  gateway = await testGateway({ durability: 'disk' });
});
DeadLetter.before.each(async () => {
  await gateway.pool.query('DELETE FROM dead_letters; DELETE FROM otel_spans');
  await refuseBad(gateway.pool);
});
DeadLetter.after.each(() => takeAll(gateway.pool));
DeadLetter.after(() => gateway.close());

/** Of a shell that has the gateway's database, and a data directory of its own. */
function deadLetter(...args: string[]): Promise<Ended> {
  return withDirectory((directory) =>
    sluice(['dead-letter', ...args], { env: { DATABASE_URL: gateway.databaseUrl, SLUICE_DATA_DIR: directory } }),
  );
}

const letterRow = z.strictObject({
  id: z.uuid(),
  dead_at: z.iso.datetime(),
  exporter: z.string(),
  signal: z.string(),
  org_id: z.string(),
  workspace_id: z.string(),
  target_id: z.string().nullable(),
  received_at: z.iso.datetime(),
  sqlstate: z.string().nullable(),
  reason: z.string(),
  format: z.string(),
  items: z.number(),
  size_bytes: z.number(),
  where: z.string(),
});

async function listed(...args: string[]): Promise<z.infer<typeof letterRow>[]> {
  const { stdout, stderr } = await deadLetter('list', '--json', ...args);
  assert.equal(stderr, '');
  return z.array(letterRow).parse(JSON.parse(stdout));
}

let spans = 0;

/** Sends spans through the gateway, and returns once those that are bad have died. */
async function send(...names: readonly string[]): Promise<void> {
  const before = await count();
  const records = names.map((name) => Buffer.concat([spanIds(++spans), field(5, name)]));
  const { status } = await post(`${gateway.url}/v1/traces`, request(records));
  assert.equal(status, 200);
  const bad = names.filter((name) => name.startsWith('bad')).length;
  while ((await count()) < before + bad);
}

async function count(): Promise<number> {
  const { rows } = await gateway.pool.query<{ count: number }>('SELECT count(*)::int AS count FROM dead_letters');
  return rows[0]?.count ?? Number.NaN;
}

const REASON = 'new row for relation "otel_spans_default" violates check constraint "poison"';

DeadLetter('nothing there: one line that says so', async () => {
  const { code, stdout, stderr } = await deadLetter('list');
  assert.deepEqual({ code, stdout, stderr }, { code: 0, stdout: 'there are no dead letters\n', stderr: '' });
  assert.deepEqual(await listed(), []);
  const replayed = await deadLetter('replay', '--all');
  assert.deepEqual([replayed.code, replayed.stdout], [0, '0 replayed, 0 refused\n']);
  assert.equal((await deadLetter('drop', '--all')).stdout, '0 dropped\n');
});

DeadLetter('list prints a table, the newest first, up to a limit', async () => {
  await send('good', 'bad 1');
  await send('bad 2');
  const [newest, oldest, ...others] = await listed();
  assert(newest !== undefined && oldest !== undefined && newest.dead_at > oldest.dead_at);
  assert.deepEqual(others, []);
  const { code, stdout } = await deadLetter('list');
  const time = `${newest.dead_at.slice(0, 19)}Z`;
  const [head = '', first, second, ...rest] = stdout.split('\n');
  assert.match(head, /^ID +DEAD AT +EXPORTER +SIGNAL +TENANT +ITEMS +REASON$/);
  assert.equal(first, `${newest.id}  ${time}  postgres  traces  default/default  1      23514 ${REASON}`);
  assert(second?.startsWith(`${oldest.id}  `));
  assert.deepEqual([code, rest], [0, ['']]);
  const limited = await deadLetter('list', '--limit', '1');
  assert.equal(limited.stdout.split('\n')[2], 'these are the newest 1; there may be more, see --limit');
  assert.deepEqual(await listed('--limit', '1'), [newest]);
});

const countListed = async (...args: string[]): Promise<number> => (await listed(...args)).length;

DeadLetter('list takes an exporter, a signal and a tenant', async () => {
  await send('bad');
  assert.equal(await countListed('--exporter', 'postgres', '--signal', 'traces', '--org', 'default'), 1);
  assert.equal(await countListed('--exporter', 'postgres/other'), 0);
  assert.equal(await countListed('--signal', 'logs'), 0);
  assert.equal(await countListed('--workspace', 'other'), 0);
});

DeadLetter('show prints the row, column by column', async () => {
  await send('bad\u001b[2J\u009b name');
  const [letter] = await listed();
  assert(letter !== undefined);
  const { code, stdout } = await deadLetter('show', letter.id.toUpperCase());
  assert.equal(code, 0);
  assert.match(stdout, new RegExp(`^id +${letter.id}\nwhere +postgres://`));
  assert.match(stdout, /^sqlstate +23514\nreason +new row .*\nitems +1\nformat +spans\/\d+, \d+ bytes\n\n/m);
  assert.match(stdout, /^name +bad\\u001b\[2J\\u009b name\n/m);
  const { row, ...rest } = z
    .strictObject({ ...letterRow.shape, row: z.record(z.string(), z.unknown()) })
    .parse(JSON.parse((await deadLetter('show', '--json', letter.id)).stdout));
  assert.deepEqual(rest, letter);
  assert.deepEqual([row['name'], row['kind'], row['target_id']], ['bad\u001b[2J\u009b name', 0, null]);
});

DeadLetter('replay stores what the database takes by now, while the gateway runs', async () => {
  await send('good', 'bad 1', 'bad 2', 'bad 3');
  const [one, two] = await listed();
  assert(one !== undefined && two !== undefined);
  const refused = await deadLetter('replay', one.id);
  assert.deepEqual([refused.code, refused.stdout], [1, `${one.id}: ${REASON}\n0 replayed, 1 refused\n`]);
  await takeAll(gateway.pool);
  const named = await deadLetter('replay', one.id, two.id);
  assert.deepEqual([named.code, named.stdout, named.stderr], [0, '2 replayed, 0 refused\n', '']);
  const rest = await deadLetter('replay', '--all', '--signal', 'traces');
  assert.deepEqual([rest.code, rest.stdout], [0, '1 replayed, 0 refused\n']);
  assert.deepEqual(await storedNames(gateway.pool), ['bad 1', 'bad 2', 'bad 3', 'good']);
  assert.equal(await count(), 0);
});

DeadLetter('drop removes letters by id, or all that match', async () => {
  await send('bad 1', 'bad 2', 'bad 3');
  const [one] = await listed();
  const named = await deadLetter('drop', one?.id ?? '');
  assert.deepEqual([named.code, named.stdout], [0, '1 dropped\n']);
  assert.equal((await deadLetter('drop', '--all', '--org', 'other')).stdout, '0 dropped\n');
  assert.equal((await deadLetter('drop', '--all', '--org', 'default')).stdout, '2 dropped\n');
  assert.equal(await count(), 0);
});

DeadLetter('an id that nobody has fails, and the others are worked on', async () => {
  await send('bad');
  const [letter] = await listed();
  const unknown = randomUUID();
  const message = new RegExp(`there is no dead letter with the id ${unknown}`);
  for (const args of [
    ['show', unknown],
    ['replay', unknown],
    ['drop', unknown, letter?.id ?? ''],
  ]) {
    const { code, stderr } = await deadLetter(...args);
    assert.equal(code, 1);
    assert.match(stderr, message);
  }
  assert.equal(await count(), 0);
  assert.equal((await deadLetter('show', 'nonsense')).code, 1);
});

const WRONG: readonly (readonly [name: string, command: Command, values: CommandContext['values'], says: RegExp])[] = [
  ['a limit of nothing', deadLetterList, { limit: '0' }, /--limit must be a whole number/],
  ['a limit beyond the largest', deadLetterList, { limit: '10001' }, /--limit must be a whole number/],
  ['a signal that is none', deadLetterList, { signal: 'trace' }, /unknown signal `trace`; did you mean `traces`/],
  ['a replay of nothing', deadLetterReplay, {}, /either their ids, or --all/],
  ['a drop of nothing', deadLetterDrop, {}, /either their ids, or --all/],
  ['ids and all', deadLetterDrop, { all: true, ID: ['x'] }, /either their ids, or --all/],
  ['ids and a filter', deadLetterDrop, { ID: ['x'], org: 'acme' }, /exporter, signal, org, workspace go with --all/],
];

for (const [name, command, values, says] of WRONG) {
  DeadLetter(`${name} is refused`, async () => {
    const context = { values, env: {}, print: assert.fail, stop: new AbortController().signal };
    await assert.rejects(command.run(context), (error) => error instanceof UsageError && says.test(error.message));
  });
}

DeadLetter('what is wrong with a command line exits 2', async () => {
  const { code, stderr } = await deadLetter('drop', '--org', 'acme');
  assert.equal(code, 2, stderr);
});

DeadLetter('a database that is away is an error, and not an empty list', async () => {
  const { code, stdout, stderr } = await sluice(['dead-letter', 'list'], {
    env: { DATABASE_URL: 'postgres://127.0.0.1:1/none' },
  });
  assert.deepEqual([code, stdout], [1, '']);
  assert.match(stderr, /the database cannot be used: nothing listens on 127\.0\.0\.1:1/);
});

DeadLetter.run();
