/**
 * The messages of OTLP as tables: which JSON name has which field number and type. Transcoding to and from JSON follows
 * them. Facts from opentelemetry-proto 1.11; JSON names are lowerCamelCase, ids are hex there instead of base64.
 */
import type { Signal } from '../model/batch.ts';
import { KeyTable } from './key_table.ts';

export type Scalar =
  | 'string'
  | 'bytes'
  /** Bytes that JSON writes as hex: trace and span ids. */
  | 'id'
  | 'bool'
  | 'enum'
  | 'uint32'
  | 'sint32'
  | 'fixed32'
  | 'int64'
  | 'uint64'
  | 'fixed64'
  | 'sfixed64'
  | 'double';

export interface Field {
  readonly name: string;
  readonly number: number;
  /** What stands before a single element on the wire: `number << 3 | wire type`. */
  readonly tag: number;
  readonly type: Scalar | Message;
  readonly repeated: boolean;
  /** A value that is no id must not cost the record: it is handed on as one that the decoder drops with a warning. */
  readonly isLenient: boolean;
  /** Prefix that proto puts before the names of the enum's values, and those names by their numbers. */
  readonly names?: EnumNames;
}

export interface EnumNames {
  readonly prefix: string;
  readonly values: readonly string[];
}

/**
 * What a fault inside the message costs: `record` itself; `points` the whole metric with all its points. Of a message
 * that is neither, a fault costs the record around it, or the request when there is none.
 */
export type Unit = 'record' | 'points';

export interface Message {
  readonly name: string;
  readonly unit: Unit | undefined;
  /** By JSON name and by original snake_case name, which some senders write. */
  readonly byName: KeyTable<Field>;
  readonly byNumber: ReadonlyMap<number, Field>;
}

interface Extensible extends Message {
  readonly byNumber: Map<number, Field>;
}

type Row = readonly [name: string, number: number, type: Scalar | Message, extra?: 'repeated' | 'lenient' | EnumNames];

function message(name: string, rows: readonly Row[], unit?: Unit): Extensible {
  const byName = new KeyTable<Field>();
  const byNumber = new Map<number, Field>();
  for (const row of rows) addField(byName, byNumber, row);
  return { name, unit, byName, byNumber };
}

function addField(byName: KeyTable<Field>, byNumber: Map<number, Field>, [name, number, type, extra]: Row): void {
  const names = typeof extra === 'object' ? { names: extra } : {};
  const tag = (number << 3) | wireType(type);
  const repeated = extra === 'repeated';
  const field: Field = { name, number, tag, type, repeated, isLenient: extra === 'lenient', ...names };
  byName.add(name, field);
  byName.add(snakeCase(name), field);
  // A second row of one number is another spelling that is read, never written.
  if (!byNumber.has(number)) byNumber.set(number, field);
}

function snakeCase(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}

const SPAN_KINDS: EnumNames = {
  prefix: 'SPAN_KIND_',
  values: ['UNSPECIFIED', 'INTERNAL', 'SERVER', 'CLIENT', 'PRODUCER', 'CONSUMER'],
};

const STATUS_CODES: EnumNames = { prefix: 'STATUS_CODE_', values: ['UNSET', 'OK', 'ERROR'] };

const TEMPORALITIES: EnumNames = {
  prefix: 'AGGREGATION_TEMPORALITY_',
  values: ['UNSPECIFIED', 'DELTA', 'CUMULATIVE'],
};

const SEVERITIES: EnumNames = {
  prefix: 'SEVERITY_NUMBER_',
  values: [
    'UNSPECIFIED',
    ...['TRACE', 'DEBUG', 'INFO', 'WARN', 'ERROR', 'FATAL'].flatMap((level) =>
      ['', '2', '3', '4'].map((step) => `${level}${step}`),
    ),
  ],
};

const ANY_VALUE = message('AnyValue', [
  ['stringValue', 1, 'string'],
  ['boolValue', 2, 'bool'],
  ['intValue', 3, 'int64'],
  ['doubleValue', 4, 'double'],
  ['bytesValue', 7, 'bytes'],
]);

export const ANY_VALUE_MESSAGE: Message = ANY_VALUE;

const KEY_VALUE = message('KeyValue', [
  ['key', 1, 'string'],
  ['value', 2, ANY_VALUE_MESSAGE],
]);

// AnyValue holds lists of itself, which no literal can say.
defineLater(ANY_VALUE, ['arrayValue', 5, message('ArrayValue', [['values', 1, ANY_VALUE_MESSAGE, 'repeated']])]);
defineLater(ANY_VALUE, ['kvlistValue', 6, message('KeyValueList', [['values', 1, KEY_VALUE, 'repeated']])]);

