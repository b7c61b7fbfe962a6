/** SDK span JSON and OTLP through one endpoint of a whole gateway, into the same table. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { suite } from 'uvu';
import { arrangeForest } from '../../../src/query/forest.ts';
import { spanReader } from '../../../src/store/span_tree.ts';
import { post, storedRows, testGateway, withoutArrival, type TestGateway } from '../../support/gateway.ts';
import { any, attribute, field, fixed64, request, spanIds, varint } from '../../support/otlp_messages.ts';
import { readStatus } from '../rpc_status.ts';

const TOKENS = {
  otlp: randomBytes(16).toString('hex'),
  sdk: randomBytes(16).toString('hex'),
  reader: randomBytes(16).toString('hex'),
} as const;

const CONFIG = `
extensions:
  static_tokens:
    tokens:
      - { token: '${TOKENS.otlp}', org_id: acme, workspace_id: web, scopes: ['ingest'] }
      - { token: '${TOKENS.sdk}', org_id: acme, workspace_id: web, target_id: bot, scopes: ['proxy:write'] }
      - { token: '${TOKENS.reader}', org_id: acme, workspace_id: web, scopes: ['proxy:read'] }
receivers:
  otlp:
    protocols:
      http:
        endpoint: \${env:SLUICE_OTLP_HTTP_ENDPOINT}
        auth: { authenticator: static_tokens }
  sdk_spans:
    endpoint: \${env:SLUICE_OTLP_HTTP_ENDPOINT}
    auth: { authenticator: static_tokens }
processors:
  promote:
exporters:
  postgres:
    database_url: \${env:DATABASE_URL}
service:
  extensions: [static_tokens]
  pipelines:
    traces: { receivers: [otlp, sdk_spans], processors: [promote], exporters: [postgres] }
  telemetry:
    logs:
      level: error
`;

const TENANT = { orgId: 'acme', workspaceId: 'web', targetId: undefined };

let gateway: TestGateway;

const Gateway = suite('sdk spans in a gateway');

Gateway.before(async () => {
  gateway = await testGateway({ config: CONFIG });
});
Gateway.after(() => gateway.close());
Gateway.before.each(async () => {
  await gateway.pool.query('DELETE FROM otel_spans; DELETE FROM receipts');
});

const send = (body: string | Uint8Array, token: string = TOKENS.sdk) =>
  post(`${gateway.url}/v1/traces`, body, { authorization: `Bearer ${token}` });

const EXAMPLE = JSON.stringify({
  trace_id: 't-abc',
  spans: [
    {
      span_id: 's1',
      name: 'agent.run',
      kind: 'request',
      start_time: '2026-06-08T10:00:00.000000001Z',
      end_time: '2026-06-08T10:00:02Z',
      attributes: { 'pencheff.scan_id': 'scan-1', n: 1 },
    },
    {
      span_id: 's2',
      parent_span_id: 's1',
      name: 'tool.search',
      kind: 'tool',
      duration_ms: 120,
      status: 'blocked',
      status_message: 'rule 7',
    },
  ],
});

Gateway('the documented example is answered and stored, column by column', async () => {
  const { status, headers, body } = await send(EXAMPLE);
  assert.equal(status, 202);
  assert.equal(headers.get('content-type'), 'application/json');
  assert.equal(body.toString(), '{"trace_id":"t-abc","accepted":2}');
  const rows = (await storedRows(gateway.pool, 'otel_spans', 'span_id')).map(withoutArrival);
  const given = rows.map((row) => Object.fromEntries(Object.entries(row).filter(([, value]) => value !== null)));
  const tenant = { org_id: 'acme', workspace_id: 'web', target_id: 'bot' };
  assert.deepEqual(given, [
    {
      trace_id: 't-abc',
      span_id: 's1',
      name: 'agent.run',
      kind: 1,
      span_type: 'request',
      started_at: '2026-06-08 10:00:00+00',
      started_ns_rest: 1,
      ended_at: '2026-06-08 10:00:02+00',
      duration_ns: 1_999_999_999n,
      status_code: 0,
      attributes: { 'pencheff.scan_id': 'scan-1', n: 1 },
      scan_id: 'scan-1',
      ...tenant,
    },
    {
      trace_id: 't-abc',
      span_id: 's2',
      parent_span_id: 's1',
      name: 'tool.search',
      kind: 0,
      span_type: 'tool',
      started_at: '2026-06-08 10:00:00+00',
      started_ns_rest: 1,
      ended_at: '2026-06-08 10:00:00.12+00',
      duration_ns: 120_000_000n,
      status_code: 2,
      status_message: 'rule 7',
      attributes: { 'sluice.time_inferred': true, 'sluice.status': 'blocked' },
      ...tenant,
    },
  ]);
});

Gateway('the tree of a scan has its spans', async () => {
  await send(EXAMPLE);
  const { spans } = await spanReader(gateway.pool).scanSpans(TENANT, 'scan-1');
  const { order, depths } = await arrangeForest(spans);
  const tree = [...order].map((index, position) => [depths[position], spans[index]?.spanId]);
  assert.deepEqual(tree, [
    [0, 's1'],
    [1, 's2'],
  ]);
});

Gateway('ids that look like those of OTLP join its traces', async () => {
  const otlp = request([
    Buffer.concat([
      spanIds(1),
      field(5, 'GET'),
      varint(6, 3),
      fixed64(7, 1_780_912_800_000_000_000n),
      attribute(9, 'http.request.method', any.string('GET')),
    ]),
  ]);
  assert.equal((await send(otlp, TOKENS.otlp)).status, 200);
  const child = { span_id: 'x', parent_span_id: 'eee19b7e00000001', name: 'n', start_time: '2026-06-08T10:00:00Z' };
  await send(JSON.stringify({ trace_id: '5b8efff798038103d269b633813fc60c', spans: [child] }));
  const rows = await storedRows(gateway.pool, 'otel_spans', 'span_id');
  assert.deepEqual(
    rows.map((row) => [row['trace_id'], row['span_id'], row['parent_span_id'], row['span_type']]),
    [
      ['5b8efff798038103d269b633813fc60c', 'eee19b7e00000001', null, 'http'],
      ['5b8efff798038103d269b633813fc60c', 'x', 'eee19b7e00000001', 'other'],
    ],
  );
});

Gateway('a faulty request is answered with a status that names the field, and stores nothing', async () => {
  const spans = [
    { span_id: 'a', name: 'n' },
    { span_id: 'b', name: 'n', kind: 'x' },
  ];
  const { status, headers, body } = await send(JSON.stringify({ trace_id: 't', spans }));
  assert.equal(status, 400);
  const { code, message, details } = readStatus(body, headers.get('content-type'));
  assert.equal(code, 3);
  assert.match(message, /^spans\[1\]\.kind: must be one of request, llm, .*; found "x"$/);
  assert.deepEqual(details, [
    {
      '@type': 'type.googleapis.com/google.rpc.BadRequest',
      fieldViolations: [{ field: 'spans[1].kind', description: message }],
    },
  ]);
  assert.deepEqual(await storedRows(gateway.pool, 'otel_spans', 'span_id'), []);
});

const OTLP_JSON = '{"resourceSpans":[]}';

for (const [what, body, token, expected] of [
  ['SDK spans with the scope for them', EXAMPLE, 'sdk', 202],
  ['SDK spans with the scope for OTLP', EXAMPLE, 'otlp', 403],
  ['OTLP/JSON with the scope for it', OTLP_JSON, 'otlp', 200],
  ['OTLP/JSON with the scope for SDK spans', OTLP_JSON, 'sdk', 403],
  ['protobuf with the scope for it', Buffer.alloc(0), 'otlp', 200],
  ['protobuf with the scope for SDK spans', Buffer.alloc(0), 'sdk', 403],
  ['SDK spans with a scope to read', EXAMPLE, 'reader', 403],
] as const) {
  Gateway(`${what}: ${expected}`, async () => {
    assert.equal((await send(body, TOKENS[token])).status, expected);
  });
}

Gateway('an unknown token is refused before the body tells what it is', async () => {
  const { status, headers, body } = await send(EXAMPLE, 'x'.repeat(32));
  assert.equal(status, 401);
  assert.equal(readStatus(body, headers.get('content-type')).code, 16);
});

Gateway.run();
