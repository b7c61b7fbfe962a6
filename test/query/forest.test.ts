import assert from 'node:assert/strict';
import * as fc from 'fast-check';
import { suite } from 'uvu';
import { arrangeForest } from '../../src/query/forest.ts';
import type { Forest, SpanPlace } from '../../src/query/forest.ts';

const forest = suite('forest');

/** `id`, `id<parent` or `trace/id<parent`. */
function place(text: string): SpanPlace {
  const [, traceId = 't', spanId = '', parentSpanId = null] = /^(?:(\w+)\/)?(\w+)(?:<(\w+))?$/.exec(text) ?? [];
  return { traceId, spanId, parentSpanId };
}

/** One line a span: its position in the list after a dot for each level. */
async function drawn(spans: readonly SpanPlace[]): Promise<string> {
  const { order, depths } = await arrangeForest(spans);
  return [...order].map((index, position) => `${'.'.repeat(depths[position] ?? 0)}${index}`).join(' ');
}

const CASES: readonly (readonly [behaviour: string, spans: string, drawing: string])[] = [
  ['nothing', '', ''],
  ['children keep the order of the list', 'r b<r a<r c<a', '0 .1 .2 ..3'],
  ['a parent later in the list is found', 'c<b b<a a', '2 .1 ..0'],
  ['an orphan is at the top', 'o<gone r k<r', '0 1 .2'],
  ['parents are of the same trace', 'x/a y/b<a x/c<a', '0 .2 1'],
  ['equal span ids of two traces stay apart', 'x/a y/a x/b<a y/b<a', '0 .2 1 .3'],
  ['a self-parent is at the top with its children', 'a<a b<a', '0 .1'],
  ['a cycle hangs below its first span', 'b<a a<c c<b', '0 .2 ..1'],
  ['what hangs on a cycle stays on it', 'd<c a<b b<a c<a', '1 .2 .3 ..0'],
  ['two cycles are broken each', 'a<b c<d b<a d<c', '0 .2 1 .3'],
  ['duplicates all appear, children under the first', 'r a<r a<r k<a', '0 .1 ..3 .2'],
  ['duplicates of a self-parent are all at the top', 'a<a a<a', '0 1'],
  ['duplicates of a cycle appear once each', 'a<b b<a a<b b<a', '0 .1 ..2 .3'],
];

for (const [behaviour, spans, drawing] of CASES) {
  forest(behaviour, async () => {
    assert.equal(await drawn(spans.split(' ').filter(Boolean).map(place)), drawing);
  });
}

const anyPlace = fc.record({
  traceId: fc.constantFrom('x', 'y'),
  spanId: fc.integer({ min: 0, max: 12 }).map(String),
  parentSpanId: fc.option(fc.integer({ min: 0, max: 14 }).map(String)),
});
const anyPlaces = fc.array(anyPlace, { maxLength: 40 });

/** The index of the span above each span of the list, as the drawing shows it; -1 at the top. */
function shownParents({ order, depths }: Forest): number[] {
  const parents: number[] = [];
  const path: number[] = [];
  for (const [position, index] of order.entries()) {
    const depth = depths[position] ?? -1;
    assert.ok(depth >= 0 && depth <= path.length, 'a span is at most one level below the one before');
    path.length = depth;
    parents[index] = path.at(-1) ?? -1;
    path.push(index);
  }
  return parents;
}

forest('shows every span exactly once, whatever parents they claim', async () => {
  await fc.assert(
    fc.asyncProperty(anyPlaces, async (spans) => {
      const { order } = await arrangeForest(spans);
      assert.deepEqual(
        [...order].toSorted((a, b) => a - b),
        spans.map((_, index) => index),
      );
    }),
  );
});

forest('puts a span only under its parent, and at the top only without one or to break a cycle', async () => {
  await fc.assert(
    fc.asyncProperty(anyPlaces, async (spans) => {
      const parents = shownParents(await arrangeForest(spans));
      for (const [index, span] of spans.entries()) {
        const above = parents[index] ?? -1;
        const claimed = spans.findIndex((s) => s.traceId === span.traceId && s.spanId === span.parentSpanId);
        if (above !== -1) assert.equal(above, claimed);
        else if (claimed !== -1) assert.ok(span.parentSpanId === span.spanId || isBelow(parents, claimed, index));
      }
    }),
  );
});

/** Whether `index` hangs somewhere below `top`, or is it. */
function isBelow(parents: readonly number[], index: number, top: number): boolean {
  let at = index;
  while (at !== -1 && at !== top) at = parents[at] ?? -1;
  return at === top;
}

forest('keeps siblings in the order of the list', async () => {
  await fc.assert(
    fc.asyncProperty(anyPlaces, async (spans) => {
      const found = await arrangeForest(spans);
      const parents = shownParents(found);
      const last = new Map<number, number>();
      for (const index of found.order) {
        const above = parents[index] ?? -1;
        assert.ok((last.get(above) ?? -1) < index);
        last.set(above, index);
      }
    }),
  );
});

forest('needs no stack for a chain of 100,000, in either order', async () => {
  const chain = Array.from({ length: 100_000 }, (_, at) => place(at === 0 ? 's0' : `s${at}<s${at - 1}`));
  for (const spans of [chain, chain.toReversed()]) {
    const { depths } = await arrangeForest(spans);
    assert.equal(depths.at(-1), 99_999);
  }
});

forest('breaks a cycle of 100,000', async () => {
  const count = 100_000;
  const cycle = Array.from({ length: count }, (_, at) => place(`s${at}<s${(at + 1) % count}`));
  const { order, depths } = await arrangeForest(cycle);
  assert.equal(order[0], 0);
  assert.equal(depths.at(-1), count - 1);
});

forest('lets the process do other things while it arranges a large scan', async () => {
  let turns = 0;
  const arranged = arrangeForest(Array.from({ length: 100_000 }, (_, at) => place(`s${at}`)));
  const ticking = setInterval(() => turns++, 0);
  await arranged;
  clearInterval(ticking);
  assert.ok(turns >= 10, `${turns} turns`);
});

forest.run();
