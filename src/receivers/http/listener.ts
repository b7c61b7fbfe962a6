/**
 * An HTTP server that receivers share. It does what all routes need: connections, who is asking, bodies within their
 * limits, and answers to everything that fails: a google.rpc.Status in the encoding of the request. A client is known,
 * and what it asks for allowed, before its body is read.
 */
import { createServer, type IncomingMessage, type Server, type ServerOptions, type ServerResponse } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { Component, RequestMemory, Settings } from '../../component.ts';
import { ConfigError, ForbiddenError, RetryableError } from '../../errors.ts';
import { close, listen } from '../../listen.ts';
import { allows, type Identity } from '../../model/identity.ts';
import { CONTENT_TYPES, statusResponse, type Encoding } from '../../otlp/status.ts';
import { certificatesFor, tlsServerOptions, type Certificates } from '../tls.ts';
import { anybody, byBearerToken, failedAttempts, type Authenticate } from './authentication.ts';
import { announcedWithin, readBody } from './body.ts';
import { compressionOf, inflate } from './compression.ts';
import { corsHeaders, isPreflight, preflightHeaders } from './cors.ts';
import { notFoundMessage } from './hints.ts';
import { HOPS_HEADER, hopsOf } from './hops.ts';
import { answerTo, HttpError } from './http_error.ts';
import type { Route, RouteReply } from './route.ts';
import { differences, printEndpoint, requireAuthentication, type ServerConfig } from './server_config.ts';

const ENCODINGS: ReadonlyMap<string, Encoding> = new Map([
  ['application/x-protobuf', 'protobuf'],
  ['application/protobuf', 'protobuf'],
  ['application/json', 'json'],
]);

/** How often Node looks for clients that take too long; by default it would be every 30 s. */
const CHECKING_INTERVAL_MS = 1000;
const MAX_HEADER_BYTES = 8192;
const MAX_REQUESTS_PER_CONNECTION = 10_000;
/** A connection on which nothing moves for so long, not even an answer that the client fetches, is closed. */
const STALLED_MS = 120_000;
/** How long a client may go on sending a body that was refused. */
const DISCARD_MS = 2000;

/** What is ours of a receiver that serves over HTTP. */
export interface Served {
  readonly config: ServerConfig;
  readonly routes: readonly Route[];
  readonly settings: Settings;
  /** Where the server's settings stand in the receiver's own, such as `protocols.http`; empty for its top. */
  readonly section: string;
}

/**
 * Adds routes to the listener of their endpoint, which is made when there is none. It listens from the first start of
 * its receivers to the last shutdown; the result is what one of them needs.
 * @throws ConfigError where the endpoint is already served in another way
 */
export function serve(served: Served): Component {
  const { config, settings, section } = served;
  try {
    requireAuthentication(config);
    const authenticate =
      config.auth === undefined
        ? anybody
        : byBearerToken(settings.authenticator(config.auth.authenticator), failedAttempts(settings));
    const key = `http ${printEndpoint(config.endpoint)}`;
    return settings.shared(key, () => new Listener(served, authenticate)).join(served);
  } catch (error) {
    if (!(error instanceof ConfigError) || section === '') throw error;
    throw new ConfigError(error.faults.map(({ path, message }) => ({ path: `${section}.${path}`, message })));
  }
}

class Listener {
  readonly #config: ServerConfig;
  readonly #owner: string;
  readonly #authenticate: Authenticate;
  readonly #admission: Settings['admission'];
  readonly #logger: Settings['logger'];
  /** Path of the section that the listener was made for, in the whole configuration. */
  readonly #path: string;
  readonly #server: Server;
  readonly #certificates: Certificates | undefined;
  readonly #routes = new Map<string, Route[]>();
  #started = 0;
  #underWay = 0;
  #isClosing = false;

  constructor({ config, settings, section }: Served, authenticate: Authenticate) {
    this.#config = config;
    this.#owner = settings.id;
    this.#authenticate = authenticate;
    this.#admission = settings.admission;
    this.#logger = settings.logger;
    this.#path = ['receivers', settings.id, section].filter((step) => step !== '').join('.');
    const options = serverOptions(config);
    if (config.tls === undefined) {
      this.#server = createServer(options);
    } else {
      const server = createTlsServer({
        ...options,
        ...tlsServerOptions(config.tls),
        // Node counts a request's time from the end of the handshake.
        handshakeTimeout: config.read_header_timeout,
      });
      const setting = `${this.#path}.tls`;
      this.#certificates = certificatesFor(server, { tls: config.tls, setting, logger: this.#logger });
      this.#server = server;
    }
    this.#prepare(this.#server);
  }

