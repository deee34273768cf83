// The critical path: what the run waited for at each moment, walked back from its end.
//
// The walk starts at the end of a call and enters the callee that ended last; from the start of
// that callee it continues with the one that had ended by then, and so on. The time between belongs
// to the caller. A callee that ran in parallel with the one on the path was not waited for. A stack
// replaces recursion; each call is entered once.

import type { Trace } from "./data";

const SLACK_NS = 1_000; // clocks of two threads

export interface Leg {
  index: number; // the span
  ns: number; // time on the path in the span itself
}

/** The spans on the path with their self time on it, in order of time. */
export function criticalPath(trace: Trace): Leg[] {
  const { count: n, parent, start, stop } = trace;
  if (!n) return [];
  const childStart = new Int32Array(n + 2); // callees by caller; the roots belong to caller n
  for (let i = 0; i < n; i++) childStart[(parent[i] < 0 ? n : parent[i]) + 1]++;
  for (let k = 0; k <= n; k++) childStart[k + 1] += childStart[k];
  const children = new Int32Array(n);
  const fill = childStart.slice();
  const byEnd = Int32Array.from({ length: n }, (_, i) => i).sort((a, b) => stop[b] - stop[a] || b - a);
  for (const i of byEnd) children[fill[parent[i] < 0 ? n : parent[i]]++] = i;
  const own = new Float64Array(n);
  const isOn = new Uint8Array(n);
  const stack: { span: number; at: number; next: number; isAtEnd: boolean }[] = [{ span: n, at: trace.totals.lengthNs, next: childStart[n], isAtEnd: true }];
  while (stack.length) {
    const frame = stack[stack.length - 1];
    const { span } = frame;
    if (frame.next >= childStart[span + 1]) {
      stack.pop();
      if (span < n) own[span] += Math.max(0, frame.at - start[span]);
      continue;
    }
    const child = children[frame.next++];
    if (stop[child] > frame.at + SLACK_NS && !frame.isAtEnd) continue;
    const until = Math.min(stop[child], frame.at);
    const from = Math.max(start[child], span < n ? start[span] : 0);
    if (until <= from) continue;
    if (span < n) own[span] += Math.max(0, frame.at - until);
    frame.at = from;
    frame.isAtEnd = false;
    isOn[child] = 1;
    stack.push({ span: child, at: until, next: childStart[child], isAtEnd: true });
  }
  const legs: Leg[] = [];
  for (let i = 0; i < n; i++) if (isOn[i] && own[i] > 0) legs.push({ index: i, ns: own[i] });
  return legs.sort((a, b) => start[a.index] - start[b.index] || a.index - b.index);
}
