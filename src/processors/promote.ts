/**
 * Fills columns of their own from attributes, where an index finds them: the scan id, and for spans the span type. A
 * record's own attributes come before those of its resource, and an earlier key in the list before a later one. The
 * attributes themselves stay as they are.
 */
import { z } from 'zod';
import { processorFactory, type Consumer } from '../component.ts';
import type { AttributeValue, AttributeWalk, Attributes } from '../model/attributes.ts';
import type { Batches, Logs, Metrics, Traces } from '../model/batch.ts';
import type { LogRecord } from '../model/logs.ts';
import type { DataPoint } from '../model/metrics.ts';
import type { Promoted } from '../model/promoted.ts';
import type { Span } from '../model/traces.ts';
import { KeyLookup } from './promote/key_lookup.ts';
import { SPAN_TYPE_RULES, typeSeenByServer, type SpanTypeRule } from './promote/span_types.ts';

/** Longest value that goes into a column: an index entry of PostgreSQL holds no more than some 2,700 bytes. */
const MAX_VALUE_CHARACTERS = 256;

/** OTLP's number of the kind of a span. */
const SERVER = 2;

const config = z.strictObject({
  scan_id: z
    .array(z.string().min(1))
    .min(1)
    .default(['pencheff.scan_id', 'scan.id'])
    .describe('Attributes that hold the scan id, the first that is there winning; span, then resource attributes.'),
});

type Config = z.output<typeof config>;

export const promote = processorFactory<Config>({
  type: 'promote',
  config,
  create: {
    traces: ({ scan_id }, _settings, next) => promotingSpans(lookupOf(scan_id, SPAN_TYPE_RULES), next),
    logs: ({ scan_id }, _settings, next) => promoting(lookupOf(scan_id, []), next),
    metrics: ({ scan_id }, _settings, next) => promoting(lookupOf(scan_id, []), next),
  },
});

/** What a key is looked for. Of ranks the lowest wins. */
interface Meaning {
  scanRank: number;
  /** The best rank among its types. */
  typeRank: number;
  readonly typeOfValue: Map<string, RankedType>;
  /** What every other value means. */
  typeOfAny: RankedType | undefined;
}

interface RankedType {
  readonly rank: number;
  readonly type: string;
}

type Lookup = KeyLookup<Meaning>;

/** Where nothing was found yet: above every rank, and below the one of a key that is of no use. */
const UNRANKED = Number.MAX_SAFE_INTEGER;
const USELESS = Number.POSITIVE_INFINITY;

function lookupOf(scanKeys: readonly string[], rules: readonly SpanTypeRule[]): Lookup {
  const meanings = new Map<string, Meaning>();
  const meaningOf = (key: string): Meaning => {
    const known = meanings.get(key);
    if (known !== undefined) return known;
    const added = { scanRank: USELESS, typeRank: USELESS, typeOfValue: new Map(), typeOfAny: undefined };
    meanings.set(key, added);
    return added;
  };
  for (const [rank, key] of scanKeys.entries()) {
    const meaning = meaningOf(key);
    meaning.scanRank = Math.min(meaning.scanRank, rank);
  }
  for (const [rank, { key, means }] of rules.entries()) {
    const meaning = meaningOf(key);
    meaning.typeRank = Math.min(meaning.typeRank, rank);
    if (typeof means === 'string') meaning.typeOfAny = { rank, type: means };
    else for (const [value, type] of Object.entries(means)) meaning.typeOfValue.set(value, { rank, type });
  }
  return new KeyLookup(meanings);
}

function promotingSpans(lookup: Lookup, next: Consumer<Traces>): Consumer<Traces> {
  return {
    consume(batch) {
      for (const { resource, scopes } of batch.resources) {
        const fallback = findScanId(resource.attributes, lookup);
        for (const { records } of scopes) for (const span of records) promoteSpan(span, lookup, fallback);
      }
      return next.consume(batch);
    },
  };
}

/** One walk finds both. A type that the receiver knew stays. */
function promoteSpan(span: Span, lookup: Lookup, fallback: string | undefined): void {
  let scanId = fallback;
  let scanRank = UNRANKED;
  let best: RankedType = UNTYPED;
  const walk = span.attributes.walk();
  while (walk.next()) {
    const meaning = lookup.get(walk.bytes, walk.keyStart, walk.keyEnd);
    if (meaning === undefined) continue;
    if (meaning.scanRank <= scanRank) {
      const found = asText(walk.value());
      if (found !== undefined) {
        scanId = found;
        scanRank = meaning.scanRank;
      }
    }
    if (meaning.typeRank <= best.rank) best = better(best, typeMeant(meaning, walk));
  }
  setPromoted(span, scanId, span.promoted?.spanType ?? typeOf(best, span.kind));
}

const UNTYPED: RankedType = { rank: UNRANKED, type: '' };

function better(best: RankedType, found: RankedType | undefined): RankedType {
  return found !== undefined && found.rank <= best.rank ? found : best;
}

/** An empty value says nothing. */
function typeMeant({ typeOfValue, typeOfAny }: Meaning, walk: AttributeWalk): RankedType | undefined {
  if (walk.valueStart === walk.valueEnd) return undefined;
  if (typeOfValue.size === 0) return typeOfAny;
  const value = walk.value();
  return (typeof value === 'string' ? typeOfValue.get(value) : undefined) ?? typeOfAny;
}

function typeOf({ type }: RankedType, kind: number): string | undefined {
  if (type === '') return undefined;
  return kind === SERVER ? typeSeenByServer(type) : type;
}

function setPromoted(item: Span | LogRecord | DataPoint, scanId: string | undefined, spanType?: string): void {
  if (scanId === undefined && spanType === undefined) return;
  // A new object: the batch of another pipeline may hold the old one.
  const promoted: Promoted = { ...item.promoted };
  if (scanId !== undefined) promoted.scanId = scanId;
  if (spanType !== undefined) promoted.spanType = spanType;
  item.promoted = promoted;
}

function promoting<S extends 'logs' | 'metrics'>(lookup: Lookup, next: Consumer<Batches[S]>): Consumer<Batches[S]> {
  return {
    consume(batch) {
      promoteScanIds(batch, lookup);
      return next.consume(batch);
    },
  };
}

function promoteScanIds(batch: Logs | Metrics, lookup: Lookup): void {
  for (const { resource, scopes } of batch.resources) {
    const fallback = findScanId(resource.attributes, lookup);
    for (const { records } of scopes) {
      for (const record of records) {
        for (const item of 'points' in record ? record.points : [record]) {
          setPromoted(item, findScanId(item.attributes, lookup) ?? fallback);
        }
      }
    }
  }
}

function findScanId(attributes: Attributes, lookup: Lookup): string | undefined {
  let found: string | undefined;
  let rank = UNRANKED;
  const walk = attributes.walk();
  while (walk.next()) {
    const meaning = lookup.get(walk.bytes, walk.keyStart, walk.keyEnd);
    if (meaning === undefined || meaning.scanRank > rank) continue;
    const value = asText(walk.value());
    if (value === undefined) continue;
    found = value;
    rank = meaning.scanRank;
  }
  return found;
}

/** Text of a scalar; nothing for what is empty, structured or too long for a column. */
function asText(value: AttributeValue): string | undefined {
  if (typeof value !== 'string' && typeof value !== 'number' && typeof value !== 'bigint') return undefined;
  const text = String(value);
  return text === '' || text.length > MAX_VALUE_CHARACTERS ? undefined : text;
}
