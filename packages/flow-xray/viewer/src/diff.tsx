// Two runs, row by row: calls that are the same, changed, added or removed.

import type { ComponentChildren } from "preact";
import { useEffect, useLayoutEffect, useMemo, useRef, useState } from "preact/hooks";
import type { Comparison, Json, Payload, Trace } from "./data";
import { count, duration, plural, visible } from "./format";
import { Section, text, usePayload } from "./inspector";
import { stringify, Value } from "./json";
import type { ViewKeys } from "./keys";
import { kindClass, KindMark, statusLabel, durationLabel } from "./marks";

export interface Compared {
  before: Trace;
  rows: Comparison;
}

interface Props {
  trace: Trace;
  compared: Compared | null;
  hits: Uint8Array | null;
  selected: number;
  rowHeight: number;
  isNarrow: boolean;
  keys: ViewKeys;
  select: (index: number, isByPointer?: boolean) => void;
  notify: (text: string) => void;
}

const LABELS: Record<string, string> = { "=": "same", "~": "changed", "+": "added", "-": "removed", ">": "moved" };
const SIGNS: Record<string, string> = { "=": "", "~": "~", "+": "+", "-": "−", ">": "→" };
const MARGIN = 8;

export function Diff(props: Props) {
  if (props.compared) return <Rows {...props} compared={props.compared} />;
  return (
    <section class="diff-none">
      <h2>Nothing to compare with</h2>
      <p>A page with two runs shows here which calls are the same, changed, added and removed, with both values.</p>
      <p class="value mono">flow-xray diff before.json after.json --html difference.html</p>
      <p class="faint">
        or in Python: <code>before.diff(after).to_html("difference.html")</code>
      </p>
    </section>
  );
}

/**
 * The rows to show: those that differ, with their callers, or all; while searching only the hits.
 */
function shownRows(rows: Comparison, isWhole: boolean, hits: Uint8Array | null): Int32Array {
  const n = rows.what.length;
  const keep = new Uint8Array(n);
  const above: number[] = []; // the last row of each depth
  for (let k = 0; k < n; k++) {
    above[rows.depth[k]] = k;
    const isWanted = (isWhole || rows.what[k] !== "=") && (!hits || (rows.new[k] >= 0 && hits[rows.new[k]] !== 0));
    if (!isWanted) continue;
    for (let depth = rows.depth[k]; depth >= 0 && !keep[above[depth]]; depth--) keep[above[depth]] = 1;
  }
  const out = new Int32Array(n);
  let size = 0;
  for (let k = 0; k < n; k++) if (keep[k]) out[size++] = k;
  return out.subarray(0, size);
}

