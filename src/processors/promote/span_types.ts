/**
 * What a span is about, by the attributes that conventions demand of it: a row a rule, the first that applies winning.
 * Sources: OpenTelemetry semantic conventions 1.44 (HTTP, database, RPC, messaging) and 1.41 (GenAI, MCP), with the names
 * that older versions had; OpenInference, OpenLLMetry (`traceloop.*`, `llm.request.type`) and the Vercel AI SDK (`ai.*`).
 */

/**
 * The types of rules below, besides `request`, which is HTTP seen by a server, and `firewall` and `other`, which only
 * the SDK span JSON says. A span that no rule knows has none.
 */
type RuledType =
  | 'llm'
  | 'embedding'
  | 'agent'
  | 'tool'
  | 'retrieval'
  | 'prompt'
  | 'resource'
  | 'detector'
  | 'db'
  | 'messaging'
  | 'rpc'
  | 'http';

export interface SpanTypeRule {
  readonly key: string;
  /** The type that any value of the attribute means, or the types of some values; others then mean nothing. */
  readonly means: RuledType | Readonly<Record<string, RuledType>>;
}

/**
 * From the special to the general: an explicit type before what only goes with one, and what is done before the
 * protocol that it is done over (a search in a vector store may carry `db.*` and `http.*` as well).
 */
export const SPAN_TYPE_RULES: readonly SpanTypeRule[] = [
  {
    key: 'openinference.span.kind',
    means: {
      LLM: 'llm',
      EMBEDDING: 'embedding',
      AGENT: 'agent',
      TOOL: 'tool',
      RETRIEVER: 'retrieval',
      RERANKER: 'retrieval',
      PROMPT: 'prompt',
      GUARDRAIL: 'detector',
    },
  },
  { key: 'traceloop.span.kind', means: { workflow: 'agent', agent: 'agent', tool: 'tool' } },
  { key: 'mcp.method.name', means: { 'tools/call': 'tool', 'prompts/get': 'prompt', 'resources/read': 'resource' } },
  {
    key: 'gen_ai.operation.name',
    means: {
      chat: 'llm',
      text_completion: 'llm',
      generate_content: 'llm',
      embeddings: 'embedding',
      retrieval: 'retrieval',
      execute_tool: 'tool',
      create_agent: 'agent',
      invoke_agent: 'agent',
      invoke_workflow: 'agent',
      plan: 'agent',
    },
  },
  { key: 'llm.request.type', means: { chat: 'llm', completion: 'llm', embedding: 'embedding', rerank: 'retrieval' } },
  {
    key: 'ai.operationId',
    means: {
      'ai.generateText': 'llm',
      'ai.generateText.doGenerate': 'llm',
      'ai.streamText': 'llm',
      'ai.streamText.doStream': 'llm',
      'ai.generateObject': 'llm',
      'ai.generateObject.doGenerate': 'llm',
      'ai.streamObject': 'llm',
      'ai.streamObject.doStream': 'llm',
      'ai.embed': 'embedding',
      'ai.embed.doEmbed': 'embedding',
      'ai.embedMany': 'embedding',
      'ai.embedMany.doEmbed': 'embedding',
      'ai.toolCall': 'tool',
    },
  },

  { key: 'gen_ai.tool.name', means: 'tool' },
  { key: 'tool.name', means: 'tool' },
  { key: 'ai.toolCall.name', means: 'tool' },
  { key: 'gen_ai.prompt.name', means: 'prompt' },
  { key: 'mcp.resource.uri', means: 'resource' },
  // Whatever else MCP is used for: listing, pinging, notifying.
  { key: 'mcp.method.name', means: 'rpc' },

  { key: 'gen_ai.request.model', means: 'llm' },
  { key: 'gen_ai.response.model', means: 'llm' },
  { key: 'gen_ai.provider.name', means: 'llm' },
  { key: 'gen_ai.system', means: 'llm' },
  { key: 'llm.model_name', means: 'llm' },
  { key: 'llm.provider', means: 'llm' },
  { key: 'llm.system', means: 'llm' },
  { key: 'ai.model.id', means: 'llm' },
  { key: 'ai.model.provider', means: 'llm' },

  { key: 'db.system.name', means: 'db' },
  { key: 'db.system', means: 'db' },
  { key: 'db.query.text', means: 'db' },
  { key: 'db.statement', means: 'db' },
  { key: 'db.operation.name', means: 'db' },
  { key: 'db.operation', means: 'db' },

  { key: 'messaging.system', means: 'messaging' },

  { key: 'rpc.system.name', means: 'rpc' },
  { key: 'rpc.system', means: 'rpc' },
  { key: 'rpc.method', means: 'rpc' },

  { key: 'http.request.method', means: 'http' },
  { key: 'http.method', means: 'http' },
  { key: 'http.response.status_code', means: 'http' },
  { key: 'http.status_code', means: 'http' },
  { key: 'http.route', means: 'http' },
  { key: 'http.url', means: 'http' },
  { key: 'http.target', means: 'http' },
];

/** A span that serves HTTP is a request; every other type says more than the side that it was seen from. */
export function typeSeenByServer(type: string): string {
  return type === 'http' ? 'request' : type;
}
