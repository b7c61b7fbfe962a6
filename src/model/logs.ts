/** Log records: views over OTLP `LogRecord` messages. Source: opentelemetry-proto, logs/v1/logs.proto. */
import { Attributes, checkAnyValue } from './attributes.ts';
import { hex } from './ids.ts';
import type { Promoted } from './promoted.ts';
import { fixed32, fixed64, type Reader } from './wire.ts';

/** Tags of `LogRecord`. */
const LOG = {
  time: 0x09,
  severityNumber: 0x10,
  severityText: 0x1a,
  body: 0x2a,
  attributes: 0x32,
  droppedAttributes: 0x38,
  flags: 0x45,
  traceId: 0x4a,
  spanId: 0x52,
  observedTime: 0x59,
  eventName: 0x62,
} as const;

/** One log record. `…At` and `…End` are offsets into `bytes`; an absent field has both 0. */
export class LogRecord {
  readonly bytes: Uint8Array;
  readonly start: number;
  readonly end: number;
  readonly attributes: Attributes;
  timeAt = 0;
  observedTimeAt = 0;
  /** 1–4 trace, 5–8 debug, 9–12 info, 13–16 warn, 17–20 error, 21–24 fatal; 0 unspecified. */
  severityNumber = 0;
  severityTextAt = 0;
  severityTextEnd = 0;
  /** Bounds of the body's `AnyValue`. */
  bodyAt = 0;
  bodyEnd = 0;
  droppedAttributesCount = 0;
  flags = 0;
  traceIdAt = 0;
  traceIdEnd = 0;
  spanIdAt = 0;
  spanIdEnd = 0;
  eventNameAt = 0;
  eventNameEnd = 0;
  promoted: Promoted | undefined = undefined;

  constructor(bytes: Uint8Array, start: number, end: number) {
    this.bytes = bytes;
    this.start = start;
    this.end = end;
    this.attributes = new Attributes(bytes, LOG.attributes);
  }

  /** Checks the message that ends at `end`, with everything in it, and makes a view of it. */
  static read(reader: Reader, end: number): LogRecord {
    const log = new LogRecord(reader.bytes, reader.pos, end);
    reader.record();
    while (reader.pos < end) {
      const tagAt = reader.pos;
      const tag = reader.tag(end);
      switch (tag) {
        case LOG.time:
          log.timeAt = reader.fixed(8, end);
          break;
        case LOG.observedTime:
          log.observedTimeAt = reader.fixed(8, end);
          break;
        case LOG.severityNumber:
          log.severityNumber = reader.uint32(end);
          break;
        case LOG.severityText:
          log.severityTextEnd = reader.fieldEnd(end);
          log.severityTextAt = reader.pos;
          reader.pos = log.severityTextEnd;
          break;
        case LOG.body:
          readBody(log, reader, reader.fieldEnd(end));
          break;
        case LOG.attributes:
          log.attributes.add(reader, tagAt, end);
          break;
        case LOG.droppedAttributes:
          log.droppedAttributesCount = reader.uint32(end);
          break;
        case LOG.flags:
          log.flags = fixed32(reader.bytes, reader.fixed(4, end));
          break;
        case LOG.traceId:
          log.traceIdEnd = reader.fieldEnd(end);
          log.traceIdAt = reader.pos;
          reader.pos = log.traceIdEnd;
          break;
        case LOG.spanId:
          log.spanIdEnd = reader.fieldEnd(end);
          log.spanIdAt = reader.pos;
          reader.pos = log.spanIdEnd;
          break;
        case LOG.eventName:
          log.eventNameEnd = reader.fieldEnd(end);
          log.eventNameAt = reader.pos;
          reader.pos = log.eventNameEnd;
          break;
        default:
          reader.skipValue(tag, end);
      }
    }
    return log;
  }

  /** Lowercase hex; empty when the record belongs to no trace. */
  get traceId(): string {
    return hex(this.bytes, this.traceIdAt, this.traceIdEnd);
  }

  get spanId(): string {
    return hex(this.bytes, this.spanIdAt, this.spanIdEnd);
  }

  get timeUnixNano(): bigint {
    return this.timeAt === 0 ? 0n : fixed64(this.bytes, this.timeAt);
  }

  get observedTimeUnixNano(): bigint {
    return this.observedTimeAt === 0 ? 0n : fixed64(this.bytes, this.observedTimeAt);
  }
}

/** A second, empty body merges into the first one and changes nothing. */
function readBody(log: LogRecord, reader: Reader, end: number): void {
  const start = reader.pos;
  checkAnyValue(reader, end, 1);
  if (log.bodyAt > 0 && start === end) return;
  log.bodyAt = start;
  log.bodyEnd = end;
}
