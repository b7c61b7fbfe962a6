import assert from 'node:assert/strict';
import * as fc from 'fast-check';
import { suite } from 'uvu';
import { SIGNALS, type Signal } from '../../src/model/batch.ts';
import { arbitraryRequest } from '../otlp/arbitrary_request.ts';
import { FULL_TRACE, LEGACY_TRACE, LOG, METRICS, MINIMAL_TRACE } from '../otlp/golden_vectors.ts';
import { oracleEncode } from '../otlp/oracle.ts';
import { countRows, GATEWAY_YAML, post, testGateway } from '../support/gateway.ts';
import { rowsOf, TABLES } from './stored.ts';

const Forwarding = suite('forwarding to a second gateway');

/** Stores and forwards; a request is answered when both have it. */
const forwardingYaml = (endpoint: string, encoding: string): string =>
  GATEWAY_YAML.replace(
    'exporters:\n',
    `exporters:
  otlp_http:
    endpoint: ${endpoint}
    encoding: ${encoding}
    sending_queue: { durability: commit }
`,
  ).replaceAll('exporters: [postgres]', 'exporters: [postgres, otlp_http]');

const GOLDEN: readonly (readonly [Signal, Uint8Array])[] = [
  ['traces', FULL_TRACE],
  ['traces', MINIMAL_TRACE],
  ['traces', LEGACY_TRACE],
  ['logs', LOG],
  ['metrics', METRICS],
];

for (const encoding of ['proto', 'json']) {
  Forwarding(`as ${encoding}: it stores the same rows, of every signal and kind of value`, async () => {
    const second = await testGateway();
    const first = await testGateway({ config: forwardingYaml(second.url, encoding) });
    const send = async (signal: Signal, body: Uint8Array): Promise<void> => {
      const answer = await post(`${first.url}/v1/${signal}`, body);
      assert.equal(answer.status, 200, answer.body.toString());
    };
    try {
      for (const [signal, body] of GOLDEN) await send(signal, body);
      for (const signal of SIGNALS) {
        const requests = fc.sample(arbitraryRequest(signal), { numRuns: 40, seed: 4 });
        for (const plain of requests) await send(signal, oracleEncode(signal, plain));
        const table = TABLES[signal];
        assert.ok((await countRows(first.pool, table)) > 40);
        assert.deepEqual(await rowsOf(second, table), await rowsOf(first, table));
      }
    } finally {
      await first.close();
      await second.close();
    }
  });
}

Forwarding.run();
