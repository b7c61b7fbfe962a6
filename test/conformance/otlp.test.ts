/**
 * The conformance suite: a row for each requirement on an OTLP server that the project's reference numbers, on every
 * transport, encoding and signal to which it applies. At its end it prints how many of each group are met.
 */
import assert from 'node:assert/strict';
import { suite } from 'uvu';
import { conformanceGateway, type ConformanceGateway } from './conformance_gateway.ts';
import { GRPC_ROWS } from './grpc_rows.ts';
import { HTTP_ROWS } from './http_rows.ts';
import { JSON_ROWS } from './json_rows.ts';
import { DATA_ROWS } from './data_rows.ts';
import { DECODER_ROWS, MALFORMED_ROWS } from './decoder_rows.ts';
import { IDENTITY_ROWS } from './identity_rows.ts';
import { JSON_INTEROP_ROWS } from './json_interop_rows.ts';
import { POSTGRES_ROWS } from './postgres_rows.ts';
import { TRANSPORT_ROWS } from './transport_rows.ts';
import { failuresOf, type Row } from './rows.ts';
import { SERVER_ROWS } from './server_rows.ts';

interface Group {
  readonly name: string;
  readonly rows: readonly Row[];
  /** How many requirements of the group fall on a server. */
  readonly size: number;
}

const GROUPS: readonly Group[] = [
  { name: 'C', rows: SERVER_ROWS, size: 12 },
  { name: 'H', rows: HTTP_ROWS, size: 17 },
  { name: 'G', rows: GRPC_ROWS, size: 7 },
  { name: 'N', rows: JSON_ROWS, size: 11 },
  { name: '2.8', rows: DECODER_ROWS, size: 10 },
  { name: '2.10', rows: MALFORMED_ROWS, size: 16 },
  { name: 'T', rows: TRANSPORT_ROWS, size: 16 },
  { name: 'J', rows: JSON_INTEROP_ROWS, size: 14 },
  { name: 'D', rows: DATA_ROWS, size: 9 },
  { name: 'I', rows: IDENTITY_ROWS, size: 7 },
  { name: 'G-', rows: POSTGRES_ROWS, size: 8 },
];

const met = new Map<string, number>();
let gateway: ConformanceGateway;

const Conformance = suite('OTLP conformance');

Conformance.before(async () => {
  gateway = await conformanceGateway();
});

Conformance.after(async () => {
  await gateway.close();
  console.log(`\n${GROUPS.map(({ name, size }) => `${name} ${met.get(name) ?? 0}/${size}`).join('  ')}`);
});

for (const { name, rows, size } of GROUPS) {
  Conformance(`${name}: a row for each requirement`, () => {
    assert.equal(new Set(rows.map(({ id }) => id)).size, size);
    assert.equal(rows.length, size);
  });
  for (const row of rows) {
    Conformance(`${row.id}: ${row.says}`, async () => {
      const failures = await failuresOf(row, gateway);
      if (failures.length > 0) throw new Error(failures.join('\n'));
      met.set(name, (met.get(name) ?? 0) + 1);
    });
  }
}

Conformance.run();
