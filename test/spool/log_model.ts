/**
 * What a log owes whoever uses it, told by a model: the model does to a real log, on files that crash, what random commands
 * say, remembers what was promised, and compares that with what is read.
 */
import assert from 'node:assert/strict';
import type { Appended, LogEntry, LogEvents, LogPlace } from '../../src/component.ts';
import { RetryableError } from '../../src/errors.ts';
import { checksum, type Checksum } from '../../src/spool/frame.ts';
import { SpoolLog } from '../../src/spool/log.ts';
import { CrashingFiles, type Random, type Sabotage } from './crashing_files.ts';
import type { Command, Damage } from './log_commands.ts';

const DIRECTORY = '/queue';
const SEGMENT_BYTES = 4096;
const SEGMENT_HEADER_BYTES = 64;
const FRAME_HEADER_BYTES = 52;

interface Entry {
  readonly number: number;
  readonly size: number;
  /** Of a rejected one, the process that will never read it. */
  rejectedIn: number | undefined;
  isAcknowledged: boolean;
  release: 'none' | 'in memory' | 'durable';
  /** Where it stands; known of acknowledged ones. */
  place: { readonly segment: number; readonly start: number; readonly end: number } | undefined;
  /** Was touched by damage on the disk, so that it may be missing. */
  isDamaged: boolean;
  /** The process that found it missing, while nobody had released it. */
  lostIn: number | undefined;
}

export interface ModelSettings {
  readonly seed: number;
  readonly sabotage?: Sabotage;
  readonly checksum?: Checksum;
}

/** One log on one disk, through any number of processes. */
export class LogModel {
  readonly #files: CrashingFiles;
  readonly #checksum: Checksum;
  /** By number, which is the order of the calls of `append`. */
  readonly #entries: Entry[] = [];
  /** Which entry has an identity; never two. */
  readonly #identities = new Map<string, number>();
  /** Bytes of segments that were damaged at rest. */
  readonly #flips: { readonly segment: number; readonly offset: number }[] = [];
  #log: SpoolLog | undefined;
  #start: LogPlace = { segment: 0, offset: 0 };
  #process = 0;
  #idsInLog = new Map<number, LogEntry['id']>();
  /** Whether the position file is as the log left it. */
  #isPositionTrusted = true;
  #hasReleased = false;
  /** What was found to be wrong while nobody waited. */
  #broken: unknown;

  constructor({ seed, sabotage, checksum: sum = checksum }: ModelSettings) {
    this.#files = new CrashingFiles(randomFrom(seed), sabotage);
    this.#checksum = sum;
  }

