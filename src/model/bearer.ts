/** Bearer tokens as requests bring them (RFC 6750), over whatever transport. */

export type BearerFault = 'missing' | 'several' | 'other_scheme' | 'malformed';

export type Bearer = { readonly token: string } | { readonly fault: BearerFault };

/** The scheme in any case (RFC 9110, 11.1); the token of printable ASCII, wider than RFC 6750's b64token. */
const BEARER = /^bearer +(?<token>[!-~]{1,512})$/i;

/** @param values of the header or metadata `authorization`, as many as there are */
export function parseBearer(values: readonly string[]): Bearer {
  const [value = '', ...others] = values;
  if (others.length > 0) return { fault: 'several' };
  const text = decodedOnce(value.trim());
  if (text === '') return { fault: 'missing' };
  const token = BEARER.exec(text)?.groups?.['token'];
  if (token !== undefined) return { token };
  return { fault: /^bearer(?: |$)/i.test(text) ? 'malformed' : 'other_scheme' };
}

/** Of all headers `authorization`, the values. Node's own record keeps the first of several, so the raw ones are asked. */
export function authorizations(rawHeaders: readonly string[]): string[] {
  return rawHeaders.filter((_, at) => at % 2 === 1 && rawHeaders[at - 1]?.toLowerCase() === 'authorization');
}

/**
 * Some SDKs send `OTEL_EXPORTER_OTLP_HEADERS` as it is written, percent-encoded: `Bearer%20…`
 * (open-telemetry/opentelemetry-python issue 4492).
 */
function decodedOnce(value: string): string {
  if (!/^bearer%20/i.test(value)) return value;
  try {
    return decodeURIComponent(value);
  } catch {
    return value;
  }
}
