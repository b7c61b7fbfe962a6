/** What PostgreSQL's error codes mean for data that could not be stored. Codes: PostgreSQL manual, appendix A. */
import { DatabaseError } from 'pg';
import { PermanentError, RetryableError } from '../errors.ts';

/** Classes and codes that say the data itself is at fault, so that the same rows will always fail. */
const POISON = [/^22/, /^23/, /^54/, /^08P01$/];

/** Severities that end a session. They say nothing about the data: poolers report an outage as FATAL with 08P01. */
const SESSION_ENDS: ReadonlySet<string | undefined> = new Set(['FATAL', 'PANIC']);

/** Turns what a statement failed with into an error that says whether the same rows may be stored later. */
export function storeError(error: unknown): PermanentError | RetryableError {
  const cause = error instanceof Error ? error : new Error(String(error));
  if (!(cause instanceof DatabaseError)) return new RetryableError('the database is away', { cause });
  const { code = '', severity } = cause;
  if (!SESSION_ENDS.has(severity) && POISON.some((pattern) => pattern.test(code))) {
    return new PermanentError(`the database refuses the data (SQLSTATE ${code})`, { cause });
  }
  return new RetryableError(`the database cannot store now (SQLSTATE ${code})`, { cause });
}
