/** The `tls` section of the exporter as options of Node: reads the files that it names. */
import { readFile } from 'node:fs/promises';
import { createSecureContext, type ConnectionOptions } from 'node:tls';
import type { TlsClientConfig } from '../../config/tls.ts';
import { RetryableError } from '../../errors.ts';

const FILE_KEYS = { ca: 'ca_file', cert: 'cert_file', key: 'key_file' } as const;

/** @throws RetryableError whose one line names the key at fault: files can be put right while the gateway runs */
export async function loadTls(tls: TlsClientConfig | undefined): Promise<ConnectionOptions> {
  if (tls === undefined) return {};
  const files: { ca?: Buffer; cert?: Buffer; key?: Buffer } = {};
  for (const option of ['ca', 'cert', 'key'] as const) {
    const file = tls[FILE_KEYS[option]];
    if (file !== undefined) files[option] = await read(file, FILE_KEYS[option]);
  }
  try {
    createSecureContext(files);
  } catch (cause) {
    throw new RetryableError(`tls: the files cannot be used: ${messageOf(cause)}`, { cause });
  }
  const { server_name_override: servername, insecure_skip_verify } = tls;
  return { ...files, rejectUnauthorized: !insecure_skip_verify, ...(servername === undefined ? {} : { servername }) };
}

async function read(file: string, key: string): Promise<Buffer> {
  try {
    return await readFile(file);
  } catch (cause) {
    throw new RetryableError(`tls.${key}: ${messageOf(cause)}`, { cause });
  }
}

const messageOf = (cause: unknown): string => (cause instanceof Error ? cause.message : String(cause));