  #prepare(server: Server): void {
    server.maxConnections = this.#config.max_connections;
    server.maxRequestsPerSocket = MAX_REQUESTS_PER_CONNECTION;
    server.setTimeout(STALLED_MS);
    server.on('request', (request, response) => void this.#answer({ request, response, waits: false }));
    server.on('checkContinue', (request, response) => void this.#answer({ request, response, waits: true }));
    server.on('checkExpectation', (request, response) => {
      const error = new HttpError('unmet_expectation', 'of all expectations only 100-continue can be met');
      this.#refuse({ request, response, waits: true }, error);
    });
  }

  join({ config, routes }: Served): Component {
    const faults = differences(this.#config, config).map((key) => ({
      path: key,
      message: `differs from that of receiver ${this.#owner}, which serves the same endpoint: make them equal`,
    }));
    for (const route of routes) {
      const same = this.#routes.get(route.path) ?? [];
      if (same.some(({ scope }) => scope === route.scope)) {
        faults.push({
          path: 'endpoint',
          message: `another receiver of this endpoint takes POST ${route.path} already`,
        });
      }
      this.#routes.set(route.path, [...same, route]);
    }
    if (faults.length > 0) throw new ConfigError(faults);
    return this.#lifetime();
  }

  #lifetime(): Component {
    let isStarted = false;
    return {
      start: async () => {
        isStarted = true;
        this.#started += 1;
        if (this.#started === 1) await this.#listen();
      },
      shutdown: async (deadline) => {
        if (!isStarted) return;
        this.#started -= 1;
        // Those that stop earlier are stopped together with the last one, which waits for all requests.
        if (this.#started > 0) return;
        this.#isClosing = true;
        this.#certificates?.stop();
        await close(this.#server, deadline);
      },
    };
  }

  async #listen(): Promise<void> {
    await this.#certificates?.start();
    const address = await listen(this.#server, this.#config.endpoint, `${this.#path}.endpoint`);
    const scheme = this.#config.tls === undefined ? 'http' : 'https';
    this.#logger.info({ address }, `OTLP/HTTP on ${scheme}://${address}`);
  }

  async #answer(exchange: Exchange): Promise<void> {
    this.#underWay += 1;
    try {
      const { request, response } = exchange;
      if (this.#config.cors !== undefined) setHeaders(response, corsHeaders(this.#config.cors, request));
      if (this.#config.cors !== undefined && isPreflight(request)) {
        setHeaders(response, preflightHeaders(this.#config.cors, request));
        response.writeHead(204).end();
      } else {
        this.#reply(response, encodingOf(request) ?? 'json', await this.#handle(exchange));
      }
    } catch (error) {
      this.#refuse(exchange, error);
    } finally {
      this.#underWay -= 1;
    }
  }

  async #handle(exchange: Exchange): Promise<RouteReply> {
    const { request } = exchange;
    if (this.#underWay > this.#config.max_concurrent_requests) {
      throw new RetryableError(
        `the gateway is busy with max_concurrent_requests (${this.#config.max_concurrent_requests})`,
      );
    }
    const identity = await this.#authenticate(request);
    const { routes, encoding } = this.#matching(request);
    demandScope(identity, routes);
    const hops = hopsOf([request.headers[HOPS_HEADER] ?? []].flat());
    const memory = this.#admission.admit();
    try {
      const body = await this.#body(exchange, memory);
      const [route] = routes.length === 1 ? routes : routes.filter((one) => one.claims(encoding, body));
      if (route === undefined) throw new HttpError('bad_request', 'the body is of no kind that this path takes');
      demandScope(identity, [route]);
      return await route.handle({ encoding, body, tenant: identity.tenant, receivedAtMs: Date.now(), hops });
    } finally {
      memory.release();
    }
  }

  /** The routes that may take the request, at least one. */
  #matching(request: IncomingMessage): { routes: readonly Route[]; encoding: Encoding } {
    const path = (request.url ?? '').split('?', 1)[0] ?? '';
    const routes = this.#routes.get(path.endsWith('/') ? path.slice(0, -1) : path);
    if (routes === undefined) throw new HttpError('not_found', notFoundMessage(path, [...this.#routes.keys()]));
    if (request.method !== 'POST') throw new HttpError('method_not_allowed', 'telemetry is sent with POST');
    const encoding = encodingOf(request);
    const taking = routes.filter(({ encodings }) => encoding !== undefined && encodings.has(encoding));
    if (encoding === undefined || taking.length === 0) throw unsupportedType(request, routes);
    return { routes: taking, encoding };
  }

  async #body(exchange: Exchange, memory: RequestMemory): Promise<Uint8Array> {
    const { request, response } = exchange;
    const { max_request_body_size } = this.#config;
    const compression = compressionOf(request.headers['content-encoding']);
    announcedWithin(request, max_request_body_size);
    if (exchange.waits) response.writeContinue();
    exchange.waits = false;
    return inflate(await readBody(request, max_request_body_size, memory), compression, this.#config, memory);
  }

  #refuse({ request, response, waits }: Exchange, error: unknown): void {
    if (request.destroyed && !request.complete) return;
    const encoding = encodingOf(request) ?? 'json';
    const { status, code, message, headers = {}, detail, unexpected = false } = answerTo(error);
    if (unexpected) this.#logger.error({ err: error, path: request.url }, message);
    setHeaders(response, headers);
    // It may never send the body, so what comes next on the connection is nobody's guess.
    if (waits) response.setHeader('Connection', 'close');
    this.#reply(response, encoding, { status, body: statusResponse(code, message, encoding, detail) });
    if (!request.complete) discard(request);
  }

  /** An answer is never compressed: it is too short to gain by it. */
  #reply(response: ServerResponse, encoding: Encoding, { status, body }: RouteReply): void {
    if (status !== 204) {
      response.setHeader('Content-Type', CONTENT_TYPES[encoding]);
      response.setHeader('Content-Length', body.length);
    }
    // Or the client would send its next request on a connection that closes.
    if (this.#isClosing) response.setHeader('Connection', 'close');
    response.writeHead(status).end(body);
  }
}

/** One request and its answer. */
interface Exchange {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  /** Whether the client holds its body back until it is told to go on (RFC 9110, section 10.1.1). */
  waits: boolean;
}

function serverOptions(config: ServerConfig): ServerOptions {
  return {
    connectionsCheckingInterval: CHECKING_INTERVAL_MS,
    headersTimeout: config.read_header_timeout,
    requestTimeout: Math.max(config.read_timeout, config.read_header_timeout),
    keepAliveTimeout: config.idle_timeout,
    maxHeaderSize: MAX_HEADER_BYTES,
    noDelay: true,
  };
}

/** The encoding that the request names and its answer has. Where none is known, answers are JSON, which people can read. */
function encodingOf({ headers }: IncomingMessage): Encoding | undefined {
  const type = (headers['content-type'] ?? '').split(';', 1)[0] ?? '';
  return ENCODINGS.get(type.trim().toLowerCase());
}

function unsupportedType({ headers }: IncomingMessage, routes: readonly Route[]): HttpError {
  const given = headers['content-type'];
  const found = given === undefined ? 'there is none' : `found "${given}"`;
  const types = new Set(routes.flatMap(({ encodings }) => [...encodings]).map((encoding) => CONTENT_TYPES[encoding]));
  return new HttpError('unsupported_type', `Content-Type must be ${[...types].join(' or ')}; ${found}`);
}

/** Throws ForbiddenError where the credential allows none of the routes. */
function demandScope(identity: Identity, routes: readonly Route[]): void {
  if (routes.some(({ scope }) => allows(identity, scope))) return;
  const scopes = [...new Set(routes.map(({ scope }) => scope))].join(' or ');
  throw new ForbiddenError(`the token does not have the scope ${scopes}`);
}

function setHeaders(response: ServerResponse, headers: Readonly<Record<string, string>>): void {
  for (const [name, value] of Object.entries(headers)) response.setHeader(name, value);
}

/**
 * Reads on past the answer, for a while: closing a connection on which data still arrives resets it, and the client may
 * never see why it was refused.
 */
function discard(request: IncomingMessage): void {
  const timer = setTimeout(() => request.socket.destroy(), DISCARD_MS);
  request.once('close', () => clearTimeout(timer));
  request.resume();
}
