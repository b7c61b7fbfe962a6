/** `sluice queue list`, `verify` and `dump`: what waits on disk. They read only, also while a gateway has the directory. */
import type { Tenant } from '../model/tenant.ts';
import { decodeHead } from '../model/record.ts';
import { inspectLog, type Inspected, type InspectedEntry } from '../spool/inspect.ts';
import { EXIT, UsageError, type Command, type CommandContext } from './command.ts';
import { STORAGE_OPTIONS, storedQueues, type StoredQueue } from './queue/storage.ts';

/** What one tenant has in one queue; `tenant` is undefined where this program cannot read the records. */
interface Waiting {
  readonly queue: string;
  readonly tenant: string | undefined;
  records: number;
  items: number;
  bytes: number;
  /** When the one that waits longest was received. */
  oldestMs: number;
}

export const queueList: Command = {
  name: 'queue list',
  summary: 'List what waits on disk, by queue and tenant.',
  options: { json: { type: 'boolean', describe: 'Print JSON.' }, ...STORAGE_OPTIONS },
  async run(context) {
    const rows: Waiting[] = [];
    for (const queue of await storedQueues(context)) rows.push(...(await waitingIn(queue)));
    const lines = context.values['json'] === true ? [toJson(rows)] : listText(rows);
    for (const line of lines) context.print(line);
    return EXIT.ok;
  },
};

export const queueVerify: Command = {
  name: 'queue verify',
  summary: 'Read every byte of the queues on disk and print what is damaged; exits 1 when anything is.',
  options: STORAGE_OPTIONS,
  async run(context) {
    let isDamaged = false;
    for (const queue of await storedQueues(context)) isDamaged = (await verify(queue, context)) || isDamaged;
    return isDamaged ? EXIT.failed : EXIT.ok;
  },
};

export const queueDump: Command = {
  name: 'queue dump',
  summary: 'Print what waits on disk, a line of JSON each record.',
  options: {
    seq: {
      type: 'string',
      value: 'N',
      describe: 'Only the record with this number, also when it was delivered already.',
    },
    limit: { type: 'string', value: 'N', describe: 'Print no more records than this.' },
    body: { type: 'boolean', describe: 'Print the bytes of each record too, in base64.' },
    ...STORAGE_OPTIONS,
  },
  async run(context) {
    const seq = numberOf(context, 'seq');
    const withBody = context.values['body'] === true;
    let left = numberOf(context, 'limit') ?? Infinity;
    for (const queue of await storedQueues(context)) {
      for await (const found of inspectLog(queue.directory)) {
        if (left <= 0 || context.stop.aborted) return EXIT.ok;
        if (found.kind !== 'entry' || (seq === undefined ? found.isReleased : found.seq !== seq)) continue;
        context.print(dumpLine(queue, found, withBody));
        left -= 1;
      }
    }
    return EXIT.ok;
  },
};

async function waitingIn({ name, directory }: StoredQueue): Promise<Waiting[]> {
  const byTenant = new Map<string | undefined, Waiting>();
  for await (const found of inspectLog(directory)) {
    if (found.kind !== 'entry' || found.isReleased) continue;
    const head = decodeHead(found.head);
    const tenant = head && tenantText(head.tenant);
    const sum = byTenant.get(tenant) ?? { queue: name, tenant, records: 0, items: 0, bytes: 0, oldestMs: Infinity };
    sum.records += 1;
    sum.items += head?.items ?? 0;
    sum.bytes += found.body.length;
    sum.oldestMs = Math.min(sum.oldestMs, head?.receivedAtMs ?? Infinity);
    byTenant.set(tenant, sum);
  }
  return [...byTenant.values()];
}

/** Whether anything is damaged. */
async function verify({ name, directory }: StoredQueue, context: CommandContext): Promise<boolean> {
  let [records, waiting, damages] = [0, 0, 0];
  for await (const found of inspectLog(directory)) {
    if (found.kind === 'entry') {
      records += 1;
      waiting += found.isReleased ? 0 : 1;
    } else {
      damages += found.kind === 'damage' ? 1 : 0;
      context.print(damageText(found));
    }
  }
  context.print(`${name}: ${records} records are whole, ${waiting} of them wait; ${damages} places are damaged`);
  return damages > 0;
}

function damageText(found: Exclude<Inspected, InspectedEntry>): string {
  const where = `${found.file}: ${found.bytes} bytes at offset ${found.offset}`;
  if (found.kind === 'tail') return `${where} are the beginning of a record that is not finished`;
  return `${where} are damaged; records that are missing: ${found.entries}`;
}

function dumpLine({ name }: StoredQueue, { queueId, seq, head, body }: InspectedEntry, withBody: boolean): string {
  const known = decodeHead(head);
  const receipt = known?.receipt && Buffer.from(known.receipt).toString('hex');
  const fields = known === undefined ? { head: head.toString('base64') } : { ...known, receipt };
  const bytes = withBody ? { body: body.toString('base64') } : {};
  return JSON.stringify({ queue: name, queueId, seq, ...fields, bytes: body.length, ...bytes });
}

const HEAD = ['QUEUE', 'TENANT', 'RECORDS', 'ITEMS', 'BYTES', 'OLDEST'];

function listText(rows: readonly Waiting[]): string[] {
  if (rows.length === 0) return ['nothing waits on disk'];
  const cells = [HEAD, ...rows.map(rowText)];
  const widths = HEAD.map((_, column) => Math.max(...cells.map((row) => row[column]?.length ?? 0)));
  return cells.map((row) =>
    row
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join('  ')
      .trimEnd(),
  );
}

function rowText({ queue, tenant, records, items, bytes, oldestMs }: Waiting): string[] {
  return [queue, tenant ?? 'unknown', `${records}`, `${items}`, `${bytes}`, timeText(oldestMs) ?? 'unknown'];
}

function toJson(rows: readonly Waiting[]): string {
  const texts = rows.map(({ oldestMs, ...row }) => ({ ...row, oldest: timeText(oldestMs) }));
  return JSON.stringify(texts, undefined, 2);
}

function timeText(ms: number): string | undefined {
  const time = new Date(ms);
  return Number.isNaN(time.getTime()) ? undefined : time.toISOString();
}

function tenantText({ orgId, workspaceId, targetId }: Tenant): string {
  return [orgId, workspaceId, ...(targetId === undefined ? [] : [targetId])].join('/');
}

function numberOf({ values }: CommandContext, name: string): number | undefined {
  const text = values[name];
  if (text === undefined) return undefined;
  const value = typeof text === 'string' && /^\d+$/.test(text) ? Number(text) : NaN;
  if (value >= 1 && Number.isSafeInteger(value)) return value;
  throw new UsageError(`--${name} must be a whole number above 0`);
}
