/**
 * From a batch to rows in binary COPY format. Rows of one table and format concatenate: a send writes any number of
 * batches as one COPY. The columns that a whole group shares (tenant, resource, scope) are encoded once a group.
 */
import { setImmediate } from 'node:timers/promises';
import { InvalidDataError } from '../errors.ts';
import type { AnyBatch, Batch, ResourceGroup, ScopeGroup, Signal } from '../model/batch.ts';
import type { LogRecord } from '../model/logs.ts';
import type { Metric } from '../model/metrics.ts';
import type { Promoted } from '../model/promoted.ts';
import type { Span } from '../model/traces.ts';
import { CopyWriter } from './copy_writer.ts';
import { jsonAttributes } from './json_values.ts';

/** A table and the layout in which its rows are written. A later layout gets another format name. */
export interface RowFormat {
  readonly format: string;
  readonly table: string;
  readonly columns: readonly string[];
}

export interface EncodedRows {
  readonly items: number;
  readonly bytes: Uint8Array;
}

/** Columns of the shared block, in the order in which `sharedFields` writes them. */
export const SHARED_COLUMNS = [
  'org_id',
  'workspace_id',
  'target_id',
  'received_at',
  'service_name',
  'resource',
  'resource_dropped_attributes_count',
  'resource_schema_url',
  'scope_name',
  'scope_version',
  'scope_attributes',
  'scope_dropped_attributes_count',
  'scope_schema_url',
] as const;

/** Columns that processors fill, in the order in which `promotedFields` writes them. */
export const PROMOTED_COLUMNS = ['span_type', 'adjusted_count', 'scan_id'] as const;

/** After so much output the encoder lets other requests have the event loop. */
const SLICE_BYTES = 1_048_576;

/** Each row repeats its resource, so a request can grow far beyond its own size. */
const MAX_BATCH_BYTES = 268_435_456;

/** Room for what a row has besides the record's own bytes. */
const ROW_OVERHEAD_BYTES = 448;

/** Writes one row of a record, the `row`th of those it has, which ends in `shared`. */
type WriteRow<R> = (writer: CopyWriter, record: R, shared: Uint8Array, row: number) => void;

const oneRow = (): number => 1;

/**
 * Encodes every record of a batch, in slices. The rows lie in `room` where that is large enough.
 * @param rowsOf how many rows a record has
 * @throws InvalidDataError when they take more memory than one request may
 */
export async function encodeBatch<R>(
  batch: Batch<Signal, R>,
  room: Buffer,
  writeRow: WriteRow<R>,
  rowsOf: (record: R) => number = oneRow,
): Promise<EncodedRows> {
  const writer = new CopyWriter(room);
  let items = 0;
  let sliceEnd = SLICE_BYTES;
  for (const group of batch.resources) {
    for (const scope of group.scopes) {
      if (scope.records.length === 0) continue;
      const shared = sharedFields(batch, group, scope);
      for (const record of scope.records) {
        const rows = rowsOf(record);
        items += rows;
        for (let row = 0; row < rows; row++) {
          writeRow(writer, record, shared, row);
          if (writer.pos < sliceEnd) continue;
          if (writer.pos > MAX_BATCH_BYTES) throw tooLarge();
          sliceEnd = writer.pos + SLICE_BYTES;
          await setImmediate();
        }
      }
    }
  }
  return { items, bytes: writer.bytes() };
}

function tooLarge(): InvalidDataError {
  return new InvalidDataError(
    `the rows of this request take more than ${MAX_BATCH_BYTES} bytes; send smaller batches, or smaller resources`,
  );
}

/** About how many bytes the rows of a batch take: each repeats what its group shares. */
export function predictRowBytes(batch: AnyBatch): number {
  let bytes = 0;
  for (const { resource, scopes } of batch.resources) {
    for (const { scope, records } of scopes) {
      const shared = resource.end - resource.start + scope.end - scope.start;
      for (const record of records) bytes += recordBytes(record, shared);
    }
  }
  return bytes;
}

function recordBytes(record: Span | LogRecord | Metric, shared: number): number {
  if (!('points' in record)) return sizeHint(record.end - record.start + shared, 1);
  let bytes = 0;
  for (const point of record.points) bytes += sizeHint(point.end - point.start + shared, 1);
  return bytes;
}

/** How much room the rows of a batch will take, roughly: what the records take on the wire, and each row's overhead. */
export function sizeHint(wireBytes: number, rows: number): number {
  return wireBytes + (wireBytes >> 2) + rows * ROW_OVERHEAD_BYTES;
}

function sharedFields(
  { tenant, receivedAtMs }: Pick<Batch<Signal, unknown>, 'tenant' | 'receivedAtMs'>,
  { resource, schemaUrl }: ResourceGroup<unknown>,
  scopeGroup: ScopeGroup<unknown>,
): Uint8Array {
  const { scope } = scopeGroup;
  const writer = new CopyWriter(Buffer.allocUnsafeSlow(1024));
  writer.string(tenant.orgId);
  writer.string(tenant.workspaceId);
  writer.stringOrNull(tenant.targetId);
  writer.timestampMs(receivedAtMs);
  const serviceName = resource.attributes.get('service.name');
  writer.stringOrNull(typeof serviceName === 'string' ? serviceName : undefined);
  if (resource.attributes.count === 0) writer.null();
  else writer.jsonField((json) => jsonAttributes(json, resource.attributes));
  writer.countOrNull(resource.droppedAttributesCount);
  writer.stringOrNull(schemaUrl);
  writer.stringOrNull(scope.name);
  writer.stringOrNull(scope.version);
  if (scope.attributes.count === 0) writer.null();
  else writer.jsonField((json) => jsonAttributes(json, scope.attributes));
  writer.countOrNull(scope.droppedAttributesCount);
  writer.stringOrNull(scopeGroup.schemaUrl);
  return writer.bytes();
}

export function promotedFields(writer: CopyWriter, promoted: Promoted | undefined): void {
  writer.stringOrNull(promoted?.spanType);
  if (promoted?.adjustedCount === undefined) writer.null();
  else writer.float8(promoted.adjustedCount);
  writer.stringOrNull(promoted?.scanId);
}
