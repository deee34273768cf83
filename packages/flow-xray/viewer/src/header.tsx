// Name, status and totals of the trace, on one line.

import type { RefObject } from "preact";
import { useLayoutEffect, useRef } from "preact/hooks";
import type { JsonObject, Trace } from "./data";
import { count, day, clock, duration, plural, usd, visible } from "./format";
import { text } from "./inspector";

export type Theme = "system" | "light" | "dark";
export const VIEWS = ["Overview", "Tree", "Timeline", "Flame", "Transcript", "Graph", "Diff", "Raw"] as const;
export type View = (typeof VIEWS)[number];

interface HeaderProps {
  trace: Trace;
  comparedWith: string | null;
  query: string;
  found: string;
  searchBox: RefObject<HTMLInputElement | null>;
  theme: Theme;
  setQuery: (query: string) => void;
  nextHit: (step: 1 | -1) => void;
  nextError: () => void;
  setTheme: (theme: Theme) => void;
  help: () => void;
}

export function Header({ trace, comparedWith, query, found, searchBox, theme, setQuery, nextHit, nextError, setTheme, help }: HeaderProps) {
  const totals = trace.totals;
  const [word, tone] = statusOf(trace);
  const journal = (trace.head.meta.journal ?? {}) as JsonObject;
  const processes = typeof journal.processes === "number" && journal.processes > 1 ? `, ${journal.processes} processes` : "";
  return (
    <header>
      <div class="what">
        <h1 title={trace.head.name}>{visible(trace.head.name)}</h1>
        <span class={`pill t-${tone}`}>{visible(word)}</span>
        <span class="sub" title={`${day(trace.startedAt)} ${clock(trace.startedAt)} UTC`}>
          {visible(comparedWith === null ? subtitle(trace) : `compared with ${comparedWith}`)}
        </span>
      </div>
      <div class="stats">
        <Stat value={duration(totals.lengthNs) || "0 ns"} label={`wall${processes}`} />
        <Stat value={count(totals.spans)} label={plural(totals.spans, "span")} />
        {totals.modelCalls > 0 && <Stat value={count(totals.modelCalls)} label={plural(totals.modelCalls, "model call")} />}
        {totals.inputTokens + totals.outputTokens > 0 && (
          <Stat
            value={`${count(totals.inputTokens)} / ${count(totals.outputTokens)}`}
            label={totals.cachedTokens ? `tokens in / out, ${count(totals.cachedTokens)} cached` : "tokens in / out"}
          />
        )}
        {totals.priced > 0 && (
          <Stat
            value={usd(totals.costUsd)}
            label={totals.unpriced ? `${count(totals.unpriced)} ${plural(totals.unpriced, "call")} unpriced` : "cost"}
          />
        )}
        {totals.errors > 0 && (
          <button class="stat s-error" onClick={nextError} title="Go to the next error (e)">
            <b>{count(totals.errors)}</b>
            <span>{plural(totals.errors, "error")}</span>
          </button>
        )}
        {totals.interrupted > 0 && <Stat value={count(totals.interrupted)} label="interrupted" />}
      </div>
      <div class="tools">
        <label class="search">
          <input
            ref={searchBox}
            type="search"
            value={query}
            placeholder="search, kind:llm …"
            aria-label="Search"
            spellcheck={false}
            autocomplete="off"
            onInput={(event) => setQuery(event.currentTarget.value)}
            onKeyDown={(event) => {
              if (event.key === "Enter") nextHit(event.shiftKey ? -1 : 1);
            }}
          />
          {found ? <span class="found">{found}</span> : <kbd aria-hidden="true">/</kbd>}
          <span class="offscreen" role="status" aria-live="polite">
            {query ? `${found || "0"} found` : ""}
          </span>
        </label>
        <button class="icon" onClick={() => setTheme(theme === "system" ? "light" : theme === "light" ? "dark" : "system")} aria-label={`Theme: ${theme}`} title={`Theme: ${theme}`}>
          {theme === "system" ? "◐" : theme === "light" ? "○" : "●"}
        </button>
        <button class="icon" onClick={help} aria-label="Help" title="Keyboard (?)">
          ?
        </button>
      </div>
    </header>
  );
}

