/**
 * Arranges the spans of a scan as a forest, in linear time and without recursion, whatever parents they claim. Every
 * span appears exactly once.
 *
 * A span hangs under the span that its `parentSpanId` names within its own trace; where several spans share that id,
 * under the first of them. At the top are spans without a parent, spans whose parent is not in the list (orphans), spans
 * that name themselves, and of each cycle its first span, so that the rest of the cycle hangs below it.
 */

import { setImmediate as nextTurn } from 'node:timers/promises';

/** Where a span stands in its trace, as far as the span itself says. */
export interface SpanPlace {
  readonly traceId: string;
  readonly spanId: string;
  readonly parentSpanId: string | null;
}

/** Depth-first order, parents before their children, siblings and tops in the order of the list they came from. */
export interface Forest {
  /** Index of a span in the list; one entry a span. */
  readonly order: Int32Array;
  /** Depth of the span at the same position of `order`; 0 at the top. */
  readonly depths: Int32Array;
}

const NONE = -1;

/** Spans looked at before the process gets to do other things: some milliseconds. */
const TURN_SPANS = 10_000;

/** The order of `spans` decides which span is first of its siblings, of its duplicates and of its cycle. */
export async function arrangeForest(spans: readonly SpanPlace[]): Promise<Forest> {
  const parents = await parentIndexes(spans);
  breakCycles(parents);
  return depthFirst(parents);
}

async function parentIndexes(spans: readonly SpanPlace[]): Promise<Int32Array> {
  const traces = await firstIndexes(spans);
  const parents = new Int32Array(spans.length).fill(NONE);
  for (const [index, { traceId, spanId, parentSpanId }] of spans.entries()) {
    if (endsTurn(index)) await nextTurn();
    if (parentSpanId === null || parentSpanId === spanId) continue;
    parents[index] = traces.get(traceId)?.get(parentSpanId) ?? NONE;
  }
  return parents;
}

/** The first index of each span id, by trace id. */
async function firstIndexes(spans: readonly SpanPlace[]): Promise<Map<string, Map<string, number>>> {
  const traces = new Map<string, Map<string, number>>();
  for (const [index, { traceId, spanId }] of spans.entries()) {
    let trace = traces.get(traceId);
    if (trace === undefined) traces.set(traceId, (trace = new Map<string, number>()));
    if (!trace.has(spanId)) trace.set(spanId, index);
    if (endsTurn(index)) await nextTurn();
  }
  return traces;
}

const endsTurn = (index: number): boolean => index % TURN_SPANS === TURN_SPANS - 1;

/**
 * Walks from each span towards the top, in list order, over spans no walk has seen. A walk that meets itself has found a
 * cycle, once, and each span is walked over once.
 */
function breakCycles(parents: Int32Array): void {
  const walks = new Int32Array(parents.length).fill(NONE);
  for (let start = 0; start < parents.length; start++) {
    let at = start;
    while (at !== NONE && walks[at] === NONE) {
      walks[at] = start;
      at = parents[at] ?? NONE;
    }
    if (at !== NONE && walks[at] === start) parents[firstOfCycle(parents, at)] = NONE;
  }
}

function firstOfCycle(parents: Int32Array, member: number): number {
  let first = member;
  for (let at = parents[member] ?? NONE; at !== member; at = parents[at] ?? NONE) first = Math.min(first, at);
  return first;
}

function depthFirst(parents: Int32Array): Forest {
  const count = parents.length;
  // Linked lists in arrays. Entry `count` stands above the tops, so that they are children like any others.
  const firstChild = new Int32Array(count + 1).fill(NONE);
  const nextSibling = new Int32Array(count).fill(NONE);
  for (let index = count - 1; index >= 0; index--) {
    const above = parentOrTop(parents, index);
    nextSibling[index] = firstChild[above] ?? NONE;
    firstChild[above] = index;
  }

  const order = new Int32Array(count);
  const depths = new Int32Array(count);
  let depth = 0;
  let at = firstChild[count] ?? NONE;
  for (let position = 0; position < count; position++) {
    order[position] = at;
    depths[position] = depth;
    let next = firstChild[at] ?? NONE;
    if (next !== NONE) depth++;
    else next = nextSibling[at] ?? NONE;
    for (let up = at; next === NONE && depth > 0; depth--) {
      up = parents[up] ?? NONE;
      next = nextSibling[up] ?? NONE;
    }
    at = next;
  }
  return { order, depths };
}

function parentOrTop(parents: Int32Array, index: number): number {
  const parent = parents[index] ?? NONE;
  return parent === NONE ? parents.length : parent;
}
