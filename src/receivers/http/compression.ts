/**
 * Undoes `Content-Encoding`, off the event loop and within limits that hold while it runs: what a bomb would become is
 * never made. Sources: RFC 9110, section 8.4 (names), RFC 8878 (zstd), RFC 9659 (its window over HTTP).
 */
import { constants, createGunzip, createInflate, createInflateRaw, createZstdDecompress } from 'node:zlib';
import type { RequestMemory } from '../../component.ts';
import { InvalidDataError, RetryableError } from '../../errors.ts';
import { join } from './body.ts';
import { HttpError, SUPPORTED_COMPRESSIONS } from './http_error.ts';

export type Compression = 'identity' | 'gzip' | 'deflate' | 'zstd';

const COMPRESSIONS: ReadonlyMap<string, Compression> = new Map([
  ['', 'identity'],
  ['identity', 'identity'],
  ['gzip', 'gzip'],
  ['x-gzip', 'gzip'],
  ['deflate', 'deflate'],
  ['zstd', 'zstd'],
]);

export interface InflateLimits {
  readonly max_request_body_size: number;
  readonly max_decompression_ratio: number;
}

/** However well it is compressed, so much is taken: small texts of one letter are no bomb. */
const RATIO_FREE_BYTES = 1_048_576;

/** Output is made in pieces of this size; small bodies need only one, and a smaller one. */
const PIECE_BYTES = { least: 16_384, most: 262_144 } as const;
const USUAL_RATIO = 16;

/** Frames of zstd in one body. Each costs an engine of its own. */
const MAX_FRAMES = 1000;

/** The log2 of 8 MiB, which is what RFC 9659 lets a sender demand; libzstd would allocate up to 128 MiB. */
const ZSTD_WINDOW_LOG = 23;

/** @throws HttpError 415 for what we cannot undo */
export function compressionOf(contentEncoding = ''): Compression {
  const compression = COMPRESSIONS.get(contentEncoding.trim().toLowerCase());
  if (compression !== undefined) return compression;
  const supported = `identity, ${SUPPORTED_COMPRESSIONS}`;
  const message = `unknown Content-Encoding "${contentEncoding}"; supported: ${supported}`;
  throw new HttpError('unsupported_compression', message);
}

/**
 * @throws HttpError 413 when the content is beyond a limit
 * @throws InvalidDataError when the body is not what its header says
 * @throws RetryableError when there is no memory for the content now
 */
export async function inflate(
  body: Uint8Array,
  compression: Compression,
  limits: InflateLimits,
  memory: RequestMemory,
): Promise<Uint8Array> {
  if (compression === 'identity' || body.length === 0) return body;
  try {
    return await INFLATE[compression](body, new Budget(body.length, limits, memory));
  } catch (cause) {
    if (isRefusal(cause)) throw cause;
    throw new InvalidDataError(`the body is not valid ${compression}`, { cause });
  }
}

/** The content is beyond a bound; whether it is well-formed is not known. */
const isRefusal = (error: unknown): boolean => error instanceof HttpError || error instanceof RetryableError;

const INFLATE: Readonly<
  Record<Exclude<Compression, 'identity'>, (body: Uint8Array, budget: Budget) => Promise<Buffer>>
> = {
  gzip: async (body, budget) => whole(body, createGunzip, budget),
  deflate: inflateDeflate,
  zstd: inflateZstd,
};

/** Counts what comes out, and holds memory for it. */
class Budget {
  readonly chunkSize: number;
  readonly #maxBytes: number;
  readonly #ratio: number;
  readonly #message: string;
  readonly #memory: RequestMemory;
  #bytes = 0;

  constructor(
    compressedBytes: number,
    { max_request_body_size, max_decompression_ratio }: InflateLimits,
    memory: RequestMemory,
  ) {
    this.#memory = memory;
    this.#ratio = max_decompression_ratio;
    const ratioBytes = Math.max(RATIO_FREE_BYTES, compressedBytes * max_decompression_ratio);
    this.#maxBytes = Math.min(max_request_body_size, ratioBytes);
    this.#message =
      max_request_body_size <= ratioBytes
        ? `the decompressed body is larger than max_request_body_size (${max_request_body_size} bytes); send smaller batches`
        : `the body is more than max_decompression_ratio (${max_decompression_ratio}) times its compressed size`;
    const usual = Math.max(PIECE_BYTES.least, compressedBytes * USUAL_RATIO);
    this.chunkSize = Math.min(PIECE_BYTES.most, usual);
  }

  /** For another try on the same body. */
  restart(): void {
    this.#bytes = 0;
  }

  add(bytes: number, consumed: number): void {
    this.#bytes += bytes;
    if (this.#bytes > this.#maxBytes || this.#bytes > RATIO_FREE_BYTES + consumed * this.#ratio)
      throw new HttpError('too_large', this.#message);
    this.#memory.grow(bytes);
  }
}

/** A decompressor of node:zlib. */
type Engine = ReturnType<typeof createGunzip>;
type MakeEngine = (options: { readonly chunkSize: number }) => Engine;

/** Also where data follows the end: `consumed` says how much of the body was read. */
async function run(
  body: Uint8Array,
  makeEngine: MakeEngine,
  budget: Budget,
): Promise<{ pieces: Buffer[]; consumed: number }> {
  const engine = makeEngine({ chunkSize: budget.chunkSize });
  const pieces: Buffer[] = [];
  const output: AsyncIterable<Buffer> = engine;
  engine.end(body);
  for await (const piece of output) {
    budget.add(piece.length, engine.bytesWritten);
    pieces.push(piece);
  }
  return { pieces, consumed: engine.bytesWritten };
}

async function whole(body: Uint8Array, makeEngine: MakeEngine, budget: Budget): Promise<Buffer> {
  const { pieces, consumed } = await run(body, makeEngine, budget);
  if (consumed !== body.length) throw new Error(`data behind the end, at byte ${consumed}`);
  return join(pieces);
}

/** Meant is the zlib format of RFC 1950, but some senders leave its header out. */
async function inflateDeflate(body: Uint8Array, budget: Budget): Promise<Buffer> {
  if (!hasZlibHeader(body)) return whole(body, createInflateRaw, budget);
  try {
    return await whole(body, createInflate, budget);
  } catch (error) {
    if (isRefusal(error)) throw error;
    // One raw body in a thousand begins as if it had the header.
    budget.restart();
    return whole(body, createInflateRaw, budget);
  }
}

function hasZlibHeader([method = 0, flags = 0]: Uint8Array): boolean {
  return (method & 0x0f) === 8 && ((method << 8) | flags) % 31 === 0;
}

/** Node stops at the end of the first frame, and a body may have several. */
async function inflateZstd(body: Uint8Array, budget: Budget): Promise<Buffer> {
  const all: Buffer[] = [];
  let at = 0;
  for (let frame = 0; at < body.length; frame++) {
    if (frame === MAX_FRAMES) throw new Error(`more than ${MAX_FRAMES} frames`);
    const { pieces, consumed } = await run(body.subarray(at), zstdEngine, budget);
    if (consumed === 0) throw new Error(`no frame at byte ${at}`);
    all.push(...pieces);
    at += consumed;
  }
  return join(all);
}

const zstdEngine = ({ chunkSize }: { readonly chunkSize: number }): Engine =>
  createZstdDecompress({ chunkSize, params: { [constants.ZSTD_d_windowLogMax]: ZSTD_WINDOW_LOG } });
