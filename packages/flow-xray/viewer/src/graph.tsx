// Who called whom: folded by name, as it ran, or with the calls that the source makes possible.

import { useLayoutEffect, useMemo, useRef, useState } from "preact/hooks";
import type { Context, Trace } from "./data";
import { foldByName } from "./fold";
import { count, duration, plural, visible } from "./format";
import type { ViewKeys } from "./keys";
import { MAX_EDGES, MAX_NODES, place, placeTree, type GraphEdge, type GraphNode, type Placed } from "./layout";
import { kindClass } from "./marks";

const MAX_AS_RUN = 160;
type Mode = "folded" | "as it ran" | "with the source";

interface Props {
  trace: Trace;
  context: Context | null;
  hits: Uint8Array | null;
  selected: number;
  keys: ViewKeys;
  select: (index: number, isByPointer?: boolean) => void;
  inspect: () => void;
}

interface Picture {
  nodes: GraphNode[];
  edges: GraphEdge[];
  placed: Placed;
  omitted: string; // what is not shown
  of: (span: number) => number; // the node of a span
}

export function Graph(props: Props) {
  const { trace, context } = props;
  const [mode, setMode] = useState<Mode>("folded");
  const modes: Mode[] = ["folded"];
  if (trace.count <= MAX_AS_RUN) modes.push("as it ran");
  if (context) modes.push("with the source");
  const picture = useMemo(() => (mode === "folded" ? folded(trace) : mode === "as it ran" ? asItRan(trace) : withSource(trace, context!)), [trace, mode]);
  if (!trace.count) return <p class="empty">This trace has no calls.</p>;
  return (
    <section class="graph">
      <div class="bar-line">
        {modes.length > 1 && (
          <div class="choices" role="radiogroup" aria-label="What the graph shows">
            {modes.map((each) => (
              <button key={each} role="radio" aria-checked={each === mode} class={each === mode ? "on" : ""} onClick={() => setMode(each)}>
                {each}
              </button>
            ))}
          </div>
        )}
        <span class="faint">{picture.omitted || (mode === "folded" ? "one box for each name; arrows are calls, with their number" : mode === "with the source" ? "dashed: possible, but did not run" : "")}</span>
      </div>
      <Drawing {...props} picture={picture} key={mode} />
      {mode === "with the source" && context && <Branches context={context} />}
    </section>
  );
}

