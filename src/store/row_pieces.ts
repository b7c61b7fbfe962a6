/**
 * Takes rows in binary COPY format apart again: where one ends and the next begins. Format: PostgreSQL manual, COPY,
 * "Binary Format".
 */

/** Bytes that a COPY takes alone: a row, or what cannot be told apart. */
export interface Piece {
  readonly bytes: Uint8Array;
  readonly items: number;
}

const FIELD_COUNT_BYTES = 2;
const LENGTH_BYTES = 4;

/** The rows of a record, in order. What follows the last whole row is one piece with all the items that are missing. */
export function* piecesOf({ bytes, items }: Piece): Generator<Piece> {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let start = 0;
  for (let row = 0; start < bytes.length; row++) {
    const end = rowEnd(view, start);
    yield end === undefined
      ? { bytes: bytes.subarray(start), items: Math.max(items - row, 1) }
      : { bytes: bytes.subarray(start, end), items: 1 };
    start = end ?? bytes.length;
  }
}

/** Undefined where there is no whole row. */
function rowEnd(view: DataView, start: number): number | undefined {
  let at = start + FIELD_COUNT_BYTES;
  if (at > view.byteLength) return undefined;
  const fields = view.getInt16(start);
  if (fields < 0) return undefined;
  for (let field = 0; field < fields; field++) {
    if (at + LENGTH_BYTES > view.byteLength) return undefined;
    at += LENGTH_BYTES + Math.max(view.getInt32(at), 0);
  }
  return at > view.byteLength ? undefined : at;
}

/** The fields of one row, undefined for NULL; undefined for bytes that are not exactly one row. */
export function fieldsOf(bytes: Uint8Array): (Uint8Array | undefined)[] | undefined {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (rowEnd(view, 0) !== bytes.length) return undefined;
  let at = FIELD_COUNT_BYTES;
  return Array.from({ length: view.getInt16(0) }, () => {
    const length = view.getInt32(at);
    const start = at + LENGTH_BYTES;
    at = start + Math.max(length, 0);
    return length < 0 ? undefined : bytes.subarray(start, at);
  });
}
