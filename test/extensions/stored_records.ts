/** A file_storage extension in a directory of its own, and records to put into it. */
import type { DeadLetter, LogEvents, Logger, Storage } from '../../src/component.ts';
import { fileStorage } from '../../src/extensions/file_storage.ts';
import type { QueueRecord } from '../../src/model/record.ts';
import { testSettings } from '../support/settings.ts';

export function storageIn(directory: string, config: object = {}, logger?: Logger): Storage {
  const parsed = fileStorage.config.parse({ directory, min_free_space: 0, ...config });
  const storage = fileStorage.create(parsed, testSettings('file_storage', logger));
  if (!isStorage(storage)) throw new Error('file_storage is no storage');
  return storage;
}

function isStorage(component: object): component is Storage {
  return 'log' in component && 'deadLetters' in component;
}

export const NO_EVENTS: LogEvents = {
  visit: () => undefined,
  corrupt: () => undefined,
  settled: () => undefined,
  failed: () => undefined,
};

export function record(text: string, orgId = 'acme', receivedAtMs = Date.UTC(2026, 10, 20)): QueueRecord {
  return {
    signal: 'traces',
    tenant: { orgId, workspaceId: 'web', targetId: undefined },
    receivedAtMs,
    receipt: Buffer.alloc(32, text),
    format: 'rows/1',
    items: text.length,
    bytes: Buffer.from(text),
    id: { queueId: '01234567-89ab-4cde-8f01-23456789abcd', seq: 7 },
  };
}

export function letter(text: string): DeadLetter {
  return { exporter: 'otlp_http/tempo', reason: `refused ${text}`, at: new Date(5), record: record(text) };
}

export const NEVER = new AbortController().signal;
