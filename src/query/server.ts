/** The query API: one route a resource, each read-only. Every error is a problem document (`problem.ts`). */
import { Hono } from 'hono';
import type { Context } from 'hono';
import { DEFAULT_TENANT } from '../model/tenant.ts';
import type { SpanReader } from '../store/span_tree.ts';
import { HEALTH_PATH, health } from './health.ts';
import { LANDING_PATH, landing } from './landing.ts';
import { problem, problemOf } from './problem.ts';
import type { FailureLog } from './problem.ts';
import { SCAN_TRACE_PATH, scanTrace } from './scan_trace.ts';

/** What the API reads from, and where it reports its failures. */
export interface QueryParts {
  readonly spans: SpanReader;
  readonly logger: FailureLog;
}

/** Opens nothing; `app.request()` works at once. Everything belongs to the default tenant until readers authenticate. */
export function createQueryApp({ spans, logger }: QueryParts): Hono {
  const app = new Hono();
  resource(app, LANDING_PATH, landing);
  resource(app, HEALTH_PATH, health);
  resource(app, SCAN_TRACE_PATH, (context) => scanTrace(context, spans, DEFAULT_TENANT));
  app.notFound(() => problem(404, 'There is no such resource.'));
  app.onError((error, context) => problemOf(error, context, logger));
  return app;
}

/** Hono answers HEAD through GET, without the body. */
function resource(app: Hono, path: string, get: (context: Context) => Response | Promise<Response>): void {
  app.get(path, get);
  app.all(path, () => problem(405, 'This resource can only be read.', { allow: 'GET, HEAD' }));
}
