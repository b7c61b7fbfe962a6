import assert from 'node:assert/strict';
import { suite } from 'uvu';
import { ACCEPTED } from '../../../src/component.ts';
import { forkBatch, type Traces } from '../../../src/model/batch.ts';
import type { Span } from '../../../src/model/traces.ts';
import { DEFAULT_TENANT } from '../../../src/model/tenant.ts';
import { DEFAULT_SHAPE_LIMITS } from '../../../src/model/wire.ts';
import { decodeRequest } from '../../../src/otlp/decode.ts';
import { promote } from '../../../src/processors/promote.ts';
import { SPAN_TYPE_RULES } from '../../../src/processors/promote/span_types.ts';
import { any, attribute, request, spanIds, varint } from '../../support/otlp_messages.ts';
import { testSettings } from '../../support/settings.ts';

const SpanTypes = suite('span types');

const CONTEXT = { tenant: DEFAULT_TENANT, receivedAtMs: 0, limits: DEFAULT_SHAPE_LIMITS };
const SERVER = 2;
const CLIENT = 3;

type Given = Readonly<Record<string, string | number>>;

function batchOf(...fields: readonly Uint8Array[]): Traces {
  return decodeRequest('traces', request([Buffer.concat([spanIds(1), ...fields])]), CONTEXT).batch;
}

function onlySpan(batch: Traces): Span {
  const [span] = batch.resources[0]?.scopes[0]?.records ?? [];
  assert.ok(span);
  return span;
}

async function promoted(batch: Traces): Promise<Traces> {
  const next = { consume: async () => ACCEPTED };
  await promote.create.traces?.(promote.config.parse({}), testSettings('promote'), next).consume(batch);
  return batch;
}

async function typeOf(given: Given, kind = CLIENT): Promise<string | undefined> {
  const attributes = Object.entries(given).map(([key, value]) =>
    attribute(9, key, typeof value === 'string' ? any.string(value) : any.int(value)),
  );
  return onlySpan(await promoted(batchOf(varint(6, kind), ...attributes))).promoted?.spanType;
}

for (const [what, given, expected] of [
  ['a chat completion', { 'gen_ai.operation.name': 'chat', 'gen_ai.request.model': 'm' }, 'llm'],
  ['a completion by old names', { 'gen_ai.system': 'openai' }, 'llm'],
  [
    'an operation that is not known, of a model',
    { 'gen_ai.operation.name': 'dream', 'gen_ai.provider.name': 'x' },
    'llm',
  ],
  ['an operation that is not known', { 'gen_ai.operation.name': 'dream' }, undefined],
  ['embeddings', { 'gen_ai.operation.name': 'embeddings', 'gen_ai.request.model': 'm' }, 'embedding'],
  ['an agent', { 'gen_ai.operation.name': 'invoke_agent', 'gen_ai.request.model': 'm' }, 'agent'],
  ['a retrieval', { 'gen_ai.operation.name': 'retrieval', 'db.system.name': 'qdrant' }, 'retrieval'],
  ['a tool', { 'gen_ai.operation.name': 'execute_tool', 'gen_ai.tool.name': 't' }, 'tool'],
  ['a tool without an operation', { 'gen_ai.tool.name': 't', 'gen_ai.system': 'x' }, 'tool'],
  ['a tool subprocess', { 'tool.name': 'nmap', 'tool.exit_code': 0 }, 'tool'],
  ['an MCP tool', { 'mcp.method.name': 'tools/call', 'rpc.system': 'jsonrpc' }, 'tool'],
  ['an MCP prompt', { 'mcp.method.name': 'prompts/get', 'gen_ai.prompt.name': 'p' }, 'prompt'],
  ['an MCP resource', { 'mcp.method.name': 'resources/read', 'mcp.resource.uri': 'r' }, 'resource'],
  ['another MCP method', { 'mcp.method.name': 'tools/list' }, 'rpc'],
  ['OpenInference', { 'openinference.span.kind': 'RERANKER', 'llm.model_name': 'm' }, 'retrieval'],
  ['an OpenInference guardrail', { 'openinference.span.kind': 'GUARDRAIL' }, 'detector'],
  ['an OpenInference chain, which says nothing', { 'openinference.span.kind': 'CHAIN', 'http.method': 'GET' }, 'http'],
  ['OpenLLMetry', { 'traceloop.span.kind': 'workflow' }, 'agent'],
  ['OpenLLMetry of a model', { 'llm.request.type': 'embedding', 'gen_ai.system': 'x' }, 'embedding'],
  ['the Vercel AI SDK', { 'ai.operationId': 'ai.streamText.doStream', 'ai.model.id': 'm' }, 'llm'],
  ['a query', { 'db.system.name': 'postgresql', 'db.query.text': 'SELECT' }, 'db'],
  ['a query by old names', { 'db.system': 'mssql', 'db.statement': 'SELECT' }, 'db'],
  ['a search over HTTP', { 'http.request.method': 'POST', 'db.system.name': 'elasticsearch' }, 'db'],
  ['a message', { 'messaging.system': 'kafka', 'rpc.system': 'aws-api' }, 'messaging'],
  ['a remote call over HTTP', { 'http.status_code': 200, 'rpc.system': 'aws-api' }, 'rpc'],
  ['an HTTP call', { 'http.request.method': 'GET' }, 'http'],
  ['an HTTP call by old names', { 'http.method': 'GET' }, 'http'],
  ['a value of the wrong type', { 'gen_ai.operation.name': 7 }, undefined],
  ['nothing known', { 'server.address': 'x', 'http.request.methods': 'GET' }, undefined],
] as const satisfies readonly (readonly [string, Given, string | undefined])[]) {
  SpanTypes(`${what}: ${expected ?? 'none'}, in any order of attributes`, async () => {
    assert.equal(await typeOf(given), expected);
    assert.equal(await typeOf(Object.fromEntries(Object.entries(given).toReversed())), expected);
  });
}

