/** Tells an operator what fails and when it works again, without a line for every request of an outage. */
import type { Logger } from '../component.ts';
import { PermanentError, QuotaError, RetryableError } from '../errors.ts';

type Action<In, Out> = (input: In) => Promise<Out>;

/**
 * Wraps what an exporter does: a failure that repeats the last one is left out, and the first success after an outage is
 * told. Data that is refused for good is no outage.
 */
export function failureLog(logger: Logger): <In, Out>(action: Action<In, Out>, message: string) => Action<In, Out> {
  return (action, message) => {
    let lastFailure: string | undefined;
    let isOutage = false;
    return async (input) => {
      try {
        const output = await action(input);
        if (isOutage) logger.info({}, 'works again');
        isOutage = false;
        lastFailure = undefined;
        return output;
      } catch (error) {
        const failure = String(error);
        if (failure !== lastFailure) logFailure(logger, error, message);
        lastFailure = failure;
        isOutage ||= !(error instanceof PermanentError);
        throw error;
      }
    };
  };
}

/**
 * An error of no kind is a bug of ours until shown otherwise, so its stack is logged and an operator called. Of others the
 * message is enough; what caused it may hold data, and is told by its code alone.
 */
function logFailure(logger: Logger, error: unknown, message: string): void {
  const isClassified =
    error instanceof PermanentError || error instanceof RetryableError || error instanceof QuotaError;
  if (isClassified) logger.warn({ reason: error.message, ...codeOf(error.cause) }, message);
  else logger.error({ err: error }, message);
}

function codeOf(cause: unknown): { readonly code?: string } {
  return cause instanceof Error && 'code' in cause && typeof cause.code === 'string' ? { code: cause.code } : {};
}
