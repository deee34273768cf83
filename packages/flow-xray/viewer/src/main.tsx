// The page: one trace, one selection, one search, several views of it.

import "./style.css";
import { render } from "preact";
import { useCallback, useEffect, useMemo, useRef, useState } from "preact/hooks";
import { loadTrace, type Trace } from "./data";
import { count } from "./format";
import { Header, Tabs, VIEWS, type Theme, type View } from "./header";
import { Help } from "./help";
import { Inspector } from "./inspector";
import { Overview } from "./overview";
import { parseQuery, rowOf, searchColumns, searchValues, visibleRows } from "./search";
import { Timeline, zoomed, type Range } from "./timeline";
import { Transcript } from "./transcript";

const NARROW = "(max-width: 760px)";

function App({ trace }: { trace: Trace }) {
  const linked = useMemo(() => readHash(trace), []);
  const [view, setView] = useState<View>(linked.view);
  const [selected, setSelected] = useState(linked.span >= 0 ? linked.span : firstSelection(trace));
  const [isNarrow, setNarrow] = useState(() => matchMedia(NARROW).matches);
  const [isInspecting, setInspecting] = useState(linked.span >= 0);
  const [folded] = useState(() => new Uint8Array(trace.count));
  const [foldings, setFoldings] = useState(0); // `folded` changes in place; this says when
  const [query, setQuery] = useState("");
  const [hits, setHits] = useState<Uint8Array | null>(null);
  const [isSearching, setSearching] = useState(false);
  const [theme, setTheme] = useState<Theme>(storedTheme);
  const [isHelp, setHelp] = useState(false);
  const [said, setSaid] = useState("");
  const whole = useMemo<Range>(() => ({ from: 0, until: Math.max(1, trace.totals.lengthNs) }), []);
  const [range, setRange] = useState(whole);
  const searchBox = useRef<HTMLInputElement>(null);

  const rows = useMemo(() => visibleRows(trace, folded, hits), [hits, foldings]);

  const reveal = useCallback((index: number) => {
    let isChanged = false;
    for (let i = trace.parent[index]; i >= 0; i = trace.parent[i]) {
      if (folded[i]) {
        folded[i] = 0;
        isChanged = true;
      }
    }
    if (isChanged) setFoldings((n) => n + 1);
  }, []);

  const select = useCallback((index: number, isByPointer = false) => {
    if (index < 0 || index >= trace.count) return;
    reveal(index);
    setSelected(index);
    if (isByPointer) setInspecting(true);
  }, []);

  const fold = (index: number, isFolded: boolean) => {
    folded[index] = isFolded ? 1 : 0;
    setFoldings((n) => n + 1);
    if (isFolded && selected > index && selected < trace.end[index]) setSelected(index);
  };

  // ---- the address: #span=...&view=...
  useEffect(() => {
    const parts: string[] = [];
    if (selected >= 0 && trace.count) parts.push(`span=${trace.idOf(selected)}`);
    if (view !== "Timeline") parts.push(`view=${view.toLowerCase()}`);
    try {
      history.replaceState(null, "", parts.length ? `#${parts.join("&")}` : location.pathname);
    } catch {
      // A browser may forbid it for pages from disk; the page works without.
    }
  }, [selected, view]);

  useEffect(() => {
    const follow = () => {
      const link = readHash(trace);
      if (link.span >= 0) {
        select(link.span, true);
      }
      setView(link.view);
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
        if (view === "Overview") setView("Timeline");
        select(i, true);
        return;
      }
    }
  };

  // ---- theme and width
  useEffect(() => {
    if (theme === "system") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = theme;
    try {
      localStorage.setItem("flow-xray-theme", theme);
    } catch {
      // No storage for pages from disk in some browsers.
    }
  }, [theme]);

  useEffect(() => {
    const media = matchMedia(NARROW);
    const change = () => setNarrow(media.matches);
    media.addEventListener("change", change);
    return () => media.removeEventListener("change", change);
  }, []);

  useEffect(() => {
    if (!said) return;
    const timer = setTimeout(() => setSaid(""), 1800);
    return () => clearTimeout(timer);
  }, [said]);

  // ---- keyboard
  const move = (step: number) => {
    if (!rows.length) return;
    const row = Math.min(rows.length - 1, Math.max(0, rowOf(rows, selected) + step));
    setSelected(rows[row]);
  };

  const onKey = (event: KeyboardEvent) => {
    const target = event.target as HTMLElement;
    const isTyping = target instanceof HTMLInputElement;
    if (event.key === "Escape") {
      if (isHelp) setHelp(false);
      else if (isNarrow && isInspecting) setInspecting(false);
      else if (query) setQuery("");
      else if (range !== whole) setRange(whole);
      if (isTyping) target.blur();
      return;
    }
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (isTyping) {
      if (event.key === "ArrowDown" || event.key === "ArrowUp") {
        move(event.key === "ArrowDown" ? 1 : -1);
        event.preventDefault();
      }
      return;
    }
    if (isHelp) {
      if (event.key === "?") setHelp(false);
      return;
    }
    const key = event.key;
    if (/^[1-9]$/.test(key) && Number(key) <= VIEWS.length) setView(VIEWS[Number(key) - 1]);
    else if (key === "/") searchBox.current?.focus();
    else if (key === "?") setHelp(true);
    else if (key === "e") nextError();
    else if (key === "n" || key === "N") nextHit(key === "n" ? 1 : -1);
    else if (view === "Timeline" && trace.count && isInTable(target)) {
      const page = Math.max(1, Math.floor(innerHeight / 26) - 8);
      const below = trace.end[selected] > selected + 1;
      if (key === "j" || key === "ArrowDown") move(1);
      else if (key === "k" || key === "ArrowUp") move(-1);
      else if (key === "PageDown") move(page);
      else if (key === "PageUp") move(-page);
      else if (key === "Home" || key === "g") move(-rows.length);
      else if (key === "End" || key === "G") move(rows.length);
      else if (key === "l" || key === "ArrowRight") {
        if (below && folded[selected] && !hits) fold(selected, false);
        else if (below) move(1);
      } else if (key === "h" || key === "ArrowLeft") {
        if (below && !folded[selected] && !hits) fold(selected, true);
        else if (trace.parent[selected] >= 0) select(trace.parent[selected]);
      } else if (key === "f") {
        const isFolding = !folded.some((each) => each !== 0);
        for (let i = 0; i < trace.count; i++) folded[i] = isFolding && trace.parent[i] >= 0 && trace.end[i] > i + 1 ? 1 : 0;
        setFoldings((n) => n + 1);
        if (isFolding) {
          let top = selected;
          for (let i = trace.parent[selected]; i >= 0; i = trace.parent[i]) if (folded[i]) top = i;
          setSelected(top);
        }
      } else if (key === "w" || key === "s") {
        const middle = ((trace.start[selected] + trace.stop[selected]) / 2 - range.from) / (range.until - range.from);
        setRange(zoomed(range, Math.min(1, Math.max(0, middle)), key === "w" ? 0.6 : 1 / 0.6, whole.until));
      } else if (key === "a" || key === "d") {
        const length = range.until - range.from;
        const from = Math.min(Math.max(0, range.from + length * (key === "d" ? 0.2 : -0.2)), whole.until - length);
        setRange({ from, until: from + length });
      } else if (key === "0") setRange(whole);
      else if (key === "Enter") {
        setInspecting(true);
        document.querySelector<HTMLElement>(".inspector")?.focus();
      } else return;
    } else return;
    event.preventDefault();
  };
  useEffect(() => {
    addEventListener("keydown", onKey);
    return () => removeEventListener("keydown", onKey);
  });

  const found = hitList ? `${count(hitList.length)}${isSearching ? " …" : ""}` : "";
  const showInspector = view !== "Overview" && trace.count > 0 && (!isNarrow || isInspecting);
  return (
    <>
      <Header
        trace={trace} query={query} found={found} searchBox={searchBox} theme={theme} setTheme={setTheme} help={() => setHelp(true)}
        setQuery={(text) => {
          setQuery(text);
          if (text && view !== "Timeline") setView("Timeline");
        }}
        nextHit={nextHit} nextError={nextError}
      />
      <Tabs view={view} setView={setView} />
      <main class={showInspector ? "with-inspector" : ""}>
        {view === "Timeline" && (
          <Timeline
            trace={trace} rows={rows} hits={hits} folded={folded} selected={selected} range={range} rowHeight={isNarrow ? 40 : 26}
            select={select} toggle={(index) => fold(index, !folded[index])} setRange={setRange}
          />
        )}
        {view === "Overview" && (
          <Overview
            trace={trace}
            open={(index) => {
              setView("Timeline");
              select(index, true);
            }}
            search={(text) => {
              setQuery(text);
              setView("Timeline");
            }}
          />
        )}
        {view === "Transcript" && <Transcript trace={trace} selected={selected} select={select} />}
        {showInspector && <Inspector trace={trace} index={selected} select={select} close={() => setInspecting(false)} say={setSaid} />}
      </main>
      {isHelp && <Help close={() => setHelp(false)} />}
      <div class={said ? "said on" : "said"} role="status" aria-live="polite">
        {said}
      </div>
    </>
  );
}

