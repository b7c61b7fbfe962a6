/**
 * Buffers that are used again. Rows of one request take some hundred kilobytes outside the heap; allocating them anew
 * for each request makes the garbage collector run for their sake alone.
 */

/** Larger ones are not kept. */
const MAX_BUFFER_BYTES = 4_194_304;
const MAX_BUFFERS = 16;

export class BufferPool {
  private readonly free: Buffer[] = [];

  /** A buffer of at least so many bytes, with anything in it. */
  take(bytes: number): Buffer {
    const at = this.free.findIndex((buffer) => buffer.length >= bytes);
    const [buffer] = at < 0 ? [] : this.free.splice(at, 1);
    return buffer ?? Buffer.allocUnsafeSlow(bytes);
  }

  /** Takes back memory that nobody reads any more, given as any view of it. */
  give({ buffer }: Uint8Array): void {
    if (buffer.byteLength > MAX_BUFFER_BYTES || this.free.length >= MAX_BUFFERS) return;
    if (buffer instanceof ArrayBuffer) this.free.push(Buffer.from(buffer));
  }
}
