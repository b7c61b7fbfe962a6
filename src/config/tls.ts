/**
 * The `tls` sections of what listens and of what connects: the Collector's keys (its package configtls, `ServerConfig` and
 * `ClientConfig`) as far as Node has them.
 */
import { z } from 'zod';
import { duration } from './duration.ts';
import { secret, type Secret } from './secret.ts';

const VERSIONS = ['1.2', '1.3'] as const;
type TlsVersion = (typeof VERSIONS)[number];

/** A certificate and its key, each either in a file or written out. */
export interface TlsServerConfig {
  readonly cert_file?: string | undefined;
  readonly cert_pem?: Secret | undefined;
  readonly key_file?: string | undefined;
  readonly key_pem?: Secret | undefined;
  /** With it, every client must show a certificate that one of these authorities signed. */
  readonly client_ca_file?: string | undefined;
  readonly client_ca_file_reload: boolean;
  readonly min_version: TlsVersion;
  readonly max_version?: TlsVersion | undefined;
  /** Milliseconds; 0 for never. */
  readonly reload_interval: number;
}

/** What a timer of Node can hold is 24 days. */
const MAX_RELOAD_MS = 86_400_000;

const file = () => z.string().min(1);
/** Without quotes YAML reads a number. */
const version = () => z.preprocess((value) => (typeof value === 'number' ? String(value) : value), z.enum(VERSIONS));

export function tlsServer() {
  return z
    .strictObject({
      cert_file: file().optional().describe('PEM file of the certificate, followed by those between it and its root.'),
      cert_pem: secret().optional().describe('The same in place, best from the environment as ${env:NAME}.'),
      key_file: file().optional().describe('PEM file of the private key, which must not be encrypted.'),
      key_pem: secret().optional().describe('The same in place, best from the environment as ${env:NAME}.'),
      client_ca_file: file()
        .optional()
        .describe('PEM file of authorities; with it, clients must show a certificate that one of them signed.'),
      client_ca_file_reload: z
        .boolean()
        .default(false)
        .describe('Whether client_ca_file is read again too, every reload_interval.'),
      min_version: version().default('1.2').describe('Oldest version of TLS that is spoken.'),
      max_version: version()
        .optional()
        .describe('Newest version of TLS that is spoken; without it, the newest there is.'),
      reload_interval: duration({ max: MAX_RELOAD_MS })
        .prefault('1m')
        .describe('How often the files are looked at; new connections use what changed. 0 for never.'),
    })
    .superRefine(checkTogether);
}

/** How to know a server, and how to be known by it. */
export interface TlsClientConfig {
  readonly insecure: boolean;
  readonly insecure_skip_verify: boolean;
  readonly ca_file?: string | undefined;
  readonly cert_file?: string | undefined;
  readonly key_file?: string | undefined;
  readonly server_name_override?: string | undefined;
}

export function tlsClient() {
  return z
    .strictObject({
      insecure: z
        .boolean()
        .default(false)
        .describe('Taken for compatibility: over HTTP, whether TLS is spoken is said by the scheme of the URL.'),
      insecure_skip_verify: z
        .boolean()
        .default(false)
        .describe('Believes any certificate, so that anybody in between can read along. For tests.'),
      ca_file: file()
        .optional()
        .describe('PEM file of the authorities that servers are believed by, instead of the usual ones.'),
      cert_file: file().optional().describe('PEM file of the certificate that is shown to servers which ask for one.'),
      key_file: file().optional().describe('PEM file of its private key, which must not be encrypted.'),
      server_name_override: z
        .string()
        .min(1)
        .optional()
        .describe('Name that the certificate must have, where it is not that of the URL.'),
    })
    .superRefine(({ cert_file, key_file }, context) => {
      if ((cert_file === undefined) === (key_file === undefined)) return;
      const missing = cert_file === undefined ? 'cert_file' : 'key_file';
      const message = 'missing; a certificate and its key are given together, or neither';
      context.addIssue({ code: 'custom', path: [missing], input: {}, message });
    });
}

/** What no key of `tlsServer` can know of itself. */
function checkTogether(tls: TlsServerConfig, context: z.core.$RefinementCtx): void {
  const fault = (key: string, message: string): void => {
    context.addIssue({ code: 'custom', path: [key], input: {}, message });
  };
  for (const part of ['cert', 'key'] as const) {
    const isFile = tls[`${part}_file`] !== undefined;
    const isInline = tls[`${part}_pem`] !== undefined;
    if (isFile && isInline) fault(`${part}_pem`, `found ${part}_file too; allowed: one of them`);
    if (!isFile && !isInline) fault(`${part}_file`, `missing; allowed: ${part}_file, or the PEM text as ${part}_pem`);
  }
  if (tls.client_ca_file_reload && tls.client_ca_file === undefined) {
    fault('client_ca_file_reload', 'found true without a client_ca_file');
  }
  if (tls.client_ca_file_reload && tls.reload_interval === 0) {
    fault('client_ca_file_reload', 'found true with reload_interval 0, which means never');
  }
  if (tls.max_version !== undefined && tls.max_version < tls.min_version) {
    fault('max_version', `found ${tls.max_version}; allowed: at least min_version, ${tls.min_version}`);
  }
}
