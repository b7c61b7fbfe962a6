import assert from 'node:assert/strict';
import { compressionAlgorithms } from '@grpc/grpc-js';
import { suite } from 'uvu';
import { ACCEPTED } from '../../src/component.ts';
import { ConfigError, PermanentError, QuotaError, RetryableError } from '../../src/errors.ts';
import { itemCount } from '../../src/model/batch.ts';
import { DEFAULT_TENANT } from '../../src/model/tenant.ts';
import { DEFAULT_SHAPE_LIMITS } from '../../src/model/wire.ts';
import { createGrpcServer, grpcSection } from '../../src/receivers/otlp/grpc.ts';
import { any, attribute, field, request, spanIds, varint } from '../support/otlp_messages.ts';
import { testSettings } from '../support/settings.ts';
import {
  grpcClient,
  grpcReceiver,
  LOGS,
  METRICS,
  TRACES,
  type GrpcClient,
  type GrpcReceiver,
  type Reply,
} from './otlp_grpc_server.ts';
import { LOGS as LOG_REQUEST, METRICS as METRIC_REQUEST, SPANS } from './otlp_requests.ts';

const Grpc = suite('OTLP/gRPC');
let receiver: GrpcReceiver;
let client: GrpcClient;
/** What the next batch meets in its pipeline. */
let failure: Error | undefined;

Grpc.before(async () => {
  receiver = await grpcReceiver({
    section: { max_recv_msg_size_mib: 1 },
    consume: async () => {
      if (failure !== undefined) throw failure;
      return ACCEPTED;
    },
  });
  client = grpcClient(receiver.address);
});
Grpc.before.each(() => {
  failure = undefined;
  receiver.batches.length = 0;
  receiver.log.length = 0;
});
Grpc.after(async () => {
  client.close();
  await receiver.stop();
});

const OK: Reply = { code: 0, message: '', status: undefined, body: Buffer.alloc(0) };

Grpc('takes each signal and answers with an empty message', async () => {
  assert.deepEqual(await client.call(TRACES, SPANS), OK);
  assert.deepEqual(await client.call(LOGS, LOG_REQUEST), OK);
  assert.deepEqual(await client.call(METRICS, METRIC_REQUEST), OK);
  const taken = receiver.batches.map((batch) => [batch.signal, itemCount(batch), batch.tenant]);
  assert.deepEqual(taken, [
    ['traces', 1, DEFAULT_TENANT],
    ['logs', 1, DEFAULT_TENANT],
    ['metrics', 1, DEFAULT_TENANT],
  ]);
});

Grpc('takes a request without any telemetry', async () => {
  assert.deepEqual(await client.call(TRACES, Buffer.alloc(0)), OK);
  assert.deepEqual(await client.call(LOGS, field(1, Buffer.alloc(0))), OK);
});

for (const [name, algorithm] of [
  ['gzip', compressionAlgorithms.gzip],
  ['deflate', compressionAlgorithms.deflate],
] as const) {
  Grpc(`takes ${name}`, async () => {
    const sender = grpcClient(receiver.address, undefined, { 'grpc.default_compression_algorithm': algorithm });
    assert.deepEqual(await sender.call(TRACES, SPANS), OK);
    sender.close();
    assert.equal(receiver.batches.length, 1);
  });
}

Grpc('says in a partial success what it rejected', async () => {
  const { code, body } = await client.call(TRACES, request([spanIds(1), field(2, 'short'), spanIds(2)]));
  assert.equal(code, 0);
  assert(body !== undefined);
  // ExportTracePartialSuccess.rejected_spans comes first.
  assert.deepEqual(body.subarray(2, 4), varint(1, 1));
  assert.match(body.toString(), /1 rejected: /);
  assert.deepEqual(receiver.batches.map(itemCount), [2]);
});

Grpc('refuses what is no such request, and says what is wrong with it', async () => {
  const reply = await client.call(TRACES, Buffer.from('0affffff7f', 'hex'));
  assert.equal(reply.code, 3);
  assert.match(reply.message, /longer than the message/);
  const violation = { field: 'request', description: reply.message };
  assert.deepEqual(reply.status, {
    code: 3,
    message: reply.message,
    details: [{ type: 'BadRequest', fieldViolations: [violation] }],
  });
  assert.deepEqual(receiver.log, []);
});

const retryAfter = (seconds: number, nanos = 0) => [{ type: 'RetryInfo', retryDelay: { seconds, nanos } }];

const failures: { name: string; error: Error; code: number; message: string; details: object[]; logs: string[] }[] = [
  {
    name: 'a destination that is away',
    error: new RetryableError('the database is away', { retryAfterMs: 1500 }),
    code: 14,
    message: 'the database is away',
    details: retryAfter(1, 500_000_000),
    logs: [],
  },
  {
    name: 'a destination that will be away for long',
    error: new RetryableError('still away', { retryAfterMs: 60_000 }),
    code: 14,
    message: 'still away',
    details: retryAfter(3),
    logs: [],
  },
  {
    name: 'a tenant over its quota',
    error: new QuotaError('too many spans', 10),
    code: 8,
    message: 'too many spans',
    details: retryAfter(1),
    logs: [],
  },
  {
    name: 'data that the destination will never take',
    error: new PermanentError('unstorable'),
    code: 13,
    message: 'unstorable',
    details: [],
    logs: ['error: unstorable'],
  },
  {
    name: 'a bug',
    error: new TypeError('x is not a function'),
    code: 14,
    message: 'the gateway failed; send the request again',
    details: retryAfter(1),
    logs: ['error: the gateway failed; send the request again'],
  },
];

