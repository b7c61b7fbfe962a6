/** `sluice dead-letter` on what exporters other than `postgres` gave up, in the file of a storage directory. */
import assert from 'node:assert/strict';
import { appendFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { suite } from 'uvu';
import { startGateway, type Gateway } from '../../src/cli/gateway.ts';
import { readDeadLetters } from '../../src/extensions/file_storage/dead_letters.ts';
import type { QueueRecord } from '../../src/model/record.ts';
import { DeadLetterFile } from '../../src/spool/dead_letter_file.ts';
import { forgetPositions } from '../../src/store/claims.ts';
import { accept, answering, scriptedServer, type Script, type ScriptedServer } from '../exporters/scripted_server.ts';
import { letter, NEVER, record, storageIn } from '../extensions/stored_records.ts';
import { withDirectory } from '../spool/opened_log.ts';
import { spanRecord, storedNames } from '../store/span_records.ts';
import { refuseBad } from '../store/poison.ts';
import { field, request, spanIds } from '../support/otlp_messages.ts';
import { freePort, GATEWAY_YAML, post } from '../support/gateway.ts';
import { testDatabase, type TestDatabase } from '../support/postgres.ts';
import { sluice, type Ended } from './sluice.ts';

const Filed = suite('sluice dead-letter, in a file');

const FORWARDING = GATEWAY_YAML.replace(
  'exporters:\n',
  `extensions:
  file_storage: { directory: "\${env:QUEUE}", min_free_space: 0 }
exporters:
  otlp_http: { endpoint: "\${env:SINK_URL}", compression: none, timeout: 2s }
`,
)
  .replace('service:\n', 'service:\n  extensions: [file_storage]\n')
  .replaceAll('exporters: [postgres]', 'exporters: [postgres, otlp_http]');

let database: TestDatabase;
let sink: ScriptedServer;

Filed.before(async () => {
  database = await testDatabase();
  sink = await scriptedServer();
});
Filed.before.each(async () => {
  await database.pool.query('DELETE FROM dead_letters; DELETE FROM otel_spans');
  sink.received.length = 0;
  sink.script = accept;
});
Filed.after(async () => {
  await sink.close();
  await database.close();
});

interface Place {
  /** The storage directory. */
  readonly directory: string;
  readonly deadLetter: (...args: string[]) => Promise<Ended>;
  readonly start: () => Promise<{ readonly gateway: Gateway; readonly url: string }>;
}

/** A configuration that stores and forwards, and a directory for its queues. */
function withPlace(work: (place: Place) => Promise<void>): Promise<void> {
  return withDirectory(async (directory) => {
    const config = path.join(directory, 'gateway.yaml');
    await writeFile(config, FORWARDING);
    const port = await freePort();
    const env = {
      DATABASE_URL: database.url,
      QUEUE: directory,
      SINK_URL: sink.url,
      SLUICE_OTLP_HTTP_ENDPOINT: `127.0.0.1:${port}`,
    };
    await work({
      directory,
      deadLetter: (...args) => sluice(['dead-letter', ...args, '--config', config], { env }),
      start: async () => ({
        gateway: await startGateway({ files: [config], sets: [], env }),
        url: `http://127.0.0.1:${port}`,
      }),
    });
  });
}

/** As the gateway of this directory gives them up. */
async function bury(directory: string, exporter: string, ...records: readonly QueueRecord[]): Promise<void> {
  const storage = storageIn(directory);
  await storage.start?.();
  for (const [i, each] of records.entries()) {
    await storage.deadLetters.add({ exporter, reason: 'refused', at: new Date(1000 * i), record: each });
  }
  await storage.shutdown?.(NEVER);
}

const spans = (...names: readonly string[]): Buffer =>
  request(names.map((name, i) => Buffer.concat([spanIds(i), field(5, name)])));

/** A record of `otlp_http`, which is a request as it came. */
function requestRecord(seq: number, ...names: readonly string[]): QueueRecord {
  const id = { queueId: '01234567-89ab-4cde-8f01-23456789abcd', seq };
  return { ...record('x'), format: 'otlp_proto/1', items: names.length, bytes: spans(...names), id };
}

async function inFile(directory: string): Promise<string[]> {
  const found = await Array.fromAsync(readDeadLetters(directory));
  return found.map((each) => ('letter' in each ? (each.letter?.reason ?? 'unknown') : 'damaged'));
}

const idsOf = ({ stdout }: Ended): string[] =>
  stdout.split('\n').flatMap((line) => /^([\da-f]{16}) {2}/.exec(line)?.[1] ?? []);

/** Refuses requests that hold this text. */
const refusing =
  (text: string, says: string): Script =>
  (response, received) =>
    (received.body.includes(text) ? answering(400, { 'content-type': 'text/plain' }, says) : accept)(
      response,
      received,
    );

Filed('what a destination refused is listed, shown, and replayed once it takes it', async () => {
  await withPlace(async ({ directory, deadLetter, start }) => {
    sink.script = answering(400);
    const { gateway, url } = await start();
    assert.equal((await post(`${url}/v1/traces`, spans('a', 'b'))).status, 200);
    await gateway.shutdown();

    const list = await deadLetter('list');
    assert.equal(list.code, 0, list.stderr);
    const [id = ''] = idsOf(list);
    assert.match(list.stdout, /^ID +DEAD AT +EXPORTER +SIGNAL +TENANT +ITEMS +REASON\n/);
    assert.match(
      list.stdout,
      / {2}otlp_http {2}traces {2}default\/default {2}2 +http:\/\/127\.0\.0\.1:\d+.* answered 400\n$/,
    );
    const shown = await deadLetter('show', id);
    assert.match(shown.stdout, new RegExp(`^id +${id}\nwhere +${directory}\n`));
    assert.match(shown.stdout, /\nformat +otlp_proto\/1, \d+ bytes\n\n\{\n {2}"resourceSpans": \[/);
    const { requests }: { requests: unknown } = JSON.parse((await deadLetter('show', '--json', id)).stdout);
    assert.match(JSON.stringify(requests), /^\[\{"resourceSpans":\[.*"name":"a".*"name":"b".*\}\]$/);

    const refused = await deadLetter('replay', id);
    assert.equal(refused.code, 1, refused.stderr);
    assert.match(refused.stdout, new RegExp(`^${id}: .* answered 400\n0 replayed, 1 refused\n$`));
    sink.script = accept;
    sink.received.length = 0;
    const replayed = await deadLetter('replay', '--all');
    assert.deepEqual([replayed.code, replayed.stdout, replayed.stderr], [0, '1 replayed, 0 refused\n', '']);
    assert.deepEqual(
      sink.received.map(({ path: route, body }) => [route, body.equals(spans('a', 'b'))]),
      [['/v1/traces', true]],
    );
    assert.equal((await deadLetter('list')).stdout, 'there are no dead letters\n');
  });
});

Filed('of several letters those that are refused again stay, with the reason of today and their ids', async () => {
  await withPlace(async ({ directory, deadLetter }) => {
    await bury(directory, 'otlp_http', ...['a', 'bad', 'c'].map((name, i) => requestRecord(i + 1, name)));
    const [, bad = '', oldest = ''] = idsOf(await deadLetter('list'));
    sink.script = refusing('bad', 'no such field');
    const replayed = await deadLetter('replay', '--all');
    assert.equal(replayed.code, 1);
    assert.match(replayed.stdout, new RegExp(`^${bad}: .*answered 400.*\n2 replayed, 1 refused\n$`));
    assert.deepEqual(
      sink.received.map(({ body }) => body),
      ['a', 'bad', 'c'].map((name) => spans(name)),
    );
    const list = await deadLetter('list');
    assert.deepEqual(idsOf(list), [bad]);
    assert.match(list.stdout, /answered 400/);
    const gone = await deadLetter('replay', oldest, bad);
    assert.equal(gone.code, 1);
    assert.match(gone.stderr, new RegExp(`there is no dead letter with the id ${oldest}`));
    assert.equal((await deadLetter('drop', bad)).stdout, '1 dropped\n');
    assert.deepEqual(await inFile(directory), []);
  });
});

Filed('a destination that is away is asked once, and nothing is lost or changed', async () => {
  await withPlace(async ({ directory, deadLetter }) => {
    await bury(directory, 'otlp_http', requestRecord(1, 'a'), requestRecord(2, 'b'));
    await bury(directory, 'otlp_http/gone', requestRecord(3, 'c'));
    sink.script = answering(503);
    const { code, stdout, stderr } = await deadLetter('replay', '--all');
    assert.deepEqual([code, stderr], [1, '']);
    const [first = '', second, third] = stdout.split('\n');
    assert.match(first, /^otlp_http cannot send now: .* answered 503/);
    assert.equal(second, 'otlp_http/gone cannot send now: the configuration has no exporter of this id');
    assert.equal(third, '0 replayed, 0 refused, 3 not tried');
    assert.equal(sink.received.length, 1);
    assert.deepEqual(await inFile(directory), ['refused', 'refused', 'refused']);
  });
});

Filed('a record that was given up twice, in a crash, is one letter and is sent once', async () => {
  await withPlace(async ({ directory, deadLetter }) => {
    await bury(directory, 'otlp_http', requestRecord(1, 'a'), requestRecord(1, 'a'));
    assert.equal(idsOf(await deadLetter('list')).length, 1);
    assert.equal((await deadLetter('replay', '--all')).stdout, '1 replayed, 0 refused\n');
    assert.equal(sink.received.length, 1);
    assert.deepEqual(await inFile(directory), []);
  });
});

Filed('items that a destination takes and refuses at once are told', async () => {
  await withPlace(async ({ directory, deadLetter }) => {
    await bury(directory, 'otlp_http', requestRecord(1, 'a', 'b'));
    const partial = JSON.stringify({ partialSuccess: { rejectedSpans: '1', errorMessage: 'no' } });
    sink.script = answering(200, { 'content-type': 'application/json' }, partial);
    const { code, stdout } = await deadLetter('replay', '--all');
    assert.equal(code, 1);
    assert.match(stdout, /^[\da-f]{16}: delivered, but for 1 items that the .* for good\n1 replayed, 0 refused\n$/);
    assert.deepEqual(await inFile(directory), []);
  });
});

Filed('a record of postgres is stored, also where its queue has settled its place', async () => {
  await withPlace(async ({ directory, deadLetter }) => {
    const id = { queueId: '01234567-89ab-4cde-8f01-23456789abcd', seq: 7 };
    await bury(directory, 'postgres', await spanRecord(['a', 'b'], { id }));
    await forgetPositions(database.pool, { ...id, seq: 8 });
    assert.equal((await deadLetter('replay', '--all')).stdout, '1 replayed, 0 refused\n');
    assert.deepEqual(await storedNames(database.pool), ['a', 'b']);
  });
});

Filed('what cannot be read is told, shown as it is, and dropped with all the rest', async () => {
  await withPlace(async ({ directory, deadLetter }) => {
    const lines = { ...record('x'), format: 'otlp_jsonl/1', bytes: Buffer.from('{"resourceSpans":[]}\n{"a":1}\n') };
    await bury(directory, 'file', record('\u001b[2J'), lines);
    const file = path.join(directory, 'dead_letters');
    const letters = new DeadLetterFile({ file, maxBytes: 100_000, putAside: assert.fail });
    await letters.add(Buffer.from('{"of":"a later version"}'), Buffer.from('x'));
    await letters.close();
    await appendFile(file, 'noise');
    const list = await deadLetter('list');
    assert.match(
      list.stdout,
      /\n1 more in .* were written by another version\n5 bytes of the dead letters in .* are damaged\n$/,
    );
    const [json = '', raw = ''] = idsOf(list);
    const { requests }: { requests: unknown } = JSON.parse((await deadLetter('show', '--json', json)).stdout);
    assert.deepEqual(requests, [{ resourceSpans: [] }, { a: 1 }]);
    const { base64 }: { base64: unknown } = JSON.parse((await deadLetter('show', '--json', raw)).stdout);
    assert.equal(base64, Buffer.from('\u001b[2J').toString('base64'));
    assert.equal((await deadLetter('drop', '--all')).stdout, '3 dropped\n');
    assert.equal((await deadLetter('list')).stdout, 'there are no dead letters\n');
  });
});

Filed('a control character in a reason does not reach the terminal', async () => {
  await withPlace(async ({ directory, deadLetter }) => {
    const storage = storageIn(directory);
    await storage.start?.();
    await storage.deadLetters.add(letter('\u001b[2J\nnext \u009b'));
    await storage.shutdown?.(NEVER);
    const list = await deadLetter('list');
    assert.match(list.stdout, / refused \\u001b\[2J\\u000anext \\u009b\n$/);
    const [id = ''] = idsOf(list);
    for (const args of [[id], ['--json', id]]) {
      assert.doesNotMatch((await deadLetter('show', ...args)).stdout, /[^\P{Cc}\n]/u);
    }
  });
});

Filed('while a gateway runs both places are listed, the table is replayed, and the file is left alone', async () => {
  await withPlace(async ({ directory, deadLetter, start }) => {
    await refuseBad(database.pool);
    sink.script = answering(400);
    const { gateway, url } = await start();
    try {
      assert.equal((await post(`${url}/v1/traces`, spans('bad'))).status, 200);
      while ((await inFile(directory)).length < 1);
      const list = await deadLetter('list');
      assert.match(list.stdout, /^ID .* WHERE\n/);
      assert.match(list.stdout, new RegExp(` {2}otlp_http .* {2}${directory}\n`));
      assert.match(list.stdout, /^[\da-f-]{36} .* postgres .* {2}postgres:\/\/.*\n/m);
      const [filed = ''] = idsOf(list);

      await database.pool.query('ALTER TABLE otel_spans DROP CONSTRAINT poison');
      const IN_USE = /is in use by another sluice \(pid \d+\): stop it, since the dead letters in its file can be/;
      const all = await deadLetter('replay', '--all');
      assert.deepEqual([all.code, all.stdout], [1, '1 replayed, 0 refused\n']);
      assert.match(all.stderr, IN_USE);
      assert.deepEqual(await storedNames(database.pool), ['bad']);
      for (const args of [
        ['replay', filed],
        ['drop', filed],
        ['drop', '--all'],
      ]) {
        const { code, stderr } = await deadLetter(...args);
        assert.equal(code, 1);
        assert.match(stderr, IN_USE);
        assert.equal(stderr.trim().split('\n').length, 1);
      }
      assert.equal((await inFile(directory)).length, 1);
    } finally {
      await gateway.shutdown();
    }
    sink.script = accept;
    assert.equal((await deadLetter('replay', '--all')).stdout, '1 replayed, 0 refused\n');
  });
});

Filed.run();
