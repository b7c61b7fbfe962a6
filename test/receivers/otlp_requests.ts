/** Small OTLP requests, and the gateway that tests of the HTTP receiver send them to. */
import { suite } from 'uvu';
import { countRows, testGateway, type TestGateway } from '../support/gateway.ts';
import { any, double, field, fixed64, request, spanIds } from '../support/otlp_messages.ts';

export const PROTOBUF = 'application/x-protobuf';

/** One span, log record or gauge point each, in protobuf form. */
export const SPANS = request([spanIds(1)]);
export const LOGS = request([field(5, any.string('hi'))]);
export const METRICS = request([Buffer.concat([field(1, 'm'), field(5, field(1, fixed64(3, 1n), double(4, 1)))])]);

export const SPANS_JSON = JSON.stringify({
  resourceSpans: [
    {
      scopeSpans: [{ spans: [{ traceId: '5b8efff798038103d269b633813fc60c', spanId: 'eee19b7ec3c1b174', name: 'a' }] }],
    },
  ],
});

/** The largest body that the gateway of these tests takes. */
export const MAX_BODY_BYTES = 65_536;

export interface ReceiverUnderTest {
  /** A suite with a gateway of its own, whose tables are empty before each test. Suites run one after the other. */
  suite(name: string): ReturnType<typeof suite>;
  /** The gateway of the suite that runs. */
  gateway(): TestGateway;
  /** URL of traces. */
  traces(): string;
  spanCount(): Promise<number>;
}

export function receiverUnderTest(): ReceiverUnderTest {
  let started: TestGateway | undefined;
  const gateway = (): TestGateway => {
    if (started === undefined) throw new Error('no suite runs');
    return started;
  };
  return {
    suite(name) {
      const test = suite(name);
      test.before(async () => {
        const sets = [`receivers.otlp.protocols.http.max_request_body_size=${MAX_BODY_BYTES}`];
        started = await testGateway({ sets });
      });
      test.before.each(async () => {
        await gateway().pool.query(
          'DELETE FROM otel_spans; DELETE FROM otel_logs; DELETE FROM otel_metrics; DELETE FROM receipts',
        );
      });
      test.after(() => gateway().close());
      return test;
    },
    gateway,
    traces: () => `${gateway().url}/v1/traces`,
    spanCount: () => countRows(gateway().pool, 'otel_spans'),
  };
}
