/**
 * From merged data to typed configuration. Each section is parsed by itself and a faulty one takes none of the others
 * along, so that one run reports every fault. Whether components exist, are used and fit a pipeline is the builder's to
 * check.
 */
import { z } from 'zod';
import type { ConfigFault } from '../errors.ts';
import { duration } from './duration.ts';
import { ENDPOINT_FORM, isLoopback, parseEndpoint } from './endpoint.ts';
import { allIssues, faultsOf, PARSE_OPTIONS } from './issues.ts';
import type { RawConfig } from './load.ts';
import { repair } from './repair.ts';
import { secret, type Secret } from './secret.ts';
import { appendPath, isAtOrBelow } from './yaml_path.ts';

export interface GatewayConfig {
  /** Component id to its section as it stands in the file; `{}` where that is empty. Without inherited names. */
  readonly receivers: Sections;
  readonly processors: Sections;
  readonly exporters: Sections;
  readonly extensions: Sections;
  readonly service: ServiceConfig;
  readonly query: QueryConfig;
}

type Sections = Readonly<Record<string, unknown>>;

interface ServiceConfig {
  /** Off means that every route for data or queries answers that it is off, and that nothing else runs. */
  readonly enabled: boolean;
  readonly extensions: readonly string[];
  /** By pipeline id; of a faulty pipeline the references that could be read. Without inherited names. */
  readonly pipelines: Readonly<Record<string, PipelineConfig>>;
  readonly telemetry: TelemetryConfig;
  /** For how long a gateway that is to stop goes on taking requests, in milliseconds. */
  readonly shutdown_delay: number;
  /** How long what is under way may take to end after that, in milliseconds. */
  readonly shutdown_timeout: number;
}

/** Component ids, each at most once in its list. */
interface PipelineConfig {
  readonly receivers: readonly string[];
  readonly processors: readonly string[];
  readonly exporters: readonly string[];
}

interface TelemetryConfig {
  readonly logs: { readonly level: 'debug' | 'info' | 'warn' | 'error' };
  /** Without an address the gateway's own metrics are not served. */
  readonly metrics: { readonly address?: string | undefined };
}

interface QueryConfig {
  readonly endpoint: string;
  readonly database_url?: Secret | undefined;
  /** Without it everybody who reaches the endpoint reads what belongs to the default tenant. */
  readonly auth?: { readonly authenticator: string } | undefined;
  readonly allow_unauthenticated: boolean;
}

export interface Parsed<T> {
  /** Undefined when a fault was found, here or before. */
  readonly value: T | undefined;
  readonly faults: ConfigFault[];
}

/**
 * Parses what stands at `path`. As in the Collector, an empty value means an empty map where the schema has a map, and
 * elsewhere counts as not given. A value that came from one `${env:X}` is taken as text where the schema wants text.
 */
export function parseSection<T>(schema: z.ZodType<T>, value: unknown, path: string, raw: RawConfig): Parsed<T> {
  const tried = new Set<string>();
  let data = value;
  for (;;) {
    const result = schema.safeParse(data, PARSE_OPTIONS);
    if (result.success) return { value: result.data, faults: [] };
    const issues = result.error.issues;
    const repaired = repair(data, issues.flatMap(allIssues), { path, raw, tried });
    if (repaired === data) return { value: undefined, faults: newFaults(issues, path, raw) };
    data = repaired;
  }
}

const newFaults = (issues: readonly z.core.$ZodIssue[], path: string, { broken }: RawConfig) =>
  faultsOf(issues, path).filter((fault) => ![...broken].some((place) => isAtOrBelow(fault.path, place)));

const DEFAULT_SHUTDOWN_DELAY_MS = 1000;
/** 10 s for requests and 20 s for queues; with the delay it is within the 45 s that our Kubernetes profiles give. */
const DEFAULT_SHUTDOWN_MS = 30_000;
const MAX_SHUTDOWN_MS = 3_600_000;
const DEFAULT_QUERY_ENDPOINT = '127.0.0.1:16686';
const LOG_LEVELS = ['debug', 'info', 'warn', 'error'] as const;
const PIPELINE_KEYS = ['receivers', 'processors', 'exporters'] as const;

