/**
 * `GET /`: a page for whoever opens the address in a browser. Without scripts, so its form comes back here with
 * `?scan_id=` and is sent on to the scan.
 */
import { createHash } from 'node:crypto';
import type { Context } from 'hono';
import { pageHeaders } from './headers.ts';
import { HEALTH_PATH } from './health.ts';
import { scanTracePath } from './scan_trace.ts';

export const LANDING_PATH = '/';

const STYLE = `
  :root { color-scheme: light dark; }
  body { font: 1rem/1.5 system-ui, sans-serif; max-width: 44rem; margin: 3rem auto; padding: 0 1rem; }
  code, input { font-family: ui-monospace, monospace; }
  input { width: 100%; box-sizing: border-box; padding: 0.5rem; margin: 0.25rem 0 0.75rem; font-size: 1rem; }
  button { padding: 0.5rem 1rem; font-size: 1rem; }
  dt { margin-top: 0.75rem; }
`;

const PAGE = `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Sluice query API</title>
<style>${STYLE}</style>
</head>
<body>
<main>
<h1>Sluice query API</h1>
<p>Sluice is an OpenTelemetry gateway that stores traces, logs and metrics in PostgreSQL. This service reads them.</p>
<h2>Open a scan</h2>
<form action="${LANDING_PATH}" method="get">
<label for="scan_id">Scan id</label>
<input id="scan_id" name="scan_id" required maxlength="256" autocomplete="off" spellcheck="false">
<button type="submit">Show its span tree as JSON</button>
</form>
<h2>Endpoints</h2>
<dl>
<dt><code>GET /observability/scans/{scan_id}/trace</code></dt><dd>The span tree of a scan.</dd>
<dt><a href="${HEALTH_PATH}"><code>GET ${HEALTH_PATH}</code></a></dt><dd>Whether this service is alive.</dd>
</dl>
</main>
</body>
</html>
`;

const STYLE_SOURCE = `'sha256-${createHash('sha256').update(STYLE).digest('base64')}'`;

export function landing(context: Context): Response {
  const scanId = context.req.query('scan_id')?.trim() ?? '';
  if (scanId !== '') return new Response(null, { status: 303, headers: { location: scanTracePath(scanId) } });
  return new Response(PAGE, { headers: pageHeaders(STYLE_SOURCE) });
}
