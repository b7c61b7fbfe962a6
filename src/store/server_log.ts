/** The log of the embedded PostgreSQL, which writes it directly and for as long as it lives. Kept within bounds by us. */
import { closeSync, copyFileSync, fstatSync, ftruncateSync, openSync, readSync } from 'node:fs';

export interface ServerLog {
  readonly file: string;
  /** Opened for appending, so that the server goes on at the new end after a cut. */
  readonly fd: number;
  size(): number;
  /** What was written from that size on, shortened to what fits a message. */
  since(offset: number): string;
  close(): void;
}

/** At most one older log of about this size is kept beside the current one. */
const LOG_BYTES = 8 * 1024 * 1024;
const CHECK_EVERY_MS = 30_000;
const EXCERPT_BYTES = 16 * 1024;

export function openServerLog(file: string): ServerLog {
  const fd = openSync(file, 'a+', 0o600);
  const size = (): number => fstatSync(fd).size;
  const cut = (): void => {
    if (size() <= LOG_BYTES) return;
    copyFileSync(file, `${file}.old`);
    ftruncateSync(fd);
  };
  cut();
  const timer = setInterval(cut, CHECK_EVERY_MS).unref();
  let open = true;
  return {
    file,
    fd,
    size,
    since(offset) {
      const excerpt = Buffer.alloc(EXCERPT_BYTES);
      return excerpt.toString('utf8', 0, readSync(fd, excerpt, 0, EXCERPT_BYTES, offset));
    },
    close() {
      if (!open) return;
      open = false;
      clearInterval(timer);
      closeSync(fd);
    },
  };
}