const TYPE = /^[a-zA-Z]\w{0,62}$/;
const NAME = /^[^\p{Z}\p{C}\p{S}]{1,1024}$/u;
const ID_FORM = 'type or type/name, the type of letters, digits and _, such as otlp or otlp/internal';

export interface ComponentId {
  readonly type: string;
  /** Empty for the plain `type`. */
  readonly name: string;
}

/** Also of pipelines, whose type is the signal. Undefined for what the Collector would refuse as an id. */
export function parseComponentId(id: string): ComponentId | undefined {
  const slash = id.indexOf('/');
  if (slash < 0) return TYPE.test(id) ? { type: id, name: '' } : undefined;
  const [type, name] = [id.slice(0, slash), id.slice(slash + 1)];
  return TYPE.test(type) && NAME.test(name) ? { type, name } : undefined;
}

const idList = () =>
  z.array(z.string().refine((id) => parseComponentId(id) !== undefined, ID_FORM)).superRefine((ids, context) => {
    for (const [index, id] of ids.entries()) {
      if (ids.indexOf(id) === index) continue;
      context.addIssue({ code: 'custom', path: [index], input: id, message: 'each component once in a list' });
    }
  });

const endpointText = () => z.string().refine((text) => parseEndpoint(text) !== undefined, ENDPOINT_FORM);

const pipelineSchema = z.strictObject({
  receivers: idList().min(1),
  processors: idList().default([]),
  exporters: idList().min(1),
});

const telemetrySchema = z
  .strictObject({
    logs: z.strictObject({ level: z.string().toLowerCase().pipe(z.enum(LOG_LEVELS)).default('info') }).prefault({}),
    metrics: z.strictObject({ address: endpointText().optional() }).prefault({}),
  })
  .prefault({});

const authSchema = z.strictObject({
  authenticator: z.string().refine((id) => parseComponentId(id) !== undefined, ID_FORM),
});

const querySchema = z
  .strictObject({
    endpoint: endpointText().default(DEFAULT_QUERY_ENDPOINT),
    database_url: secret().optional(),
    auth: authSchema.optional(),
    allow_unauthenticated: z.boolean().default(false),
  })
  .prefault({});

const shutdownDelay = duration({ max: MAX_SHUTDOWN_MS }).default(DEFAULT_SHUTDOWN_DELAY_MS);
const shutdownTimeout = duration({ max: MAX_SHUTDOWN_MS }).default(DEFAULT_SHUTDOWN_MS);

/** For a map whose values are parsed one by one. */
const keys = (...names: string[]) =>
  z.strictObject(Object.fromEntries(names.map((name) => [name, z.unknown().optional()]))).prefault({});

const topSchema = keys('receivers', 'processors', 'exporters', 'extensions', 'service', 'query');
const serviceSchema = keys('enabled', 'extensions', 'pipelines', 'telemetry', 'shutdown_delay', 'shutdown_timeout');
const sectionsSchema = z.record(z.string(), z.unknown()).prefault({});
const pipelinesSchema = sectionsSchema.refine((pipelines) => Object.keys(pipelines).length > 0, {
  message: 'found no pipeline; allowed: one or more, such as traces, logs and metrics',
});

/** `faults` begins with those of `raw`; `config` has defaults where there are faults, so that checks can go on. */
export function parseGateway(raw: RawConfig): { config: GatewayConfig; faults: ConfigFault[] } {
  const faults = [...raw.faults];
  const read: Read = (schema, value, path) => {
    const parsed = parseSection(schema, value, path, raw);
    faults.push(...parsed.faults);
    return parsed.value;
  };
  const isTopClean = read(topSchema, raw.root, '') !== undefined;
  const root = mapOf(raw.root);
  const sections = (kind: string) => readSections(root[kind], kind, read, faults);
  const config = {
    receivers: sections('receivers'),
    processors: sections('processors'),
    exporters: sections('exporters'),
    extensions: sections('extensions'),
    service: readService(root.service, isTopClean, read, faults),
    query: read(querySchema, root.query, 'query') ?? querySchema.parse({}),
  };
  return { config, faults };
}

