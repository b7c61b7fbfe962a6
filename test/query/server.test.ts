import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { suite } from 'uvu';
import { createQueryApp } from '../../src/query/server.ts';
import { createPool } from '../../src/store/connection.ts';
import { READ_LIMITS, spanReader } from '../../src/store/span_tree.ts';
import { createLogger } from '../../src/telemetry/logger.ts';
import { insertSpans } from '../store/insert_spans.ts';
import { testDatabase } from '../support/postgres.ts';

const server = suite('query server');
const database = await testDatabase();
const { pool } = database;
const log: string[] = [];
const logger = createLogger('warn', { write: (line: string) => void log.push(line) });
const app = createQueryApp({ spans: spanReader(pool), logger });

server.before.each(() => {
  log.length = 0;
});
server.after(() => database.close());

const TRACE = '/observability/scans/s/trace';

async function assertProblem(response: Response, status: number, title: string, detail: RegExp): Promise<void> {
  assert.equal(response.status, status);
  assert.equal(response.headers.get('content-type'), 'application/problem+json');
  assertDataHeaders(response);
  const body: Record<string, unknown> = JSON.parse(await response.text());
  assert.deepEqual(Object.keys(body), ['type', 'title', 'status', 'detail']);
  assert.deepEqual({ ...body, detail: '' }, { type: 'about:blank', title, status, detail: '' });
  assert.match(String(body['detail']), detail);
}

function assertDataHeaders({ headers }: Response): void {
  assert.equal(headers.get('x-content-type-options'), 'nosniff');
  assert.equal(headers.get('cache-control'), 'no-store');
  assert.match(headers.get('content-security-policy') ?? '', /^default-src 'none'/);
}

server('is alive without asking the database', async () => {
  const response = await app.request('/healthz');
  assert.equal(response.status, 200);
  assert.equal(await response.text(), '{"status":"ok"}');
  assertDataHeaders(response);
});

const BAD_REQUESTS: readonly (readonly [path: string, status: number, title: string, detail: RegExp])[] = [
  ['/nothing', 404, 'Not Found', /no such resource/],
  ['/observability/scans//trace', 404, 'Not Found', /no such resource/],
  [`${TRACE}/`, 404, 'Not Found', /no such resource/],
  [TRACE, 404, 'Not Found', /no spans of this scan/],
  [`/observability/scans/${'x'.repeat(256)}/trace`, 404, 'Not Found', /no spans/],
  [`/observability/scans/${'x'.repeat(257)}/trace`, 400, 'Bad Request', /at most 256/],
  [`/observability/scans/${'%F0%9F%94%8E'.repeat(257)}/trace`, 400, 'Bad Request', /at most 256/],
  ['/observability/scans/a%00b/trace', 400, 'Bad Request', /U\+0000/],
  ['/observability/scans/%FF/trace', 400, 'Bad Request', /percent-encoded/],
  ['/observability/scans/50%/trace', 400, 'Bad Request', /percent-encoded/],
];

for (const [path, status, title, detail] of BAD_REQUESTS) {
  server(`answers ${path.slice(0, 60)} (${path.length}) with ${status}`, async () => {
    await assertProblem(await app.request(path), status, title, detail);
    assert.deepEqual(log, []);
  });
}

server('refuses to write, on every resource', async () => {
  for (const path of ['/', '/healthz', TRACE]) {
    for (const method of ['POST', 'PUT', 'DELETE', 'PATCH', 'OPTIONS']) {
      const response = await app.request(path, { method });
      assert.equal(response.headers.get('allow'), 'GET, HEAD');
      await assertProblem(response, 405, 'Method Not Allowed', /only be read/);
    }
  }
});

server('answers HEAD like GET, without the body', async () => {
  await insertSpans(pool, [{ span_id: 'a', scan_id: 's' }]);
  for (const [path, status] of [
    ['/healthz', 200],
    [TRACE, 200],
    ['/observability/scans/unknown/trace', 404],
  ] as const) {
    const response = await app.request(path, { method: 'HEAD' });
    assert.equal(response.status, status);
    assert.equal(await response.text(), '');
  }
});

server('a database that is away is 503, with when to come back and without its address', async () => {
  const url = 'postgres://someone@127.0.0.1:1/none';
  const away = createPool({ url, max: 1, applicationName: 'test', statementTimeoutMs: 1_000 });
  const response = await createQueryApp({ spans: spanReader(away), logger }).request(TRACE);
  assert.equal(response.headers.get('retry-after'), '1');
  await assertProblem(response, 503, 'Service Unavailable', /^The database cannot be reached now\.$/);
  assert.match(log.join(''), /"level":"warn".*ECONNREFUSED/);
  await away.end();
});

server('a query that takes too long is 503', async () => {
  const hurried = createQueryApp({ spans: spanReader(pool, { ...READ_LIMITS, timeoutMs: 50 }), logger });
  const client = await pool.connect();
  await client.query('BEGIN; LOCK TABLE otel_spans IN ACCESS EXCLUSIVE MODE');
  const response = await hurried.request(TRACE);
  await client.query('ROLLBACK');
  client.release();
  assert.equal(response.headers.get('retry-after'), '1');
  await assertProblem(response, 503, 'Service Unavailable', /did not answer within/);
});

server('a fault of ours is 500: the client sees no internals, the log sees all', async () => {
  const broken = await testDatabase();
  await broken.pool.query('DROP TABLE otel_spans');
  const response = await createQueryApp({ spans: spanReader(broken.pool), logger }).request(TRACE);
  await assertProblem(response, 500, 'Internal Server Error', /^The query failed because of a fault in the gateway/);
  assert.match(log.join(''), /"level":"error".*otel_spans/);
  await broken.close();
});

server('shows a page that works without scripts under its own policy', async () => {
  const response = await app.request('/');
  assert.equal(response.status, 200);
  assert.equal(response.headers.get('content-type'), 'text/html; charset=utf-8');
  assert.equal(response.headers.get('x-content-type-options'), 'nosniff');
  const page = await response.text();
  for (const text of ['Sluice', '/observability/scans/{scan_id}/trace', '/healthz']) assert.ok(page.includes(text));
  const policy = response.headers.get('content-security-policy') ?? '';
  assert.match(policy, /default-src 'none'.*form-action 'self'.*frame-ancestors 'none'/);
  const [, style = ''] = /<style>([^]*)<\/style>/.exec(page) ?? [];
  assert.ok(policy.includes(`'sha256-${createHash('sha256').update(style).digest('base64')}'`));
  assert.doesNotMatch(page, /<script|\sstyle=|\son\w+=|javascript:/i);
});

server('sends the form of the page on to the scan', async () => {
  for (const scanId of ['11111111-2222', 'a/b ?#%&+é', "$&'"]) {
    const response = await app.request(`/?${new URLSearchParams({ scan_id: ` ${scanId} ` }).toString()}`);
    assert.equal(response.status, 303);
    assert.equal(response.headers.get('location'), `/observability/scans/${encodeURIComponent(scanId)}/trace`);
  }
  assert.equal((await app.request('/?scan_id=')).status, 200);
});

server.run();
