import assert from 'node:assert/strict';
import { lstat, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { suite } from 'uvu';
import { RetryableError } from '../../src/errors.ts';
import { file } from '../../src/exporters/file.ts';
import { FULL_TRACE, LOG } from '../otlp/golden_vectors.ts';
import { lineOf, manySpans, send, succeeds } from './lines.ts';
import { batchOf, built, NEVER, RECEIVED_AT_MS, recordOf } from './records.ts';

const Full = suite('file exporter on a full disk');

const DAY_MS = 86_400_000;

/** Lends a file system of 1 MiB. */
async function onSmallDisk(use: (mount: string) => Promise<void>): Promise<void> {
  const mount = await mkdtemp(path.join(os.tmpdir(), 'sluice-full-'));
  if (!succeeds('mount', '-t', 'tmpfs', '-o', 'size=1m,mode=0700', 'tmpfs', mount)) {
    await rm(mount, { recursive: true });
    console.log('SKIP a file system of 1 MiB needs the right to mount one');
    return;
  }
  try {
    await use(mount);
  } finally {
    succeeds('umount', '-l', mount);
    await rm(mount, { recursive: true });
  }
}

Full('a send is written whole or not at all, and works again when there is room', () =>
  onSmallDisk(async (mount) => {
    const exporter = built(file, { directory: mount });
    await exporter.start?.();
    const body = manySpans('a');
    await send(exporter, 'traces', body);
    const ballast = path.join(mount, 'ballast');
    const written = (await lstat(path.join(mount, 'otel-traces-20261120.jsonl'))).size;
    await assert.rejects(send(exporter, 'traces', body), (error) => {
      assert.ok(error instanceof RetryableError, String(error));
      assert.match(error.message, /ENOSPC|bytes could be written/);
      return true;
    });
    assert.equal((await lstat(path.join(mount, 'otel-traces-20261120.jsonl'))).size, written);
    await writeFile(ballast, Buffer.alloc(1 << 20)).catch(() => undefined);
    await assert.rejects(send(exporter, 'logs', LOG), RetryableError);
    await rm(ballast);
    await send(exporter, 'logs', LOG);
    assert.equal(await readFile(path.join(mount, 'otel-logs-20261120.jsonl'), 'utf8'), lineOf('logs', LOG));
    await exporter.shutdown?.(NEVER);
  }),
);

/** Limits the size of this process's files; false when that did not work. */
const limit = (bytes: string): boolean => succeeds('prlimit', '--pid', String(process.pid), `--fsize=${bytes}:`);

Full('a write that is cut short is taken back', async () => {
  const folder = await mkdtemp(path.join(os.tmpdir(), 'sluice-short-'));
  const exporter = built(file, { directory: folder });
  await exporter.start?.();
  await send(exporter, 'traces', FULL_TRACE);
  const record = await recordOf(exporter, batchOf('traces', Buffer.concat([manySpans('a'), manySpans('b')])));
  if (!limit('1048576')) console.log('SKIP a limit on the size of files needs the command prlimit');
  else {
    await assert.rejects(exporter.send([record], NEVER), /^RetryableError: cannot write to the file: /);
    assert.ok(limit('unlimited'));
    const line = lineOf('traces', FULL_TRACE);
    const name = path.join(folder, 'otel-traces-20261120.jsonl');
    assert.equal(await readFile(name, 'utf8'), line);
    await exporter.send([record], NEVER);
    assert.equal(await readFile(name, 'utf8'), line + Buffer.from(record.bytes).toString());
  }
  await exporter.shutdown?.(NEVER);
  await rm(folder, { recursive: true });
});

Full('days that are sent together are all taken back', () =>
  onSmallDisk(async (mount) => {
    const exporter = built(file, { directory: mount });
    await exporter.start?.();
    const days = [RECEIVED_AT_MS, RECEIVED_AT_MS + DAY_MS];
    const records = days.map((ms) => recordOf(exporter, batchOf('traces', manySpans('a'), ms)));
    await assert.rejects(exporter.send(await Promise.all(records), NEVER), RetryableError);
    for (const day of ['20261120', '20261121']) {
      assert.equal((await lstat(path.join(mount, `otel-traces-${day}.jsonl`))).size, 0);
    }
    await exporter.shutdown?.(NEVER);
  }),
);

Full.run();
