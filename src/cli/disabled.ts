/**
 * What runs while `service.enabled` is false: on each address where data would be received over HTTP, a server that says
 * so, and the health checks. No pipeline, no exporter, no other extension, no database. gRPC clients find their port
 * closed, which they treat as the same: UNAVAILABLE.
 *
 * It counts as ready, because it answers everybody as it was told to: an orchestrator that waited for the replicas of a
 * new configuration to get ready would otherwise leave the old ones running, and the switch would switch nothing off.
 */
import type { Health } from '../component.ts';
import type { RawConfig } from '../config/load.ts';
import { parseComponentId, parseSection, type GatewayConfig } from '../config/schema.ts';
import { formatPath } from '../config/yaml_path.ts';
import { createHealthCheck, healthCheck } from '../extensions/health_check.ts';
import { createService, type Part, type Service } from '../pipeline/service.ts';
import { disabledServer } from '../receivers/http/disabled.ts';
import type { Logger } from '../telemetry/logger.ts';
import type { ReceiverServer } from './receiver_servers.ts';

interface StandInSettings {
  readonly config: GatewayConfig;
  readonly raw: RawConfig;
  readonly servers: readonly ReceiverServer[];
  readonly logger: Logger;
}

export function standIn(settings: StandInSettings): Service {
  const checks = healthChecks(settings, () => service.health());
  const service = createService({
    pipelines: [],
    stages: [checks, refusals(settings)],
    shutdownTimeoutMs: settings.config.service.shutdown_timeout,
    logger: settings.logger,
  });
  return service;
}

function refusals({ servers, logger }: StandInSettings): Part[] {
  // What shares an address is configured alike, which was checked when the receivers were built.
  const http = servers.filter(({ protocol }) => protocol === 'http');
  const byAddress = new Map(http.map((server) => [JSON.stringify(server.endpoint), server]));
  return [...byAddress.values()].map(({ endpoint, tls, path }) => ({
    name: path,
    component: disabledServer({ endpoint, tls, path, logger }),
  }));
}

function healthChecks({ config, raw, logger }: StandInSettings, health: () => Health): Part[] {
  return config.service.extensions.flatMap((id) => {
    if (parseComponentId(id)?.type !== healthCheck.type) return [];
    const { value } = parseSection(healthCheck.config, config.extensions[id], formatPath(['extensions', id]), raw);
    return value === undefined
      ? []
      : { name: `extension ${id}`, component: createHealthCheck(value, { id, logger, health }) };
  });
}
