/** What tests of the file exporter send, and what has to be in the files then. */
import { spawnSync } from 'node:child_process';
import type { Exporter } from '../../src/component.ts';
import type { Signal } from '../../src/model/batch.ts';
import { encodeRequest } from '../../src/otlp/encode.ts';
import { protobufToJson } from '../../src/otlp/json_encode.ts';
import { any, attribute, field, request, spanIds } from '../support/otlp_messages.ts';
import { batchOf, NEVER, RECEIVED_AT_MS, recordOf } from './records.ts';

export async function send(exporter: Exporter, signal: Signal, body: Uint8Array, receivedAtMs = RECEIVED_AT_MS) {
  return exporter.send([await recordOf(exporter, batchOf(signal, body, receivedAtMs))], NEVER);
}

/** What a request becomes. */
export const lineOf = (signal: Signal, body: Uint8Array): string =>
  `${protobufToJson(signal, encodeRequest(batchOf(signal, body)))}\n`;

/** Some 700 kB of spans as JSON. */
export const manySpans = (name: string): Buffer =>
  request(
    Array.from({ length: 600 }, (_, i) =>
      Buffer.concat([spanIds(i), field(5, name), attribute(9, 'k', any.string('x'.repeat(1000)))]),
    ),
  );

/** Runs a command of the system; false when it is missing or fails. */
export const succeeds = (command: string, ...args: readonly string[]): boolean => spawnSync(command, args).status === 0;
