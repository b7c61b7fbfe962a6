import assert from 'node:assert/strict';
import { glob, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { suite } from 'uvu';
import { ROOT, sluice } from './sluice.ts';

const SOUND = `
receivers:
  otlp:
exporters:
  debug:
service:
  pipelines:
    traces: { receivers: [otlp], exporters: [debug] }
`;

const TEN_FAULTS = `
receivers:
  otlp:
    protocols: { http: { endpoint: nowhere } }
    limts: {}
  otlp/spare:
  zipkin:
processors:
  promote: { scan_id: 7 }
exporters:
  debug: { verbosity: loud }
  postgres:
    database_url: \${env:SLUICE_NOT_SET}
service:
  shutdown_timeout: soon
  pipelines:
    traces: { receivers: [otlp, zipkin], processors: [promote], exporters: [debug, postgres, archive] }
    traces/empty: { receivers: [otlp], exporters: [] }
`;

/** Where the faults of `TEN_FAULTS` have to show up. */
const FAULT_PATHS = [
  'receivers.otlp.limts',
  'receivers.otlp.protocols.http.endpoint',
  'receivers.otlp/spare',
  'receivers.zipkin',
  'processors.promote.scan_id',
  'exporters.debug.verbosity',
  'exporters.postgres.database_url',
  'service.shutdown_timeout',
  'service.pipelines.traces.exporters',
  'service.pipelines.traces/empty.exporters',
];

const validate = suite<{ folder: string }>('validate', { folder: '' });

validate.before(async (context) => {
  context.folder = await mkdtemp(path.join(tmpdir(), 'sluice validate '));
});

validate.after(({ folder }) => rm(folder, { recursive: true }));

for await (const file of glob('config/*.yaml', { cwd: ROOT })) {
  validate(`${file} is sound and prints its pipelines`, async () => {
    const { code, stdout, stderr } = await sluice(['validate', '--config', file]);
    assert.deepEqual({ code, stderr }, { code: 0, stderr: '' });
    assert.match(stdout, /^(?:(?:traces|logs|metrics)[^\n]*: \S+(, \S+)*( → \S+)* → [^\n]+\n)+(?:disk: [^\n]+\n)$/);
  });
}

validate('the default configuration is found from any folder', async ({ folder }) => {
  const [here, there] = await Promise.all([sluice(['validate']), sluice(['validate'], { cwd: folder })]);
  assert.equal(here.code, 0);
  assert.deepEqual(there, here);
});

validate('ten faults are ten lines, each with its path', async ({ folder }) => {
  const { code, stdout, stderr } = await sluice(['validate', '--config', await write(folder, TEN_FAULTS)]);
  const lines = stderr.trimEnd().split('\n');
  assert.deepEqual({ code, stdout, lines: lines.length }, { code: 78, stdout: '', lines: 10 }, stderr);
  for (const place of FAULT_PATHS)
    assert.ok(
      lines.some((line) => line.startsWith(`${place}: `)),
      `${place}\n${stderr}`,
    );
});

validate('later files and --set lie over earlier files', async ({ folder }) => {
  const base = await write(folder, SOUND);
  const over = await write(folder, 'service: { pipelines: { logs: { receivers: [otlp], exporters: [debug] } } }');
  const set = 'service.pipelines.metrics={receivers: [otlp], exporters: [debug]}';
  const { code, stdout } = await sluice(['validate', '--config', base, '--config', over, '--set', set]);
  assert.equal(code, 0);
  assert.deepEqual(
    stdout
      .trimEnd()
      .split('\n')
      .map((line) => line.split(':')[0]),
    ['traces', 'logs', 'metrics', 'commit'],
  );
});

validate('says what an acknowledgement means, once for each durability', async ({ folder }) => {
  const sets = ['disk', 'memory'].map(
    (durability) => `exporters.${PLACES[durability]}.sending_queue.durability=${durability}`,
  );
  const file = await write(folder, SOUND.replace('exporters: [debug]', 'exporters: [debug, file, file/fast]'));
  const flags = [...sets, 'exporters.file/fast.directory=elsewhere'].flatMap((set) => ['--set', set]);
  const { stdout, stderr } = await sluice(['validate', '--config', file, ...flags]);
  assert.equal(stderr, '');
  const [pipeline, ...promises] = stdout.trimEnd().split('\n');
  assert.equal(pipeline, 'traces: otlp → debug (commit), file (disk), file/fast (memory)');
  assert.deepEqual(
    promises.map((line) => line.split(':')[0]),
    ['disk', 'commit', 'memory'],
  );
});

const PLACES: Readonly<Record<string, string>> = { disk: 'file', memory: 'file/fast' };

validate('a file that is not there is one line', async ({ folder }) => {
  const missing = path.join(folder, 'missing.yaml');
  const ended = await sluice(['validate', '--config', missing]);
  const stderr = `cannot read ${missing}: no such file\n`;
  assert.deepEqual(ended, { code: 78, signal: null, stdout: '', stderr });
});

async function write(folder: string, yaml: string): Promise<string> {
  const file = path.join(folder, `${files++}.yaml`);
  await writeFile(file, yaml);
  return file;
}

let files = 0;

validate.run();
