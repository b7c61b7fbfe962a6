/**
 * Writes OTLP/JSON lines, as the Collector's file exporter does and its otlpjsonfile receiver reads: each line is one
 * request, such as `{"resourceSpans":[…]}`. What is sent is on disk for good when a send resolves. After a crash the last
 * lines may be written once more.
 */
import path from 'node:path';
import { z } from 'zod';
import { DELIVERED, exporterFactory, type Settings } from '../component.ts';
import { retryOnFailure } from '../config/retry_on_failure.ts';
import { sendingQueue } from '../config/sending_queue.ts';
import { ConfigError, PermanentError, RetryableError } from '../errors.ts';
import { itemCount, SIGNALS, type AnyBatch } from '../model/batch.ts';
import type { EncodedBatch, QueueRecord } from '../model/record.ts';
import { encodeRequest } from '../otlp/encode.ts';
import { protobufToJson } from '../otlp/json_encode.ts';
import { joinSlices, requestBytes, writeSlices } from '../otlp/split.ts';
import { DayFiles, type DayLines } from './file/day_files.ts';
import { fileNameTemplate, NameTemplate } from './file/names.ts';

const FORMAT = 'otlp_jsonl/1';
const MEGABYTE = 1_048_576;
const DAY_MS = 86_400_000;

/** A long request becomes several lines: readers such as the Collector's take no line beyond 1 MiB. */
const SLICE_BYTES = 262_144;

/** How many times its protobuf form JSON usually is. */
const JSON_GROWTH = 4;

const config = z.strictObject({
  directory: z
    .string()
    .min(1)
    .default('.sluice/files')
    .describe('Where the files are. It belongs to this exporter alone, and is made if it is missing.'),
  file_name: fileNameTemplate()
    .default('otel-{signal}-{date}.jsonl')
    .describe(
      'Name of a file. {date} is the UTC day on which the data came, as YYYYMMDD; {signal} is traces, logs or metrics, ' +
        'and without it all share one file.',
    ),
  rotation: z
    .strictObject({
      max_megabytes: z
        .int()
        .min(1)
        .max(1_000_000)
        .default(100)
        .describe('Size of a file in MiB, after which the day goes on in another: otel-traces-20261120.2.jsonl.'),
      max_days: z
        .int()
        .min(0)
        .max(36_500)
        .default(7)
        .describe('Files are removed when their day, and the last change, is so long ago. 0 keeps them for ever.'),
    })
    .prefault({})
    .describe('When the next file is begun, and when old ones are removed.'),
  compression: z
    .enum(['none', 'zstd'])
    .default('none')
    .describe('`zstd`: files that are finished are compressed in the background, to otel-traces-20261120.jsonl.zst.'),
  sending_queue: sendingQueue({ batchItems: 8192 }),
  retry_on_failure: retryOnFailure({ initial: '1s', max: '30s', maxElapsed: '0s' }),
});

export const file = exporterFactory({
  type: 'file',
  signals: SIGNALS,
  config,
  create({ directory, file_name, rotation, compression, sending_queue, retry_on_failure }, settings) {
    const files = new DayFiles({
      directory: ownDirectory(directory, settings),
      names: new NameTemplate(file_name),
      maxBytes: rotation.max_megabytes * MEGABYTE,
      maxDays: rotation.max_days,
      isCompressed: compression === 'zstd',
      logger: settings.logger,
    });
    return {
      queue: sending_queue,
      retry: retry_on_failure,
      encode,
      sizeOf: (batch) => JSON_GROWTH * requestBytes(batch),
      start: () => files.open(),
      async send(records) {
        await append(files, records);
        return DELIVERED;
      },
      shutdown: (deadline) => files.close(deadline),
    };
  },
});

/** Absolute. Two exporters of one configuration would each repair, finish and remove the files of the other. */
function ownDirectory(directory: string, settings: Settings): string {
  const { id } = settings;
  const absolute = path.resolve(directory);
  const owner = settings.shared(`file directory ${absolute}`, () => id);
  if (owner === id) return absolute;
  const message = `found ${directory}, where exporter ${owner} has its files; allowed for ${id}: a directory of its own`;
  throw new ConfigError([{ path: 'directory', message }]);
}

async function encode(batch: AnyBatch): Promise<EncodedBatch> {
  const lines = await writeSlices(batch, SLICE_BYTES, (slice) =>
    Buffer.from(`${protobufToJson(batch.signal, encodeRequest(slice))}\n`),
  );
  return { format: FORMAT, items: itemCount(batch), bytes: await joinSlices(lines) };
}

/** Whatever fails here may work later: a disk gets room again, a directory its rights. */
async function append(files: DayFiles, records: readonly QueueRecord[]): Promise<void> {
  const [first] = records;
  if (first === undefined) return;
  const { signal, format } = first;
  if (format !== FORMAT) throw new PermanentError(`the queue holds ${format}, which this version does not know`);
  try {
    await files.append(signal, daysOf(records));
  } catch (cause) {
    const { code = '', message }: NodeJS.ErrnoException = cause instanceof Error ? cause : new Error(String(cause));
    throw new RetryableError(`cannot write to the file: ${code === '' ? message : code}`, { cause });
  }
}

function daysOf(records: readonly QueueRecord[]): DayLines[] {
  const byDay = Map.groupBy(records, ({ receivedAtMs }) => Math.floor(receivedAtMs / DAY_MS));
  return [...byDay].map(([day, own]) => ({ receivedAtMs: day * DAY_MS, pieces: own.map(({ bytes }) => bytes) }));
}
