/** Asks the query API for the span tree of a scan, as any client would, until the spans that were sent are in it. */
import { setTimeout as delay } from 'node:timers/promises';
import { z } from 'zod';

const treeNode = z.object({
  trace_id: z.string(),
  span_id: z.string(),
  name: z.string(),
  service_name: z.string().nullable(),
  started_at: z.string(),
  duration_ns: z.number().nullable(),
  status_code: z.number(),
  get children() {
    return z.array(treeNode);
  },
});
const answer = z.object({ tree: z.array(treeNode) });

export type TreeNode = z.output<typeof treeNode>;

export interface Arrival {
  readonly tree: readonly TreeNode[];
  readonly missing: number;
}

export interface Search {
  /** The answer of `GET /observability/scans/{scan_id}/trace`. */
  readonly url: string;
  readonly spanIds: ReadonlySet<string>;
  readonly timeoutMs: number;
  readonly stop: AbortSignal;
}

const PAUSE_MS = 200;

/** Resolves with the first tree that holds every span, or when the time is up with the last one there was. */
export async function findTree({ url, spanIds, timeoutMs, stop }: Search): Promise<Arrival> {
  const deadline = AbortSignal.any([stop, AbortSignal.timeout(timeoutMs)]);
  let arrival: Arrival = { tree: [], missing: spanIds.size };
  while (!deadline.aborted && arrival.missing > 0) {
    try {
      const tree = await fetchTree(url, deadline);
      arrival = { tree, missing: spanIds.difference(idsOf(tree)).size };
      if (arrival.missing > 0) await delay(PAUSE_MS, undefined, { signal: deadline });
    } catch (error) {
      if (!deadline.aborted) throw error;
    }
  }
  return arrival;
}

/** A scan that the gateway does not know (yet) has an empty tree. */
async function fetchTree(url: string, signal: AbortSignal): Promise<TreeNode[]> {
  const response = await fetch(url, { signal });
  if (response.status === 404) return [];
  if (!response.ok) throw new Error(`${url} answered ${response.status} ${response.statusText}`);
  const parsed = answer.safeParse(await response.json());
  if (!parsed.success) throw new Error(`${url} answered something that is not a span tree`);
  return parsed.data.tree;
}

function idsOf(tree: readonly TreeNode[]): Set<string> {
  const ids = new Set<string>();
  const open = [...tree];
  for (let node = open.pop(); node; node = open.pop()) {
    ids.add(node.span_id);
    open.push(...node.children);
  }
  return ids;
}
