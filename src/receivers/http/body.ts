/** Reads a request's body within its limit. */
import type { IncomingMessage } from 'node:http';
import { setImmediate } from 'node:timers/promises';
import type { RequestMemory } from '../../component.ts';
import { HttpError } from './http_error.ts';

/**
 * Leaves the request open when it fails, so that it can still be answered. Memory is held as the body comes, not as it is
 * announced: whoever announces much and sends little must not keep others out.
 * @throws HttpError 413 for a body over `maxBytes`, and RetryableError when there is no memory for it now
 */
export async function readBody(request: IncomingMessage, maxBytes: number, memory: RequestMemory): Promise<Uint8Array> {
  announcedWithin(request, maxBytes);
  const chunks: Buffer[] = [];
  let length = 0;
  const body: AsyncIterable<Buffer> = request.iterator({ destroyOnReturn: false });
  for await (const chunk of body) {
    length += chunk.length;
    if (length > maxBytes) throw tooLarge(maxBytes);
    memory.grow(chunk.length);
    chunks.push(chunk);
  }
  return join(chunks);
}

/** So much is copied before other requests have the event loop. */
const COPY_BYTES = 4_194_304;

/** One buffer of several, as `Buffer.concat` makes it, without holding up others when it is long. */
export async function join(chunks: readonly Buffer[]): Promise<Buffer> {
  const [only] = chunks;
  if (chunks.length === 1 && only !== undefined) return only;
  const length = chunks.reduce((sum, chunk) => sum + chunk.length, 0);
  if (length <= COPY_BYTES) return Buffer.concat(chunks, length);
  const joined = Buffer.allocUnsafeSlow(length);
  let at = 0;
  let pauseAt = COPY_BYTES;
  for (const chunk of chunks) {
    at += chunk.copy(joined, at);
    if (at < pauseAt) continue;
    pauseAt = at + COPY_BYTES;
    await setImmediate();
  }
  return joined;
}

/** Throws HttpError 413 where the headers alone say that the body is too large. */
export function announcedWithin({ headers }: IncomingMessage, maxBytes: number): void {
  if (Number(headers['content-length'] ?? 0) > maxBytes) throw tooLarge(maxBytes);
}

function tooLarge(maxBytes: number): HttpError {
  return new HttpError(
    'too_large',
    `the body is larger than max_request_body_size (${maxBytes} bytes); send smaller batches`,
  );
}
