/** What to tell somebody who posts to a path that is not there: the usual mistakes with the settings of SDKs. */

const SIGNAL_PATH = /\/v1\/(?<signal>traces|logs|metrics)\/?$/;

/** @param paths those that are there */
export function notFoundMessage(path: string, paths: readonly string[]): string {
  return `no such path; OTLP is received at ${paths.join(', ')} (${hint(path, paths)})`;
}

function hint(path: string, paths: readonly string[]): string {
  const lower = path.toLowerCase();
  const signal = SIGNAL_PATH.exec(lower)?.groups?.['signal'];
  if (signal === undefined) return BASE_URL;
  if (paths.includes(lower)) return `paths are in lower case; ${BASE_URL}`;
  if (lower === `/v1/${signal}` || lower === `/v1/${signal}/`) return `no pipeline takes ${signal} from this receiver`;
  return `to the URL in OTEL_EXPORTER_OTLP_ENDPOINT SDKs add /v1/${signal} themselves: leave it out there`;
}

const BASE_URL =
  'OTEL_EXPORTER_OTLP_ENDPOINT is the base URL, without a path; ' +
  'OTEL_EXPORTER_OTLP_TRACES_ENDPOINT and its like are whole URLs, with one';
