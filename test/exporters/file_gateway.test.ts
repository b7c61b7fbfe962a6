import assert from 'node:assert/strict';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import * as fc from 'fast-check';
import { suite } from 'uvu';
import { SIGNALS, type Signal } from '../../src/model/batch.ts';
import { arbitraryRequest } from '../otlp/arbitrary_request.ts';
import { FULL_TRACE, LOG, METRICS } from '../otlp/golden_vectors.ts';
import { oracleEncode } from '../otlp/oracle.ts';
import { countRows, GATEWAY_YAML, post, testGateway } from '../support/gateway.ts';
import { rowsOf, TABLES } from './stored.ts';

const Replay = suite('files of the file exporter');

/** Stores and writes files; a request is answered when both have it. */
const writingYaml = (directory: string): string =>
  GATEWAY_YAML.replace(
    'exporters:\n',
    `exporters:
  file:
    directory: ${directory}
    sending_queue: { durability: commit }
`,
  ).replaceAll('exporters: [postgres]', 'exporters: [postgres, file]');

const GOLDEN: readonly (readonly [Signal, Uint8Array])[] = [
  ['traces', FULL_TRACE],
  ['logs', LOG],
  ['metrics', METRICS],
];

Replay('sent to another gateway, line by line, give the same rows', async () => {
  const directory = path.join(await mkdtemp(path.join(os.tmpdir(), 'sluice-file-')), 'files');
  const first = await testGateway({ config: writingYaml(directory) });
  const second = await testGateway();
  try {
    for (const [signal, body] of GOLDEN) await post(`${first.url}/v1/${signal}`, body);
    for (const signal of SIGNALS) {
      for (const plain of fc.sample(arbitraryRequest(signal), { numRuns: 40, seed: 5 })) {
        assert.equal((await post(`${first.url}/v1/${signal}`, oracleEncode(signal, plain))).status, 200);
      }
    }
    const files = (await readdir(directory)).filter((name) => name.endsWith('.jsonl'));
    assert.equal(new Set(files.map((name) => name.split('-')[1])).size, 3);
    for (const name of files) {
      const text = await readFile(path.join(directory, name), 'utf8');
      assert.ok(text.endsWith('\n'));
      for (const line of text.split('\n').slice(0, -1)) {
        const answer = await post(`${second.url}/v1/${name.split('-')[1]}`, line);
        assert.deepEqual([answer.status, answer.body.toString()], [200, '{}']);
      }
    }
    for (const signal of SIGNALS) {
      assert.ok((await countRows(first.pool, TABLES[signal])) > 40);
      assert.deepEqual(await rowsOf(second, TABLES[signal]), await rowsOf(first, TABLES[signal]));
    }
  } finally {
    await first.close();
    await second.close();
    await rm(path.dirname(directory), { recursive: true });
  }
});

Replay.run();
