/** The gateway's own metrics: one registry for a process, and the page that Prometheus scrapes. */
import { createServer, type RequestListener, type Server } from 'node:http';
import { collectDefaultMetrics, Registry } from 'prom-client';
import { ConfigError } from '../errors.ts';
import { listen } from '../listen.ts';

const ADDRESS_PATH = 'service.telemetry.metrics.address';

/** A new registry with the metrics of process and runtime: `process_…` and `nodejs_…`. */
export function createMetricsRegistry(): Registry {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry });
  return registry;
}

export interface MetricsServer {
  /** Resolves to the address it listens on, `host:port`, with the real port where 0 was asked for. */
  start(): Promise<string>;
  shutdown(): Promise<void>;
}

/**
 * Serves `GET /metrics` at `address` (`host:port`, `[v6]:port`, `:port` for all interfaces). Throws ConfigError for
 * an address of another shape; `start` rejects with one clear line when it cannot listen there.
 */
export function serveMetrics({ address, registry }: { address: string; registry: Registry }): MetricsServer {
  const { host, port } = parseAddress(address);
  const server = createServer(metricsPage(registry));
  return {
    start: () => listen(server, { host, port }, ADDRESS_PATH),
    shutdown: () => close(server),
  };
}

function parseAddress(address: string): { host: string; port: number } {
  const [, v6, name, digits] = /^(?:\[([\da-fA-F:.]+)\]|([^:[\]]*)):(\d{1,5})$/.exec(address) ?? [];
  const port = Number(digits);
  if (digits === undefined || port > 65_535) {
    const message = `${JSON.stringify(address)} is not an address; write host:port, such as 127.0.0.1:8888`;
    throw new ConfigError([{ path: ADDRESS_PATH, message }]);
  }
  return { host: v6 ?? name ?? '', port };
}

function metricsPage(registry: Registry): RequestListener {
  return (request, response) => {
    if (!isScrape(request.method, request.url)) {
      response.writeHead(404, { 'content-type': 'text/plain' }).end('not found; the metrics are at GET /metrics\n');
      return;
    }
    registry.metrics().then(
      (text) => response.writeHead(200, { 'content-type': registry.contentType }).end(text),
      (error: unknown) => response.writeHead(500, { 'content-type': 'text/plain' }).end(`${String(error)}\n`),
    );
  };
}

function isScrape(method: string | undefined, url = ''): boolean {
  return (method === 'GET' || method === 'HEAD') && url.split('?', 1)[0] === '/metrics';
}

/** A scrape under way is cut: losing one costs nothing. Resolves also where the server never listened. */
function close(server: Server): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve());
    server.closeAllConnections();
  });
}