for (const { name, error, code, message, details, logs } of failures) {
  Grpc(`answers ${name}`, async () => {
    failure = error;
    const reply = await client.call(TRACES, SPANS);
    assert.deepEqual(reply, { code, message, status: { code, message, details }, body: undefined });
    assert.deepEqual(receiver.log, logs);
  });
}

Grpc('cuts long messages, and sends those that are no Unicode', async () => {
  failure = new PermanentError(`\ud800${'€'.repeat(5000)}`);
  const { code, message, status } = await client.call(TRACES, SPANS);
  assert.equal(code, 13);
  assert.equal(message, `\ufffd${'€'.repeat(399)}`);
  assert.equal(status?.message, message);
});

/** A span whose only attribute makes it as large as wanted. */
function sized(bytes: number): Buffer {
  const overhead = spanOf(70_000).length - 70_000;
  return spanOf(bytes - overhead);
}
const spanOf = (bytes: number): Buffer =>
  request([Buffer.concat([spanIds(1), attribute(9, 'a', any.string(Buffer.alloc(bytes, 0x61)))])]);

Grpc('takes messages up to its limit, and asks nobody to send larger ones again', async () => {
  assert.equal(sized(1_048_576).length, 1_048_576);
  assert.deepEqual(await client.call(TRACES, sized(1_048_576)), OK);
  const gzip = { 'grpc.default_compression_algorithm': compressionAlgorithms.gzip };
  const compressing = grpcClient(receiver.address, undefined, gzip);
  assert.deepEqual(await compressing.call(TRACES, sized(1_048_576)), OK);
  for (const sender of [client, compressing]) {
    const { code, status } = await sender.call(TRACES, sized(1_048_577));
    assert.deepEqual({ code, status }, { code: 8, status: undefined });
  }
  compressing.close();
});

Grpc('does not know other methods', async () => {
  assert.equal((await client.call('/opentelemetry.proto.collector.trace.v1.TraceService/Import', SPANS)).code, 12);
});

Grpc('implements no method of a signal that no pipeline takes', async () => {
  const single = await grpcReceiver({ next: { traces: { consume: async () => ACCEPTED } } });
  const sender = grpcClient(single.address);
  assert.equal((await sender.call(TRACES, SPANS)).code, 0);
  assert.equal((await sender.call(LOGS, LOG_REQUEST)).code, 12);
  sender.close();
  await single.stop();
});

Grpc('answers hundreds of calls at once on one connection', async () => {
  const replies = await Promise.all(Array.from({ length: 500 }, () => client.call(TRACES, SPANS)));
  assert(replies.every(({ code }) => code === 0));
  assert.equal(receiver.batches.length, 500);
});

Grpc('turns calls away above its limit, and takes them again when there is room', async () => {
  const gate = Promise.withResolvers<void>();
  const entered = Promise.withResolvers<void>();
  const small = await grpcReceiver({
    section: { max_concurrent_requests: 1 },
    consume: async () => {
      entered.resolve();
      await gate.promise;
      return ACCEPTED;
    },
  });
  const sender = grpcClient(small.address);
  const first = sender.call(TRACES, SPANS);
  await entered.promise;
  const second = await sender.call(TRACES, SPANS);
  assert.equal(second.code, 14);
  assert.match(second.message, /max_concurrent_requests \(1\)/);
  assert.deepEqual(second.status?.details, retryAfter(1));
  gate.resolve();
  assert.equal((await first).code, 0);
  assert.equal((await sender.call(TRACES, SPANS)).code, 0);
  sender.close();
  await small.stop();
});

const faultsOf = (section: Record<string, unknown>) => {
  try {
    createGrpcServer({
      config: grpcSection.parse(section),
      limits: DEFAULT_SHAPE_LIMITS,
      settings: testSettings('otlp'),
      next: {},
    });
    return [];
  } catch (error) {
    assert(error instanceof ConfigError);
    return error.faults.map(({ path }) => path);
  }
};

Grpc('is not open to a network by accident', () => {
  assert.deepEqual(faultsOf({}), []);
  assert.deepEqual(faultsOf({ endpoint: '[::1]:4317' }), []);
  assert.deepEqual(faultsOf({ endpoint: '0.0.0.0:4317' }), ['protocols.grpc.endpoint']);
  assert.deepEqual(faultsOf({ endpoint: ':4317', allow_unauthenticated: true }), []);
  assert.deepEqual(faultsOf({ auth: { authenticator: 'nobody' } }), ['protocols.grpc.auth.authenticator']);
});

Grpc('takes the keys of a Collector', () => {
  const section = grpcSection.parse({
    max_recv_msg_size_mib: 16,
    max_concurrent_streams: 20,
    keepalive: {
      server_parameters: { max_connection_age: '5m', time: '30s' },
      enforcement_policy: { min_time: '10s', permit_without_stream: true },
    },
  });
  assert.deepEqual(section.endpoint, { host: '127.0.0.1', port: 4317 });
  assert.equal(section.keepalive.server_parameters.max_connection_age, 300_000);
  assert.equal(section.keepalive.server_parameters.timeout, 20_000);
});

Grpc('says what to change when it cannot listen', async () => {
  await assert.rejects(grpcReceiver({ section: { endpoint: receiver.address } }), {
    message: `cannot listen on ${receiver.address}: address in use (receivers.otlp.protocols.grpc.endpoint)`,
  });
});

Grpc.run();
