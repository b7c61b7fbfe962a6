/** Values that must not show up in logs, faults or dumps. */
import { inspect } from 'node:util';
import { z } from 'zod';

const REDACTED = '[REDACTED]';

/** Prints as `[REDACTED]` wherever it is printed by accident; only `reveal` tells. */
export class Secret {
  readonly #value: string;

  constructor(value: string) {
    this.#value = value;
  }

  reveal(): string {
    return this.#value;
  }

  toString(): string {
    return REDACTED;
  }

  toJSON(): string {
    return REDACTED;
  }

  [inspect.custom](): string {
    return REDACTED;
  }
}

/** A text that is not empty. Whatever stands there instead is not quoted in the fault. */
export const secret = () =>
  z.unknown().transform((value, context): Secret => {
    if (typeof value === 'string' && value !== '') return new Secret(value);
    const isShown = value === undefined || value === null || value === '';
    const input = isShown ? value : new Secret('');
    if (value === '') context.addIssue({ code: 'custom', message: 'a text that is not empty', input });
    else context.addIssue({ code: 'invalid_type', expected: 'string', input });
    return z.NEVER;
  });