function defineLater({ byName, byNumber }: Extensible, row: Row): void {
  addField(byName, byNumber, row);
}

const ENTITY_REF = message('EntityRef', [
  ['schemaUrl', 1, 'string'],
  ['type', 2, 'string'],
  ['idKeys', 3, 'string', 'repeated'],
  ['descriptionKeys', 4, 'string', 'repeated'],
]);

const RESOURCE = message('Resource', [
  ['attributes', 1, KEY_VALUE, 'repeated'],
  ['droppedAttributesCount', 2, 'uint32'],
  ['entityRefs', 3, ENTITY_REF, 'repeated'],
]);

const SCOPE = message('InstrumentationScope', [
  ['name', 1, 'string'],
  ['version', 2, 'string'],
  ['attributes', 3, KEY_VALUE, 'repeated'],
  ['droppedAttributesCount', 4, 'uint32'],
]);

const EVENT = message('Span.Event', [
  ['timeUnixNano', 1, 'fixed64'],
  ['name', 2, 'string'],
  ['attributes', 3, KEY_VALUE, 'repeated'],
  ['droppedAttributesCount', 4, 'uint32'],
]);

const LINK = message('Span.Link', [
  ['traceId', 1, 'id'],
  ['spanId', 2, 'id'],
  ['traceState', 3, 'string'],
  ['attributes', 4, KEY_VALUE, 'repeated'],
  ['droppedAttributesCount', 5, 'uint32'],
  ['flags', 6, 'fixed32'],
]);

const STATUS = message('Status', [
  ['message', 2, 'string'],
  ['code', 3, 'enum', STATUS_CODES],
]);

const SPAN = message(
  'Span',
  [
    ['traceId', 1, 'id'],
    ['spanId', 2, 'id'],
    ['traceState', 3, 'string'],
    ['parentSpanId', 4, 'id'],
    ['name', 5, 'string'],
    ['kind', 6, 'enum', SPAN_KINDS],
    ['startTimeUnixNano', 7, 'fixed64'],
    ['endTimeUnixNano', 8, 'fixed64'],
    ['attributes', 9, KEY_VALUE, 'repeated'],
    ['droppedAttributesCount', 10, 'uint32'],
    ['events', 11, EVENT, 'repeated'],
    ['droppedEventsCount', 12, 'uint32'],
    ['links', 13, LINK, 'repeated'],
    ['droppedLinksCount', 14, 'uint32'],
    ['status', 15, STATUS],
    ['flags', 16, 'fixed32'],
  ],
  'record',
);

const LOG_RECORD = message(
  'LogRecord',
  [
    ['timeUnixNano', 1, 'fixed64'],
    ['severityNumber', 2, 'enum', SEVERITIES],
    ['severityText', 3, 'string'],
    ['body', 5, ANY_VALUE_MESSAGE],
    ['attributes', 6, KEY_VALUE, 'repeated'],
    ['droppedAttributesCount', 7, 'uint32'],
    ['flags', 8, 'fixed32'],
    ['traceId', 9, 'id', 'lenient'],
    ['spanId', 10, 'id', 'lenient'],
    ['observedTimeUnixNano', 11, 'fixed64'],
    ['eventName', 12, 'string'],
  ],
  'record',
);

const EXEMPLAR = message('Exemplar', [
  ['timeUnixNano', 2, 'fixed64'],
  ['asDouble', 3, 'double'],
  ['spanId', 4, 'id'],
  ['traceId', 5, 'id'],
  ['asInt', 6, 'sfixed64'],
  ['filteredAttributes', 7, KEY_VALUE, 'repeated'],
]);

const NUMBER_POINT = message(
  'NumberDataPoint',
  [
    ['startTimeUnixNano', 2, 'fixed64'],
    ['timeUnixNano', 3, 'fixed64'],
    ['asDouble', 4, 'double'],
    ['exemplars', 5, EXEMPLAR, 'repeated'],
    ['asInt', 6, 'sfixed64'],
    ['attributes', 7, KEY_VALUE, 'repeated'],
    ['flags', 8, 'uint32'],
  ],
  'record',
);

