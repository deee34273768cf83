// Small marks: the square of a kind, labels and marks of a status.

import type { Status, Trace } from "./data";
import { duration } from "./format";

const LABELS: Record<Status, string> = {
  ok: "done",
  error: "failed",
  open: "still open",
  interrupted: "interrupted",
  cancelled: "cancelled",
};

/**
 * How a call ended. A trace may report its own status: the root of a waiting run is "ok", not
 * "done".
 */
export function statusLabel(trace: Trace, i: number): string {
  const status = trace.statusOf(i);
  const own = trace.head.meta.status;
  if (trace.parent[i] < 0 && trace.end[i] === trace.count && i === 0 && typeof own === "string" && own) return own;
  if (status === "open" && trace.kindOf(i) === "wait") return "waiting";
  return LABELS[status];
}

/** The duration; for a call without an end its status and the time so far. */
export function durationLabel(trace: Trace, i: number): string {
  if (trace.duration[i] >= 0) return duration(trace.duration[i]);
  const soFar = trace.stop[i] - trace.start[i];
  if (trace.statusOf(i) !== "open" || !(soFar > 0)) return statusLabel(trace, i);
  return `${duration(soFar)}, ${trace.kindOf(i) === "wait" ? "waiting" : "open"}`;
}

export const KIND_CLASSES = ["agent", "llm", "tool", "step", "wait", "retrieval", "function", "other"];

export function kindIndex(kind: string): number {
  const found = KIND_CLASSES.indexOf(kind);
  return found < 0 ? KIND_CLASSES.length - 1 : found;
}

export function kindClass(kind: string): string {
  return KIND_CLASSES[kindIndex(kind)];
}

/**
 * A square in the colour of the kind; another shape for a failed span, so that colour is not the
 * only sign.
 */
export function KindMark({ trace, index }: { trace: Trace; index: number }) {
  const status = trace.statusOf(index);
  const shape = status === "error" ? (trace.isErrorOrigin(index) ? "cross" : "ring") : status === "ok" ? "square" : "hollow";
  return (
    <svg class={`mark k-${kindClass(trace.kindOf(index))} s-${status}`} viewBox="0 0 10 10" width="10" height="10" aria-hidden="true">
      {shape === "square" && <rect x="1" y="1" width="8" height="8" rx="2" fill="currentColor" />}
      {shape === "hollow" && <rect x="1.75" y="1.75" width="6.5" height="6.5" rx="1.5" fill="none" stroke="currentColor" stroke-width="1.5" />}
      {shape === "ring" && <circle cx="5" cy="5" r="3.25" fill="none" stroke="currentColor" stroke-width="1.5" />}
      {shape === "cross" && <path d="M2 2 L8 8 M8 2 L2 8" stroke="currentColor" stroke-width="2" stroke-linecap="round" />}
    </svg>
  );
}
