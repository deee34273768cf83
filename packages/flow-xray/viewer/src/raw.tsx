// The selected call, or the head of the trace, as JSON that can be copied.

import { useState } from "preact/hooks";
import { copy } from "./copy";
import type { Json, Trace } from "./data";
import { count, visible } from "./format";
import { spanJson, usePayload } from "./inspector";
import { stringify } from "./json";

const MAX_CHARACTERS = 100_000; // characters shown

export function Raw({ trace, selected, notify }: { trace: Trace; selected: number; notify: (text: string) => void }) {
  const [isHead, setHead] = useState(trace.count === 0);
  const payload = usePayload(trace, selected);
  const whole = isHead ? headJson(trace) : trace.count && payload ? spanJson(trace, selected, payload) : "";
  return (
    <section class="raw">
      <div class="bar-line">
        <div class="choices" role="radiogroup" aria-label="What is shown">
          <button role="radio" aria-checked={!isHead} class={isHead ? "" : "on"} disabled={!trace.count} onClick={() => setHead(false)}>
            selected call
          </button>
          <button role="radio" aria-checked={isHead} class={isHead ? "on" : ""} onClick={() => setHead(true)}>
            trace
          </button>
        </div>
        <span class="detail">{isHead ? visible(trace.head.name) : trace.count ? visible(trace.nameOf(selected)) : ""}</span>
        <button class="button" onClick={() => copy(whole, "Copied the JSON", notify)} disabled={!whole}>
          Copy
        </button>
      </div>
      <div class="pre mono" tabIndex={0} role="region" aria-label="JSON" aria-busy={!whole}>
        {visible(whole.slice(0, MAX_CHARACTERS))}
        {whole.length > MAX_CHARACTERS && <p class="faint">… {count(whole.length - MAX_CHARACTERS)} more characters; Copy copies all of it.</p>}
      </div>
    </section>
  );
}

function headJson(trace: Trace): string {
  const { name, trace_id, started_at_ns, length_ns, count: spans, meta, value, kinds, threads, models } = trace.head;
  return stringify({ name, trace_id, started_at_ns: BigInt(started_at_ns), length_ns, spans, meta, value, kinds, threads, models, totals: trace.totals as unknown as Json } as unknown as Json);
}
