/** The `headers` section of what sends over HTTP. Every value may be a credential, so all are secrets. */
import { validateHeaderName, validateHeaderValue } from 'node:http';
import { z } from 'zod';
import { Secret, secret } from './secret.ts';

/** By name. */
export type RequestHeaders = Readonly<Record<string, Secret>>;

/** @param reserved names in lower case that are not the user's to set */
export const requestHeaders = (reserved: ReadonlySet<string>) =>
  z.record(z.string(), secret()).superRefine((headers, context) => {
    for (const [name, value] of Object.entries(headers)) {
      const fault = faultOf(name, value, reserved);
      if (fault !== undefined) context.addIssue({ code: 'custom', path: [name], message: fault, input: {} });
    }
  });

function faultOf(name: string, value: Secret, reserved: ReadonlySet<string>): string | undefined {
  if (reserved.has(name.toLowerCase())) return 'found a header that the exporter sets itself';
  if (!holds(() => validateHeaderName(name))) return 'found a name that HTTP does not allow';
  if (!holds(() => validateHeaderValue(name, value.reveal()))) {
    return 'found [REDACTED]; allowed: text of Latin letters without line breaks';
  }
  return undefined;
}

function holds(check: () => void): boolean {
  try {
    check();
    return true;
  } catch {
    return false;
  }
}
