/** `sluice queue`: what waits on disk, told without touching it. */
import assert from 'node:assert/strict';
import { readdir, readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { suite } from 'uvu';
import { encodeHead } from '../../src/model/record.ts';
import { NEVER, NO_EVENTS, record, storageIn } from '../extensions/stored_records.ts';
import { withDirectory } from '../spool/opened_log.ts';
import { sluice, type Ended } from './sluice.ts';

const Queue = suite('sluice queue');

/** Five records of two tenants in two queues, the first of which is delivered. */
async function fill(directory: string): Promise<void> {
  const storage = storageIn(directory);
  await storage.start?.();
  const records = [record('one'), record('two'), record('three', 'other', Date.UTC(2026, 10, 19)), record('four')];
  for (const [name, from] of [
    ['postgres', 0],
    ['otlp_http/tempo', 3],
  ] as const) {
    const log = storage.log(name);
    await log.open(NO_EVENTS);
    const appended = [];
    for (const each of records.slice(from)) appended.push(await log.append(encodeHead(each), each.bytes));
    const [first] = appended;
    if (name === 'postgres' && first !== undefined) log.release(first.id);
  }
  await storage.shutdown?.(NEVER);
}

const queue = (directory: string, ...args: string[]): Promise<Ended> =>
  sluice(['queue', ...args, '--directory', directory]);

async function contentOf(directory: string): Promise<[string, string][]> {
  const files = (await readdir(directory, { recursive: true, withFileTypes: true })).filter((each) => each.isFile());
  const paths = files.map((each) => path.join(each.parentPath, each.name)).toSorted();
  return Promise.all(paths.map(async (file) => [file, await readFile(file, 'base64')] as [string, string]));
}

Queue('list tells what waits by queue and tenant, and touches nothing', async () => {
  await withDirectory(async (directory) => {
    await fill(directory);
    const before = await contentOf(directory);
    const { code, stdout, stderr } = await queue(directory, 'list');
    assert.deepEqual({ code, stderr }, { code: 0, stderr: '' });
    assert.deepEqual(stdout.split('\n'), [
      'QUEUE            TENANT     RECORDS  ITEMS  BYTES  OLDEST',
      'otlp_http/tempo  acme/web   1        4      4      2026-11-20T00:00:00.000Z',
      'postgres         acme/web   2        7      7      2026-11-20T00:00:00.000Z',
      'postgres         other/web  1        5      5      2026-11-19T00:00:00.000Z',
      '',
    ]);
    const json: unknown = JSON.parse((await queue(directory, 'list', '--json', '--queue', 'otlp_http/tempo')).stdout);
    const row = { queue: 'otlp_http/tempo', tenant: 'acme/web', records: 1, items: 4, bytes: 4 };
    assert.deepEqual(json, [{ ...row, oldest: '2026-11-20T00:00:00.000Z' }]);
    assert.deepEqual(await contentOf(directory), before);
  });
});

Queue('dump prints a line a record, by number and up to a limit, with the bytes when asked', async () => {
  await withDirectory(async (directory) => {
    await fill(directory);
    const lines = async (...args: string[]): Promise<Record<string, unknown>[]> =>
      (await queue(directory, 'dump', ...args)).stdout
        .trim()
        .split('\n')
        .map((line) => JSON.parse(line));
    const all = await lines('--queue', 'postgres');
    assert.deepEqual(
      all.map(({ seq, format, bytes }) => [seq, format, bytes]),
      [
        [2, 'rows/1', 3],
        [3, 'rows/1', 5],
        [4, 'rows/1', 4],
      ],
    );
    const [only, ...others] = await lines('--queue', 'postgres', '--seq', '3', '--body');
    assert.deepEqual(others, []);
    const { queueId, ...fields } = only ?? {};
    assert.match(String(queueId), /^[0-9a-f-]{36}$/);
    assert.deepEqual(fields, {
      queue: 'postgres',
      seq: 3,
      signal: 'traces',
      tenant: { orgId: 'other', workspaceId: 'web' },
      receivedAtMs: Date.UTC(2026, 10, 19),
      receipt: Buffer.alloc(32, 'three').toString('hex'),
      format: 'rows/1',
      items: 5,
      bytes: 5,
      body: Buffer.from('three').toString('base64'),
    });
    assert.equal((await lines('--limit', '1')).length, 1);
  });
});

Queue('verify tells what is damaged by file and offset, and exits 1', async () => {
  await withDirectory(async (directory) => {
    await fill(directory);
    const whole = await queue(directory, 'verify');
    assert.deepEqual([whole.code, whole.stderr], [0, '']);
    assert.match(whole.stdout, /^postgres: 4 records are whole, 3 of them wait; 0 places are damaged$/m);
    const file = path.join(directory, 'postgres.queue/0000000000000001.seg');
    const content = await readFile(file);
    await writeFile(file, content.subarray(0, -1));
    const damaged = await queue(directory, 'verify', '--queue', 'postgres');
    assert.equal(damaged.code, 0);
    assert.match(
      damaged.stdout,
      /0000000000000001\.seg: \d+ bytes at offset \d+ are the beginning of a record that is not finished\n/,
    );
    content[content.indexOf('three')] = 0;
    await writeFile(file, content);
    const flipped = await queue(directory, 'verify');
    assert.equal(flipped.code, 1);
    assert.match(
      flipped.stdout,
      /0000000000000001\.seg: \d+ bytes at offset \d+ are damaged; records that are missing: 1\n/,
    );
    assert.match(flipped.stdout, /^postgres: 3 records are whole, 2 of them wait; 1 places are damaged$/m);
  });
});

Queue('reads a directory that a gateway has open, and does not keep it from starting', async () => {
  await withDirectory(async (directory) => {
    const storage = storageIn(directory);
    await storage.start?.();
    const log = storage.log('postgres');
    await log.open(NO_EVENTS);
    const { bytes, ...head } = record('one');
    await log.append(encodeHead(head), bytes);
    assert.match((await queue(directory, 'list')).stdout, /^postgres +acme\/web +1 /m);
    assert.equal((await queue(directory, 'verify')).code, 0);
    await log.append(encodeHead(head), bytes);
    await storage.shutdown?.(NEVER);
  });
});

Queue('finds the directory in the configuration', async () => {
  await withDirectory(async (directory) => {
    await fill(directory);
    const config = path.join(directory, 'gateway.yaml');
    await writeFile(config, `extensions: { file_storage/mine: { directory: ${JSON.stringify(directory)} } }\n`);
    const { stdout, stderr, code } = await sluice(['queue', 'list', '--config', config]);
    assert.equal(code, 78, stdout);
    assert.match(stderr, /service/);
    const pipelines =
      'service: { extensions: [file_storage/mine], pipelines: { traces: { receivers: [otlp], exporters: [debug] } } }';
    await writeFile(
      config,
      `extensions: { file_storage/mine: { directory: ${JSON.stringify(directory)} } }\n${pipelines}\n`,
    );
    assert.match((await sluice(['queue', 'list', '--config', config])).stdout, /^postgres +acme\/web +2 /m);
  });
});

Queue('says what is wrong with the command line or the directory', async () => {
  await withDirectory(async (directory) => {
    assert.match(
      (await queue(path.join(directory, 'absent'), 'list')).stderr,
      /storage directory cannot be read: ENOENT/,
    );
    assert.equal((await queue(directory, 'list')).stdout, 'nothing waits on disk\n');
    assert.match((await queue(directory, 'list', '--queue', 'x')).stderr, /there is no queue x/);
    assert.equal((await queue(directory, 'dump', '--seq', '0')).code, 2);
    assert.equal((await queue(directory, 'dump', '--limit', 'many')).code, 2);
  });
});

Queue.run();
