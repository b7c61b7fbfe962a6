import assert from 'node:assert/strict';
import type { ServerResponse } from 'node:http';
import { suite } from 'uvu';
import { findTree, type TreeNode } from '../../../src/cli/demo/tree.ts';
import { withServer } from './loopback.ts';
import { node } from './nodes.ts';

const never = new AbortController().signal;

const searching = suite('demo arrival');

const wanted = new Set(['root-0', 'child-1']);
const whole = [node('root', 0, 9, { children: [node('child', 1, 2)] })];
const asJson = (response: ServerResponse, tree: readonly TreeNode[]) =>
  response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify({ tree }));

searching('asks again until every span is there', async () => {
  const answers: ((response: ServerResponse) => void)[] = [
    (response) => response.writeHead(404).end(),
    (response) => asJson(response, [node('root', 0, 9)]),
    (response) => asJson(response, whole),
  ];
  const arrival = await withServer(
    (_request, response) => answers.shift()?.(response),
    (url) => findTree({ url, spanIds: wanted, timeoutMs: 5_000, stop: never }),
  );
  assert.deepEqual(arrival, { tree: whole, missing: 0 });
});

searching('gives up in time and tells how many are missing', async () => {
  const arrival = await withServer(
    (_request, response) => asJson(response, [node('root', 0, 9)]),
    (url) => findTree({ url, spanIds: wanted, timeoutMs: 50, stop: never }),
  );
  assert.equal(arrival.missing, 1);
  assert.equal(arrival.tree.length, 1);
});

searching('stops when asked to', async () => {
  const stop = new AbortController();
  const arrival = await withServer(
    (_request, response) => {
      response.writeHead(404).end();
      stop.abort();
    },
    (url) => findTree({ url, spanIds: wanted, timeoutMs: 60_000, stop: stop.signal }),
  );
  assert.equal(arrival.missing, 2);
});

for (const [what, status, body, message] of [
  ['an error', 500, '', /answered 500/],
  ['something else', 200, '{"data":[]}', /not a span tree/],
] as const) {
  searching(`fails when the query API answers ${what}`, async () => {
    const search = withServer(
      (_request, response) => response.writeHead(status).end(body),
      (url) => findTree({ url, spanIds: wanted, timeoutMs: 5_000, stop: never }),
    );
    await assert.rejects(search, message);
  });
}

searching.run();
