/**
 * Certificates of what listens: read when it starts, and again when their files change, so that a renewal needs no
 * restart. Open connections keep what they were made with.
 */
import { createPrivateKey, X509Certificate, type KeyObject } from 'node:crypto';
import { readFile, stat } from 'node:fs/promises';
import { createSecureContext, type SecureContextOptions, type SecureVersion, type Server } from 'node:tls';
import type { Logger } from '../component.ts';
import type { Secret } from '../config/secret.ts';
import type { TlsServerConfig } from '../config/tls.ts';

const MAX_FILE_BYTES = 1_048_576;

const NODE_VERSIONS: Readonly<Record<TlsServerConfig['min_version'], SecureVersion>> = {
  '1.2': 'TLSv1.2',
  '1.3': 'TLSv1.3',
};

/** For the constructor of a TLS server: what does not depend on any file. Clients without a valid certificate are cut off. */
export function tlsServerOptions({ client_ca_file }: TlsServerConfig): {
  readonly requestCert: boolean;
  readonly rejectUnauthorized: boolean;
} {
  const isMutual = client_ca_file !== undefined;
  return { requestCert: isMutual, rejectUnauthorized: isMutual };
}

interface Material {
  readonly cert: Buffer;
  readonly key: Buffer;
  readonly ca: Buffer | undefined;
}

/** Material that is known to work. */
interface Loaded {
  readonly material: Material;
  readonly options: SecureContextOptions;
  readonly expires: Date;
}

/**
 * Reads certificate, key and client authorities and checks that they fit together.
 * @param setting path of the `tls` section; rejects with one line that names the key at fault
 * @param ca client authorities to keep, instead of those in the file
 */
export async function loadTls(tls: TlsServerConfig, setting: string, ca?: Buffer): Promise<Loaded> {
  const material = {
    cert: await read(tls.cert_file, tls.cert_pem, `${setting}.cert`),
    key: await read(tls.key_file, tls.key_pem, `${setting}.key`),
    ca:
      tls.client_ca_file === undefined
        ? undefined
        : (ca ?? (await readFrom(tls.client_ca_file, `${setting}.client_ca_file`))),
  };
  const certificate = certificateOf(material.cert, nameOf(`${setting}.cert`, tls.cert_file));
  const keyName = nameOf(`${setting}.key`, tls.key_file);
  if (!certificate.checkPrivateKey(keyOf(material.key, keyName))) {
    throw new Error(`${keyName}: the key is not that of the certificate`);
  }
  if (material.ca !== undefined) certificateOf(material.ca, `${setting}.client_ca_file`);
  const options = { ...material, ...versionsOf(tls) };
  try {
    createSecureContext(options);
  } catch (cause) {
    throw new Error(`${setting}: ${cause instanceof Error ? cause.message : String(cause)}`, { cause });
  }
  return { material, options, expires: certificate.validToDate };
}

export interface Certificates {
  /** Gives the server its certificates; call it before the server listens. Rejects as `loadTls` does. */
  start(): Promise<void>;
  /** Looks at the files no more. */
  stop(): void;
}

export interface CertificatesSettings {
  readonly tls: TlsServerConfig;
  /** Path of the `tls` section. */
  readonly setting: string;
  readonly logger: Logger;
}

/** Keeps the certificates of a server as fresh as their files. What turns out unusable is logged, and replaces nothing. */
export function certificatesFor(server: Server, { tls, setting, logger }: CertificatesSettings): Certificates {
  let current: Loaded | undefined;
  let timer: NodeJS.Timeout | undefined;
  let isReading = false;
  let lastFault = '';

  const use = (loaded: Loaded): void => {
    server.setSecureContext(loaded.options);
    current = loaded;
    lastFault = '';
    if (loaded.expires.getTime() < Date.now())
      logger.warn({ expires: loaded.expires, setting }, 'the TLS certificate has expired');
  };
  const look = async (): Promise<void> => {
    try {
      const loaded = await loadTls(tls, setting, tls.client_ca_file_reload ? undefined : current?.material.ca);
      if (timer === undefined || isSame(loaded.material, current?.material)) return;
      use(loaded);
      logger.info({ expires: loaded.expires, setting }, 'new TLS certificates are in use');
    } catch (error) {
      const fault = error instanceof Error ? error.message : String(error);
      if (fault !== lastFault)
        logger.warn({ fault }, 'TLS certificates have changed and cannot be used; those before them stay');
      lastFault = fault;
    } finally {
      isReading = false;
    }
  };
  return {
    async start() {
      use(await loadTls(tls, setting));
      if (tls.reload_interval === 0) return;
      timer = setInterval(() => {
        if (isReading) return;
        isReading = true;
        void look();
      }, tls.reload_interval).unref();
    },
    stop() {
      clearInterval(timer);
      timer = undefined;
    },
  };
}

function isSame(a: Material, b: Material | undefined): boolean {
  if (b === undefined || !a.cert.equals(b.cert) || !a.key.equals(b.key)) return false;
  return a.ca === b.ca || (a.ca !== undefined && b.ca !== undefined && a.ca.equals(b.ca));
}

function versionsOf({ min_version, max_version }: TlsServerConfig): SecureContextOptions {
  const minVersion = NODE_VERSIONS[min_version];
  return max_version === undefined ? { minVersion } : { minVersion, maxVersion: NODE_VERSIONS[max_version] };
}

/** `cert` stands for `cert_file` or `cert_pem`, whichever is given. */
const nameOf = (part: string, file: string | undefined): string => `${part}_${file === undefined ? 'pem' : 'file'}`;

async function read(file: string | undefined, pem: Secret | undefined, part: string): Promise<Buffer> {
  return file === undefined ? Buffer.from(pem?.reveal() ?? '') : readFrom(file, nameOf(part, file));
}

const READ_FAULTS: Readonly<Record<string, string>> = {
  ENOENT: 'there is no such file',
  EACCES: 'permission denied',
  EISDIR: 'it is a directory',
};

async function readFrom(file: string, setting: string): Promise<Buffer> {
  try {
    const { size } = await stat(file);
    if (size > MAX_FILE_BYTES) throw new Error(`it has more than ${MAX_FILE_BYTES} bytes`);
    return await readFile(file);
  } catch (cause) {
    const { code = '', message }: NodeJS.ErrnoException = cause instanceof Error ? cause : new Error(String(cause));
    throw new Error(`${setting}: cannot read ${file}: ${READ_FAULTS[code] ?? message}`, { cause });
  }
}

/** The first certificate in a text. */
function certificateOf(pem: Buffer, setting: string): X509Certificate {
  try {
    return new X509Certificate(pem);
  } catch (cause) {
    throw new Error(`${setting}: this is no certificate in PEM form`, { cause });
  }
}

function keyOf(pem: Buffer, setting: string): KeyObject {
  if (pem.includes('ENCRYPTED')) throw new Error(`${setting}: the key is encrypted; write it without a passphrase`);
  try {
    return createPrivateKey(pem);
  } catch (cause) {
    throw new Error(`${setting}: this is no private key in PEM form`, { cause });
  }
}
