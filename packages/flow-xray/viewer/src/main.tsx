// The page: one trace (or two that are compared) with one selection, one search and several views.

import "./style.css";
import { options, render } from "preact";
import { useCallback, useEffect, useMemo, useRef, useState } from "preact/hooks";
import { loadJson, loadTrace, type Comparison, type Context, type Trace } from "./data";
import { Diff, type Compared } from "./diff";
import { Flame } from "./flame";
import { count } from "./format";
import { Graph } from "./graph";
import { Header, Tabs, VIEWS, type Theme, type View } from "./header";
import { Help } from "./help";
import { Inspector } from "./inspector";
import type { KeyHandler } from "./keys";
import { Overview } from "./overview";
import type { Range } from "./range";
import { Raw } from "./raw";
import { parseQuery, searchColumns, searchValues, visibleRows } from "./search";
import { Timeline } from "./timeline";
import { Transcript } from "./transcript";
import { Tree } from "./tree";

const NARROW = "(max-width: 760px)";
const WITHOUT_INSPECTOR: readonly View[] = ["Overview", "Diff", "Raw"];

interface PageProps {
  trace: Trace;
  compared: Compared | null;
  context: Context | null;
}

function App({ trace, compared, context }: PageProps) {
  const usual: View = compared ? "Diff" : "Tree";
  const linked = useMemo(() => readHash(trace, usual), []);
  const [view, setView] = useState<View>(linked.view);
  const [selected, setSelected] = useState(linked.span >= 0 ? linked.span : firstSelection(trace));
  const isNarrow = useMedia(NARROW);
  const isDark = useMedia("(prefers-color-scheme: dark)");
  const [isInspecting, setInspecting] = useState(linked.span >= 0);
  const [folded] = useState(() => new Uint8Array(trace.count));
  const [foldings, setFoldings] = useState(0); // `folded` changes in place; this triggers a redraw
  const [query, setQuery] = useState(linked.query);
  const [hits, setHits] = useState<Uint8Array | null>(null);
  const [isSearching, setSearching] = useState(false);
  const [theme, setTheme] = useState<Theme>(storedTheme);
  const [isHelp, setHelp] = useState(false);
  const [notice, setNotice] = useState("");
  const whole = useMemo<Range>(() => ({ from: 0, until: Math.max(1, trace.totals.lengthNs) }), []);
  const [range, setRange] = useState(whole);
  const searchBox = useRef<HTMLInputElement>(null);
  const keys = useRef<KeyHandler | null>(null);

  const rows = useMemo(() => visibleRows(trace, folded, hits), [hits, foldings]);

  const select = useCallback((index: number, isByPointer = false) => {
    if (index < 0 || index >= trace.count) return;
    let isChanged = false;
    for (let i = trace.parent[index]; i >= 0; i = trace.parent[i]) {
      if (folded[i]) {
        folded[i] = 0;
        isChanged = true;
      }
    }
    if (isChanged) setFoldings((n) => n + 1);
    setSelected(index);
    if (isByPointer) setInspecting(true);
  }, []);

  const toggle = (index: number) => {
    folded[index] = folded[index] ? 0 : 1;
    setFoldings((n) => n + 1);
    if (folded[index] && selected > index && selected < trace.end[index]) setSelected(index);
  };

  const foldAll = () => {
    const isFolding = !folded.some((each) => each !== 0);
    for (let i = 0; i < trace.count; i++) folded[i] = isFolding && trace.parent[i] >= 0 && trace.end[i] > i + 1 ? 1 : 0;
    setFoldings((n) => n + 1);
    let top = selected;
    for (let i = trace.parent[selected]; i >= 0; i = trace.parent[i]) if (folded[i]) top = i;
    setSelected(top);
  };

  const inspect = () => {
    setInspecting(true);
    setTimeout(() => document.querySelector<HTMLElement>(".inspector")?.focus());
  };

  // ---- the address: #span=...&view=...&q=...
  useEffect(() => {
    const parts: string[] = [];
    if (selected >= 0 && trace.count) parts.push(`span=${trace.idOf(selected)}`);
    if (view !== usual) parts.push(`view=${view.toLowerCase()}`);
    try {
      if (query) parts.push(`q=${encodeURIComponent(query)}`);
      history.replaceState(null, "", parts.length ? `#${parts.join("&")}` : location.pathname);
    } catch {
      // A browser may forbid or limit it for pages from disk, and half a character cannot be
      // encoded.
    }
  }, [selected, view, query]);

  useEffect(() => {
    const follow = () => {
      const link = readHash(trace, usual);
      if (link.span >= 0) select(link.span, true);
      setView(link.view);
      setQuery(link.query);
    };
    addEventListener("hashchange", follow);
    return () => removeEventListener("hashchange", follow);
  }, []);

  // ---- search: columns at once, values as they are inflated
  useEffect(() => {
    const parsed = parseQuery(query);
    let isStale = false;
    setSearching(false);
    if (!parsed) {
      setHits(null);
      return;
    }
    setHits(searchColumns(trace, parsed));
    const timer = setTimeout(() => {
      setSearching(true);
      searchValues(trace, parsed, () => isStale).then(
        (more) => {
          if (isStale) return;
          if (more) setHits(more);
          setSearching(false);
        },
        () => isStale || setSearching(false),
      );
    }, 150);
    return () => {
      isStale = true;
      clearTimeout(timer);
    };
  }, [query]);

  const hitList = useMemo(() => {
    if (!hits) return null;
    const list: number[] = [];
    for (let i = 0; i < hits.length; i++) if (hits[i]) list.push(i);
    return list;
  }, [hits]);

  const nextHit = (step: 1 | -1) => {
    if (!hitList?.length) return;
    const next = step > 0 ? hitList.find((i) => i > selected) : hitList.findLast((i) => i < selected);
    select(next ?? (step > 0 ? hitList[0] : hitList[hitList.length - 1]));
  };

  const nextError = () => {
    for (let k = 1; k <= trace.count; k++) {
      const i = (selected + k) % trace.count;
      if (trace.isErrorOrigin(i)) {
        if (hits && !hits[i]) setQuery("");
        if (view === "Overview") setView("Tree");
        select(i, true);
        return;
      }
    }
  };

  // ---- theme, messages, print
  useEffect(() => {
    if (theme === "system") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = theme;
    try {
      localStorage.setItem("flow-xray-theme", theme);
    } catch {
      // Some browsers have no storage for pages from disk.
    }
  }, [theme]);
  const [colours, setColours] = useState(""); // changes when the colours of the page have changed
  useEffect(() => setColours(`${theme} ${isDark}`), [theme, isDark]);

  useEffect(() => {
    if (!notice) return;
    const timer = setTimeout(() => setNotice(""), 1800);
    return () => clearTimeout(timer);
  }, [notice]);

  const viewNow = useRef(view);
  viewNow.current = view;
  useEffect(() => {
    // Only the overview is printed: the other views show a part of something long.
    let before: View = "Overview";
    const start = () => {
      before = viewNow.current;
      atOnce(() => setView("Overview"));
    };
    const end = () => setView(before);
    addEventListener("beforeprint", start);
    addEventListener("afterprint", end);
    return () => {
      removeEventListener("beforeprint", start);
      removeEventListener("afterprint", end);
    };
  }, []);

  // ---- keyboard
  const onKey = (event: KeyboardEvent) => {
    const target = event.target as HTMLElement;
    const isTyping = target instanceof HTMLInputElement;
    const { key } = event;
    if (key === "Escape") {
      if (isHelp) setHelp(false);
      else if (isNarrow && isInspecting) setInspecting(false);
      else if (keys.current?.(key)) void 0;
      else if (query) setQuery("");
      else if (range !== whole) setRange(whole);
      if (isTyping) target.blur();
      return;
    }
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (isTyping) {
      if ((key === "ArrowDown" || key === "ArrowUp") && keys.current?.(key)) event.preventDefault();
      return;
    }
    if (isHelp) {
      if (key === "?") setHelp(false);
      return;
    }
    if (/^[1-9]$/.test(key) && Number(key) <= VIEWS.length) setView(VIEWS[Number(key) - 1]);
    else if (key === "/") searchBox.current?.focus();
    else if (key === "?") setHelp(true);
    else if (key === "e") nextError();
    else if (key === "n" || key === "N") nextHit(key === "n" ? 1 : -1);
    else if (!belongsToView(target, key) || !keys.current?.(key)) return;
    event.preventDefault();
  };
  useEffect(() => {
    addEventListener("keydown", onKey);
    return () => removeEventListener("keydown", onKey);
  });

  const found = hitList ? `${count(hitList.length)}${isSearching ? " …" : ""}` : "";
  const showInspector = !WITHOUT_INSPECTOR.includes(view) && trace.count > 0 && (!isNarrow || isInspecting);
  keys.current = null; // set by the current view when it is drawn
  const shared = { trace, hits, selected, keys, select, inspect };
  const rowHeight = isNarrow ? 40 : 26;
  return (
    <>
      <Header
        trace={trace} comparedWith={compared && compared.rows.before} query={query} found={found} searchBox={searchBox} theme={theme} setTheme={setTheme} help={() => setHelp(true)}
        setQuery={(text) => {
          setQuery(text);
          if (text && (view === "Overview" || view === "Raw")) setView("Tree");
        }}
        nextHit={nextHit} nextError={nextError}
      />
      <Tabs view={view} setView={setView} />
      <main class={showInspector ? "with-inspector" : ""}>
        <div class="view" role="tabpanel" id="view" aria-labelledby={`tab-${view}`}>
          {view === "Overview" && (
            <Overview
              trace={trace}
              open={(index) => {
                setView("Tree");
                select(index, true);
              }}
              search={(text) => {
                setQuery(text);
                setView("Tree");
              }}
            />
          )}
          {view === "Tree" && <Tree {...shared} rows={rows} folded={folded} range={range} rowHeight={rowHeight} toggle={toggle} foldAll={foldAll} setRange={setRange} />}
          {view === "Timeline" && <Timeline {...shared} range={range} theme={colours} setRange={setRange} />}
          {view === "Flame" && <Flame {...shared} theme={colours} />}
          {view === "Transcript" && <Transcript {...shared} />}
          {view === "Graph" && <Graph {...shared} context={context} />}
          {view === "Diff" && <Diff {...shared} compared={compared} rowHeight={rowHeight} isNarrow={isNarrow} notify={setNotice} />}
          {view === "Raw" && <Raw trace={trace} selected={selected} notify={setNotice} />}
        </div>
        {showInspector && <Inspector trace={trace} index={selected} select={select} close={() => setInspecting(false)} notify={setNotice} />}
      </main>
      {isHelp && <Help close={() => setHelp(false)} />}
      <div class={notice ? "notice on" : "notice"} role="status" aria-live="polite">
        {notice}
      </div>
    </>
  );
}