function Rows({ trace, compared, hits, selected, rowHeight, isNarrow, keys, select, notify }: Props & { compared: Compared }) {
  const { rows, before } = compared;
  const counts = useMemo(() => {
    const out: Record<string, number> = {};
    for (const mark of rows.what) out[mark] = (out[mark] ?? 0) + 1;
    return out;
  }, [rows]);
  const changes = rows.what.length - (counts["="] ?? 0);
  const [isWhole, setWhole] = useState(changes === 0);
  const shown = useMemo(() => shownRows(rows, isWhole, hits), [rows, isWhole, hits]);
  const rowOfSpan = useMemo(() => {
    const out = new Int32Array(trace.count).fill(-1);
    rows.new.forEach((span, k) => span >= 0 && (out[span] = k));
    return out;
  }, [rows]);
  const [row, setRow] = useState(() => Math.max(0, firstChange(rows)));
  const [isOpen, setOpen] = useState(false);
  const scroller = useRef<HTMLDivElement>(null);
  const [view, setView] = useState({ top: 0, height: 600 });
  useLayoutEffect(() => {
    const element = scroller.current!;
    const observer = new ResizeObserver(() => setView((now) => ({ ...now, height: element.clientHeight })));
    observer.observe(element);
    return () => observer.disconnect();
  }, []);
  // The selection is shared; a removed call has no span in the later run, so the row is stored
  // here.
  const isFirst = useRef(true);
  useEffect(() => {
    if (isFirst.current) {
      isFirst.current = false;
      if (rows.new[row] >= 0) select(rows.new[row]);
    } else if (rows.new[row] !== selected && rowOfSpan[selected] >= 0) setRow(rowOfSpan[selected]);
  }, [selected]);
  const go = (next: number, isByPointer = false) => {
    setRow(next);
    if (isByPointer) setOpen(true);
    if (rows.new[next] >= 0) select(rows.new[next]);
  };
  const position = shown.indexOf(row);
  useLayoutEffect(() => {
    if (position < 0) return;
    const element = scroller.current!;
    const y = position * rowHeight;
    if (y < element.scrollTop) element.scrollTop = Math.max(0, y - rowHeight);
    else if (y + rowHeight > element.scrollTop + element.clientHeight) element.scrollTop = y - element.clientHeight + 2 * rowHeight;
  }, [position, rowHeight, view.height]);
  const nextChange = (step: 1 | -1) => {
    for (let k = row + step; k >= 0 && k < rows.what.length; k += step) if (rows.what[k] !== "=") return go(k);
  };
  keys.current = (key) => {
    const step = key === "j" || key === "ArrowDown" ? 1 : key === "k" || key === "ArrowUp" ? -1 : 0;
    if (step && shown.length) go(shown[Math.min(shown.length - 1, Math.max(0, position + step))]);
    else if (key === "c" || key === "C") nextChange(key === "c" ? 1 : -1);
    else if (key === "f") setWhole(!isWhole);
    else if (key === "Enter") setOpen(true);
    else if (key === "Escape" && isNarrow && isOpen) setOpen(false);
    else return false;
    return true;
  };
  const first = Math.max(0, Math.floor(view.top / rowHeight) - MARGIN);
  const last = Math.min(shown.length, Math.ceil((view.top + view.height) / rowHeight) + MARGIN);
  const inSight: number[] = [];
  for (let k = first; k < last; k++) inSight.push(k);
  let shallowest = Infinity;
  for (const k of inSight) shallowest = Math.min(shallowest, rows.depth[shown[k]]);
  const base = shallowest > 14 ? shallowest - 2 : 0;
  return (
    <section class="diff">
      <div class="diff-list">
        <div class="bar-line">
          <div class="choices" role="radiogroup" aria-label="Rows">
            <button role="radio" aria-checked={!isWhole} class={isWhole ? "" : "on"} onClick={() => setWhole(false)}>
              differences
            </button>
            <button role="radio" aria-checked={isWhole} class={isWhole ? "on" : ""} onClick={() => setWhole(true)}>
              all calls
            </button>
          </div>
          {["~", "+", "-", ">", "="].map((mark) => counts[mark] > 0 && (
            <span class={`count d-${LABELS[mark]}`} key={mark}>
              <b>{count(counts[mark])}</b> {LABELS[mark]}
            </span>
          ))}
          {changes === 0 && <span class="s-ok">no difference</span>}
        </div>
        <dl class="diff-totals">
          {rows.totals.map(([name, ...values]) => (name === "time" ? [name, duration(before.totals.lengthNs), duration(trace.totals.lengthNs)] : [name, ...values])).map(([name, old, now]) => (
            <div key={name}>
              <dt>{name}</dt>
              <dd>{old === now ? now : <><span class="faint">{old}</span> → <b>{now}</b></>}</dd>
            </div>
          ))}
        </dl>
        <div
          class="diff-rows" ref={scroller} tabIndex={0} role="treegrid" aria-label={`Aligned calls, ${count(shown.length)} rows`} aria-rowcount={shown.length}
          aria-activedescendant={position >= 0 ? `diff-${row}` : undefined} onScroll={(event) => setView({ top: event.currentTarget.scrollTop, height: event.currentTarget.clientHeight })}
        >
          <div class="spacer" style={{ height: `${shown.length * rowHeight}px` }}>
            {inSight.map((k) => {
              const at = shown[k];
              const side = rows.new[at] >= 0 ? trace : before;
              const span = rows.new[at] >= 0 ? rows.new[at] : rows.old[at];
              const mark = rows.what[at];
              return (
                <div
                  key={at} id={`diff-${at}`} role="row" aria-level={rows.depth[at] + 1} aria-rowindex={k + 1} aria-selected={at === row}
                  class={`row d-${LABELS[mark]}${at === row ? " selected" : ""}`} style={{ transform: `translateY(${k * rowHeight}px)`, height: `${rowHeight}px` }} onClick={() => go(at, true)}
                >
                  <span class="sign" role="gridcell" aria-label={LABELS[mark]}>
                    {SIGNS[mark]}
                  </span>
                  <span class="call" role="gridcell" style={{ paddingLeft: `${(rows.depth[at] - base) * 14}px` }}>
                    <KindMark trace={side} index={span} />
                    <span class="name">{visible(side.nameOf(span))}</span>
                    <span class="detail">{visible(rows.facts[at]?.[0]?.replace(" -> ", " → ") ?? side.detailOf(span))}</span>
                  </span>
                  <span class="took" role="gridcell">
                    {rows.old[at] >= 0 ? visible(durationLabel(before, rows.old[at])) : "·"}
                  </span>
                  <span class="took" role="gridcell">
                    {rows.new[at] >= 0 ? visible(durationLabel(trace, rows.new[at])) : "·"}
                  </span>
                </div>
              );
            })}
          </div>
          {shown.length === 0 && <p class="empty">{hits ? "Nothing here matches the search." : "The two runs are the same."}</p>}
        </div>
      </div>
      {rows.what.length > 0 && (!isNarrow || isOpen) && (
        <Both trace={trace} before={before} old={rows.old[row]} now={rows.new[row]} mark={rows.what[row]} facts={rows.facts[row] ?? []} close={() => setOpen(false)} notify={notify} />
      )}
    </section>
  );
}

