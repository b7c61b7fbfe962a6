import assert from 'node:assert/strict';
import { suite } from 'uvu';
import { z } from 'zod';
import { loadConfig } from '../../src/config/load.ts';
import { parseSection } from '../../src/config/schema.ts';
import { tlsServer } from '../../src/config/tls.ts';

const Tls = suite('tls section');

const raw = await loadConfig({ files: [], sets: [], env: {} });
const section = z.strictObject({ tls: tlsServer().optional() });
const parse = (tls: unknown) => parseSection(section, { tls }, 'r', raw);
const FILES = { cert_file: 'a.pem', key_file: 'a.key' };

Tls('has defaults', () => {
  const { value, faults } = parse(FILES);
  assert.deepEqual(faults, []);
  assert.deepEqual(value?.tls, { ...FILES, client_ca_file_reload: false, min_version: '1.2', reload_interval: 60_000 });
  assert.equal(parse(undefined).value?.tls, undefined);
});

Tls('takes versions with and without quotes, and secrets in place', () => {
  const { value } = parse({ cert_pem: 'C', key_pem: 'K', min_version: 1.3, max_version: '1.3', reload_interval: 0 });
  assert.deepEqual([value?.tls?.min_version, value?.tls?.max_version, value?.tls?.reload_interval], ['1.3', '1.3', 0]);
  assert.deepEqual([value?.tls?.cert_pem?.reveal(), value?.tls?.key_pem?.reveal()], ['C', 'K']);
  assert.equal(JSON.stringify(value?.tls?.key_pem), '"[REDACTED]"');
});

const cases: { name: string; tls: unknown; faults: [path: string, message: string][] }[] = [
  {
    name: 'an empty section',
    tls: {},
    faults: [
      ['cert_file', 'missing; allowed: cert_file, or the PEM text as cert_pem'],
      ['key_file', 'missing; allowed: key_file, or the PEM text as key_pem'],
    ],
  },
  {
    name: 'a certificate twice',
    tls: { ...FILES, cert_pem: 'C' },
    faults: [['cert_pem', 'found cert_file too; allowed: one of them']],
  },
  {
    name: 'an old version',
    tls: { ...FILES, min_version: '1.1' },
    faults: [['min_version', 'found "1.1"; allowed: 1.2, 1.3']],
  },
  {
    name: 'versions the wrong way round',
    tls: { ...FILES, min_version: '1.3', max_version: '1.2' },
    faults: [['max_version', 'found 1.2; allowed: at least min_version, 1.3']],
  },
  {
    name: 'a reload of nothing',
    tls: { ...FILES, client_ca_file_reload: true },
    faults: [['client_ca_file_reload', 'found true without a client_ca_file']],
  },
  {
    name: 'a reload at no time',
    tls: { ...FILES, client_ca_file: 'ca.pem', client_ca_file_reload: true, reload_interval: 0 },
    faults: [['client_ca_file_reload', 'found true with reload_interval 0, which means never']],
  },
];

for (const { name, tls, faults } of cases) {
  Tls(`refuses ${name}`, () => {
    const expected = faults.map(([key, message]) => ({ path: `r.tls.${key}`, message }));
    assert.deepEqual(parse(tls).faults, expected);
  });
}

Tls.run();