function Drawing({ picture, hits, selected, keys, select, inspect, trace }: Props & { picture: Picture }) {
  const { nodes, edges, placed } = picture;
  const box = useRef<HTMLDivElement>(null);
  const [zoom, setZoom] = useState(1);
  const whole = () => {
    const room = box.current!;
    return Math.max(0.75, Math.min(1, (room.clientWidth - 8) / placed.width, (room.clientHeight - 8) / placed.height));
  };
  useLayoutEffect(() => setZoom(whole()), [picture]);
  const current = picture.of(selected);
  useLayoutEffect(() => {
    const room = box.current!;
    if (current < 0) return;
    const x = placed.x[current] * zoom;
    const y = placed.y[current] * zoom;
    if (x < room.scrollLeft || x > room.scrollLeft + room.clientWidth || y < room.scrollTop || y > room.scrollTop + room.clientHeight) {
      room.scrollTo(x - room.clientWidth / 2, y - room.clientHeight / 2);
    }
  }, [current, picture]);
  const lit = useMemo(() => {
    if (!hits) return null;
    const out = new Uint8Array(nodes.length);
    for (let i = 0; i < trace.count; i++) {
      const node = hits[i] ? picture.of(i) : -1;
      if (node >= 0) out[node] = 1;
    }
    return out;
  }, [hits, picture]);
  const near = (dx: number, dy: number) => {
    let best = -1;
    let least = Infinity;
    nodes.forEach((node, k) => {
      const x = placed.x[k] - placed.x[current];
      const y = placed.y[k] - placed.y[current];
      const along = x * dx + y * dy;
      if (node.span < 0 || along <= 4) return;
      const far = along + 3 * Math.abs(x * dy - y * dx);
      if (far < least) [best, least] = [k, far];
    });
    if (best >= 0) select(nodes[best].span);
  };
  keys.current = (key) => {
    if (key === "w" || key === "s") setZoom(Math.min(3, Math.max(0.2, zoom * (key === "w" ? 1.25 : 0.8))));
    else if (key === "0") setZoom(whole());
    else if (key === "a" || key === "d") box.current!.scrollLeft += key === "a" ? -160 : 160;
    else if (key === "Enter") inspect();
    else if (key === "ArrowLeft" || key === "h") near(-1, 0);
    else if (key === "ArrowRight" || key === "l") near(1, 0);
    else if (key === "ArrowUp" || key === "k") near(0, -1);
    else if (key === "ArrowDown" || key === "j") near(0, 1);
    else return false;
    return true;
  };
  const drag = useRef<{ x: number; y: number; left: number; top: number } | null>(null);
  return (
    <div
      class="drawing" ref={box} tabIndex={0} role="group" aria-label={`Graph, ${count(nodes.length)} ${plural(nodes.length, "box", "boxes")}, ${count(edges.length)} ${plural(edges.length, "arrow")}`}
      onPointerDown={(event) => {
        if (event.pointerType === "mouse" && !event.button) drag.current = { x: event.clientX, y: event.clientY, left: box.current!.scrollLeft, top: box.current!.scrollTop };
      }}
      onPointerMove={(event) => {
        if (drag.current && event.buttons) box.current!.scrollTo(drag.current.left + drag.current.x - event.clientX, drag.current.top + drag.current.y - event.clientY);
        else drag.current = null;
      }}
    >
      <svg width={placed.width * zoom} height={placed.height * zoom} viewBox={`0 0 ${placed.width} ${placed.height}`}>
        <defs>
          <marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto-start-reverse" markerUnits="userSpaceOnUse">
            <path d="M0 0.5 L8 4 L0 7.5 Z" class="tip" />
          </marker>
        </defs>
        {edges.map((edge, k) => (
          <Arrow key={k} edge={edge} points={placed.paths[k]} isDim={lit !== null && !lit[edge.from] && !lit[edge.to]} isNear={edge.from === current || edge.to === current} />
        ))}
        {nodes.map((node, k) => (
          <Box key={node.key} node={node} x={placed.x[k] - placed.wide[k] / 2} y={placed.y[k] - placed.high / 2} wide={placed.wide[k]} high={placed.high} isOn={k === current} isDim={lit !== null && !lit[k]} select={select} />
        ))}
      </svg>
    </div>
  );
}

function Arrow({ edge, points, isDim, isNear }: { edge: GraphEdge; points: { x: number; y: number }[]; isDim: boolean; isNear: boolean }) {
  const k = points.length >> 1;
  const [before, at, after] = [points[k - 1], points[k], points[k + 1] ?? points[k]];
  // On the curve: half of the control point, the rest from the midpoints on both sides.
  const [left, right] = [k > 1 ? 0.5 : 1, k < points.length - 2 ? 0.5 : 1];
  const on = (axis: "x" | "y") => 0.5 * at[axis] + 0.25 * (before[axis] * left + at[axis] * (1 - left)) + 0.25 * (after[axis] * right + at[axis] * (1 - right));
  const middle = points.length > 2 ? { x: on("x"), y: on("y") } : { x: (points[0].x + points[1].x) / 2, y: (points[0].y + points[1].y) / 2 };
  let path = `M${points[0].x} ${points[0].y}`;
  for (let k = 1; k < points.length - 1; k++) {
    const end = k === points.length - 2 ? points[k + 1] : { x: (points[k].x + points[k + 1].x) / 2, y: (points[k].y + points[k + 1].y) / 2 };
    path += ` Q${points[k].x} ${points[k].y} ${end.x} ${end.y}`;
  }
  if (points.length === 2) path += ` L${points[1].x} ${points[1].y}`;
  return (
    <g class={`arrow a-${edge.style}${isDim ? " dim" : ""}${isNear ? " near" : ""}`}>
      <path d={path} fill="none" stroke-width={edge.style === "executed" ? Math.min(2.6, 1 + 0.4 * Math.log10(edge.calls)) : 1.2} marker-end="url(#tip)" />
      {edge.calls > 1 && (
        <text x={middle.x} y={middle.y + 3.5} text-anchor="middle">
          {`×${count(edge.calls)}`}
        </text>
      )}
    </g>
  );
}

interface BoxProps {
  node: GraphNode;
  x: number;
  y: number;
  wide: number;
  high: number;
  isOn: boolean;
  isDim: boolean;
  select: (index: number, isByPointer?: boolean) => void;
}