function isInTable(target: HTMLElement): boolean {
  return target === document.body || target.closest(".timeline") !== null || target.closest(".tabs") !== null || target.closest("header") !== null;
}

/** The first thing that failed by itself, else the first call. */
function firstSelection(trace: Trace): number {
  if (trace.totals.errors && trace.statusOf(0) === "error") {
    for (let i = 0; i < trace.count; i++) if (trace.isErrorOrigin(i)) return i;
  }
  return 0;
}

function readHash(trace: Trace): { span: number; view: View } {
  const parts = new URLSearchParams(location.hash.slice(1));
  const wanted = parts.get("view")?.toLowerCase();
  return { span: trace.find(parts.get("span") ?? ""), view: VIEWS.find((each) => each.toLowerCase() === wanted) ?? "Timeline" };
}

function storedTheme(): Theme {
  try {
    const stored = localStorage.getItem("flow-xray-theme");
    return stored === "light" || stored === "dark" ? stored : "system";
  } catch {
    return "system";
  }
}

const root = document.getElementById("app")!;
loadTrace().then(
  (trace) => {
    root.textContent = "";
    render(<App trace={trace} />, root);
  },
  (error) => {
    root.textContent = `This trace cannot be shown: ${error instanceof Error ? error.message : error}. The browser may be too old; Chromium 110, Firefox 115 and Safari 16.4 are known to work.`;
  },
);
