/**
 * A record: one batch encoded for one exporter, on its way through a queue. On disk it is a head, which is JSON so that
 * a later program can read what an older one wrote, and the finished bytes.
 */
import type { Signal } from './batch.ts';
import type { Tenant } from './tenant.ts';

/** What an exporter makes of a batch: finished bytes, which `send` writes as they are. */
export interface EncodedBatch {
  /** Names the layout of the bytes; only records of one signal and format are sent together. */
  readonly format: string;
  readonly items: number;
  readonly bytes: Uint8Array;
}

/** The place of a record in a queue on disk: unique for ever, whatever is restored, copied or restarted. */
export interface RecordId {
  /** UUID of the life of the log in which the record was appended. */
  readonly queueId: string;
  /** Rises within one `queueId`; never used twice there. */
  readonly seq: number;
}

export interface QueueRecord extends EncodedBatch {
  readonly signal: Signal;
  readonly tenant: Tenant;
  /** Milliseconds since 1970, by the clock of the gateway that received the request. */
  readonly receivedAtMs: number;
  /** 32 bytes that an identical request has too, on its way through the same pipeline to the same exporter; else undefined. */
  readonly receipt: Uint8Array | undefined;
  /** Undefined where the queue is not on disk. */
  readonly id: RecordId | undefined;
}

/** Everything of a record but its bytes and its id. */
export type RecordHead = Omit<QueueRecord, 'bytes' | 'id'>;

const RECEIPT_BYTES = 32;

export function encodeHead({ signal, tenant, receivedAtMs, receipt, format, items }: RecordHead): Uint8Array {
  const hex = receipt && Buffer.from(receipt.buffer, receipt.byteOffset, receipt.byteLength).toString('hex');
  return Buffer.from(JSON.stringify({ signal, tenant, receivedAtMs, receipt: hex, format, items }), 'utf8');
}

/** Undefined for what `encodeHead` does not write. */
export function decodeHead(bytes: Uint8Array): RecordHead | undefined {
  const head = fieldsOf(parse(bytes));
  const { signal, receivedAtMs, receipt, format, items } = head;
  const tenant = tenantOf(head['tenant']);
  if (signal !== 'traces' && signal !== 'logs' && signal !== 'metrics') return undefined;
  if (typeof format !== 'string' || typeof items !== 'number' || typeof receivedAtMs !== 'number') return undefined;
  if (tenant === undefined) return undefined;
  const proof = typeof receipt === 'string' ? Buffer.from(receipt, 'hex') : undefined;
  if (proof !== undefined && proof.length !== RECEIPT_BYTES) return undefined;
  return { signal, tenant, receivedAtMs, receipt: proof, format, items };
}

function tenantOf(value: unknown): Tenant | undefined {
  const { orgId, workspaceId, targetId } = fieldsOf(value);
  if (typeof orgId !== 'string' || typeof workspaceId !== 'string') return undefined;
  return { orgId, workspaceId, targetId: typeof targetId === 'string' ? targetId : undefined };
}

function fieldsOf(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null ? { ...value } : {};
}

function parse(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('utf8'));
  } catch {
    return undefined;
  }
}