const HISTOGRAM_POINT = message(
  'HistogramDataPoint',
  [
    ['startTimeUnixNano', 2, 'fixed64'],
    ['timeUnixNano', 3, 'fixed64'],
    ['count', 4, 'fixed64'],
    ['sum', 5, 'double'],
    ['bucketCounts', 6, 'fixed64', 'repeated'],
    ['explicitBounds', 7, 'double', 'repeated'],
    ['exemplars', 8, EXEMPLAR, 'repeated'],
    ['attributes', 9, KEY_VALUE, 'repeated'],
    ['flags', 10, 'uint32'],
    ['min', 11, 'double'],
    ['max', 12, 'double'],
  ],
  'record',
);

const BUCKETS = message('Buckets', [
  ['offset', 1, 'sint32'],
  ['bucketCounts', 2, 'uint64', 'repeated'],
]);

const EXPONENTIAL_HISTOGRAM_POINT = message(
  'ExponentialHistogramDataPoint',
  [
    ['attributes', 1, KEY_VALUE, 'repeated'],
    ['startTimeUnixNano', 2, 'fixed64'],
    ['timeUnixNano', 3, 'fixed64'],
    ['count', 4, 'fixed64'],
    ['sum', 5, 'double'],
    ['scale', 6, 'sint32'],
    ['zeroCount', 7, 'fixed64'],
    ['positive', 8, BUCKETS],
    ['negative', 9, BUCKETS],
    ['flags', 10, 'uint32'],
    ['exemplars', 11, EXEMPLAR, 'repeated'],
    ['min', 12, 'double'],
    ['max', 13, 'double'],
    ['zeroThreshold', 14, 'double'],
  ],
  'record',
);

const QUANTILE = message('ValueAtQuantile', [
  ['quantile', 1, 'double'],
  ['value', 2, 'double'],
]);

const SUMMARY_POINT = message(
  'SummaryDataPoint',
  [
    ['startTimeUnixNano', 2, 'fixed64'],
    ['timeUnixNano', 3, 'fixed64'],
    ['count', 4, 'fixed64'],
    ['sum', 5, 'double'],
    ['quantileValues', 6, QUANTILE, 'repeated'],
    ['attributes', 7, KEY_VALUE, 'repeated'],
    ['flags', 8, 'uint32'],
  ],
  'record',
);

const data = (name: string, point: Message, ...more: readonly Row[]): Message =>
  message(name, [['dataPoints', 1, point, 'repeated'], ...more]);

const TEMPORALITY: Row = ['aggregationTemporality', 2, 'enum', TEMPORALITIES];

const METRIC = message(
  'Metric',
  [
    ['name', 1, 'string'],
    ['description', 2, 'string'],
    ['unit', 3, 'string'],
    ['gauge', 5, data('Gauge', NUMBER_POINT)],
    ['sum', 7, data('Sum', NUMBER_POINT, TEMPORALITY, ['isMonotonic', 3, 'bool'])],
    ['histogram', 9, data('Histogram', HISTOGRAM_POINT, TEMPORALITY)],
    ['exponentialHistogram', 10, data('ExponentialHistogram', EXPONENTIAL_HISTOGRAM_POINT, TEMPORALITY)],
    ['summary', 11, data('Summary', SUMMARY_POINT)],
    ['metadata', 12, KEY_VALUE, 'repeated'],
  ],
  'points',
);

function request(name: string, signal: string, records: string, record: Message): Message {
  const scopes = message(`Scope${name}`, [
    ['scope', 1, SCOPE],
    [records, 2, record, 'repeated'],
    ['schemaUrl', 3, 'string'],
    ['instrumentationLibrary', 1, SCOPE],
  ]);
  const resources = message(`Resource${name}`, [
    ['resource', 1, RESOURCE],
    [`scope${name}`, 2, scopes, 'repeated'],
    ['schemaUrl', 3, 'string'],
    // The name before OTLP 0.19.
    [`instrumentationLibrary${name}`, 1000, scopes, 'repeated'],
  ]);
  return message(`Export${signal}ServiceRequest`, [[`resource${name}`, 1, resources, 'repeated']]);
}

/** The request message of each signal. */
export const REQUESTS: Readonly<Record<Signal, Message>> = {
  traces: request('Spans', 'Trace', 'spans', SPAN),
  logs: request('Logs', 'Logs', 'logRecords', LOG_RECORD),
  metrics: request('Metrics', 'Metrics', 'metrics', METRIC),
};

/** Wire type of a field's single element. */
function wireType(type: Field['type']): 0 | 1 | 2 | 5 {
  switch (type) {
    case 'fixed64':
    case 'sfixed64':
    case 'double':
      return 1;
    case 'fixed32':
      return 5;
    case 'bool':
    case 'enum':
    case 'uint32':
    case 'sint32':
    case 'int64':
    case 'uint64':
      return 0;
    default:
      return 2;
  }
}
