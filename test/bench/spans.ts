/** The spans that benchmarks send: 9 attributes of the kinds that scans carry, some 410 bytes on the wire. */
import { randomBytes } from 'node:crypto';
import protobuf from 'protobufjs';

const { Writer } = protobuf;

const NAMES = ['GET /api/v1/targets', 'tool.subprocess', 'gen_ai.completion', 'SELECT findings', 'tools/call nmap'];

/** An export request of so many spans, in protobuf form, about one scan, with fresh ids and times around now. */
export function traceRequest(spans: number, scanId: string): Uint8Array {
  const writer = Writer.create();
  writer.uint32(0x0a).fork();
  writeResource(writer);
  writer.uint32(0x12).fork();
  writer.uint32(0x0a).fork().uint32(0x0a).string('bench').uint32(0x12).string('1.0.0').ldelim();
  const traceId = randomBytes(16);
  const parent = randomBytes(8);
  for (let i = 0; i < spans; i++) writeSpan(writer, traceId, parent, i, scanId);
  return writer.ldelim().ldelim().finish();
}

function writeResource(writer: protobuf.Writer): void {
  writer.uint32(0x0a).fork();
  attribute(writer, 0x0a, 'service.name', 'pencheff-worker');
  attribute(writer, 0x0a, 'service.version', '2.4.1');
  attribute(writer, 0x0a, 'telemetry.sdk.language', 'nodejs');
  writer.ldelim();
}

function writeSpan(writer: protobuf.Writer, traceId: Uint8Array, parent: Uint8Array, i: number, scanId: string): void {
  const start = BigInt(Date.now()) * 1_000_000n + BigInt(i * 1000);
  writer.uint32(0x12).fork();
  writer.uint32(0x0a).bytes(traceId);
  writer.uint32(0x12).bytes(randomBytes(8));
  writer.uint32(0x22).bytes(parent);
  writer.uint32(0x2a).string(NAMES[i % NAMES.length] ?? '');
  writer.uint32(0x30).uint32(3);
  fixed64(writer, 0x39, start);
  fixed64(writer, 0x41, start + 1_500_000n + BigInt(i));
  attribute(writer, 0x4a, 'pencheff.scan_id', scanId);
  attribute(writer, 0x4a, 'http.request.method', 'GET');
  attribute(writer, 0x4a, 'url.full', `https://staging.example.com/api/v1/items/${i}?page=2&sort=key`);
  attribute(writer, 0x4a, 'http.response.status_code', 200);
  attribute(writer, 0x4a, 'server.address', 'staging.example.com');
  attribute(writer, 0x4a, 'server.port', 443);
  attribute(writer, 0x4a, 'network.protocol.version', '1.1');
  attribute(writer, 0x4a, 'pencheff.module', 'modules.recon.http_fanout');
  attribute(writer, 0x4a, 'user_agent.original', 'pencheff/2.4 (+scanner)');
  writer.uint32(0x7a).fork().uint32(0x18).uint32(1).ldelim();
  writer.ldelim();
}

function fixed64(writer: protobuf.Writer, tag: number, value: bigint): void {
  writer.uint32(tag).fixed64(value.toString());
}

function attribute(writer: protobuf.Writer, tag: number, key: string, value: string | number): void {
  writer.uint32(tag).fork().uint32(0x0a).string(key).uint32(0x12).fork();
  if (typeof value === 'string') writer.uint32(0x0a).string(value);
  else writer.uint32(0x18).int32(value);
  writer.ldelim().ldelim();
}
