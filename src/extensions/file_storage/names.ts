/**
 * How logs are called on disk: their names, which may hold anything, as directories that every file system can tell apart.
 * Whatever is no lower-case letter, digit, `-` or `_` is written as `%` and the hex digits of its UTF-8 bytes.
 */

const SUFFIX = '.queue';
/** What file systems take. */
const MAX_NAME_BYTES = 255;

/** Undefined for a name that is too long. */
export function directoryOfLog(name: string): string | undefined {
  const safe = name.replaceAll(/[^a-z0-9_-]/gu, (char) => Buffer.from(char).toString('hex').replaceAll(/../g, '%$&'));
  return safe.length + SUFFIX.length <= MAX_NAME_BYTES ? safe + SUFFIX : undefined;
}

/** Undefined for what `directoryOfLog` does not make. */
export function logOfDirectory(directory: string): string | undefined {
  if (!directory.endsWith(SUFFIX)) return undefined;
  try {
    const name = decodeURIComponent(directory.slice(0, -SUFFIX.length));
    return directoryOfLog(name) === directory ? name : undefined;
  } catch {
    return undefined;
  }
}
