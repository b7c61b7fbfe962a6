/** Every component that a configuration can name. A new one gets its import and its line here, and nothing else changes. */
import type { ComponentFactory } from './component.ts';
import { debug } from './exporters/debug.ts';
import { file } from './exporters/file.ts';
import { otlphttp, otlpHttp } from './exporters/otlp_http.ts';
import { postgres } from './exporters/postgres.ts';
import { fileStorage } from './extensions/file_storage.ts';
import { healthCheck } from './extensions/health_check.ts';
import { ingestTokens } from './extensions/ingest_tokens.ts';
import { memoryLimiter } from './extensions/memory_limiter.ts';
import { staticTokens } from './extensions/static_tokens.ts';
import { promote } from './processors/promote.ts';
import { otlp } from './receivers/otlp/otlp.ts';
import { sdkSpans } from './receivers/sdk_spans.ts';

export const registry: readonly ComponentFactory[] = [
  otlp,
  sdkSpans,
  promote,
  postgres,
  otlpHttp,
  otlphttp,
  file,
  debug,
  fileStorage,
  healthCheck,
  ingestTokens,
  memoryLimiter,
  staticTokens,
];
