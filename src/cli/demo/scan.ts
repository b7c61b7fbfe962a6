/**
 * The script of the demo: one security scan of a made-up shop, as its two traces (the API request that queued it, and
 * the worker that ran it). Only the ids differ from run to run. All names are of domains reserved for examples.
 */
import { SpanKind } from '@opentelemetry/api';
import { apiRequest, completion, httpCall, mcpCall, query, SCOPES, toolRun } from './spans.ts';
import { inLanes, inSequence, later, leaf, parent, type Step } from './step.ts';

const HOST = 'shop.staging.example';
const SITE = `https://${HOST}`;

export interface ScanScript {
  /** What `pencheff-api` does when the scan is asked for. */
  readonly request: Step;
  /** What `pencheff-worker` does when it takes the scan from the queue, `atMs` after the request began. */
  readonly work: Step;
}

export function scanScript(mcpSessionId: string): ScanScript {
  return { request: queueing(), work: { ...execution(mcpSessionId), atMs: 640 } };
}

/** The span that hands the scan to the worker; the worker's root links to it. */
export function isHandover(step: Step): boolean {
  return step.kind === SpanKind.PRODUCER;
}

function queueing(): Step {
  const enqueue = parent(
    SCOPES.api,
    'scan.enqueue',
    inSequence(1, [
      query('scans', 'INSERT INTO scans (id, org_id, target_id, kind) VALUES ($1, $2, $3, $4)', 6),
      leaf(SCOPES.celery, 'publish scans', 4, {
        kind: SpanKind.PRODUCER,
        attributes: {
          'messaging.system': 'redis',
          'messaging.operation.name': 'publish',
          'messaging.operation.type': 'send',
          'messaging.destination.name': 'scans',
        },
      }),
    ]),
    {
      attributes: { 'pencheff.scan_kind': 'full' },
      logs: [{ part: 1, severity: 'INFO', body: 'scan queued', attributes: { 'pencheff.queue': 'scans' } }],
    },
  );
  const allowed = query('engagements', 'SELECT id, status FROM engagements WHERE org_id = $1 AND target_id = $2', 5);
  return apiRequest('POST', '/scans', 202, inSequence(2, [allowed, enqueue]));
}

function execution(mcpSessionId: string): Step {
  const stages = [prepare(), recon(), crawl(), attack(), agent(mcpSessionId), report()];
  return parent(SCOPES.scanTask, 'scan.execute', inSequence(25, stages), {
    ok: true,
    attributes: { 'pencheff.scan_kind': 'full', 'pencheff.target': SITE },
    logs: [
      { part: 0, severity: 'INFO', body: `scan of ${SITE} started` },
      { part: 1, severity: 'INFO', body: 'scan finished with 6 findings' },
    ],
  });
}

function prepare(): Step {
  const claim = query('scans', 'UPDATE scans SET status = $1, started_at = now() WHERE id = $2', 7);
  const scope = httpCall(SCOPES.httpClient, { method: 'GET', url: `${SITE}/robots.txt`, status: 200, tookMs: 96 });
  return parent(SCOPES.scanTask, 'scan.prepare', inSequence(4, [claim, scope]));
}

function recon(): Step {
  const argv = ['-sV', '-T4', '--top-ports', '1000', HOST];
  const nmap = toolRun(
    'nmap',
    { argv, tookMs: 17_840, exitCode: 0, stdoutBytes: 6_214 },
    { logs: [{ part: 1, severity: 'INFO', body: 'nmap: 4 open ports', attributes: { ports: [22, 80, 443, 8443] } }] },
  );
  const head = httpCall(
    SCOPES.httpClient,
    { method: 'HEAD', url: `${SITE}/`, status: 200, tookMs: 71 },
    {
      findings: [
        { severity: 'info', title: 'Server header names its version' },
        { severity: 'medium', title: 'No Content-Security-Policy' },
      ],
    },
  );
  return parent(SCOPES.scanTask, 'scan.recon', inLanes(2, [nmap, head]));
}

