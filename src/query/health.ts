/** `GET /healthz`: the process is alive and answers. It asks nothing of the database, which a restart would not mend. */
import { jsonHeaders } from './headers.ts';

export const HEALTH_PATH = '/healthz';

export function health(): Response {
  return new Response('{"status":"ok"}', { headers: jsonHeaders('application/json') });
}
