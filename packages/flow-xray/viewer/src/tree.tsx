// The tree as a table: call, duration, bars. Only the visible rows are in the document.

import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import type { Trace } from "./data";
import { count, duration, plural, visible } from "./format";
import type { ViewKeys } from "./keys";
import { kindClass, KindMark, durationLabel } from "./marks";
import { moved, ticksOf, zoomed, type Range } from "./range";
import { rowOf } from "./search";

interface Props {
  trace: Trace;
  rows: Int32Array;
  hits: Uint8Array | null;
  folded: Uint8Array;
  selected: number;
  range: Range;
  rowHeight: number;
  keys: ViewKeys;
  foldAll: () => void;
  inspect: () => void;
  select: (index: number, isByPointer?: boolean) => void;
  toggle: (index: number) => void;
  setRange: (range: Range) => void;
}

const MARGIN = 8; // rows drawn beyond the edge of the window
const DEEP = 14;

export function Tree(props: Props) {
  const { trace, rows, selected, rowHeight, range } = props;
  const scroller = useRef<HTMLDivElement>(null);
  const [top, setTop] = useState(0);
  const [height, setHeight] = useState(600);

  useLayoutEffect(() => {
    const element = scroller.current!;
    const observer = new ResizeObserver(() => setHeight(element.clientHeight));
    observer.observe(element);
    return () => observer.disconnect();
  }, []);

  const row = rowOf(rows, selected);
  const isShown = row >= 0 && rows[row] === selected;
  useLayoutEffect(() => {
    const element = scroller.current!;
    if (!isShown) return;
    const y = row * rowHeight;
    const room = element.clientHeight - (element.firstElementChild as HTMLElement).offsetHeight; // the head stays on top
    if (y < element.scrollTop) element.scrollTop = Math.max(0, y - rowHeight);
    else if (y + rowHeight > element.scrollTop + room) element.scrollTop = y - room + 2 * rowHeight;
  }, [selected, row, isShown, rowHeight, rows]);

  const lanes = useRef<HTMLDivElement>(null);
  useEffect(() => {
    const element = scroller.current!;
    const zoom = (event: WheelEvent) => {
      if (!event.ctrlKey && !event.metaKey) return;
      event.preventDefault();
      const box = lanes.current!.getBoundingClientRect();
      const at = Math.min(1, Math.max(0, (event.clientX - box.left) / box.width));
      props.setRange(zoomed(props.range, at, Math.exp(event.deltaY / 300), trace.totals.lengthNs));
    };
    element.addEventListener("wheel", zoom, { passive: false });
    return () => element.removeEventListener("wheel", zoom);
  });

  props.keys.current = (key) => {
    if (!trace.count) return false;
    const { folded, hits } = props;
    const whole = Math.max(1, trace.totals.lengthNs);
    const page = Math.max(1, Math.floor(height / rowHeight) - 2);
    const isOpen = trace.end[selected] > selected + 1;
    const move = (step: number) => rows.length && props.select(rows[Math.min(rows.length - 1, Math.max(0, row + step))]);
    if (key === "j" || key === "ArrowDown") move(1);
    else if (key === "k" || key === "ArrowUp") move(-1);
    else if (key === "PageDown") move(page);
    else if (key === "PageUp") move(-page);
    else if (key === "Home" || key === "g") move(-rows.length);
    else if (key === "End" || key === "G") move(rows.length);
    else if (key === "l" || key === "ArrowRight") {
      if (isOpen && folded[selected] && !hits) props.toggle(selected);
      else if (isOpen) move(1);
    } else if (key === "h" || key === "ArrowLeft") {
      if (isOpen && !folded[selected] && !hits) props.toggle(selected);
      else if (trace.parent[selected] >= 0) props.select(trace.parent[selected]);
    } else if (key === "f") props.foldAll();
    else if (key === "w" || key === "s") {
      const middle = ((trace.start[selected] + trace.stop[selected]) / 2 - range.from) / (range.until - range.from);
      props.setRange(zoomed(range, Math.min(1, Math.max(0, middle)), key === "w" ? 0.6 : 1 / 0.6, whole));
    } else if (key === "a" || key === "d") props.setRange(moved(range, key === "d" ? 0.2 : -0.2, whole));
    else if (key === "0") props.setRange({ from: 0, until: whole });
    else if (key === "Enter") props.inspect();
    else return false;
    return true;
  };

  const first = Math.max(0, Math.floor(top / rowHeight) - MARGIN);
  const last = Math.min(rows.length, Math.ceil((top + height) / rowHeight) + MARGIN);
  const shown: number[] = [];
  for (let k = first; k < last; k++) shown.push(k);
  // Deep in the tree an indent from the root leaves no room: indent from just above the visible
  // rows.
  let shallowest = Infinity;
  let deepest = 0;
  for (const k of shown) {
    shallowest = Math.min(shallowest, trace.depth[rows[k]]);
    deepest = Math.max(deepest, trace.depth[rows[k]]);
  }
  const base = shallowest > DEEP ? shallowest - 2 : 0;
  const step = Math.min(rowHeight > 30 ? 9 : 16, (rowHeight > 30 ? 90 : 240) / Math.max(1, deepest - base));
  const ticks = ticksOf(range);
  const length = range.until - range.from;

  return (
    <section class="tree" aria-label="Tree">
      <div
        class="scroller"
        ref={scroller}
        tabIndex={0}
        role="treegrid"
        aria-label={`Calls, ${count(rows.length)} rows`}
        aria-rowcount={rows.length}
        aria-activedescendant={isShown ? `row-${selected}` : undefined}
        onScroll={(event) => setTop(event.currentTarget.scrollTop)}
      >
        <div class="row head" aria-hidden="true">
          <span class="call">call</span>
          <span class="took">took</span>
          <span class="lane" ref={lanes}>
            {ticks.map((at) => (
              <span class="tick" key={at} style={{ left: `${((at - range.from) / length) * 100}%` }}>
                {at === 0 ? "0" : duration(at)}
              </span>
            ))}
          </span>
        </div>
        <div class="spacer" style={{ height: `${rows.length * rowHeight}px` }}>
          <div class="grid" aria-hidden="true">
            <span class="lane">
              {ticks.map((at) => (
                <i key={at} style={{ left: `${((at - range.from) / length) * 100}%` }} />
              ))}
            </span>
          </div>
          {shown.map((k) => (
            <Row key={rows[k]} {...props} index={rows[k]} position={k} base={base} step={step} />
          ))}
        </div>
        {rows.length === 0 && <p class="empty">{trace.count === 0 ? "This trace has no calls." : "Nothing matches the search. Press Esc to clear it."}</p>}
      </div>
    </section>
  );
}

