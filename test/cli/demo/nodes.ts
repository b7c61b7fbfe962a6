/** Spans as the query API answers them. */
import type { TreeNode } from '../../../src/cli/demo/tree.ts';

/** `startMs` counts from some midnight. */
export const node = (name: string, startMs: number, tookMs: number, more: Partial<TreeNode> = {}): TreeNode => ({
  trace_id: 'f'.repeat(32),
  span_id: `${name}-${startMs}`,
  name,
  service_name: 'worker',
  started_at: new Date(Date.UTC(2026, 10, 20) + startMs).toISOString(),
  duration_ns: tookMs * 1e6,
  status_code: 0,
  children: [],
  ...more,
});
