// Calls folded by name: by their path from the root (flame), or everywhere (graph).
//
// Both take one pass over the pre-order: the folded caller of a call is known before the call.

import type { ChartModel } from "./chart";
import { inRows } from "./lanes";
import type { Trace } from "./data";

export interface Folded {
  count: number;
  of: Int32Array; // span -> folded call
  first: Int32Array; // folded call -> its first span
  slowest: Int32Array;
  parent: Int32Array; // -1 for roots
  calls: Float64Array;
  total: Float64Array; // time of all calls together
  self: Float64Array;
  errors: Float64Array;
}

/** Number the pairs of name and kind. */
function namesOf(trace: Trace): { of: Int32Array; count: number } {
  const known = new Map<number, number>();
  const of = new Int32Array(trace.count);
  for (let i = 0; i < trace.count; i++) {
    const key = trace.name[i] * trace.head.kinds.length + trace.kind[i];
    let found = known.get(key);
    if (found === undefined) known.set(key, (found = known.size));
    of[i] = found;
  }
  return { of, count: known.size };
}

/** Fold the calls that have the same names all the way from the root. */
export function foldByPath(trace: Trace): Folded {
  const names = namesOf(trace);
  const known = new Map<number, number>();
  return gather(trace, (i, of) => {
    const key = (trace.parent[i] < 0 ? 0 : of[trace.parent[i]] + 1) * names.count + names.of[i];
    let found = known.get(key);
    if (found === undefined) known.set(key, (found = known.size));
    return found;
  });
}

/** Fold the calls that have the same name and kind, wherever they are. */
export function foldByName(trace: Trace): Folded {
  const names = namesOf(trace);
  return gather(trace, (i) => names.of[i]);
}

function gather(trace: Trace, fold: (i: number, of: Int32Array) => number): Folded {
  const n = trace.count;
  const of = new Int32Array(n);
  let count = 0;
  for (let i = 0; i < n; i++) {
    of[i] = fold(i, of);
    if (of[i] >= count) count = of[i] + 1;
  }
  const out: Folded = {
    count, of, first: new Int32Array(count).fill(-1), slowest: new Int32Array(count), parent: new Int32Array(count).fill(-1),
    calls: new Float64Array(count), total: new Float64Array(count), self: new Float64Array(count), errors: new Float64Array(count),
  };
  for (let i = 0; i < n; i++) {
    const node = of[i];
    const took = Math.max(0, trace.stop[i] - trace.start[i]);
    if (out.first[node] < 0) {
      out.first[node] = out.slowest[node] = i;
      out.parent[node] = trace.parent[i] < 0 ? -1 : of[trace.parent[i]];
    } else if (took > trace.stop[out.slowest[node]] - trace.start[out.slowest[node]]) out.slowest[node] = i;
    out.calls[node]++;
    out.total[node] += took;
    out.self[node] += trace.self[i];
    if (trace.isErrorOrigin(i)) out.errors[node]++;
  }
  return out;
}

/**
 * Lay folded paths out as an icicle: the width is the self time of a call and of everything below.
 */
export function icicle(folded: Folded): ChartModel & { isByCalls: boolean } {
  const { count, parent } = folded;
  let isByCalls = true;
  for (let k = 0; k < count; k++) if (folded.self[k] > 0) isByCalls = false;
  const value = Float64Array.from(isByCalls ? folded.calls : folded.self);
  const row = new Int32Array(count);
  let rows = 0;
  for (let k = 0; k < count; k++) {
    row[k] = parent[k] < 0 ? 0 : row[parent[k]] + 1;
    rows = Math.max(rows, row[k] + 1);
  }
  for (let k = count - 1; k >= 0; k--) if (parent[k] >= 0) value[parent[k]] += value[k];
  // Largest first; a caller is never smaller than its callee and has a smaller number, so it comes
  // first.
  const bySize = Int32Array.from(value, (_, k) => k).sort((a, b) => value[b] - value[a] || a - b);
  const from = new Float64Array(count);
  const until = new Float64Array(count);
  const cursor = new Float64Array(count);
  let roots = 0;
  for (const k of bySize) {
    const p = parent[k];
    from[k] = p < 0 ? roots : cursor[p];
    until[k] = cursor[k] = from[k] + value[k];
    cursor[k] = from[k];
    if (p < 0) roots = until[k];
    else cursor[p] = until[k];
  }
  const order = Int32Array.from(value, (_, k) => k).sort((a, b) => from[a] - from[b] || row[a] - row[b] || a - b);
  return { ...inRows(row, rows, order), row, from, until, length: Math.max(1, roots), heads: new Map(), isByCalls };
}