function Stat({ value, label }: { value: string; label: string }) {
  return (
    <div class="stat">
      <b>{value}</b>
      <span>{label}</span>
    </div>
  );
}

export function Tabs({ view, setView }: { view: View; setView: (view: View) => void }) {
  const bar = useRef<HTMLElement>(null);
  useLayoutEffect(() => {
    const tab = bar.current!.querySelector<HTMLElement>("[aria-selected=true]")!;
    if (tab.offsetLeft < bar.current!.scrollLeft || tab.offsetLeft + tab.offsetWidth > bar.current!.scrollLeft + bar.current!.clientWidth) {
      bar.current!.scrollLeft = tab.offsetLeft - 40;
    }
  }, [view]);
  const move = (event: KeyboardEvent) => {
    const step = event.key === "ArrowRight" ? 1 : event.key === "ArrowLeft" ? -1 : 0;
    if (!step) return;
    const next = (VIEWS.indexOf(view) + step + VIEWS.length) % VIEWS.length;
    setView(VIEWS[next]);
    bar.current!.querySelectorAll<HTMLElement>("[role=tab]")[next].focus();
    event.preventDefault();
    event.stopPropagation();
  };
  return (
    <nav class="tabs" role="tablist" aria-label="Views" ref={bar} onKeyDown={move}>
      {VIEWS.map((each, k) => (
        <button
          key={each} role="tab" id={`tab-${each}`} aria-selected={each === view} aria-controls="view" tabIndex={each === view ? 0 : -1}
          class={each === view ? "on" : ""} onClick={() => setView(each)}
        >
          {each}
          <kbd aria-hidden="true">{k + 1}</kbd>
        </button>
      ))}
    </nav>
  );
}

function statusOf(trace: Trace): [string, string] {
  const own = trace.head.meta.status;
  if (typeof own === "string" && own) {
    const tone = /fail|error|denied/i.test(own) ? "bad" : /parked|in doubt/i.test(own) ? "bad" : /wait|pause|approval|limit|open|running/i.test(own) ? "wait" : /interrupt/i.test(own) ? "lost" : /cancel/i.test(own) ? "quiet" : "good";
    return [own, tone];
  }
  let worst: [string, string] = ["done", "good"];
  const rank = ["good", "quiet", "wait", "bad", "lost"];
  for (let i = 0; i < trace.count; i = trace.end[i]) {
    const status = trace.statusOf(i);
    const each: [string, string] =
      status === "error" ? ["failed", "bad"] : status === "interrupted" ? ["interrupted", "lost"] : status === "open" ? ["still open", "wait"] : status === "cancelled" ? ["cancelled", "quiet"] : worst;
    if (rank.indexOf(each[1]) > rank.indexOf(worst[1])) worst = each;
  }
  const journal = trace.head.meta.journal;
  const hasNoEnd = journal !== null && typeof journal === "object" && !Array.isArray(journal) && journal.is_complete === false;
  // The process ended between two calls: only the journal shows it.
  if (hasNoEnd && rank.indexOf(worst[1]) < rank.indexOf("wait")) return ["interrupted", "lost"];
  return trace.count ? worst : ["empty", "quiet"];
}

function subtitle(trace: Trace): string {
  const own = trace.head.meta.summary ?? trace.head.meta.title;
  if (typeof own === "string" && own) return own;
  const when = trace.count ? `${day(trace.startedAt)} ${clock(trace.startedAt).slice(0, 8)} UTC` : "";
  const root = trace.count ? trace.nameOf(0) : "";
  return root && root !== trace.head.name ? `${root} · ${when}` : when || text(trace.head.meta.run_id);
}
