/** Response headers that keep a browser from doing anything with an answer but show it. */

const EVERYWHERE = {
  'x-content-type-options': 'nosniff',
  'referrer-policy': 'no-referrer',
  'cross-origin-resource-policy': 'same-origin',
} as const;

/** For data: never cached, because who may read it and what it says can change at any time. */
export function jsonHeaders(contentType: string, more: Record<string, string> = {}): Record<string, string> {
  return {
    ...EVERYWHERE,
    'content-type': contentType,
    'cache-control': 'no-store',
    'content-security-policy': "default-src 'none'; frame-ancestors 'none'",
    ...more,
  };
}

/** For a page without scripts that loads nothing. `styleHash` is the CSP source of its one inline style sheet. */
export function pageHeaders(styleHash: string): Record<string, string> {
  const policy = ["default-src 'none'", `style-src ${styleHash}`, "form-action 'self'", "base-uri 'none'"];
  return {
    ...EVERYWHERE,
    'content-type': 'text/html; charset=utf-8',
    'cache-control': 'no-cache',
    'content-security-policy': [...policy, "frame-ancestors 'none'"].join('; '),
  };
}
