/** Addresses to listen on: `127.0.0.1:4318`, `[::1]:4318`, `:4318`. */
import { BlockList, isIPv6 } from 'node:net';
import { z } from 'zod';

export interface Endpoint {
  /** A name or address, IPv6 without brackets; empty for all interfaces, which `net.Server.listen` takes as such. */
  readonly host: string;
  /** 0 lets the system choose a free port. */
  readonly port: number;
}

/** What an endpoint may look like, for faults. */
export const ENDPOINT_FORM = 'host:port such as 127.0.0.1:4318, [::1]:4318, or :4318 for all interfaces';

const TEXT = /^(?:\[(?<ipv6>[^\]]{1,100})\]|(?<name>[A-Za-z0-9._-]{0,253})):(?<port>\d{1,5})$/;
const MAX_PORT = 65_535;

/** 127.0.0.0/8 (RFC 1122, 3.2.1.3) and ::1 (RFC 4291, 2.5.3). */
const LOOPBACK = new BlockList();
LOOPBACK.addSubnet('127.0.0.0', 8, 'ipv4');
LOOPBACK.addAddress('::1', 'ipv6');

export function endpoint() {
  return z.string().transform((text, context): Endpoint => {
    const parsed = parseEndpoint(text);
    if (parsed !== undefined) return parsed;
    context.addIssue({ code: 'custom', message: ENDPOINT_FORM, input: text });
    return z.NEVER;
  });
}

/** Undefined for what is no endpoint. */
export function parseEndpoint(text: string): Endpoint | undefined {
  const groups = TEXT.exec(text)?.groups;
  if (groups === undefined) return undefined;
  const port = Number(groups.port);
  if (port > MAX_PORT || (groups.ipv6 !== undefined && !isIPv6(groups.ipv6))) return undefined;
  return { host: groups.ipv6 ?? groups.name ?? '', port };
}

/** Other names could be resolved to anything. */
export function isLoopback(host: string): boolean {
  return host.toLowerCase() === 'localhost' || LOOPBACK.check(host, isIPv6(host) ? 'ipv6' : 'ipv4');
}
