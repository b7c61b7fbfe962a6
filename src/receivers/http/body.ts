/** Reads a request's body within its limit, which counts before and after decompression. */
import type { IncomingMessage } from 'node:http';
import { promisify } from 'node:util';
import { gunzip } from 'node:zlib';
import { InvalidDataError } from '../../errors.ts';
import { HttpError } from './http_error.ts';

const inflate = promisify(gunzip);

/**
 * Leaves the request open when it fails, so that it can still be answered.
 * @throws HttpError 413 for a body over `maxBytes`, 415 for an unknown compression
 * @throws InvalidDataError when the compression is broken
 */
export async function readBody(request: IncomingMessage, maxBytes: number): Promise<Uint8Array> {
  const isCompressed = isGzip(request.headers['content-encoding']);
  const body = await readRaw(request, maxBytes);
  return isCompressed ? inflateGzip(body, maxBytes) : body;
}

function isGzip(contentEncoding = ''): boolean {
  switch (contentEncoding.trim().toLowerCase()) {
    case '':
    case 'identity':
      return false;
    case 'gzip':
    case 'x-gzip':
      return true;
    default: {
      const message = `unknown Content-Encoding "${contentEncoding}"; supported: identity, gzip`;
      throw new HttpError('unsupported_compression', message);
    }
  }
}

async function readRaw(request: IncomingMessage, maxBytes: number): Promise<Uint8Array> {
  if (Number(request.headers['content-length'] ?? 0) > maxBytes) throw tooLarge(maxBytes);
  const chunks: Buffer[] = [];
  let length = 0;
  const body: AsyncIterable<Buffer> = request.iterator({ destroyOnReturn: false });
  for await (const chunk of body) {
    length += chunk.length;
    if (length > maxBytes) throw tooLarge(maxBytes);
    chunks.push(chunk);
  }
  return chunks.length === 1 && chunks[0] !== undefined ? chunks[0] : Buffer.concat(chunks, length);
}

async function inflateGzip(body: Uint8Array, maxBytes: number): Promise<Uint8Array> {
  if (body.length === 0) return body;
  try {
    return await inflate(body, { maxOutputLength: maxBytes });
  } catch (cause) {
    if (cause instanceof RangeError) throw tooLarge(maxBytes);
    throw new InvalidDataError('the body is not valid gzip', { cause });
  }
}

function tooLarge(maxBytes: number): HttpError {
  return new HttpError(
    'too_large',
    `the body is larger than max_request_body_size (${maxBytes} bytes); send smaller batches`,
  );
}
