/** Exporters built as a user would, and records as a queue hands them over. */
import type { Exporter, ExporterFactory, Logger } from '../../src/component.ts';
import { otlpHttp } from '../../src/exporters/otlp_http.ts';
import type { AnyBatch, Signal } from '../../src/model/batch.ts';
import type { QueueRecord } from '../../src/model/record.ts';
import { DEFAULT_TENANT } from '../../src/model/tenant.ts';
import { DEFAULT_SHAPE_LIMITS } from '../../src/model/wire.ts';
import { decodeRequest } from '../../src/otlp/decode.ts';
import { SILENT, testSettings } from '../support/settings.ts';

export const NEVER: AbortSignal = new AbortController().signal;

export const otlpExporter = (config: object, logger: Logger = SILENT): Exporter => built(otlpHttp, config, logger);

export function built<C>(factory: ExporterFactory<C>, config: object, logger: Logger = SILENT): Exporter {
  return factory.create(factory.config.parse(config), testSettings(`${factory.type}/test`, logger));
}

export const RECEIVED_AT_MS = Date.UTC(2026, 10, 20, 12);

export function batchOf(signal: Signal, request: Uint8Array, receivedAtMs = RECEIVED_AT_MS): AnyBatch {
  const context = { tenant: DEFAULT_TENANT, receivedAtMs, limits: DEFAULT_SHAPE_LIMITS };
  return decodeRequest<Signal>(signal, request, context).batch;
}

export async function recordOf(exporter: Exporter, batch: AnyBatch): Promise<QueueRecord> {
  const { signal, tenant, receivedAtMs } = batch;
  return { signal, tenant, receivedAtMs, receipt: undefined, id: undefined, ...(await exporter.encode(batch)) };
}

interface LogLine {
  readonly level: 'debug' | 'info' | 'warn' | 'error';
  readonly fields: object;
  readonly message: string;
}

export function keptLog(): { readonly lines: LogLine[]; readonly logger: Logger } {
  const lines: LogLine[] = [];
  const at = (level: LogLine['level']) => (fields: object, message: string) => {
    lines.push({ level, fields, message });
  };
  return { lines, logger: { debug: at('debug'), info: at('info'), warn: at('warn'), error: at('error') } };
}
