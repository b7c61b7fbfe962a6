/**
 * Replaces a file that nobody writes any more by its zstd form. At every moment one of the two is whole: the original goes
 * only when what is on disk of the other has been read back and is equal.
 */
import { constants } from 'node:fs';
import { open, rename, rm, unlink, type FileHandle } from 'node:fs/promises';
import path from 'node:path';
import { pipeline } from 'node:stream/promises';
import { constants as zlib, crc32, createZstdCompress, createZstdDecompress } from 'node:zlib';
import { syncDirectory } from './append.ts';
import { compressedName, unfinishedName } from './names.ts';

const { O_CREAT, O_EXCL, O_NOFOLLOW, O_RDONLY, O_RDWR } = constants;
const FILE_MODE = 0o600;

/** @param stop leaves the file as it is */
export async function compressFile(directory: string, name: string, stop: AbortSignal): Promise<void> {
  const unfinished = path.join(directory, unfinishedName(name));
  const original = await open(path.join(directory, name), O_RDONLY | O_NOFOLLOW);
  try {
    await rm(unfinished, { force: true });
    const compressed = await open(unfinished, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW, FILE_MODE);
    try {
      await write(original, compressed, stop);
    } finally {
      await compressed.close();
    }
    await rename(unfinished, path.join(directory, compressedName(name)));
    await syncDirectory(directory);
    await unlink(path.join(directory, name));
    await syncDirectory(directory);
  } catch (error) {
    await rm(unfinished, { force: true });
    throw error;
  } finally {
    await original.close();
  }
}

/** Keeps the time of the last change, by which the age of a file is told. */
async function write(original: FileHandle, compressed: FileHandle, stop: AbortSignal): Promise<void> {
  const engine = createZstdCompress({ params: { [zlib.ZSTD_c_checksumFlag]: 1 } });
  await pipeline(readAll(original), engine, (packed) => compressed.writeFile(packed), { signal: stop });
  const { atime, mtime } = await original.stat();
  await compressed.utimes(atime, mtime);
  await compressed.sync();
  const before = await pipeline(readAll(original), checksum, { signal: stop });
  const after = await pipeline(readAll(compressed), createZstdDecompress(), checksum, { signal: stop });
  if (before !== after) throw new Error('what was compressed does not unpack to the same');
}

const readAll = (handle: FileHandle) => handle.createReadStream({ autoClose: false, start: 0 });

/** Length and CRC-32. */
async function checksum(chunks: AsyncIterable<Buffer>): Promise<string> {
  let length = 0;
  let crc = 0;
  for await (const chunk of chunks) {
    length += chunk.length;
    crc = crc32(chunk, crc);
  }
  return `${length} ${crc}`;
}