function Box({ node, x, y, wide, high, isOn, isDim, select }: BoxProps) {
  const most = Math.max(3, Math.floor((wide - 24) / 6.9));
  const label = visible(node.label);
  const isFlat = high < 40;
  return (
    <g
      class={`box k-${kindClass(node.kind)}${isOn ? " on" : ""}${node.isBad ? " bad" : ""}${node.isFaint ? " possible" : ""}${isDim ? " dim" : ""}`}
      transform={`translate(${x.toFixed(1)} ${y.toFixed(1)})`} role="button" tabIndex={node.span < 0 ? -1 : 0} aria-label={visible(`${node.label}, ${node.note}`)} aria-pressed={isOn}
      onClick={() => node.span >= 0 && select(node.span, true)}
      onKeyDown={(event) => {
        if (event.key === "Enter" && node.span >= 0) {
          event.stopPropagation();
          select(node.span, true);
        }
      }}
    >
      <title>{visible(node.hint)}</title>
      <rect width={wide} height={high} rx="7" />
      <rect class="edge" x="0" y="7" width="3" height={high - 14} rx="1.5" />
      <text class="title" x="13" y={isFlat ? high / 2 + 4 : 19}>
        {label.length > most ? `${label.slice(0, most - 1)}…` : label}
      </text>
      {!isFlat && (
        <text class="note" x="13" y="35">
          {visible(node.note)}
        </text>
      )}
      {node.loops > 0 && (
        <text class="note" x={wide - 10} y="19" text-anchor="end">
          {`↻ ${count(node.loops)}`}
        </text>
      )}
    </g>
  );
}

function Branches({ context }: { context: Context }) {
  const missed = context.branches.filter((each) => !each.taken);
  if (!missed.length) return null;
  return (
    <details class="branches" open>
      <summary>
        {count(missed.length)} {plural(missed.length, "branch", "branches")} of the source not taken by this run
      </summary>
      <ul>
        {missed.slice(0, 100).map((each, k) => (
          <li key={k}>
            <span class="mono">{visible(each.text)}</span> <span class="faint mono">{visible(`${each.file}:${each.line}`)}</span>
          </li>
        ))}
        {missed.length > 100 && <li class="faint">and {count(missed.length - 100)} more</li>}
      </ul>
    </details>
  );
}

/** Fold by name; the names with the least self time become one box. */
function folded(trace: Trace): Picture {
  const all = foldByName(trace);
  const ranked = Array.from({ length: all.count }, (_, k) => k).sort((a, b) => all.self[b] + all.errors[b] * 1e15 - (all.self[a] + all.errors[a] * 1e15) || all.calls[b] - all.calls[a] || a - b);
  const isCut = all.count > MAX_NODES;
  const shown = isCut ? ranked.slice(0, MAX_NODES - 1) : ranked;
  const nodeOf = new Int32Array(all.count).fill(isCut ? shown.length : -1);
  shown.sort((a, b) => all.first[a] - all.first[b]);
  shown.forEach((name, k) => (nodeOf[name] = k));
  const nodes: GraphNode[] = shown.map((name) => {
    const first = all.first[name];
    const errors = all.errors[name];
    const calls = `${count(all.calls[name])} ${plural(all.calls[name], "call")}`;
    const note = `${calls} · ${duration(all.total[name])}${errors ? ` · ${count(errors)} ${plural(errors, "error")}` : ""}`;
    return {
      key: String(name), label: trace.nameOf(first), note, kind: trace.kindOf(first), span: all.slowest[name], isBad: errors > 0, isFaint: false, loops: 0,
      hint: `${trace.nameOf(first)} (${trace.kindOf(first)}): ${calls}, total ${duration(all.total[name])}, self ${duration(all.self[name])}`,
    };
  });
  const others = all.count - shown.length;
  if (isCut) {
    let calls = 0;
    for (const name of ranked.slice(MAX_NODES - 1)) calls += all.calls[name];
    const note = `${count(calls)} ${plural(calls, "call")}`;
    nodes.push({ key: "others", label: `${count(others)} other names`, note, kind: "function", span: -1, isBad: false, isFaint: true, loops: 0, hint: "names with less self time" });
  }
  const calls = new Map<number, number>();
  for (let i = 0; i < trace.count; i++) {
    if (trace.parent[i] < 0) continue;
    const from = nodeOf[all.of[trace.parent[i]]];
    const to = nodeOf[all.of[i]];
    if (from === to) nodes[from].loops++;
    else calls.set(from * nodes.length + to, (calls.get(from * nodes.length + to) ?? 0) + 1);
  }
  const edges: GraphEdge[] = [...calls]
    .sort((a, b) => b[1] - a[1])
    .slice(0, MAX_EDGES)
    .map(([pair, times]) => ({ from: Math.floor(pair / nodes.length), to: pair % nodes.length, calls: times, style: "executed" }));
  const omitted = [isCut ? `${count(others)} of ${count(all.count)} names folded into one box` : "", calls.size > edges.length ? `${count(calls.size - edges.length)} rare arrows not shown` : ""].filter(Boolean).join("; ");
  return { nodes, edges, placed: place(nodes, edges), omitted, of: (span) => (span >= 0 && span < trace.count ? nodeOf[all.of[span]] : -1) };
}

