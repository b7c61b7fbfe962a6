/** URLs to send to, of http or https. */
import { z } from 'zod';

const ALLOWED = 'a URL of http or https without a user name, such as https://otlp.example.com:4318';

/** Credentials belong into headers, where they are secrets: a URL is printed in logs. */
export const httpUrl = () =>
  z.unknown().transform((value, context): URL => {
    const url = typeof value === 'string' ? URL.parse(value) : null;
    const isHttp = url?.protocol === 'http:' || url?.protocol === 'https:';
    if (url !== null && isHttp && url.username === '' && url.password === '') return url;
    context.addIssue({ code: 'custom', message: ALLOWED, input: value });
    return z.NEVER;
  });
