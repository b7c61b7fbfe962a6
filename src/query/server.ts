/** The query API: one route a resource, each read-only. Every error is a problem document (`problem.ts`). */
import type { HttpBindings } from '@hono/node-server';
import { Hono } from 'hono';
import type { Scope } from '../model/identity.ts';
import type { Tenant } from '../model/tenant.ts';
import type { SpanReader } from '../store/span_tree.ts';
import { HEALTH_PATH, health } from './health.ts';
import { LANDING_PATH, landing } from './landing.ts';
import { problem, problemOf, retryAfter } from './problem.ts';
import type { FailureLog } from './problem.ts';
import { admitAll, type Admit, type QueryContext } from './reader.ts';
import { SCAN_TRACE_PATH, scanTrace } from './scan_trace.ts';

/** What the API reads from, whom it lets read, and where it reports its failures. */
export interface QueryParts {
  readonly spans: SpanReader;
  /** Who may read, and whose data; without it everybody reads what belongs to the default tenant. */
  readonly admit?: Admit;
  readonly logger: FailureLog;
}

export type QueryApp = Hono<{ Bindings: HttpBindings }>;

/** What a tenant's own data takes to read. */
type Resource = (context: QueryContext, tenant: Tenant) => Promise<Response>;

/** Clients that retry need not do so often: an operator has to turn it on again. */
const DISABLED_RETRY_MS = 5_000;

/** Opens nothing; `app.request()` works at once. */
export function createQueryApp({ spans, admit = admitAll, logger }: QueryParts): QueryApp {
  const app = openRoutes(logger);
  const guarded = (path: string, scope: Scope, get: Resource) =>
    resource(app, path, async (context) => get(context, await admit(context, scope)));
  guarded(SCAN_TRACE_PATH, 'scans:read', (context, tenant) => scanTrace(context, spans, tenant));
  return app;
}

/** The same routes while the service is switched off: those for data say so, whoever asks. */
export function createDisabledQueryApp(logger: FailureLog): QueryApp {
  const app = openRoutes(logger);
  const detail = 'The service is disabled (service.enabled is false).';
  for (const path of [SCAN_TRACE_PATH]) app.all(path, () => problem(503, detail, retryAfter(DISABLED_RETRY_MS)));
  return app;
}

/** What everybody may see, and the answers to what is no route. */
function openRoutes(logger: FailureLog): QueryApp {
  const app: QueryApp = new Hono();
  resource(app, LANDING_PATH, landing);
  resource(app, HEALTH_PATH, health);
  app.notFound(() => problem(404, 'There is no such resource.'));
  app.onError((error, context) => problemOf(error, context, logger));
  return app;
}

/** Hono answers HEAD through GET, without the body. */
function resource(app: QueryApp, path: string, get: (context: QueryContext) => Response | Promise<Response>): void {
  app.get(path, get);
  app.all(path, () => problem(405, 'This resource can only be read.', { allow: 'GET, HEAD' }));
}