function Row(props: Props & { index: number; position: number; base: number; step: number }) {
  const { trace, index, position, base, step, selected, folded, hits, range, rowHeight } = props;
  const isSelected = index === selected;
  const below = trace.end[index] - index - 1;
  const isFolded = folded[index] !== 0 && !hits;
  const status = trace.statusOf(index);
  const depth = trace.depth[index];
  const isDim = hits !== null && !hits[index];
  const hiddenErrors = isFolded ? trace.errorsBelow[index] : 0;
  const classes = ["row"];
  if (isSelected) classes.push("selected");
  if (isDim) classes.push("dim");
  if (status === "error") classes.push("failed");
  const detail = trace.detailOf(index);
  return (
    <div
      class={classes.join(" ")}
      id={`row-${index}`}
      role="row"
      aria-level={depth + 1}
      aria-rowindex={position + 1}
      aria-selected={isSelected}
      aria-expanded={below > 0 ? !isFolded : undefined}
      style={{ transform: `translateY(${position * rowHeight}px)`, height: `${rowHeight}px` }}
      onClick={() => props.select(index, true)}
      onDblClick={() => below > 0 && props.toggle(index)}
    >
      <span class="call" role="gridcell" style={{ paddingLeft: `${((depth - base) * step).toFixed(1)}px` }}>
        {below > 0 ? (
          <button
            class={isFolded ? "fold is-folded" : "fold"}
            tabIndex={-1}
            aria-label={`${isFolded ? "Unfold" : "Fold"} ${trace.nameOf(index)}`}
            onClick={(event) => {
              event.stopPropagation();
              props.toggle(index);
            }}
          >
            <svg viewBox="0 0 10 10" width="10" height="10" aria-hidden="true">
              <path d="M2.5 3.75 L5 6.25 L7.5 3.75" fill="none" stroke="currentColor" stroke-width="1.4" />
            </svg>
          </button>
        ) : (
          <span class="fold" />
        )}
        {(base > 0 || depth > DEEP) && <span class="deep">{count(depth)}</span>}
        <KindMark trace={trace} index={index} />
        <span class="name">{visible(trace.nameOf(index))}</span>
        {detail && <span class="detail">{visible(detail)}</span>}
        {isFolded && <span class="folded">+{count(below)}</span>}
        {hiddenErrors > 0 && <span class="folded s-error">{count(hiddenErrors)} {plural(hiddenErrors, "error")}</span>}
      </span>
      <span class="took" role="gridcell">
        {visible(durationLabel(trace, index))}
      </span>
      <span class="lane" role="gridcell">
        <Bar trace={trace} index={index} range={range} />
      </span>
    </div>
  );
}

function Bar({ trace, index, range }: { trace: Trace; index: number; range: Range }) {
  const length = range.until - range.from;
  const from = (trace.start[index] - range.from) / length;
  const until = (trace.stop[index] - range.from) / length;
  if (until < 0 || from > 1) return null;
  const left = Math.max(0, from);
  const width = Math.max(0, Math.min(1, until) - left);
  const status = trace.statusOf(index);
  return (
    <i
      class={`bar k-${kindClass(trace.kindOf(index))} s-${status}`}
      style={{ left: `min(${(left * 100).toFixed(4)}%, calc(100% - 2px))`, width: `${(width * 100).toFixed(4)}%` }}
    />
  );
}
