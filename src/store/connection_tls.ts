/**
 * TLS to PostgreSQL as the parameters of a URL mean it to libpq (PostgreSQL documentation, libpq, "SSL Support"). pg reads
 * them differently: `require` and `verify-ca` check what they should not, `sslrootcert=system` is a file to it, `sslcrl`
 * nothing, and a mode it does not know is no error. Where we differ from libpq, we are stricter: `allow` and `prefer` do
 * without plain text, a root certificate without a mode asks for `verify-full`, and no file is looked for unless named.
 */
import { readFileSync } from 'node:fs';
import { getCACertificates, type ConnectionOptions } from 'node:tls';
import { Client } from 'pg';

/** For a client or a pool of pg. */
export interface ConnectionSettings extends TlsSettings {
  /** Without the parameters that the others stand for. */
  readonly connectionString: string;
}

interface TlsSettings {
  readonly ssl?: ConnectionOptions | false;
  readonly sslnegotiation?: 'direct';
}

const MODES = ['disable', 'allow', 'prefer', 'require', 'verify-ca', 'verify-full', 'no-verify'] as const;
type Mode = (typeof MODES)[number];
/** Those in which libpq may end up without TLS. */
const WEAK_MODES: ReadonlySet<Mode> = new Set(['disable', 'allow', 'prefer']);

/** Parameters of a URL that ask for TLS, or forbid it. */
const ASKING = ['sslmode', 'sslrootcert', 'sslcert', 'sslnegotiation'] as const;
/** With one of those, none of these is left to pg. */
const PARAMETERS: ReadonlySet<string> = new Set([
  ...ASKING,
  'sslkey',
  'sslpassword',
  'sslcrl',
  'ssl',
  'uselibpqcompat',
]);

/** Trusts nobody, so that no connection comes about. */
const CLOSED: TlsSettings = { ssl: { ca: [] } };

/**
 * Reads the files that the URL names. Never throws: with parameters that cannot be used, every connection fails, and
 * `tlsFault` says why.
 */
export function connectionSettings(url: string): ConnectionSettings {
  const { connectionString, parameters } = split(url);
  if (parameters.size === 0 || isSocket(connectionString)) return { connectionString };
  try {
    return { connectionString, ...tlsSettings(parameters) };
  } catch {
    return { connectionString, ...CLOSED };
  }
}

/** What is wrong with the TLS parameters of a URL, in words for an operator. */
export function tlsFault(url: string): string | undefined {
  const { connectionString, parameters } = split(url);
  if (parameters.size === 0 || isSocket(connectionString)) return undefined;
  try {
    tlsSettings(parameters);
    return undefined;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

/** As text, since a URL for pg may have forms that a URL of the web has not. */
function split(url: string): { connectionString: string; parameters: ReadonlyMap<string, string> } {
  const start = url.indexOf('?');
  if (start < 0 || url.startsWith('/')) return { connectionString: url, parameters: new Map() };
  const query = [...new URLSearchParams(url.slice(start).split('#', 1)[0])];
  const parameters = new Map(query.filter(([name]) => PARAMETERS.has(name)));
  if (!ASKING.some((name) => parameters.has(name))) return { connectionString: url, parameters: new Map() };
  const others = new URLSearchParams(query.filter(([name]) => !PARAMETERS.has(name))).toString();
  return { connectionString: url.slice(0, start) + (others === '' ? '' : `?${others}`), parameters };
}

/** libpq speaks no TLS over a Unix domain socket, whatever the mode. */
function isSocket(connectionString: string): boolean {
  try {
    return new Client({ connectionString }).host.startsWith('/');
  } catch {
    return false;
  }
}

function tlsSettings(parameters: ReadonlyMap<string, string>): TlsSettings {
  const mode = modeOf(parameters);
  const negotiation = negotiationOf(parameters, mode);
  return { ssl: mode === 'disable' ? false : tlsOptions(parameters, mode), ...negotiation };
}

function negotiationOf(parameters: ReadonlyMap<string, string>, mode: Mode): Pick<TlsSettings, 'sslnegotiation'> {
  const text = parameters.get('sslnegotiation') ?? 'postgres';
  if (text === 'postgres') return {};
  if (text !== 'direct') throw new Error(`sslnegotiation is ${JSON.stringify(text)}; allowed: postgres, direct`);
  if (WEAK_MODES.has(mode)) throw new Error(`sslnegotiation=direct needs sslmode=require or more, not ${mode}`);
  return { sslnegotiation: text };
}

function tlsOptions(parameters: ReadonlyMap<string, string>, mode: Mode): ConnectionOptions {
  const rootCert = parameters.get('sslrootcert');
  if (rootCert === 'system' && mode !== 'verify-full') {
    throw new Error(`sslmode=${mode} would trust whom everybody can become: sslrootcert=system needs verify-full`);
  }
  if (mode === 'verify-ca' && rootCert === undefined) {
    throw new Error('sslmode=verify-ca needs the authority to trust: name its certificate with sslrootcert');
  }
  return { ...authorities(rootCert), ...checks(mode, rootCert !== undefined), ...ownCertificate(parameters) };
}

function modeOf(parameters: ReadonlyMap<string, string>): Mode {
  const text = parameters.get('sslmode');
  if (text === undefined) return parameters.has('sslrootcert') ? 'verify-full' : 'require';
  const mode = MODES.find((one) => one === text);
  if (mode === undefined) throw new Error(`sslmode is ${JSON.stringify(text)}; allowed: ${MODES.join(', ')}`);
  return mode;
}

/** Without a root certificate those count that Node brings along. */
function authorities(rootCert: string | undefined): ConnectionOptions {
  if (rootCert === undefined) return {};
  if (rootCert !== 'system') return { ca: read('sslrootcert', rootCert) };
  const ca = getCACertificates('system');
  return ca.length === 0 ? {} : { ca };
}

function checks(mode: Mode, hasRootCert: boolean): ConnectionOptions {
  if (mode === 'verify-full') return {};
  if (mode === 'no-verify' || !hasRootCert) return { rejectUnauthorized: false };
  // As libpq has it, a root certificate is used in every mode; only verify-full looks at the name of the host.
  return { checkServerIdentity: () => undefined };
}

function ownCertificate(parameters: ReadonlyMap<string, string>): ConnectionOptions {
  const [cert, key, crl] = ['sslcert', 'sslkey', 'sslcrl'].map((name) => {
    const file = parameters.get(name);
    return file === undefined ? undefined : read(name, file);
  });
  const passphrase = parameters.get('sslpassword');
  return {
    ...(cert && { cert }),
    ...(key && { key }),
    ...(crl && { crl }),
    ...(passphrase !== undefined && { passphrase }),
  };
}

const READ_FAULTS: Readonly<Record<string, string>> = {
  ENOENT: 'there is no such file',
  EACCES: 'permission denied',
  EISDIR: 'it is a directory',
};

function read(name: string, file: string): Buffer {
  try {
    return readFileSync(file);
  } catch (cause) {
    const { code = '', message }: NodeJS.ErrnoException = cause instanceof Error ? cause : new Error(String(cause));
    throw new Error(`${name}: cannot read ${file}: ${READ_FAULTS[code] ?? message}`, { cause });
  }
}
