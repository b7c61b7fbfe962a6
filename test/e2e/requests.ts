/** One request to each route of the two servers, and what it needs and answers where it is welcome. */
import { once } from 'node:events';
import { request as httpRequest } from 'node:http';
import type { Scope } from '../../src/model/identity.ts';
import { any, attribute, field, fixed64, request, spanIds } from '../support/otlp_messages.ts';
import type { Deployment } from './deployment.ts';

export interface RouteCase {
  readonly name: string;
  readonly server: 'otlp' | 'query';
  readonly method: 'GET' | 'POST';
  readonly path: string;
  readonly contentType?: string;
  readonly body?: Uint8Array;
  /** Undefined for what everybody may have. */
  readonly scope: Scope | undefined;
  readonly success: number;
  /** To a token of another tenant: it stores its own data, and does not see others'. */
  readonly otherTenant: number;
}

export const SCAN_ID = 'scan-1';

const NOW = BigInt(Date.now()) * 1_000_000n;
const PROTOBUF = 'application/x-protobuf';
const span = Buffer.concat([
  spanIds(1),
  field(5, 'scan.execute'),
  fixed64(7, NOW),
  fixed64(8, NOW + 1n),
  attribute(9, 'pencheff.scan_id', any.string(SCAN_ID)),
]);
const logRecord = Buffer.concat([fixed64(1, NOW), field(5, any.string('hello'))]);
const point = Buffer.concat([fixed64(3, NOW), fixed64(6, 1n)]);
const metric = Buffer.concat([field(1, 'scans'), field(5, field(1, point))]);
const sdkSpans = {
  trace_id: 'proxy-1',
  spans: [{ span_id: 'p1', name: 'llm.chat', kind: 'llm', started_at: '2026-05-08T03:00:00Z', duration_ms: 5 }],
};

const otlp = (path: string, record: Uint8Array, success: number): RouteCase => ({
  name: `OTLP ${path}`,
  server: 'otlp',
  method: 'POST',
  path,
  contentType: PROTOBUF,
  body: request([record]),
  scope: 'ingest',
  success,
  otherTenant: success,
});

const open = (path: string): RouteCase => ({
  name: `GET ${path}`,
  server: 'query',
  method: 'GET',
  path,
  scope: undefined,
  success: 200,
  otherTenant: 200,
});

export const SDK_SPANS: RouteCase = {
  name: 'SDK span JSON',
  server: 'otlp',
  method: 'POST',
  path: '/v1/traces',
  contentType: 'application/json',
  body: Buffer.from(JSON.stringify(sdkSpans)),
  scope: 'proxy:write',
  success: 202,
  otherTenant: 202,
};

/** @param otlpSuccess the receiver's `success_status` */
export const routes = (otlpSuccess: number): readonly RouteCase[] => [
  otlp('/v1/traces', span, otlpSuccess),
  otlp('/v1/logs', logRecord, otlpSuccess),
  otlp('/v1/metrics', metric, otlpSuccess),
  {
    name: 'the trace of a scan',
    server: 'query',
    method: 'GET',
    path: `/observability/scans/${SCAN_ID}/trace`,
    scope: 'scans:read',
    success: 200,
    otherTenant: 404,
  },
  open('/healthz'),
  open('/'),
];

export interface Answered {
  readonly status: number | undefined;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly body: string;
}

/** Sends the Authorization headers as they stand, several of them included. */
export async function send(
  { otlpUrl, queryUrl }: Deployment,
  { server, method, path, contentType, body }: RouteCase,
  authorization: readonly string[] = [],
): Promise<Answered> {
  const url = new URL(path, server === 'otlp' ? otlpUrl : queryUrl);
  const headers = ['Host', url.host, ...authorization.flatMap((value) => ['Authorization', value])];
  if (contentType !== undefined) headers.push('Content-Type', contentType);
  if (body !== undefined) headers.push('Content-Length', String(body.length));
  const call = httpRequest(url, { method, headers, agent: false });
  call.end(body);
  const [response] = await once(call, 'response');
  const text = (await response.setEncoding('utf8').toArray()).join('');
  return { status: response.statusCode, headers: response.headers, body: text };
}
