import assert from 'node:assert/strict';
import { suite } from 'uvu';
import { ConfigError } from '../../src/errors.ts';
import { deploy, Issuer } from './deployment.ts';
import { routes, SDK_SPANS, send, SCAN_ID } from './requests.ts';

const Profiles = suite('profiles');

interface Profile {
  readonly file: string;
  readonly killSwitch: string;
  /** What the profile's documentation says of success. */
  readonly otlpSuccess: number;
  readonly takesSdkSpans: boolean;
}

const PROFILES: readonly Profile[] = [
  { file: 'pencheff.yaml', killSwitch: 'PENCHEFF_OBSERVABILITY_ENABLED', otlpSuccess: 204, takesSdkSpans: true },
  { file: 'contextforge.yaml', killSwitch: 'OBSERVABILITY_ENABLED', otlpSuccess: 200, takesSdkSpans: false },
];

for (const { file, killSwitch, otlpSuccess, takesSdkSpans } of PROFILES) {
  Profiles(`${file}: switched on, it stores for who has a token and shows a scan to who may read`, async () => {
    const deployment = await deploy(file, { [killSwitch]: 'true' });
    const issuer = new Issuer(deployment.database);
    const ingest = `Bearer ${await issuer.token({ scopes: ['ingest'] })}`;
    const reads = `Bearer ${await issuer.token({ scopes: ['scans:read'] })}`;
    for (const route of routes(otlpSuccess).filter(({ server }) => server === 'otlp')) {
      assert.equal((await send(deployment, route)).status, 401, route.name);
      const { status, body } = await send(deployment, route, [ingest]);
      assert.deepEqual([status, body], [otlpSuccess, ''], route.name);
    }
    const trace = routes(otlpSuccess).find(({ scope }) => scope === 'scans:read');
    assert(trace);
    assert.equal((await send(deployment, trace, [ingest])).status, 403);
    let answer = await send(deployment, trace, [reads]);
    // What is acknowledged is on disk, and in the database soon after.
    while (answer.status === 404) answer = await send(deployment, trace, [reads]);
    const { status, body } = answer;
    const { scan_id, span_count } = JSON.parse(body);
    assert.deepEqual([status, scan_id, span_count], [200, SCAN_ID, 1]);
    const proxy = `Bearer ${await issuer.token({ scopes: ['proxy:write'] })}`;
    assert.equal((await send(deployment, SDK_SPANS, [proxy])).status, takesSdkSpans ? 202 : 403);
    await deployment.close();
  });

  for (const [value, env] of [
    ['false', { [killSwitch]: 'false' }],
    ['not set', {}],
  ] as const) {
    Profiles(`${file}: with ${killSwitch} ${value}, everything but health is 503`, async () => {
      const deployment = await deploy(file, env);
      for (const route of routes(otlpSuccess)) {
        const expected = route.scope === undefined ? 200 : 503;
        assert.equal((await send(deployment, route)).status, expected, route.name);
      }
      await deployment.close();
    });
  }

  Profiles(`${file}: ${killSwitch} set to nothing is a fault, and switches nothing on`, async () => {
    await assert.rejects(deploy(file, { [killSwitch]: '' }), (error: unknown) => {
      assert(error instanceof ConfigError);
      assert.deepEqual(
        error.faults.map(({ path }) => path),
        ['service.enabled'],
      );
      return true;
    });
  });
}

Profiles.run();
