/**
 * Buffers that are used again. Rows of one request take some hundred kilobytes outside the heap; allocating them anew
 * for each request makes the garbage collector run for their sake alone.
 */

/** Smaller ones cost little to allocate, and would keep the larger ones out; still larger ones are not kept for long. */
const MIN_BUFFER_BYTES = 65_536;
const MAX_BUFFER_BYTES = 4_194_304;
const MAX_BUFFERS = 16;
/** A buffer serves what fills at least such a part of it. */
const MAX_WASTE = 4;

export class BufferPool {
  private readonly free: Buffer[] = [];
  /** Memory that is known to be written and read as one; of any other somebody may still need a part. */
  private readonly lent = new WeakSet<ArrayBuffer>();

  /** A buffer of at least so many bytes, with anything in it. */
  take(bytes: number): Buffer {
    const at = this.free.findIndex(({ length }) => length >= bytes && length <= bytes * MAX_WASTE);
    const [buffer] = at < 0 ? [] : this.free.splice(at, 1);
    return buffer ?? Buffer.allocUnsafeSlow(bytes);
  }

  /** Says that nobody else has a part of the memory under a view: it may be given back later. */
  lend({ buffer }: Uint8Array): void {
    if (buffer instanceof ArrayBuffer) this.lent.add(buffer);
  }

  /** Takes back memory that was lent and that nobody reads any more, given as any view of it. The oldest gives way. */
  give({ buffer }: Uint8Array): void {
    if (!(buffer instanceof ArrayBuffer) || !this.lent.delete(buffer)) return;
    if (buffer.byteLength < MIN_BUFFER_BYTES || buffer.byteLength > MAX_BUFFER_BYTES) return;
    if (this.free.length >= MAX_BUFFERS) this.free.shift();
    this.free.push(Buffer.from(buffer));
  }
}
