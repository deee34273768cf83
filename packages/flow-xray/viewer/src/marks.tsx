// Small signs: the square of a kind, the words and signs of a status.

import type { Status, Trace } from "./data";

const WORDS: Record<Status, string> = {
  ok: "done",
  error: "failed",
  open: "still open",
  interrupted: "interrupted",
  cancelled: "cancelled",
};

export function statusWord(status: Status): string {
  return WORDS[status];
}

const KNOWN_KINDS = new Set(["agent", "llm", "tool", "step", "wait", "retrieval", "function"]);

export function kindClass(kind: string): string {
  return KNOWN_KINDS.has(kind) ? kind : "other";
}

/** A square in the colour of the kind; another shape when the span did not end well, so that colour is never the only sign. */
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
