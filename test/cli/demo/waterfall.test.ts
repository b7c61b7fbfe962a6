import assert from 'node:assert/strict';
import { suite } from 'uvu';
import { waterfall } from '../../../src/cli/demo/waterfall.ts';
import { node } from './nodes.ts';
import type { TreeNode } from '../../../src/cli/demo/tree.ts';

const drawing = suite('demo waterfall');

drawing('shows names, bars on one axis, durations and failures', () => {
  const tree = [
    node('root', 0, 2000, { children: [node('first', 0, 1000), node('second', 1000, 1000, { status_code: 2 })] }),
  ];
  assert.deepEqual(waterfall(tree, { width: 80, colour: false }), [
    'root                                     ━━━━━━━━━━━━━━━━━━━━    2.0 s',
    '├ first                                  ━━━━━━━━━━              1.0 s',
    '└ second                                           ━━━━━━━━━━    1.0 s error',
  ]);
});

drawing('folds many like requests into one line', () => {
  const requests = Array.from({ length: 9 }, (_, i) => node('GET', i * 10, 5, { status_code: i < 2 ? 2 : 1 }));
  const lines = waterfall([node('root', 0, 100, { children: requests })], { width: 100, colour: false });
  assert.equal(lines.length, 2);
  assert.match(lines[1] ?? '', /^└ GET × 9 .* 85 ms 2 errors$/);
});

drawing('keeps to the width of the terminal, between 80 and 100 columns', () => {
  const deep = Array.from({ length: 30 }).reduce<TreeNode>(
    (child, _, i) => node(`a rather long name of a span ${i}`, 0, 50, { children: [child] }),
    node('leaf', 0, 1),
  );
  for (const [width, most] of [
    [60, 80],
    [88, 88],
    [240, 100],
  ] as const) {
    const longest = Math.max(...waterfall([deep], { width, colour: false }).map((line) => line.length));
    assert.ok(longest <= most, `${longest} columns at a width of ${width}`);
  }
});

drawing('colours only when asked to', () => {
  const tree = [node('root', 0, 10, { status_code: 2 })];
  assert.equal(waterfall(tree, { width: 100, colour: false }).join('').includes('\u001B['), false);
  assert.ok(waterfall(tree, { width: 100, colour: true }).join('').includes('\u001B[31m'));
});

drawing('draws nothing for an empty tree', () => {
  assert.deepEqual(waterfall([], { width: 100, colour: false }), []);
});

drawing.run();