function asItRan(trace: Trace): Picture {
  const nodes: GraphNode[] = [];
  const edges: GraphEdge[] = [];
  for (let i = 0; i < trace.count; i++) {
    const note = trace.duration[i] >= 0 ? duration(trace.duration[i]) : trace.statusOf(i);
    nodes.push({
      key: String(i), label: `${trace.nameOf(i)}  ${note}`, note: "", kind: trace.kindOf(i), span: i, isBad: trace.statusOf(i) === "error", isFaint: false, loops: 0,
      hint: `${trace.nameOf(i)} · ${note} · ${trace.detailOf(i)}`,
    });
    if (trace.parent[i] >= 0) edges.push({ from: trace.parent[i], to: i, calls: 1, style: "executed" });
  }
  return { nodes, edges, placed: placeTree(nodes, trace.parent), omitted: "", of: (span) => (span < trace.count ? span : -1) };
}

/** The functions that ran, and those connected with them in the source, nearest first. */
function withSource(trace: Trace, context: Context): Picture {
  const neighbours = new Map<string, string[]>();
  for (const { from, to } of context.edges) {
    for (const [one, other] of [[from, to], [to, from]]) {
      const known = neighbours.get(one);
      if (known) known.push(other);
      else neighbours.set(one, [other]);
    }
  }
  const distance = new Map(context.nodes.filter((node) => node.executed).map((node) => [node.id, 0]));
  for (const [id, steps] of distance) {
    // A map is iterated in the order of insertion, including later additions: breadth first.
    for (const other of neighbours.get(id) ?? []) if (!distance.has(other)) distance.set(other, steps + 1);
  }
  const ranked = context.nodes.filter((node) => distance.has(node.id)).sort((a, b) => distance.get(a.id)! - distance.get(b.id)!);
  const shown = ranked.slice(0, MAX_NODES);
  const at = new Map(shown.map((node, k) => [node.id, k]));
  // A node is identified by its location; for a span without one, by its name.
  const spans = new Map<string, number>();
  for (let i = trace.count - 1; i >= 0; i--) {
    spans.set(`name ${trace.nameOf(i)}`, i);
    if (trace.code[i]) spans.set(`code ${trace.codeOf(i)}`, i);
  }
  const byLocation = new Map<string, number>();
  const nodes: GraphNode[] = shown.map((node, k) => {
    const span = spans.get(`code ${node.id}`) ?? spans.get(`name ${node.name}`) ?? -1;
    byLocation.set(`code ${node.id}`, k);
    if (!byLocation.has(`name ${node.name}`)) byLocation.set(`name ${node.name}`, k);
    return {
      key: node.id, label: node.name, note: `${node.file.split(/[\\/]/).pop()}:${node.line}`, kind: span >= 0 ? trace.kindOf(span) : "function", span: node.executed ? span : -1,
      isBad: span >= 0 && trace.statusOf(span) === "error", isFaint: !node.executed, loops: 0, hint: `${node.name} · ${node.file}:${node.line}${node.executed ? "" : " · did not run"}`,
    };
  });
  const edges: GraphEdge[] = [];
  for (const edge of context.edges) {
    const [from, to] = [at.get(edge.from), at.get(edge.to)];
    if (from === undefined || to === undefined || edges.length >= MAX_EDGES) continue;
    if (from === to) nodes[from].loops++;
    else if (!edges.some((each) => each.from === from && each.to === to)) edges.push({ from, to, calls: 1, style: edge.how });
  }
  const far = context.nodes.length - shown.length;
  const omitted = far ? `${count(far)} ${plural(far, "function")} farther away or unconnected not shown; dashed: possible, but did not run` : "";
  return { nodes, edges, placed: place(nodes, edges), omitted, of: (span) => (span < trace.count ? (byLocation.get(`code ${trace.codeOf(span)}`) ?? byLocation.get(`name ${trace.nameOf(span)}`) ?? -1) : -1) };
}