/**
 * Nobody may read telemetry over a network by accident. Checked by what serves queries, and no concern of commands that
 * only want the database.
 */
export function exposureFaults({ endpoint, auth, allow_unauthenticated }: QueryConfig): ConfigFault[] {
  const host = parseEndpoint(endpoint)?.host;
  if (host === undefined || isLoopback(host) || auth !== undefined || allow_unauthenticated) return [];
  const message =
    `found ${JSON.stringify(endpoint)}, which others can reach, and no query.auth;` +
    ' allowed: a loopback address such as 127.0.0.1:16686, query.auth.authenticator, or query.allow_unauthenticated: true';
  return [{ path: 'query.endpoint', message }];
}

/** Parses one section and keeps its faults. */
type Read = <T>(schema: z.ZodType<T>, value: unknown, path: string) => T | undefined;

function readSections(value: unknown, path: string, read: Read, faults: ConfigFault[]): Sections {
  const sections = withoutInherited<unknown>();
  for (const [id, section] of Object.entries(read(sectionsSchema, value, path) ?? {})) {
    checkId(id, path, faults);
    sections[id] = section ?? {};
  }
  return sections;
}

function checkId(id: string, path: string, faults: ConfigFault[]): void {
  if (parseComponentId(id) !== undefined) return;
  faults.push({ path: appendPath(path, [id]), message: `found the id ${JSON.stringify(id)}; allowed: ${ID_FORM}` });
}

/** A missing list of pipelines is not reported below a misspelt key, which may be where it is: `isOuterClean` is false. */
function readService(value: unknown, isOuterClean: boolean, read: Read, faults: ConfigFault[]): ServiceConfig {
  const isClean = read(serviceSchema, value, 'service') !== undefined && isOuterClean;
  const service = mapOf(value);
  const pipelines = withoutInherited<PipelineConfig>();
  const listed = read(isClean ? pipelinesSchema : sectionsSchema, service.pipelines, 'service.pipelines');
  for (const [id, pipeline] of Object.entries(listed ?? {})) {
    checkId(id, 'service.pipelines', faults);
    pipelines[id] = read(pipelineSchema, pipeline, appendPath('service.pipelines', [id])) ?? salvage(pipeline);
  }
  return {
    enabled: read(z.boolean().default(true), service.enabled, 'service.enabled') ?? true,
    extensions: read(idList().default([]), service.extensions, 'service.extensions') ?? strings(service.extensions),
    pipelines,
    telemetry: read(telemetrySchema, service.telemetry, 'service.telemetry') ?? telemetrySchema.parse({}),
    shutdown_delay: read(shutdownDelay, service.shutdown_delay, 'service.shutdown_delay') ?? DEFAULT_SHUTDOWN_DELAY_MS,
    shutdown_timeout:
      read(shutdownTimeout, service.shutdown_timeout, 'service.shutdown_timeout') ?? DEFAULT_SHUTDOWN_MS,
  };
}

/** What can be read of a faulty pipeline, so that the components it names do not count as unused. */
function salvage(pipeline: unknown): PipelineConfig {
  const lists = mapOf(pipeline);
  const [receivers, processors, exporters] = PIPELINE_KEYS.map((key) => strings(lists[key]));
  return { receivers: receivers ?? [], processors: processors ?? [], exporters: exporters ?? [] };
}

const strings = (value: unknown): string[] =>
  Array.isArray(value) ? [...new Set(value.filter((item) => typeof item === 'string'))] : [];

/** The value if it is a map; whoever reads it reports it otherwise. */
const mapOf = (value: unknown): Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null && !Array.isArray(value) ? { ...value } : {};

/** A record that knows no `constructor`, so that looking up an id finds what the file says and nothing else. */
const withoutInherited = <T>(): Record<string, T> => Object.create(null);