/** Path, status and milliseconds of each page. */
const PAGES: readonly (readonly [string, number, number])[] = [
  ['/', 200, 88],
  ['/products', 200, 143],
  ['/products?category=1', 200, 151],
  ['/products/17', 200, 97],
  ['/products/18', 200, 92],
  ['/search?q=lamp', 200, 420],
  ['/cart', 200, 66],
  ['/checkout', 302, 58],
  ['/login', 200, 61],
  ['/register', 200, 64],
  ['/account', 401, 41],
  ['/admin', 403, 39],
  ['/api/v2/status', 200, 27],
  ['/api/v2/orders', 401, 33],
  ['/api/v1/orders', 500, 1_204],
  ['/static/app.js', 200, 52],
  ['/static/app.js.map', 200, 118],
  ['/.git/config', 404, 22],
  ['/backup.zip', 404, 21],
  ['/sitemap.xml', 200, 35],
];

function crawl(): Step {
  const pages = PAGES.map(([path, status, tookMs]) =>
    httpCall(SCOPES.httpClient, { method: 'GET', url: SITE + path, status, tookMs }),
  );
  const reset = httpCall(
    SCOPES.httpClient,
    { method: 'GET', url: `${SITE}/export`, tookMs: 5_012 },
    {
      failure: failure('ConnectionResetError', '[Errno 104] Connection reset by peer', 'pencheff/http_client.py', 143),
      logs: [{ part: 1, severity: 'WARN', body: 'request to /export was reset, giving the page up' }],
    },
  );
  return parent(SCOPES.scanTask, 'scan.crawl', inLanes(6, [...pages, reset]), {
    attributes: { 'pencheff.crawl.pages': pages.length },
    logs: [{ part: 1, severity: 'INFO', body: 'crawl found 20 pages and 31 parameters' }],
  });
}

function attack(): Step {
  const discovery = inLanes(2, [
    toolRun(
      'nuclei',
      {
        argv: ['-u', SITE, '-severity', 'medium,high,critical', '-jsonl'],
        tookMs: 21_370,
        exitCode: 0,
        stdoutBytes: 18_903,
      },
      { findings: [{ severity: 'medium', title: 'Source map of app.js is public' }] },
    ),
    toolRun(
      'ffuf',
      {
        argv: ['-u', `${SITE}/FUZZ`, '-w', 'common.txt', '-of', 'json'],
        tookMs: 9_655,
        exitCode: 0,
        stdoutBytes: 2_480,
      },
      { findings: [{ severity: 'high', title: 'Admin login without a rate limit' }] },
    ),
  ]);
  return parent(SCOPES.scanTask, 'scan.attack', [...discovery, ...later(21_400, inSequence(12, injections()))]);
}

/** The first attempt runs out of time, the second asks for less and finds the hole. */
function injections(): Step[] {
  const argv = ['-u', `${SITE}/products?category=1`, '--batch'];
  return [
    toolRun(
      'sqlmap',
      { argv: [...argv, '--level', '5'], tookMs: 30_000, exitCode: -9, stdoutBytes: 44_120 },
      {
        failure: failure('TimeoutExpired', 'sqlmap timed out after 30 seconds', 'pencheff/tool_runner.py', 212),
        logs: [{ part: 1, severity: 'ERROR', body: 'sqlmap timed out, trying again with a lower level' }],
      },
    ),
    toolRun(
      'sqlmap',
      { argv: [...argv, '--level', '2'], tookMs: 12_408, exitCode: 0, stdoutBytes: 9_871 },
      { findings: [{ severity: 'critical', title: 'SQL injection in /products (category)' }] },
    ),
  ];
}

function agent(sessionId: string): Step {
  const turns = [briefing(sessionId), verification(sessionId), escalation(sessionId)];
  return parent(SCOPES.agent, 'agent.run', inSequence(8, turns), {
    attributes: { 'gen_ai.operation.name': 'invoke_agent', 'gen_ai.agent.name': 'swarm-verifier' },
    logs: [{ part: 1, severity: 'INFO', body: 'agent confirmed 1 finding and added 1' }],
  });
}

const LARGE_MODEL = { system: 'ollama', model: 'kimi-k2.6:cloud' };
const SMALL_MODEL = { system: 'anthropic', model: 'claude-haiku-4-5-20251001' };

