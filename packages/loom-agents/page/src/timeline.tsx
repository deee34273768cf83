// What happened, by the numbers of the log. The start and the end of a tool call are one line.
import type { LogEvent } from "./api";
import { clock, duration, tone } from "./format";

export function Timeline({ events }: { events: LogEvent[] }) {
  const lines = merged(events);
  const longest = Math.max(1, ...lines.map((event) => event.duration_ms ?? 0));
  return (
    <ol class="timeline" aria-label="timeline">
      {lines.map((event) => (
        <li key={event.seq} class={`k-${event.kind}`}>
          <time dateTime={event.at}>{clock(event.at)}</time>
          <span class={`dot t-${tone(event.status ?? event.outcome ?? "")}`} />
          <span class="what">{said(event)}</span>
          {event.duration_ms != null && (
            <span class="took">
              <i style={{ width: `${Math.max(2, (60 * event.duration_ms) / longest)}px` }} /> {duration(event.duration_ms)}
            </span>
          )}
        </li>
      ))}
    </ol>
  );
}

function merged(events: LogEvent[]): LogEvent[] {
  const lines: LogEvent[] = [];
  const place = new Map<string, number>();
  for (const event of events) {
    const key = event.kind === "tool" || event.kind === "approval" ? `${event.kind} ${event.number}` : "";
    const at = key ? place.get(key) : undefined;
    if (at !== undefined) lines[at] = { ...event, seq: lines[at]!.seq, at: lines[at]!.at };
    else {
      if (key) place.set(key, lines.length);
      lines.push(event);
    }
  }
  return lines;
}

function said(event: LogEvent): string {
  switch (event.kind) {
    case "run":
      return `run is ${event.status}`;
    case "step":
      return `step ${event.step_index} committed (${event.outcome})`;
    case "attempt":
      return `step ${event.step_index}: an attempt ${event.status}`;
    case "tool":
      return `${event.name ?? "tool"} ${event.status}${event.error ? `: ${event.error.message}` : ""}`;
    case "approval":
      return `approval #${event.number} of ${event.tool ?? "a call"} ${event.status}`;
    default:
      return `signal ${event.name}`;
  }
}
