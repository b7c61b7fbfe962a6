/** Decodes a body in a thread, whose heap its parent bounds: the thread dies of decoding that takes more. */
import { workerData } from 'node:worker_threads';
import { InvalidDataError } from '../../src/errors.ts';
import type { Signal } from '../../src/model/batch.ts';
import { decode } from './requests.ts';

const { signals, bytes }: { signals: readonly Signal[]; bytes: Uint8Array } = workerData;

for (const signal of signals) {
  try {
    decode(signal, bytes);
  } catch (error) {
    if (!(error instanceof InvalidDataError)) throw error;
  }
}
