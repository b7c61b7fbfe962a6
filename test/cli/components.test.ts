import assert from 'node:assert/strict';
import { suite } from 'uvu';
import { z } from 'zod';
import { registry } from '../../src/registry.ts';
import { sluice } from './sluice.ts';

const listing = z.array(
  z.strictObject({
    kind: z.enum(['receiver', 'processor', 'exporter', 'extension']),
    type: z.string(),
    signals: z.array(z.enum(['traces', 'logs', 'metrics'])),
    config: z.array(
      z.strictObject({
        key: z.string(),
        type: z.string(),
        required: z.boolean(),
        default: z.unknown().optional(),
        description: z.string().min(1),
      }),
    ),
  }),
);

const components = suite('components');

components('the text names every component under its kind, and every key of it', async () => {
  const { code, stdout, stderr } = await sluice(['components']);
  assert.deepEqual({ code, stderr }, { code: 0, stderr: '' });
  for (const { kind, type } of registry)
    assert.match(stdout, new RegExp(`^${kind}s:\\n(?: .*\\n)*? {2}${type}\\b`, 'm'));
  assert.match(stdout, /^ {4}verbosity +basic \| detailed = basic +\S/m);
  assert.match(stdout, /^ {4}database_url +\S.*required +\S/m);
});

components('JSON lists the same, and every key is documented', async () => {
  const { code, stdout } = await sluice(['components', '--json']);
  assert.equal(code, 0);
  const all = listing.parse(JSON.parse(stdout));
  assert.deepEqual(
    all.map(({ kind, type }) => `${kind} ${type}`).toSorted(),
    registry.map(({ kind, type }) => `${kind} ${type}`).toSorted(),
  );
  const scanId = all.find(({ type }) => type === 'promote')?.config.find(({ key }) => key === 'scan_id');
  assert.deepEqual(scanId?.default, ['pencheff.scan_id', 'scan.id']);
});

components.run();
