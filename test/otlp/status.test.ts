import assert from 'node:assert/strict';
import { suite } from 'uvu';
import { exportResponse, RPC, statusResponse } from '../../src/otlp/status.ts';
import { RESPONSES } from './golden_vectors.ts';
import { field, varint } from './requests.ts';

const status = suite('answers');

const hex = (bytes: Buffer): string => bytes.toString('hex');

status('full success is the empty message', () => {
  const outcome = { rejected: 0, message: '' };
  assert.equal(exportResponse('traces', outcome, 'protobuf').length, 0);
  assert.equal(String(exportResponse('traces', outcome, 'json')), '{}');
});

for (const [signal, name] of [
  ['traces', 'rejectedSpans'],
  ['logs', 'rejectedLogRecords'],
  ['metrics', 'rejectedDataPoints'],
] as const) {
  status(`partial success of ${signal}`, () => {
    const outcome = { rejected: 2, message: 'bad id' };
    assert.equal(hex(exportResponse(signal, outcome, 'protobuf')), RESPONSES.partial);
    assert.equal(
      String(exportResponse(signal, outcome, 'json')),
      `{"partialSuccess":{"${name}":"2","errorMessage":"bad id"}}`,
    );
  });
}

status('a warning rejects nothing', () => {
  assert.equal(hex(exportResponse('logs', { rejected: 0, message: 'w' }, 'protobuf')), RESPONSES.warning);
});

status('a failure with a message', () => {
  assert.equal(hex(statusResponse(RPC.invalidArgument, 'bad', 'protobuf')), RESPONSES.status);
  assert.equal(String(statusResponse(RPC.invalidArgument, 'bad', 'json')), '{"code":3,"message":"bad"}');
});

status('a failure that names the field', () => {
  const detail = { kind: 'bad_request', field: 'resourceSpans', description: 'x' } as const;
  assert.equal(hex(statusResponse(RPC.invalidArgument, 'bad', 'protobuf', detail)), RESPONSES.badRequest);
  assert.deepEqual(JSON.parse(String(statusResponse(RPC.invalidArgument, 'bad', 'json', detail))), {
    code: 3,
    message: 'bad',
    details: [
      {
        '@type': 'type.googleapis.com/google.rpc.BadRequest',
        fieldViolations: [{ field: 'resourceSpans', description: 'x' }],
      },
    ],
  });
});

const retry = (retryAfterMs: number): Buffer =>
  statusResponse(RPC.unavailable, 'busy', 'protobuf', { kind: 'retry_info', retryAfterMs });

status('a failure that says when to try again, in seconds and parts of them', () => {
  assert.equal(hex(retry(5000)), RESPONSES.retry);
  assert.ok(hex(retry(1500)).endsWith(hex(field(1, 0x08, 0x01, 0x10, varint(500_000_000)))));
  const json = String(statusResponse(RPC.unavailable, 'busy', 'json', { kind: 'retry_info', retryAfterMs: 1500 }));
  assert.match(json, /"@type":"type\.googleapis\.com\/google\.rpc\.RetryInfo","retryDelay":"1\.5s"/);
});

status('a long message is cut, in the middle of no character', () => {
  const long = `${'x'.repeat(1023)}\u{1f600}${'y'.repeat(100_000)}`;
  for (const encoding of ['protobuf', 'json'] as const) {
    for (const answer of [
      statusResponse(RPC.internal, long, encoding),
      exportResponse('traces', { rejected: 1, message: long }, encoding),
    ]) {
      assert.ok(answer.length < 1200);
      assert.ok(String(answer).includes(`${'x'.repeat(1023)}\ufffd`));
    }
  }
});

status.run();
