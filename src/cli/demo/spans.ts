/**
 * The kinds of span that a scan leaves behind, in the OpenTelemetry semantic conventions of 2026 (HTTP and database:
 * stable; GenAI and MCP: v1.41) and in Pencheff's own names. Nothing here holds a secret: command lines are hashed,
 * queries have placeholders, prompts stay out.
 */
import { SpanKind, type Attributes } from '@opentelemetry/api';
import { createHash } from 'node:crypto';
import { leaf, parent, type Extra, type Failure, type Scope, type Step } from './step.ts';

const own = (name: string): Scope => ({ name: `pencheff.${name}`, version: '1.8.0', knowsScan: true });
const library = (name: string): Scope => ({
  name: `opentelemetry.instrumentation.${name}`,
  version: '0.61b0',
  knowsScan: false,
});

export const SCOPES = {
  api: own('api'),
  scanTask: own('scan_task'),
  httpClient: own('http_client'),
  toolRunner: own('tool_runner'),
  agent: own('agent_loop'),
  mcp: own('mcp'),
  fastapi: library('fastapi'),
  celery: library('celery'),
  requests: library('requests'),
  sqlalchemy: library('sqlalchemy'),
} as const;

interface Exchange {
  readonly method: string;
  readonly url: string;
  /** Absent when no answer came. */
  readonly status?: number;
  readonly tookMs: number;
}

/** An outgoing request. For a client every 4xx and 5xx is a failure (HTTP conventions, "Status"). */
export function httpCall(scope: Scope, exchange: Exchange, extra: Extra = {}): Step {
  const { method, status, tookMs } = exchange;
  const url = new URL(exchange.url);
  const attributes: Attributes = {
    'http.request.method': method,
    'url.full': exchange.url,
    'server.address': url.hostname,
    'server.port': Number(url.port || 443),
    'network.protocol.version': '1.1',
    ...(status !== undefined && { 'http.response.status_code': status }),
    ...extra.attributes,
  };
  const failed = status !== undefined && status >= 400 && { failure: { type: String(status) } };
  return leaf(scope, method, tookMs, { ...failed, ...extra, kind: SpanKind.CLIENT, attributes });
}

/** An incoming request of the API, around what it does. */
export function apiRequest(method: string, route: string, status: number, children: readonly Step[]): Step {
  return parent(SCOPES.fastapi, `${method} ${route}`, children, {
    service: 'pencheff-api',
    kind: SpanKind.SERVER,
    attributes: {
      'http.request.method': method,
      'http.route': route,
      'http.response.status_code': status,
      'url.scheme': 'https',
      'url.path': route.replace('{scan_id}', 'current'),
      'server.address': 'api.pencheff.example',
      'server.port': 443,
      'client.address': '203.0.113.4',
      'user_agent.original': 'pencheff-cli/1.8.0',
    },
  });
}

/** A statement with placeholders, named by its first word and its table. */
export function query(table: string, text: string, tookMs: number, extra: Attributes = {}): Step {
  const operation = text.slice(0, text.indexOf(' '));
  return leaf(SCOPES.sqlalchemy, `${operation} ${table}`, tookMs, {
    kind: SpanKind.CLIENT,
    attributes: {
      'db.system.name': 'postgresql',
      'db.namespace': 'pencheff',
      'db.operation.name': operation,
      'db.collection.name': table,
      'db.query.text': text,
      'server.address': 'db.pencheff.example',
      'server.port': 5432,
      ...extra,
    },
  });
}

interface ToolRun {
  readonly argv: readonly string[];
  readonly tookMs: number;
  readonly exitCode: number;
  readonly stdoutBytes: number;
}

/** A tool's process. Its command line may hold credentials: only the hash of it is kept, so equal runs can be matched. */
export function toolRun(tool: string, run: ToolRun, extra: Extra = {}): Step {
  return leaf(SCOPES.toolRunner, `tool.run ${tool}`, run.tookMs, {
    ...extra,
    attributes: {
      'tool.name': tool,
      'tool.argv.hash': createHash('sha256').update(run.argv.join(' ')).digest('hex'),
      'tool.exit_code': run.exitCode,
      'tool.stdout.size': run.stdoutBytes,
      'tool.stderr.size': run.exitCode === 0 ? 0 : 412,
    },
  });
}

interface Completion {
  readonly system: string;
  readonly model: string;
  readonly tookMs: number;
  readonly tokens?: { readonly input: number; readonly output: number };
  readonly finish?: string;
}

/** A turn of a language model. A refused one has no tokens and no finish reason. */
export function completion(turn: Completion, extra: Extra = {}): Step {
  return leaf(SCOPES.agent, 'gen_ai.completion', turn.tookMs, {
    ...extra,
    kind: SpanKind.CLIENT,
    attributes: {
      'gen_ai.operation.name': 'chat',
      'gen_ai.system': turn.system,
      'gen_ai.provider.name': turn.system,
      'gen_ai.request.model': turn.model,
      'gen_ai.request.max_tokens': 4096,
      ...(turn.finish !== undefined && { 'gen_ai.response.finish_reasons': [turn.finish] }),
      ...(turn.tokens && {
        'gen_ai.usage.input_tokens': turn.tokens.input,
        'gen_ai.usage.output_tokens': turn.tokens.output,
      }),
    },
  });
}

interface McpCall {
  readonly method: 'tools/call' | 'prompts/get' | 'resources/read';
  /** Tool, prompt or resource URI. A URI stays out of the span's name, as the conventions ask. */
  readonly target: string;
  readonly requestId: number;
  readonly sessionId: string;
  readonly work: readonly Step[];
  readonly failure?: Failure;
}

/** Both ends of an MCP request over stdio: the agent's client span around the plugin's server span. */
export function mcpCall(call: McpCall): Step {
  const name = call.method === 'resources/read' ? call.method : `${call.method} ${call.target}`;
  const extra = { attributes: mcpAttributes(call), ...(call.failure && { failure: call.failure }) };
  const server = parent(SCOPES.mcp, name, call.work, { ...extra, service: 'pencheff-mcp', kind: SpanKind.SERVER });
  return parent(SCOPES.agent, name, [{ ...server, atMs: 3 }], { ...extra, kind: SpanKind.CLIENT });
}

function mcpAttributes(call: McpCall): Attributes {
  const target = {
    'tools/call': { 'gen_ai.tool.name': call.target, 'gen_ai.operation.name': 'execute_tool' },
    'prompts/get': { 'gen_ai.prompt.name': call.target },
    'resources/read': { 'mcp.resource.uri': call.target },
  };
  return {
    'mcp.method.name': call.method,
    'mcp.session.id': call.sessionId,
    'mcp.protocol.version': '2025-11-25',
    'jsonrpc.request.id': String(call.requestId),
    'network.transport': 'pipe',
    ...target[call.method],
  };
}