function briefing(sessionId: string): Step {
  const prompt = leaf(SCOPES.mcp, 'prompt.render', 3, { attributes: { 'pencheff.prompt.version': '14' } });
  const scope = query('engagements', 'SELECT scope_rules FROM engagements WHERE id = $1', 4);
  return turn(1, [
    mcpCall({ method: 'prompts/get', target: 'triage_findings', requestId: 1, sessionId, work: [prompt] }),
    mcpCall({
      method: 'resources/read',
      target: 'pencheff://engagements/current/scope',
      requestId: 2,
      sessionId,
      work: [scope],
    }),
    completion({ ...LARGE_MODEL, tookMs: 6_120, tokens: { input: 5_214, output: 486 }, finish: 'tool_calls' }),
  ]);
}

function verification(sessionId: string): Step {
  const probe = httpCall(SCOPES.httpClient, {
    method: 'GET',
    url: `${SITE}/products?category=1%20AND%201%3D1`,
    status: 200,
    tookMs: 163,
  });
  const refused = completion(
    { ...SMALL_MODEL, tookMs: 212 },
    {
      failure: failure('RateLimitError', '429 from the provider, retry after 2 s', 'pencheff/agent_loop.py', 88),
      logs: [{ part: 1, severity: 'WARN', body: 'model provider is over its limit, waiting 2 s' }],
    },
  );
  const retried = completion({
    ...SMALL_MODEL,
    tookMs: 1_842,
    tokens: { input: 7_030, output: 322 },
    finish: 'tool_calls',
  });
  return turn(2, [
    mcpCall({ method: 'tools/call', target: 'http_probe', requestId: 3, sessionId, work: [{ ...probe, atMs: 2 }] }),
    refused,
    { ...retried, atMs: 2_000 },
  ]);
}

/** A tool that fails answers its JSON-RPC request well: only `error.type` tells (MCP conventions). */
function escalation(sessionId: string): Step {
  const order = httpCall(SCOPES.httpClient, { method: 'GET', url: `${SITE}/api/v2/orders/1`, status: 403, tookMs: 47 });
  const guess = httpCall(SCOPES.httpClient, { method: 'GET', url: `${SITE}/api/v2/orders/2`, status: 200, tookMs: 52 });
  return turn(3, [
    mcpCall({
      method: 'tools/call',
      target: 'replay_session',
      requestId: 4,
      sessionId,
      work: [{ ...order, atMs: 2 }],
      failure: { type: 'tool_error', message: 'the recorded session has expired' },
    }),
    mcpCall({ method: 'tools/call', target: 'access_check', requestId: 5, sessionId, work: [{ ...guess, atMs: 2 }] }),
    completion(
      { ...LARGE_MODEL, tookMs: 4_377, tokens: { input: 9_871, output: 611 }, finish: 'stop' },
      { findings: [{ severity: 'high', title: 'Orders of other customers are readable' }] },
    ),
  ]);
}

function turn(number: number, steps: readonly Step[]): Step {
  return parent(SCOPES.agent, 'agent.turn', inSequence(6, steps), { attributes: { 'pencheff.agent.turn': number } });
}

function report(): Step {
  const callback = httpCall(SCOPES.requests, {
    method: 'PATCH',
    url: 'https://api.pencheff.example/scans/current',
    status: 200,
    tookMs: 38,
  });
  const update = query('scans', 'UPDATE scans SET status = $1, progress = $2 WHERE id = $3', 6);
  const received = { ...apiRequest('PATCH', '/scans/{scan_id}', 200, inSequence(2, [update])), atMs: 9 };
  return parent(
    SCOPES.scanTask,
    'scan.report',
    inSequence(5, [
      query('findings', 'INSERT INTO findings (scan_id, severity, title) VALUES ($1, $2, $3)', 14, {
        'db.operation.batch.size': 6,
      }),
      completion({ ...SMALL_MODEL, tookMs: 3_264, tokens: { input: 3_902, output: 1_210 }, finish: 'stop' }),
      { ...callback, children: [received] },
    ]),
  );
}

/** A failure with the stack that Pencheff's Python would have reported. */
function failure(type: string, message: string, file: string, line: number) {
  return {
    type,
    message,
    stack: `Traceback (most recent call last):\n  File "${file}", line ${line}, in run\n${type}: ${message}`,
  };
}
