/** Section 6, identity: whose data it is, and who may send. */
import assert from 'node:assert/strict';
import http from 'node:http';
import { spanReader } from '../../src/store/span_tree.ts';
import { grpcClient } from '../receivers/otlp_grpc_server.ts';
import { any, attribute, field, request } from '../support/otlp_messages.ts';
import { httpRequest } from './http_client.ts';
import { ownHeaders, valid, withToken } from './http_rows.ts';
import { record, untimed } from './requests.ts';
import type { Row, Run } from './rows.ts';
import { assertTaken, onlyRow } from './stored.ts';
import { fromHttp, METHODS, type Reply } from './wires.ts';

const UNAUTHENTICATED = 16;

function assertUnauthenticated({ code, status, message }: Reply): void {
  assert.deepEqual([code, status ?? 401], [UNAUTHENTICATED, 401]);
  assert.match(message, /Bearer|bearer token/);
}

/** Sends one request after the other on one connection. */
function oneConnection(run: Run): { send(token: string): Promise<number>; close(): void } {
  const { gateway, wire, signal } = run;
  if (wire === 'grpc') {
    const client = grpcClient(gateway.grpcAddress);
    const body = request([record(signal)]);
    return {
      send: async (token) => (await client.call(METHODS[signal], body, { authorization: `Bearer ${token}` })).code,
      close: () => client.close(),
    };
  }
  const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
  return {
    async send(token) {
      const headers = { ...ownHeaders(run), authorization: `Bearer ${token}` };
      const reply = await httpRequest(`${gateway.url}/v1/${signal}`, { agent, headers, body: valid(run) });
      return fromHttp(signal, reply).code;
    },
    close: () => agent.destroy(),
  };
}

const SCAN = attribute(1, 'pencheff.scan_id', any.string('scan'));

export const IDENTITY_ROWS: readonly Row[] = [
  {
    id: 'I-1',
    says: 'the tenant is that of the token, whatever the client says',
    async check(run) {
      const forged = ['org_id', 'tenant.id', 'workspace_id'].map((key) => [key, any.string('evil')] as const);
      const resource = Buffer.concat(forged.map(([key, value]) => attribute(1, key, value)));
      const scope = Buffer.concat(forged.map(([key, value]) => attribute(3, key, value)));
      const headers = { 'x-scope-orgid': 'evil', 'x-org-id': 'evil', baggage: 'org_id=evil,tenant.id=evil' };
      assertTaken(
        await run.send(request([record(run.signal, { attributes: forged })], { resource, scope }), { headers }),
      );
      const row = await onlyRow(run);
      assert.deepEqual([row['org_id'], row['workspace_id'], row['target_id']], ['acme', 'w1', null]);
    },
  },
  {
    id: 'I-2',
    says: 'equal trace ids of two tenants are two traces',
    signals: ['traces'],
    async check(run) {
      const { token } = await run.gateway.issueToken({ orgId: 'other' });
      const body = request([record('traces')], { resource: SCAN });
      assertTaken(await run.send(body));
      assertTaken(await run.send(body, withToken(token)));
      assert.deepEqual(new Set((await run.rows()).map((row) => row['org_id'])), new Set(['acme', 'other']));
      const reader = spanReader(run.gateway.pool);
      for (const orgId of ['acme', 'other']) {
        const { spans } = await reader.scanSpans({ orgId, workspaceId: 'w1', targetId: undefined }, 'scan');
        assert.equal(spans.length, 1);
      }
    },
  },
  {
    id: 'I-3',
    says: 'the token stands in authorization, in any case; another header is told from it',
    async check(run) {
      const body = request([untimed(run.signal)]);
      const { token } = run.gateway;
      for (const headers of [
        { AUTHORIZATION: `Bearer ${token}` },
        { authorization: `BEARER ${token}` },
        { authorization: `bearer  ${token}` },
      ]) {
        assertTaken(await run.send(body, { headers: { authorization: undefined, ...headers } }));
      }
      assert.equal((await run.rows()).length, 3);
      assertUnauthenticated(await run.send(body, { headers: { authorization: undefined, 'x-api-key': token } }));
    },
  },
  {
    id: 'I-4',
    says: 'without a token a request is refused for good, in its own encoding',
    async check(run) {
      const body = request([record(run.signal)]);
      for (const authorization of [undefined, 'Basic dXNlcjpwYXNz']) {
        assertUnauthenticated(await run.send(body, { headers: { authorization } }));
      }
      assert.deepEqual(await run.rows(), []);
    },
  },
  {
    id: 'I-5',
    says: 'a revoked token stops working on a connection that stays open',
    signals: ['logs'],
    async check(run) {
      const issued = await run.gateway.issueToken();
      const connection = oneConnection(run);
      try {
        assert.equal(await connection.send(issued.token), 0);
        await issued.revoke();
        let code = 0;
        while (code === 0) code = await connection.send(issued.token);
        assert.equal(code, UNAUTHENTICATED);
        assert.equal(await connection.send(run.gateway.token), 0);
      } finally {
        connection.close();
      }
    },
  },
  {
    id: 'I-6',
    says: 'requests of two tenants that come together stay apart',
    async check(run) {
      const { token } = await run.gateway.issueToken({ orgId: 'other' });
      const sent = Array.from({ length: 40 }, async (_, at) => {
        const owner = at % 2 === 0 ? 'acme' : 'other';
        const resource = attribute(1, 'owner', any.string(owner));
        const options = owner === 'other' ? withToken(token) : {};
        assertTaken(await run.send(request([untimed(run.signal)], { resource }), options));
      });
      await Promise.all(sent);
      const rows = await run.rows();
      assert.equal(rows.length, 40);
      for (const row of rows) assert.deepEqual(row['resource'], { owner: row['org_id'] });
    },
  },
  {
    id: 'I-7',
    says: 'a header that was percent-encoded once is understood',
    async check(run) {
      const headers = { authorization: `Bearer%20${run.gateway.token}` };
      assertTaken(await run.send(request([record(run.signal, { more: field(99, 'x') })]), { headers }));
    },
  },
];
