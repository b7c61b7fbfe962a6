import assert from 'node:assert/strict';
import { chmod, lstat, mkdir, mkdtemp, readdir, readFile, rm, symlink, utimes, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { zstdDecompressSync } from 'node:zlib';
import { suite } from 'uvu';
import type { Exporter } from '../../src/component.ts';
import { ConfigError, PermanentError, RetryableError } from '../../src/errors.ts';
import { file } from '../../src/exporters/file.ts';
import { itemCount } from '../../src/model/batch.ts';
import { FULL_TRACE, LOG, METRICS } from '../otlp/golden_vectors.ts';
import { createShared } from '../../src/pipeline/shared.ts';
import { any, attribute, field, request, spanIds } from '../support/otlp_messages.ts';
import { testSettings } from '../support/settings.ts';
import { lineOf, manySpans, send, succeeds } from './lines.ts';
import { batchOf, built, keptLog, NEVER, RECEIVED_AT_MS, recordOf } from './records.ts';

const File = suite('file exporter');

const DAY_MS = 86_400_000;

/** Removed after each test; the exporter's directory is in it. */
let folder = '';
let directory = '';
const open = new Set<Exporter>();

File.before.each(async () => {
  folder = await mkdtemp(path.join(os.tmpdir(), 'sluice-file-'));
  directory = path.join(folder, 'files');
});
File.after.each(async () => {
  for (const exporter of open) await exporter.shutdown?.(NEVER);
  open.clear();
  await rm(folder, { recursive: true });
});

async function started(config: object = {}, logger = keptLog().logger): Promise<Exporter> {
  const exporter = built(file, { directory, ...config }, logger);
  open.add(exporter);
  await exporter.start?.();
  return exporter;
}

async function stop(exporter: Exporter): Promise<void> {
  await exporter.shutdown?.(NEVER);
  open.delete(exporter);
}

const pathOf = (name: string): string => path.join(directory, name);
const read = (name: string): Promise<string> => readFile(pathOf(name), 'utf8');
const lines = async (name: string): Promise<string[]> => (await read(name)).split('\n').slice(0, -1);
/** The files of the exporter. */
const names = async (): Promise<string[]> =>
  (await readdir(directory)).filter((name) => !name.startsWith('sluice.')).toSorted();

const dayOf = (ms: number): string => new Date(ms).toISOString().slice(0, 10).replaceAll('-', '');
const TODAY = dayOf(Date.now());

const LINE = lineOf('traces', FULL_TRACE);

File('writes one line of OTLP/JSON a request, one file a signal and UTC day of receiving', async () => {
  const exporter = await started();
  const midnight = Date.UTC(2026, 10, 21);
  await send(exporter, 'traces', FULL_TRACE, midnight - 1);
  await send(exporter, 'traces', FULL_TRACE, midnight);
  await send(exporter, 'traces', FULL_TRACE, midnight);
  await send(exporter, 'logs', LOG);
  await send(exporter, 'metrics', METRICS);
  assert.deepEqual(await names(), [
    'otel-logs-20261120.jsonl',
    'otel-metrics-20261120.jsonl',
    'otel-traces-20261120.jsonl',
    'otel-traces-20261121.jsonl',
  ]);
  assert.equal(await read('otel-traces-20261120.jsonl'), LINE);
  assert.equal(await read('otel-traces-20261121.jsonl'), LINE + LINE);
  assert.equal(await read('otel-logs-20261120.jsonl'), lineOf('logs', LOG));
});

File('one send may hold records of two days', async () => {
  const exporter = await started();
  const days = [RECEIVED_AT_MS, RECEIVED_AT_MS + DAY_MS, RECEIVED_AT_MS];
  const records = days.map((ms) => recordOf(exporter, batchOf('traces', FULL_TRACE, ms)));
  await exporter.send(await Promise.all(records), NEVER);
  assert.equal(await read('otel-traces-20261120.jsonl'), LINE + LINE);
  assert.equal(await read('otel-traces-20261121.jsonl'), LINE);
});

File('with the names of Pencheff all signals of a day share a file', async () => {
  const exporter = await started({ file_name: 'otel-{date}.jsonl' });
  await send(exporter, 'traces', FULL_TRACE);
  await send(exporter, 'logs', LOG);
  assert.deepEqual(await names(), ['otel-20261120.jsonl']);
  assert.equal((await lines('otel-20261120.jsonl')).length, 2);
});

File('text with line breaks stays on its line', async () => {
  const exporter = await started();
  await send(exporter, 'traces', request([Buffer.concat([spanIds(1), field(5, 'a\nb\r\u2028"}]}')])]));
  const [line = '', ...rest] = await lines('otel-traces-20261120.jsonl');
  assert.deepEqual(rest, []);
  assert.ok(JSON.stringify(JSON.parse(line)).includes(JSON.stringify('a\nb\r\u2028"}]}')));
});

File('a long request becomes lines that readers take, with every item once', async () => {
  const exporter = await started();
  const batch = batchOf('traces', Buffer.concat(['a', 'b', 'c'].map(manySpans)));
  const record = await recordOf(exporter, batch);
  assert.equal(record.items, itemCount(batch));
  await exporter.send([record], NEVER);
  const written = await lines('otel-traces-20261120.jsonl');
  assert.ok(written.length > 4);
  for (const line of written) assert.ok(line.length < 1_048_576);
  assert.equal(written.join('').match(/"spanId"/g)?.length, 1800);
});

File('only its owner reads what it writes', async () => {
  directory = path.join(directory, 'of', 'its own');
  const exporter = await started();
  await send(exporter, 'traces', FULL_TRACE);
  for (const level of ['', '..', '../..']) assert.equal((await lstat(pathOf(level))).mode & 0o777, 0o700);
  assert.equal((await lstat(pathOf('otel-traces-20261120.jsonl'))).mode & 0o777, 0o600);
});

File('appends to what is there, and cuts off a line that a crash left unfinished', async () => {
  await mkdir(directory, { mode: 0o700 });
  const torn = LINE.slice(0, 100);
  await writeFile(pathOf('otel-traces-20261120.jsonl'), LINE + torn);
  await writeFile(pathOf('otel-logs-20261120.jsonl'), 'x'.repeat(200_000));
  await writeFile(pathOf('otel-metrics-20261120.2.jsonl'), `${'y'.repeat(150_000)}\n${'z'.repeat(150_000)}`);
  await writeFile(pathOf('notes.txt'), 'torn');
  const log = keptLog();
  const exporter = await started({}, log.logger);
  assert.equal(await read('otel-traces-20261120.jsonl'), LINE);
  assert.equal(await read('otel-logs-20261120.jsonl'), '');
  assert.equal((await read('otel-metrics-20261120.2.jsonl')).length, 150_001);
  assert.equal(await read('notes.txt'), 'torn');
  assert.deepEqual(
    log.lines.filter(({ level }) => level === 'warn').map(({ fields }) => fields),
    [
      { file: 'otel-logs-20261120.jsonl', bytes: 200_000 },
      { file: 'otel-traces-20261120.jsonl', bytes: 100 },
      { file: 'otel-metrics-20261120.2.jsonl', bytes: 150_000 },
    ],
  );
  await send(exporter, 'traces', FULL_TRACE);
  assert.equal(await read('otel-traces-20261120.jsonl'), LINE + LINE);
});

const bigSpan = (i: number): Buffer =>
  request([Buffer.concat([spanIds(i), field(5, `span ${i};`), attribute(9, 'k', any.string('x'.repeat(50_000)))])]);

File('many sends at once: every line whole, every line once', async () => {
  const exporter = await started({ rotation: { max_megabytes: 1 } });
  const numbers = Array.from({ length: 60 }, (_, i) => i);
  await Promise.all(numbers.map((i) => send(exporter, 'traces', bigSpan(i))));
  const files = await names();
  assert.deepEqual(files, [
    'otel-traces-20261120.2.jsonl',
    'otel-traces-20261120.3.jsonl',
    'otel-traces-20261120.jsonl',
  ]);
  const written = (await Promise.all(files.map(lines))).flat();
  for (const line of written) JSON.parse(line);
  const found = written.flatMap((line) => line.match(/span \d+;/g) ?? []);
  assert.deepEqual(found.toSorted(), numbers.map((i) => `span ${i};`).toSorted());
});

File('a file that would become too large is followed by the next part, also after a restart', async () => {
  for (const round of [1, 2]) {
    const exporter = await started({ rotation: { max_megabytes: 1 } });
    await send(exporter, 'traces', manySpans(`a${round}`));
    await send(exporter, 'traces', manySpans(`b${round}`));
    await stop(exporter);
  }
  assert.deepEqual(await names(), [
    'otel-traces-20261120.2.jsonl',
    'otel-traces-20261120.3.jsonl',
    'otel-traces-20261120.4.jsonl',
    'otel-traces-20261120.jsonl',
  ]);
});

File('a send that is larger than a file may be is written all the same', async () => {
  const exporter = await started({ rotation: { max_megabytes: 1 } });
  const body = Buffer.concat(['a', 'b'].map(manySpans));
  await send(exporter, 'traces', body);
  await send(exporter, 'traces', body);
  assert.deepEqual(await names(), ['otel-traces-20261120.2.jsonl', 'otel-traces-20261120.jsonl']);
});

File('old files go, and nothing else', async () => {
  await mkdir(directory, { mode: 0o700 });
  const old = new Date(Date.now() - 9 * DAY_MS);
  const [past, recent] = [dayOf(Date.now() - 9 * DAY_MS), dayOf(Date.now() - 5 * DAY_MS)];
  const files = [
    `otel-traces-${past}.jsonl`,
    `otel-traces-${past}.2.jsonl.zst`,
    `otel-traces-${recent}.jsonl`,
    `otel-traces-${past}.jsonl.bak`,
    `other-${past}.jsonl`,
  ];
  for (const name of files) {
    await writeFile(pathOf(name), '{}\n');
    await utimes(pathOf(name), old, old);
  }
  // Its day is long ago, but it was written just now: it had been queued.
  await writeFile(pathOf(`otel-logs-${past}.jsonl`), '{}\n');
  await symlink(pathOf('notes.txt'), pathOf(`otel-metrics-${past}.jsonl`));
  await stop(await started());
  assert.deepEqual(
    await names(),
    [
      `otel-logs-${past}.jsonl`,
      `otel-metrics-${past}.jsonl`,
      `otel-traces-${recent}.jsonl`,
      `otel-traces-${past}.jsonl.bak`,
      `other-${past}.jsonl`,
    ].toSorted(),
  );
});

File('max_days: 0 keeps all', async () => {
  await mkdir(directory, { mode: 0o700 });
  await writeFile(pathOf('otel-traces-20200101.jsonl'), '{}\n');
  await utimes(pathOf('otel-traces-20200101.jsonl'), 0, 0);
  await stop(await started({ rotation: { max_days: 0 } }));
  assert.deepEqual(await names(), ['otel-traces-20200101.jsonl']);
});

File('zstd: parts that are finished are compressed, and unpack to what they were', async () => {
  const config = { rotation: { max_megabytes: 1 }, compression: 'zstd' };
  const exporter = await started(config);
  await send(exporter, 'traces', manySpans('a'));
  const first = await read('otel-traces-20261120.jsonl');
  await send(exporter, 'traces', manySpans('b'));
  const second = await read('otel-traces-20261120.2.jsonl');
  await stop(exporter);
  assert.deepEqual(await names(), ['otel-traces-20261120.2.jsonl', 'otel-traces-20261120.jsonl.zst']);
  assert.equal(zstdDecompressSync(await readFile(pathOf('otel-traces-20261120.jsonl.zst'))).toString(), first);
  assert.equal((await lstat(pathOf('otel-traces-20261120.jsonl.zst'))).mode & 0o777, 0o600);
  assert.equal(await read('otel-traces-20261120.2.jsonl'), second);
});

File('zstd: the last part of a day that is over is compressed, and what comes late gets the next one', async () => {
  const config = { compression: 'zstd', rotation: { max_days: 0 } };
  await mkdir(directory, { mode: 0o700 });
  const yesterday = new Date(Date.now() - DAY_MS);
  for (const day of ['20200101', TODAY]) {
    await writeFile(pathOf(`otel-traces-${day}.jsonl`), LINE);
    await utimes(pathOf(`otel-traces-${day}.jsonl`), yesterday, yesterday);
  }
  // Its day is over, too, but it was just written.
  await writeFile(pathOf('otel-logs-20200101.jsonl'), LINE);
  await stop(await started(config));
  const kept = [`otel-traces-${TODAY}.jsonl`, 'otel-logs-20200101.jsonl', 'otel-traces-20200101.jsonl.zst'];
  assert.deepEqual(await names(), kept.toSorted());
  const { mtimeMs } = await lstat(pathOf('otel-traces-20200101.jsonl.zst'));
  assert.ok(Math.abs(mtimeMs - yesterday.getTime()) < 1000);
  const late = await started(config);
  await send(late, 'traces', FULL_TRACE, Date.UTC(2020, 0, 1));
  assert.deepEqual(await names(), [...kept, 'otel-traces-20200101.2.jsonl'].toSorted());
});

File('zstd: what a crash left of a compression is done again', async () => {
  await mkdir(directory, { mode: 0o700 });
  const name = 'otel-traces-20200101.jsonl';
  await writeFile(pathOf(name), LINE);
  await writeFile(pathOf(`${name}.zst`), 'half');
  await writeFile(pathOf(`${name}.zst.tmp`), 'a quarter');
  await utimes(pathOf(name), 1, 1);
  await stop(await started({ compression: 'zstd', rotation: { max_days: 0 } }));
  assert.deepEqual(await names(), [`${name}.zst`]);
  assert.equal(zstdDecompressSync(await readFile(pathOf(`${name}.zst`))).toString(), LINE);
});

File('zstd: a stop that cannot wait leaves the file as it was', async () => {
  await mkdir(directory, { mode: 0o700 });
  const name = 'otel-traces-20200101.jsonl';
  await writeFile(pathOf(name), LINE.repeat(20_000));
  await utimes(pathOf(name), 1, 1);
  const exporter = await started({ compression: 'zstd', rotation: { max_days: 0 } });
  await exporter.shutdown?.(AbortSignal.abort());
  assert.deepEqual(await names(), [name]);
});

File('a link in the place of a file is not followed', async () => {
  await mkdir(directory, { mode: 0o700 });
  const target = path.join(folder, 'target');
  await writeFile(target, 'precious');
  await symlink(target, pathOf('otel-traces-20261120.jsonl'));
  const exporter = await started();
  await assert.rejects(send(exporter, 'traces', FULL_TRACE), (error) => {
    assert.ok(error instanceof RetryableError);
    assert.equal(error.message, 'cannot write to the file: ELOOP');
    return true;
  });
  assert.equal(await readFile(target, 'utf8'), 'precious');
});

File('neither is what is no regular file', async () => {
  const exporter = await started();
  await mkdir(pathOf('otel-traces-20261120.jsonl'));
  await assert.rejects(send(exporter, 'traces', FULL_TRACE), /EISDIR/);
  assert.ok(succeeds('mkfifo', pathOf('otel-logs-20261120.jsonl')));
  await assert.rejects(send(exporter, 'logs', LOG), /is no regular file/);
});

File('a directory belongs to one exporter', async () => {
  await started();
  await assert.rejects(started(), /is in use by another sluice/);
});

File('two exporters of one configuration on one directory: a fault that names both', () => {
  const shared = createShared();
  const create = (id: string, own: string) =>
    file.create(file.config.parse({ directory: own }), { ...testSettings(id), shared });
  create('file/one', directory);
  create('file/three', `${directory}3`);
  assert.throws(
    () => create('file/two', `${folder}/./files`),
    (error) => {
      assert.ok(error instanceof ConfigError);
      const message = `found ${folder}/./files, where exporter file/one has its files; allowed for file/two: a directory of its own`;
      assert.deepEqual(error.faults, [{ path: 'directory', message }]);
      return true;
    },
  );
});

File('a directory that everybody can write to, such as an emptyDir, is used with a warning', async () => {
  await mkdir(directory);
  await chmod(directory, 0o777);
  const log = keptLog();
  const exporter = await started({}, log.logger);
  const warnings = log.lines.filter(({ level }) => level === 'warn');
  assert.deepEqual(warnings, [
    { level: 'warn', fields: { directory }, message: 'everybody on this machine can write to the directory' },
  ]);
  await send(exporter, 'traces', FULL_TRACE);
  assert.equal(await read('otel-traces-20261120.jsonl'), LINE);
});

File('a directory may be reached through a link, which is looked at once', async () => {
  const real = path.join(folder, 'real');
  await mkdir(real, { mode: 0o700 });
  await symlink(real, directory);
  const exporter = await started();
  await rm(directory);
  await send(exporter, 'traces', FULL_TRACE);
  assert.equal(await readFile(path.join(real, 'otel-traces-20261120.jsonl'), 'utf8'), LINE);
});

File('what failed may work later: a directory that was gone is back', async () => {
  const exporter = await started();
  await rm(directory, { recursive: true });
  await assert.rejects(send(exporter, 'traces', FULL_TRACE), RetryableError);
  await mkdir(directory, { mode: 0o700 });
  await send(exporter, 'traces', FULL_TRACE);
  assert.equal(await read('otel-traces-20261120.jsonl'), LINE);
});

File('a format of another version becomes a dead letter', async () => {
  const exporter = await started();
  const record = await recordOf(exporter, batchOf('traces', FULL_TRACE));
  await assert.rejects(exporter.send([{ ...record, format: 'otlp_jsonl/2' }], NEVER), PermanentError);
});

File('building one touches no disk, and it can be stopped without a start, and twice', async () => {
  const exporter = built(file, { directory });
  await assert.rejects(readdir(directory), /ENOENT/);
  await exporter.shutdown?.(NEVER);
  await exporter.shutdown?.(NEVER);
});

File.run();
