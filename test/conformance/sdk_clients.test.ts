/** Real clients: every exporter of the JavaScript SDK, with a token, compressed or not, and while the database is away. */
import assert from 'node:assert/strict';
import { suite } from 'uvu';
import { SIGNALS, type Signal } from '../../src/model/batch.ts';
import { storedRows, type SignalTable, type StoredRow } from '../support/gateway.ts';
import { conformanceGateway, type ConformanceGateway } from './conformance_gateway.ts';
import { sendWithSdk, SERVICE, type Client } from './sdk_clients.ts';
import { HTTP, METHODS, WIRES } from './wires.ts';
import { record } from './requests.ts';
import { grpcClient } from '../receivers/otlp_grpc_server.ts';
import { credentials } from '@grpc/grpc-js';
import { request } from '../support/otlp_messages.ts';

const clients = suite('SDK clients');
let gateway: ConformanceGateway;

clients.before(async () => {
  gateway = await conformanceGateway();
});
clients.before.each(async () => {
  await gateway.pool.query(
    'DELETE FROM otel_spans; DELETE FROM otel_logs; DELETE FROM otel_metrics; DELETE FROM receipts',
  );
});
clients.after(() => gateway.close());

const TABLES: Readonly<Record<Signal, SignalTable>> = {
  traces: 'otel_spans',
  logs: 'otel_logs',
  metrics: 'otel_metrics',
};

const rowsOf = (signal: Signal): Promise<StoredRow[]> => storedRows(gateway.pool, TABLES[signal], 'received_at');

/** Sends something of each signal; the database is there again once all of them were refused. */
async function refusedAtFirst<T>(sendOne: (signal: Signal) => Promise<T>): Promise<T[]> {
  const sent = await gateway.whileAway(async () => {
    const allRefused = gateway.refusals(SIGNALS.length);
    const underWay = SIGNALS.map(sendOne);
    await allRefused;
    // Not their ends, for which the database must be there.
    return { underWay };
  });
  return Promise.all(sent.underWay);
}

function assertStored(rows: readonly StoredRow[]): void {
  assert.deepEqual(
    rows.map((row) => [row['org_id'], row['service_name'], row['scan_id'], row['attributes']]),
    [['acme', SERVICE, 'scan-1', { 'pencheff.scan_id': 'scan-1', large: Number.MAX_SAFE_INTEGER, texts: ['a', 'b'] }]],
  );
}

for (const wire of WIRES) {
  for (const compression of ['none', 'gzip'] as const) {
    clients(`a record of each signal arrives: ${wire}, compression ${compression}`, async () => {
      const client: Client = { wire, compression, token: gateway.token };
      await Promise.all(SIGNALS.map((signal) => sendWithSdk(signal, client, gateway)));
      for (const signal of SIGNALS) assertStored(await rowsOf(signal));
    });
  }

  clients(`without a valid token nothing arrives: ${wire}`, async () => {
    const { token } = await gateway.issueToken({ scopes: ['scans:read'] });
    const client: Client = { wire, compression: 'none', token };
    await Promise.allSettled(SIGNALS.map((signal) => sendWithSdk(signal, client, gateway)));
    for (const signal of SIGNALS) assert.deepEqual(await rowsOf(signal), []);
  });
}

for (const wire of HTTP) {
  clients(`what is refused while the database is away is sent again, and stored once: ${wire}`, async () => {
    const client: Client = { wire, compression: 'gzip', token: gateway.token };
    await refusedAtFirst((signal) => sendWithSdk(signal, client, gateway));
    for (const signal of SIGNALS) assertStored(await rowsOf(signal));
  });
}

/** The SDK's exporters over gRPC leave sending again to their application; a client of grpc-js has a policy for it. */
const RETRY = {
  'grpc.enable_retries': 1,
  'grpc.service_config': JSON.stringify({
    methodConfig: [
      {
        name: [{}],
        retryPolicy: {
          maxAttempts: 5,
          initialBackoff: '0.2s',
          maxBackoff: '2s',
          backoffMultiplier: 2,
          retryableStatusCodes: ['UNAVAILABLE'],
        },
      },
    ],
  }),
};

clients('what is refused while the database is away is sent again, and stored once: grpc', async () => {
  const client = grpcClient(gateway.grpcAddress, credentials.createInsecure(), RETRY);
  const authorization = `Bearer ${gateway.token}`;
  const replies = await refusedAtFirst((signal) =>
    client.call(METHODS[signal], request([record(signal)]), { authorization }),
  );
  assert.deepEqual(
    replies.map(({ code }) => code),
    [0, 0, 0],
  );
  client.close();
  for (const signal of SIGNALS) assert.equal((await rowsOf(signal)).length, 1);
});

clients('the SDK over gRPC hears that the database is away, and nothing is stored', async () => {
  const client: Client = { wire: 'grpc', compression: 'none', token: gateway.token };
  await gateway.whileAway(() =>
    assert.rejects(sendWithSdk('traces', client, gateway), /UNAVAILABLE: the database is away/),
  );
  assert.deepEqual(await rowsOf('traces'), []);
});

clients.run();
