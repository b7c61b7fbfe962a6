/** Certificate authorities for tests, made anew each time: X.509 version 3 (RFC 5280) with ECDSA keys, written byte by byte. */
import { generateKeyPairSync, randomBytes, sign, type KeyObject } from 'node:crypto';
import { mkdtemp, rename, rm, writeFile } from 'node:fs/promises';
import { isIP } from 'node:net';
import os from 'node:os';
import path from 'node:path';

export interface KeyAndCertificate {
  /** PEM. */
  readonly cert: string;
  /** PEM, PKCS #8. */
  readonly key: string;
}

export interface Authority {
  /** PEM of its own certificate. */
  readonly cert: string;
  /** @param hosts names and IPv4 addresses */
  issue(name: string, hosts?: readonly string[], validity?: Validity): KeyAndCertificate;
}

interface Validity {
  readonly from: Date;
  readonly to: Date;
}

const DAY_MS = 86_400_000;

const thisWeek = (): Validity => ({ from: new Date(Date.now() - DAY_MS), to: new Date(Date.now() + 6 * DAY_MS) });

export function certificateAuthority(name: string): Authority {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const own = { issuer: name, subject: name, publicKey, isAuthority: true, hosts: [], validity: thisWeek() };
  return {
    cert: certificate(own, privateKey),
    issue(subject, hosts = [], validity = thisWeek()) {
      const pair = generateKeyPairSync('ec', { namedCurve: 'P-256' });
      const parts = { issuer: name, subject, publicKey: pair.publicKey, isAuthority: false, hosts, validity };
      return {
        cert: certificate(parts, privateKey),
        key: pair.privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
      };
    },
  };
}

export interface TestFiles {
  path(name: string): string;
  /** Replaces the file in one step, as renewing programs do. */
  write(name: string, text: string): Promise<string>;
  remove(): Promise<void>;
}

export async function testFiles(): Promise<TestFiles> {
  const directory = await mkdtemp(path.join(os.tmpdir(), 'sluice-tls-'));
  const pathOf = (name: string): string => path.join(directory, name);
  return {
    path: pathOf,
    async write(name, text) {
      await writeFile(pathOf(`${name}.new`), text, { mode: 0o600 });
      await rename(pathOf(`${name}.new`), pathOf(name));
      return pathOf(name);
    },
    remove: () => rm(directory, { recursive: true, force: true }),
  };
}

interface CertificateParts {
  readonly issuer: string;
  readonly subject: string;
  readonly publicKey: KeyObject;
  readonly isAuthority: boolean;
  readonly hosts: readonly string[];
  readonly validity: Validity;
}

const OID = {
  ecdsaWithSha256: '2a8648ce3d040302',
  commonName: '550403',
  subjectAltName: '551d11',
  basicConstraints: '551d13',
} as const;

const VERSION_3 = der(0xa0, der(0x02, Buffer.of(2)));
const SIGNATURE_ALGORITHM = sequence(oid(OID.ecdsaWithSha256));

function certificate(parts: CertificateParts, issuerKey: KeyObject): string {
  const { issuer, subject, publicKey, isAuthority, hosts, validity } = parts;
  const extensions = [
    ...(isAuthority ? [extension(OID.basicConstraints, sequence(der(0x01, Buffer.of(0xff))))] : []),
    ...(hosts.length > 0 ? [extension(OID.subjectAltName, sequence(...hosts.map(generalName)))] : []),
  ];
  const body = sequence(
    VERSION_3,
    der(0x02, Buffer.concat([Buffer.of(1), randomBytes(8)])),
    SIGNATURE_ALGORITHM,
    nameOf(issuer),
    sequence(time(validity.from), time(validity.to)),
    nameOf(subject),
    publicKey.export({ type: 'spki', format: 'der' }),
    ...(extensions.length > 0 ? [der(0xa3, sequence(...extensions))] : []),
  );
  const signature = der(0x03, Buffer.of(0), sign('sha256', body, issuerKey));
  const lines = sequence(body, SIGNATURE_ALGORITHM, signature)
    .toString('base64')
    .replaceAll(/.{64}(?=.)/g, '$&\n');
  return `-----BEGIN CERTIFICATE-----\n${lines}\n-----END CERTIFICATE-----\n`;
}

const nameOf = (text: string): Buffer =>
  sequence(der(0x31, sequence(oid(OID.commonName), der(0x0c, Buffer.from(text)))));

const extension = (id: string, value: Buffer): Buffer => sequence(oid(id), der(0x04, value));

function generalName(host: string): Buffer {
  if (isIP(host) === 4) return der(0x87, Buffer.from(host.split('.').map(Number)));
  return der(0x82, Buffer.from(host));
}

/** UTCTime, which has two digits for the year. */
function time(date: Date): Buffer {
  return der(
    0x17,
    Buffer.from(
      date
        .toISOString()
        .replaceAll(/[-:T]|\.\d+/g, '')
        .slice(2),
    ),
  );
}

function oid(hex: string): Buffer {
  return der(0x06, Buffer.from(hex, 'hex'));
}

function sequence(...contents: readonly Buffer[]): Buffer {
  return der(0x30, ...contents);
}

function der(tag: number, ...contents: readonly Buffer[]): Buffer {
  const body = Buffer.concat(contents);
  return Buffer.concat([Buffer.of(tag), lengthOf(body), body]);
}

function lengthOf({ length }: Buffer): Buffer {
  if (length < 0x80) return Buffer.of(length);
  return length < 0x100 ? Buffer.of(0x81, length) : Buffer.of(0x82, length >> 8, length & 0xff);
}