/** May the view use this key, or does the focused element need it? */
function belongsToView(target: HTMLElement, key: string): boolean {
  if (target === document.body || target.closest(".tabs, header, .drawing, .chart, .tree, .transcript, .diff-list, .bar-line") !== null) {
    return !(key === "Enter" && target.closest("button, summary") !== null);
  }
  return false;
}

function useMedia(query: string): boolean {
  const [isMatch, setMatch] = useState(() => matchMedia(query).matches);
  useEffect(() => {
    const media = matchMedia(query);
    const change = () => setMatch(media.matches);
    media.addEventListener("change", change);
    return () => media.removeEventListener("change", change);
  }, []);
  return isMatch;
}

/** Draw the effect of `change` before this returns. */
function atOnce(change: () => void): void {
  const before = options.debounceRendering;
  options.debounceRendering = (draw) => draw();
  change();
  options.debounceRendering = before;
}

/** The first call that raised an error itself, else the first call. */
function firstSelection(trace: Trace): number {
  if (trace.totals.errors && trace.statusOf(0) === "error") {
    for (let i = 0; i < trace.count; i++) if (trace.isErrorOrigin(i)) return i;
  }
  return 0;
}

function readHash(trace: Trace, usual: View): { span: number; view: View; query: string } {
  const parts = new URLSearchParams(location.hash.slice(1));
  const wanted = parts.get("view")?.toLowerCase();
  const span = parts.get("span");
  return { span: span ? trace.find(span) : -1, view: VIEWS.find((each) => each.toLowerCase() === wanted) ?? usual, query: parts.get("q") ?? "" };
}

function storedTheme(): Theme {
  try {
    const stored = localStorage.getItem("flow-xray-theme");
    return stored === "light" || stored === "dark" ? stored : "system";
  } catch {
    return "system";
  }
}

async function load(): Promise<PageProps> {
  const [trace, context, rows] = await Promise.all([loadTrace(), loadJson<Context>("x-ctx"), loadJson<Comparison>("x-diff")]);
  return { trace, context, compared: rows && { before: await loadTrace("y"), rows } };
}

const root = document.getElementById("app")!;
load().then(
  (props) => {
    root.textContent = "";
    render(<App {...props} />, root);
  },
  (error) => {
    root.textContent = `This trace cannot be shown: ${error instanceof Error ? error.message : error}. The browser may be too old; Chromium 110, Firefox 115 and Safari 16.4 are known to work.`;
  },
);
