/** Where the receivers of a configuration listen: for what speaks of them or stands in for them. */
import { z } from 'zod';
import type { ComponentFactory } from '../component.ts';
import type { Endpoint } from '../config/endpoint.ts';
import type { RawConfig } from '../config/load.ts';
import { parseComponentId, parseSection, type GatewayConfig } from '../config/schema.ts';
import type { TlsServerConfig } from '../config/tls.ts';
import { formatPath } from '../config/yaml_path.ts';

export interface ReceiverServer {
  /** Of the receiver. */
  readonly type: string;
  readonly protocol: 'http' | 'grpc';
  readonly endpoint: Endpoint;
  readonly tls?: TlsServerConfig | undefined;
  /** Whether clients need a token. */
  readonly isAuthenticated: boolean;
  /** Path of the server's section. */
  readonly path: string;
}

/** A server as receivers configure it, with the keys that matter here. */
const server = z.object({
  endpoint: z.custom<Endpoint>((value) => typeof value === 'object' && value !== null && 'port' in value),
  tls: z.custom<TlsServerConfig>().optional(),
  auth: z.unknown().optional(),
});
/** A receiver has a section for each of its protocols, or is itself the section of its HTTP server. */
const receiver = z.union([
  z
    .object({ protocols: z.object({ http: server.optional(), grpc: server.optional() }) })
    .transform(({ protocols: { http, grpc } }) => [
      { protocol: 'http' as const, keys: ['protocols', 'http'], config: http },
      { protocol: 'grpc' as const, keys: ['protocols', 'grpc'], config: grpc },
    ]),
  server.transform((config) => [{ protocol: 'http' as const, keys: [], config }]),
]);

/** In the order of the file; receivers may share an address. Sections with faults have none. */
export function receiverServers(
  { receivers }: GatewayConfig,
  raw: RawConfig,
  registry: readonly ComponentFactory[],
): ReceiverServer[] {
  return Object.entries(receivers).flatMap(([id, value]) => {
    const type = parseComponentId(id)?.type ?? '';
    const factory = registry.find((candidate) => candidate.kind === 'receiver' && candidate.type === type);
    if (factory === undefined) return [];
    const parsed = parseSection<unknown>(factory.config, value, formatPath(['receivers', id]), raw);
    const found = receiver.safeParse(parsed.value).data ?? [];
    return found.flatMap(({ protocol, keys, config }) => {
      if (config === undefined) return [];
      const { endpoint, tls, auth } = config;
      return {
        type,
        protocol,
        endpoint,
        tls,
        isAuthenticated: auth !== undefined,
        path: formatPath(['receivers', id, ...keys]),
      };
    });
  });
}
