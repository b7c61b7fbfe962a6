/** Trace and span ids: bytes on the wire, lowercase hex everywhere else. */

const PAIRS = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, '0'));

export const TRACE_ID_BYTES = 16;
export const SPAN_ID_BYTES = 8;

export function hex(bytes: Uint8Array, start: number, end: number): string {
  let digits = '';
  for (let at = start; at < end; at++) digits += PAIRS[bytes[at]];
  return digits;
}

export function isAllZero(bytes: Uint8Array, start: number, end: number): boolean {
  for (let at = start; at < end; at++) if (bytes[at] !== 0) return false;
  return true;
}