SpanTypes('HTTP seen by a server is a request; the rest is what it is', async () => {
  assert.equal(await typeOf({ 'http.route': '/x' }, SERVER), 'request');
  assert.equal(await typeOf({ 'rpc.system': 'grpc' }, SERVER), 'rpc');
  assert.equal(await typeOf({ 'mcp.method.name': 'tools/call' }, SERVER), 'tool');
  assert.equal(await typeOf({}, SERVER), undefined);
});

for (const { key, means } of SPAN_TYPE_RULES) {
  const cases = typeof means === 'string' ? [[key === 'mcp.method.name' ? 'ping' : 'x', means]] : Object.entries(means);
  for (const [value = '', type] of cases) {
    SpanTypes(`the rule ${key} = ${value} by itself gives ${type}`, async () => {
      assert.equal(await typeOf({ [key]: value }), type);
    });
  }
}

SpanTypes('an empty value says nothing', async () => {
  const span = onlySpan(await promoted(batchOf(attribute(9, 'tool.name', any.empty))));
  assert.equal(span.promoted, undefined);
});

const operation = (value: string) => attribute(9, 'gen_ai.operation.name', any.string(value));

SpanTypes('of a key that occurs twice the last value counts', async () => {
  const span = onlySpan(await promoted(batchOf(operation('chat'), operation('execute_tool'))));
  assert.equal(span.promoted?.spanType, 'tool');
});

SpanTypes('a type that the receiver knew stays, and the scan id joins it', async () => {
  const batch = batchOf(attribute(9, 'tool.name', any.string('x')), attribute(9, 'scan.id', any.string('s')));
  onlySpan(batch).promoted = { spanType: 'firewall' };
  assert.deepEqual(onlySpan(await promoted(batch)).promoted, { spanType: 'firewall', scanId: 's' });
});

SpanTypes('a batch of another pipeline keeps what it had', async () => {
  const batch = batchOf(attribute(9, 'scan.id', any.string('s')));
  onlySpan(batch).promoted = { spanType: 'firewall' };
  const other = forkBatch(batch);
  await promoted(batch);
  assert.deepEqual(onlySpan(other).promoted, { spanType: 'firewall' });
});

SpanTypes.run();
