// The layout of the timeline: a lane for each thread or task; calls that overlap are on sub-lanes.
//
// Every call is a block: itself on top, the blocks of its callees below. Callees that follow each
// other share a sub-lane; one that starts while its neighbour is running gets the next free
// sub-lane. A sub-lane is as high as the highest block in it. Blocks are measured backwards over
// the pre-order (callees before callers) and placed forwards, so nothing recurses. A callee in
// another thread starts a separate block in the lane of that thread.

import type { ChartModel } from "./chart";
import type { Trace } from "./data";
import { count, plural, visible } from "./format";

export function lanesOf(trace: Trace): ChartModel {
  const n = trace.count;
  const { parent, thread, start, stop } = trace;
  const threads = Math.max(1, trace.head.threads.length);
  // The caller in the same thread, or the lane itself: numbers from n on.
  const above = new Int32Array(n);
  for (let i = 0; i < n; i++) above[i] = parent[i] >= 0 && thread[parent[i]] === thread[i] ? parent[i] : n + thread[i];
  const order = Int32Array.from({ length: n }, (_, i) => i);
  let isSorted = true;
  for (let i = 1; i < n && isSorted; i++) isSorted = start[i] >= start[i - 1];
  if (!isSorted) order.sort((a, b) => start[a] - start[b] || a - b);
  // Blocks below each caller, in order of their start: a list in two arrays.
  const firstBelow = new Int32Array(n + threads).fill(-1);
  const lastBelow = new Int32Array(n + threads).fill(-1);
  const next = new Int32Array(n).fill(-1);
  for (const i of order) {
    const p = above[i];
    if (lastBelow[p] < 0) firstBelow[p] = i;
    else next[lastBelow[p]] = i;
    lastBelow[p] = i;
  }
  const heights = new Int32Array(n + threads);
  const offset = new Int32Array(n); // below the caller, in rows
  const last = Float64Array.from(stop); // where the block ends: a callee may outlive its caller
  const measure = (p: number) => {
    if (firstBelow[p] < 0) {
      heights[p] = p < n ? 1 : 0;
      return;
    }
    const sub = new SubLanes();
    for (let i = firstBelow[p]; i >= 0; i = next[i]) {
      offset[i] = sub.take(start[i], Math.max(last[i], start[i]), heights[i]);
      if (p < n && last[i] > last[p]) last[p] = last[i];
    }
    const begins = sub.begins();
    for (let i = firstBelow[p]; i >= 0; i = next[i]) offset[i] = begins[offset[i]];
    heights[p] = begins[begins.length - 1] + (p < n ? 1 : 0);
  };
  for (let i = n - 1; i >= 0; i--) measure(i);
  for (let lane = 0; lane < threads; lane++) measure(n + lane);

  const heads = new Map<number, string>();
  const top = new Int32Array(threads);
  let rows = 0;
  const calls = new Int32Array(threads);
  for (let i = 0; i < n; i++) calls[thread[i]]++;
  for (let lane = 0; lane < threads; lane++) {
    if (!heights[n + lane]) continue;
    const name = visible(trace.head.threads[lane]);
    // A lane without a name gets that of its first call.
    if (threads > 1 || name) heads.set(rows++, `${name || visible(trace.nameOf(firstBelow[n + lane]))} · ${count(calls[lane])} ${plural(calls[lane], "call")}`);
    top[lane] = rows;
    rows += heights[n + lane];
  }
  const row = new Int32Array(n);
  for (let i = 0; i < n; i++) row[i] = above[i] < n ? row[above[i]] + 1 + offset[i] : top[thread[i]] + offset[i];
  return { ...inRows(row, rows, order), row, from: start, until: trace.stop, length: Math.max(1, trace.totals.lengthNs), heads };
}

/** Sort items into their rows; they are given in their order within a row. */
export function inRows(row: Int32Array, rows: number, order: Int32Array): { rows: number; rowStart: Int32Array; item: Int32Array } {
  const rowStart = new Int32Array(rows + 1);
  for (let i = 0; i < row.length; i++) rowStart[row[i] + 1]++;
  for (let r = 0; r < rows; r++) rowStart[r + 1] += rowStart[r];
  const at = rowStart.slice();
  const item = new Int32Array(row.length);
  for (const i of order) item[at[row[i]]++] = i;
  return { rows, rowStart, item };
}

/** The lowest free sub-lane for each block, in order of their start: two heaps make it n log n. */
class SubLanes {
  private readonly heights: number[] = [];
  private readonly busy: [until: number, lane: number][] = [];
  private readonly free: number[] = [];
  private only = -Infinity; // the end of the one sub-lane, as long as one is enough

  take(from: number, until: number, height: number): number {
    if (this.heights.length === 1 && !this.busy.length && this.only <= from) {
      this.only = Math.max(until, from);
      if (height > this.heights[0]) this.heights[0] = height;
      return 0;
    }
    if (!this.heights.length) {
      this.heights.push(height);
      this.only = until;
      return 0;
    }
    if (!this.busy.length && !this.free.length) push(this.busy, [this.only, 0], byUntil);
    while (this.busy.length && this.busy[0][0] <= from) push(this.free, pop(this.busy, byUntil)[1], byNumber);
    const lane = this.free.length ? pop(this.free, byNumber) : this.heights.push(0) - 1;
    if (height > this.heights[lane]) this.heights[lane] = height;
    push(this.busy, [until, lane], byUntil);
    return lane;
  }

  /** The first row of each sub-lane, and the end of the last. */
  begins(): number[] {
    const out = [0];
    for (const height of this.heights) out.push(out[out.length - 1] + height);
    return out;
  }
}

const byUntil = (a: [number, number], b: [number, number]) => a[0] - b[0] || a[1] - b[1];
const byNumber = (a: number, b: number) => a - b;

function push<T>(heap: T[], value: T, compare: (a: T, b: T) => number): void {
  let k = heap.push(value) - 1;
  while (k > 0) {
    const up = (k - 1) >> 1;
    if (compare(heap[up], heap[k]) <= 0) return;
    [heap[up], heap[k]] = [heap[k], heap[up]];
    k = up;
  }
}

function pop<T>(heap: T[], compare: (a: T, b: T) => number): T {
  const top = heap[0];
  const last = heap.pop()!;
  if (heap.length) {
    heap[0] = last;
    for (let k = 0; ; ) {
      let least = k;
      for (const child of [2 * k + 1, 2 * k + 2]) if (child < heap.length && compare(heap[child], heap[least]) < 0) least = child;
      if (least === k) break;
      [heap[k], heap[least]] = [heap[least], heap[k]];
      k = least;
    }
  }
  return top;
}
