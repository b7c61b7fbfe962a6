/**
 * What runs while `service.enabled` is false: on each address where data would be received over HTTP, a server that says
 * so. No pipeline, no exporter, no extension, no database. gRPC clients find their port closed, which they treat as the
 * same: UNAVAILABLE.
 */
import { createService, type Service } from '../pipeline/service.ts';
import { disabledServer } from '../receivers/http/disabled.ts';
import type { Logger } from '../telemetry/logger.ts';
import type { ReceiverServer } from './receiver_servers.ts';

interface StandInSettings {
  readonly servers: readonly ReceiverServer[];
  readonly shutdownTimeoutMs: number;
  readonly logger: Logger;
}

export function standIn({ servers, shutdownTimeoutMs, logger }: StandInSettings): Service {
  // What shares an address is configured alike, which was checked when the receivers were built.
  const http = servers.filter(({ protocol }) => protocol === 'http');
  const byAddress = new Map(http.map((server) => [JSON.stringify(server.endpoint), server]));
  const stage = [...byAddress.values()].map(({ endpoint, tls, path }) => ({
    name: path,
    component: disabledServer({ endpoint, tls, path, logger }),
  }));
  return createService({ pipelines: [], stages: [stage], shutdownTimeoutMs, logger });
}
