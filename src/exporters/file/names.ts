/**
 * Names of the files: made from a template of ours and numbers, never from anything that a client sent. What does not look
 * like a name of the template is never touched.
 */
import { z } from 'zod';
import type { Signal } from '../../model/batch.ts';

const MAX_TEMPLATE_CHARS = 100;
const TEMPLATE = /^(?:[A-Za-z0-9]|\{date\}|\{signal\})(?:[A-Za-z0-9._-]|\{date\}|\{signal\})*$/;

/** What we add to names ourselves. */
const COMPRESSED = '.zst';
const UNFINISHED = '.zst.tmp';

export const fileNameTemplate = () =>
  z
    .string()
    .max(MAX_TEMPLATE_CHARS)
    .refine(
      (text) =>
        TEMPLATE.test(text) &&
        text.split('{date}').length === 2 &&
        text.split('{signal}').length <= 2 &&
        !text.endsWith(COMPRESSED) &&
        !text.endsWith('.tmp'),
      'a name of letters, digits, ".", "_" and "-" with {date} once and {signal} at most once, such as otel-{date}.jsonl',
    );

/** A file of ours. */
export interface DataFile {
  readonly name: string;
  /** The name of the first part: parts of one series hold one after the other what belongs together. */
  readonly series: string;
  readonly part: number;
  readonly form: 'plain' | 'compressed' | 'unfinished';
  /** When its UTC day ends, in milliseconds since 1970. */
  readonly dayEndMs: number;
}

export class NameTemplate {
  /** What stands before and behind the number of a part. */
  readonly #stem: string;
  readonly #extension: string;
  readonly #pattern: RegExp;

  /** @param template as `fileNameTemplate` takes it */
  constructor(template: string) {
    const dot = template.lastIndexOf('.');
    this.#stem = dot < 0 ? template : template.slice(0, dot);
    this.#extension = dot < 0 ? '' : template.slice(dot);
    const [stem, extension] = [this.#stem, this.#extension].map(patternOf);
    this.#pattern = new RegExp(`^${stem}(?:\\.(?<part>[2-9]|[1-9]\\d{1,8}))?${extension}(?<rest>\\.zst(?:\\.tmp)?)?$`);
  }

  series(signal: Signal, receivedAtMs: number): string {
    return fill(this.#stem + this.#extension, signal, dateOf(receivedAtMs));
  }

  /** The first part has no number. */
  partOf(series: string, part: number): string {
    if (part === 1) return series;
    const at = this.#extensionAt(series);
    return `${series.slice(0, at)}.${part}${series.slice(at)}`;
  }

  /** Undefined for what is no file of ours. */
  parse(name: string): DataFile | undefined {
    const groups = this.#pattern.exec(name)?.groups;
    const dayEndMs = dayEndOf(groups?.['date'] ?? '');
    if (groups === undefined || dayEndMs === undefined) return undefined;
    const { part, rest = '' } = groups;
    const plain = name.slice(0, name.length - rest.length);
    const at = this.#extensionAt(plain);
    const series = part === undefined ? plain : plain.slice(0, at - part.length - 1) + plain.slice(at);
    const form = rest === '' ? 'plain' : rest === UNFINISHED ? 'unfinished' : 'compressed';
    return { name, series, part: Number(part ?? 1), form, dayEndMs };
  }

  #extensionAt(name: string): number {
    return this.#extension === '' ? name.length : name.lastIndexOf('.');
  }
}

export const compressedName = (name: string): string => name + COMPRESSED;
export const unfinishedName = (name: string): string => name + UNFINISHED;

/** `YYYYMMDD` in UTC. */
function dateOf(ms: number): string {
  return new Date(ms).toISOString().slice(0, 10).replaceAll('-', '');
}

const DAY_MS = 86_400_000;

function dayEndOf(date: string): number | undefined {
  const ms = Date.parse(`${date.slice(0, 4)}-${date.slice(4, 6)}-${date.slice(6)}T00:00:00Z`);
  return Number.isNaN(ms) || dateOf(ms) !== date ? undefined : ms + DAY_MS;
}

function fill(text: string, signal: Signal, date: string): string {
  return text.replace('{signal}', signal).replace('{date}', date);
}

/** The placeholders are the only parts of a template that a pattern does not take as they are. */
function patternOf(text: string): string {
  return text
    .split(/(\{date\}|\{signal\})/)
    .map((piece) => PLACEHOLDERS.get(piece) ?? RegExp.escape(piece))
    .join('');
}

const PLACEHOLDERS: ReadonlyMap<string, string> = new Map([
  ['{date}', String.raw`(?<date>\d{8})`],
  ['{signal}', '(?:traces|logs|metrics)'],
]);