  async run(commands: readonly Command[]): Promise<void> {
    await this.#open();
    for (const each of commands) await this.#do(each);
    await this.#reopen({
      do: 'reopen',
      how: 'power loss',
      picks: [],
      sizes: [1],
      operations: 0,
      damage: [],
      deadOpenings: [],
    });
    await this.#read(4000);
  }

  async #do(each: Command): Promise<void> {
    if (each.do === 'append') await this.#append(each.sizes);
    else if (each.do === 'read') await this.#read(each.maxBytes);
    else if (each.do === 'release') this.#release(each.picks);
    else if (each.do === 'persist') await this.#persist();
    else if (each.do === 'fault') this.#files.faults[each.fault] = true;
    else if (each.do === 'room') this.#files.faults.roomBytes = each.bytes;
    else await this.#reopen(each);
    if (this.#broken !== undefined) throw this.#broken;
  }

  async #append(bodySizes: readonly number[]): Promise<void> {
    for (const size of bodySizes) this.#appendOne(size);
    await settled();
  }

  #appendOne(size: number): void {
    const entry: Entry = {
      number: this.#entries.length,
      size,
      rejectedIn: undefined,
      isAcknowledged: false,
      release: 'none',
      place: undefined,
      isDamaged: false,
      lostIn: undefined,
    };
    this.#entries.push(entry);
    const head = headOf(entry);
    const appended = this.#opened().append(head, bodyOf(entry));
    this.#noteOutcome(entry, head.length, appended).catch((error: unknown) => {
      this.#broken ??= error;
    });
  }

  async #noteOutcome(entry: Entry, headBytes: number, appended: Promise<Appended>): Promise<void> {
    const process = this.#process;
    const outcome = await appended.catch((error: unknown) =>
      error instanceof Error ? error : new Error(String(error)),
    );
    if (outcome instanceof Error) {
      assert(outcome instanceof RetryableError, `append rejected with ${String(outcome)}`);
      entry.rejectedIn = process;
      return;
    }
    const { id, next } = outcome;
    this.#identify(id, entry);
    entry.isAcknowledged = true;
    const start = next.offset - FRAME_HEADER_BYTES - headBytes - entry.size;
    entry.place = { segment: next.segment, start, end: next.offset };
    this.#idsInLog.set(entry.number, id);
  }

  async #read(maxBytes: number): Promise<void> {
    const read: LogEntry[] = [];
    let place = this.#start;
    for (;;) {
      const { entries, next } = await this.#within(this.#opened().read(place, maxBytes));
      if (entries.length === 0) break;
      read.push(...entries);
      place = next;
    }
    this.#check(read);
    for (const { id } of read) {
      const entry = this.#entries[this.#identities.get(keyOf(id)) ?? -1];
      assert(entry?.rejectedIn !== this.#process, `a rejected entry was read by the process that rejected it`);
    }
  }

  #release(chosen: readonly number[]): void {
    for (const pick of chosen) {
      const live = [...this.#idsInLog].filter(([number]) => this.#entries[number]?.release === 'none');
      const [number, id] = live[pick % Math.max(1, live.length)] ?? [];
      const entry = this.#entries[number ?? -1];
      if (entry === undefined || id === undefined) return;
      this.#opened().release(id);
      entry.release = 'in memory';
      this.#hasReleased = true;
    }
  }

  async #persist(): Promise<void> {
    const { roomBytes, shortWrite } = this.#files.faults;
    await this.#within(this.#opened().persist());
    // Then the position may not have found the room that it takes at first.
    const mayLackRoom = roomBytes !== undefined || shortWrite;
    if (this.#opened().failure !== undefined || mayLackRoom || !this.#hasReleased) return;
    for (const entry of this.#entries) if (entry.release === 'in memory') entry.release = 'durable';
    this.#isPositionTrusted = true;
  }

  async #reopen({
    how,
    picks: released,
    sizes: bodySizes,
    operations,
    damage: damages,
    deadOpenings,
  }: Reopen): Promise<void> {
    if (how === 'close') {
      await this.#within(this.#opened().close());
    } else {
      this.#files.faults.operationsLeft = operations;
      this.#release(released);
      for (const size of bodySizes) this.#appendOne(size);
      void this.#opened().persist();
      await settled();
      if (how === 'power loss') this.#files.powerLoss();
    }
    for (const each of damages) this.#harm(each);
    this.#files.faults.roomBytes = undefined;
    for (const after of deadOpenings) {
      const log = this.#newLog();
      this.#files.faults.operationsLeft = after;
      void log.open(this.#events([]));
      await settled();
      if (how === 'power loss') this.#files.powerLoss();
    }
    await this.#open();
  }

  async #open(): Promise<void> {
    this.#log = this.#newLog();
    const visited: LogEntry[] = [];
    const { start, entries } = await this.#within(this.#log.open(this.#events(visited)));
    this.#start = start;
    assert.equal(entries, visited.length);
    this.#idsInLog = new Map();
    this.#check(visited);
    for (const { id } of visited) {
      const entry = this.#entries[this.#identities.get(keyOf(id)) ?? -1];
      if (entry === undefined) continue;
      // Whoever uses the log has it again now, and must be able to rely on that.
      entry.release = 'none';
      this.#idsInLog.set(entry.number, id);
    }
  }

  #newLog(): SpoolLog {
    this.#process += 1;
    this.#hasReleased = false;
    const world = { files: this.#files.process(), checksum: this.#checksum, nowMs: () => 0 };
    return new SpoolLog({ directory: DIRECTORY, minFreeBytes: 0, segmentBytes: SEGMENT_BYTES }, world);
  }

  #events(visited: LogEntry[]): LogEvents {
    return {
      visit: ({ id, head, body }) => visited.push({ id, head: Buffer.from(head), body: Buffer.from(body) }),
      corrupt: () => undefined,
      settled: (queueId, seq) => this.#checkSettled(queueId, seq),
      failed: () => undefined,
    };
  }

  /** Every acknowledged entry that is not released, once and in order, and nothing that was not appended. */
  #check(read: readonly LogEntry[]): void {
    const numbers = read.map((entry) => this.#recognise(entry));
    for (const [index, number] of numbers.entries()) {
      assert(
        index === 0 || number > (numbers[index - 1] ?? 0),
        `entry ${number} comes twice or too late: ${numbers.join()}`,
      );
    }
    const found = new Set(numbers);
    for (const entry of this.#entries) {
      const isMissing = entry.isAcknowledged && entry.release === 'none' && !found.has(entry.number);
      assert(!isMissing || this.#mayBeDamaged(entry), `entry ${entry.number} is missing`);
      if (isMissing) entry.lostIn ??= this.#process;
      const isBack = entry.release === 'durable' && this.#isPositionTrusted && found.has(entry.number);
      assert(!isBack, `entry ${entry.number} came back although its release was durable`);
    }
  }

  #recognise({ id, head, body }: LogEntry): number {
    const number = Number(/^entry (\d+)$/.exec(Buffer.from(head).toString())?.[1]);
    const entry = this.#entries[number];
    assert(entry !== undefined, 'an entry was read that was never appended');
    assert(bodyOf(entry).equals(body), `entry ${number} was read with other bytes`);
    this.#identify(id, entry);
    return number;
  }

  #identify(id: LogEntry['id'], { number }: Entry): void {
    const known = this.#identities.get(keyOf(id)) ?? number;
    assert.equal(known, number, `entries ${known} and ${number} have the same identity`);
    this.#identities.set(keyOf(id), number);
  }

  #checkSettled(queueId: string, seq: number): void {
    for (const [key, number] of this.#identities) {
      const [queue, its] = key.split(' ');
      const isLostHere = this.#entries[number]?.lostIn === this.#process;
      assert(queue !== queueId || Number(its) >= seq || !isLostHere, `entry ${number} is lost, but below the mark`);
    }
    for (const [number, id] of this.#idsInLog) {
      const entry = this.#entries[number];
      if (id.queueId !== queueId || id.seq >= seq || entry === undefined || this.#mayBeDamaged(entry)) continue;
      assert.notEqual(entry.release, 'none', `entry ${number} is not released, but below the mark`);
    }
  }

  #harm(each: Damage): void {
    if (each.kind === 'drop position') {
      for (const file of this.#files.paths(/\/position$/)) this.#files.removeForGood(file);
      this.#isPositionTrusted = false;
    } else {
      const files = this.#files.paths(each.kind === 'flip' ? /\/queue\/[^/]+$/ : /\/queue\/\w+\.seg$/);
      const file = each.kind === 'flip' ? files[each.where % Math.max(1, files.length)] : files.at(-1);
      if (file !== undefined) this.#harmFile(file, each);
    }
  }

  #harmFile(file: string, { kind, amount }: Exclude<Damage, { kind: 'drop position' }>): void {
    const { length } = this.#files.contentOf(file);
    const segment = parseInt(/(\w+)\.seg$/.exec(file)?.[1] ?? '0', 16);
    if (length === 0) return;
    if (kind === 'flip') {
      const offset = amount % length;
      this.#files.edit(file, (content) => {
        content[offset] = (content[offset] ?? 0) ^ (1 << (amount % 8));
        return content;
      });
      if (segment === 0) this.#isPositionTrusted = false;
      this.#flips.push({ segment, offset });
    } else {
      const kept = Math.max(0, length - amount);
      this.#files.edit(file, (content) => content.subarray(0, kept));
      for (const { place } of this.#entries)
        if (place?.segment === segment && place.end > kept) this.#flips.push({ segment, offset: place.end - 1 });
      // Frames that were never acknowledged are not known by place, and the header of the segment may be gone.
      if (kept < SEGMENT_HEADER_BYTES + FRAME_HEADER_BYTES)
        this.#flips.push({ segment, offset: 0 }, { segment, offset: SEGMENT_HEADER_BYTES });
    }
  }

  /** By a byte of its own, or by the header of its segment together with that of the first frame, which stands in for it. */
  #mayBeDamaged(entry: Entry): boolean {
    const { place } = entry;
    if (place === undefined || entry.isDamaged) return true;
    const here = this.#flips.filter(({ segment }) => segment === place.segment);
    const firstFrame = SEGMENT_HEADER_BYTES + FRAME_HEADER_BYTES;
    const isHeadless =
      here.some(({ offset }) => offset < SEGMENT_HEADER_BYTES) &&
      here.some(({ offset }) => offset >= SEGMENT_HEADER_BYTES && offset < firstFrame);
    entry.isDamaged = isHeadless || here.some(({ offset }) => offset >= place.start && offset < place.end);
    return entry.isDamaged;
  }

  #opened(): SpoolLog {
    assert(this.#log !== undefined);
    return this.#log;
  }

  /** The result; fails where nothing goes on any more. All that a log waits for here comes without time passing. */
  async #within<T>(promise: Promise<T>): Promise<T> {
    const outcome = await Promise.race([promise.then((value) => ({ value })), settled()]);
    assert(outcome !== undefined, 'the log hangs');
    return outcome.value;
  }
}

type Reopen = Extract<Command, { do: 'reopen' }>;

/** Until everything rests that does not wait for a timer. */
async function settled(): Promise<undefined> {
  await new Promise((resolve) => setImmediate(resolve));
  return undefined;
}

const headOf = ({ number }: Entry): Buffer => Buffer.from(`entry ${number}`);

function bodyOf({ number, size }: Entry): Buffer {
  return Buffer.alloc(size, `${number} `);
}

const keyOf = ({ queueId, seq }: LogEntry['id']): string => `${queueId} ${seq}`;

/** Mulberry32: the same numbers from 0 to 1 for the same seed. */
function randomFrom(seed: number): Random {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