function firstChange(rows: Comparison): number {
  for (let k = 0; k < rows.what.length; k++) if (rows.what[k] !== "=") return k;
  return 0;
}

interface BothProps {
  trace: Trace;
  before: Trace;
  old: number;
  now: number;
  mark: string;
  facts: string[];
  close: () => void;
  notify: (text: string) => void;
}

function Both({ trace, before, old, now, mark, facts, close, notify }: BothProps) {
  const was = usePayload(before, Math.max(0, old));
  const is = usePayload(trace, Math.max(0, now));
  const [side, span] = now >= 0 ? ([trace, now] as const) : ([before, old] as const);
  const isReady = (old < 0 || was) && (now < 0 || is);
  const facets: [string, (payload: Payload) => Json | undefined][] = [
    ["Input", (payload) => payload.input],
    ["Output", (payload) => payload.output],
    ["Error", (payload) => (payload.error ? `${text(payload.error.type)}: ${text(payload.error.message)}` : undefined)],
    ["More", (payload) => payload.meta],
  ];
  const line = (name: string, read: (t: Trace, i: number) => string) => {
    const [one, other] = [old >= 0 ? read(before, old) : "", now >= 0 ? read(trace, now) : ""];
    if (!one && !other) return null;
    return (
      <>
        <dt>{name}</dt>
        <dd>{old < 0 || now < 0 || one === other ? other || one : <><span class="faint">{one}</span> → {other}</>}</dd>
      </>
    );
  };
  return (
    <aside class="inspector" aria-label="Comparison" aria-busy={!isReady} tabIndex={-1}>
      <button class="icon only-narrow" onClick={close} aria-label="Close the comparison">
        ✕
      </button>
      <h2>
        <span class={`word d-${LABELS[mark]}`}>{LABELS[mark]}</span>
        <span class="title">{visible(side.nameOf(span))}</span>
        <span class={`kind k-${kindClass(side.kindOf(span))}`}>{visible(side.kindOf(span))}</span>
      </h2>
      <dl class="facts">
        {line("outcome", (t, i) => statusLabel(t, i))}
        {line("took", (t, i) => (t.duration[i] >= 0 ? duration(t.duration[i]) : "no end recorded"))}
        {line("tokens", (t, i) => (t.hasTokens(i) ? `${count(t.input[i])} in, ${count(t.output[i])} out` : ""))}
      </dl>
      {facts.length > 0 && (
        <Section title="What changed" note={`${count(facts.length)} ${plural(facts.length, "place")}`} copyable={facts.join("\n")} notify={notify}>
          <ul class="changes mono">{facts.map(changed)}</ul>
        </Section>
      )}
      {isReady &&
        facets.map(([name, read]) => {
          const one = old >= 0 && was ? read(was) : undefined;
          const other = now >= 0 && is ? read(is) : undefined;
          if (one === undefined && other === undefined) return null;
          const isSame = old >= 0 && now >= 0 && same(one, other);
          return (
            <Section title={name} note={isSame ? "the same" : undefined} key={`${name}${old}:${now}`}>
              {isSame || old < 0 || now < 0 ? (
                <Value value={(other ?? one)!} label={name} most={80} />
              ) : (
                <div class="both">
                  <div class="side d-removed">
                    <h4>before</h4>
                    {one === undefined ? <span class="faint">nothing</span> : <Value value={one} label={`${name} before`} most={60} />}
                  </div>
                  <div class="side d-added">
                    <h4>after</h4>
                    {other === undefined ? <span class="faint">nothing</span> : <Value value={other} label={`${name} after`} most={60} />}
                  </div>
                </div>
              )}
            </Section>
          );
        })}
    </aside>
  );
}

/** "path: old -> new" on three lines. */
function changed(fact: string, k: number): ComponentChildren {
  const colon = fact.indexOf(": ");
  const arrow = fact.indexOf(" -> ", colon);
  if (colon < 0 || arrow < 0) return <li key={k}>{visible(fact)}</li>;
  return (
    <li key={k}>
      <span class="faint">{visible(fact.slice(0, colon))}</span>
      <del>{visible(fact.slice(colon + 2, arrow))}</del>
      <ins>{visible(fact.slice(arrow + 4))}</ins>
    </li>
  );
}

function same(one: Json | undefined, other: Json | undefined): boolean {
  return one === other || (one !== undefined && other !== undefined && stringify(one, "") === stringify(other, ""));
}
