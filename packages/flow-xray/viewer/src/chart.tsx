// Bars in rows on one canvas, for the timeline and the flame view.
//
// Theory of operation. A model lays every item out once, in linear (or n log n) time and without
// recursion: a row, a start and an end. Within a row items are ordered and do not overlap. So
// drawing costs only what is visible: for each visible row a binary search finds the first bar, and
// another search skips bars that share a pixel; prefix sums say whether a skipped one is an error
// or a hit. The number of elements in the document never changes.

import { useEffect, useLayoutEffect, useMemo, useRef, useState } from "preact/hooks";
import type { ComponentChildren } from "preact";
import { moved, inside, zoomed, type Range } from "./range";
import { palette, type Palette } from "./palette";
import type { ViewKeys } from "./keys";

export interface ChartModel {
  rows: number;
  rowStart: Int32Array; // row -> its first position; rows + 1 numbers
  item: Int32Array; // position -> item
  row: Int32Array; // item -> row
  from: Float64Array; // by item
  until: Float64Array;
  length: number;
  heads: Map<number, string>; // rows that carry a title instead of bars
}

export interface ChartLook {
  kindOf(item: number): number; // position in the palette
  labelOf(item: number): [name: string, more: string]; // the second part is shown where there is room
  isBad(item: number): boolean;
  isUnfinished(item: number): boolean;
  describe(item: number): string;
  ticks(range: Range): [at: number, label: string][];
}

interface Props {
  name: string;
  label: string;
  model: ChartModel;
  look: ChartLook;
  hits: Uint8Array | null; // by item
  range: Range;
  selected: number;
  theme: string;
  keys: ViewKeys;
  setRange: (range: Range) => void;
  select: (item: number, isByPointer: boolean) => void;
  inspect: () => void;
  zoomsOnClick?: boolean;
  children?: ComponentChildren;
}

const AXIS = 28;
const MIN_BAR = 3; // pixels; narrower bars are drawn together

/** Prefix sums over the positions, to count the marks between two of them in constant time. */
function sums(model: ChartModel, test: (item: number) => boolean): Int32Array {
  const out = new Int32Array(model.item.length + 1);
  for (let k = 0; k < model.item.length; k++) out[k + 1] = out[k] + (test(model.item[k]) ? 1 : 0);
  return out;
}

/** The first position in [low, high) whose value is not below `value`, else `high`. */
function firstFrom(model: ChartModel, values: Float64Array, low: number, high: number, value: number): number {
  while (low < high) {
    const middle = (low + high) >> 1;
    if (values[model.item[middle]] < value) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** The item of a row at a moment, or the nearest one; -1 in a row without items. */
export function nearest(model: ChartModel, row: number, at: number): number {
  const low = model.rowStart[row];
  const high = model.rowStart[row + 1];
  if (low === high) return -1;
  const k = Math.min(high - 1, firstFrom(model, model.until, low, high, at));
  const after = model.item[k];
  if (k === low || model.from[after] <= at) return after;
  const before = model.item[k - 1];
  return at - model.until[before] < model.from[after] - at ? before : after;
}

export function Chart(props: Props) {
  const { model, look, hits, range, selected, keys } = props;
  const canvas = useRef<HTMLCanvasElement>(null);
  const scroller = useRef<HTMLDivElement>(null);
  const [size, setSize] = useState({ width: 0, height: 0, row: 22 });
  const [hovered, setHovered] = useState(-1);
  const scale = size.width / Math.max(1e-9, range.until - range.from);
  const colours = useMemo(() => palette(), [props.theme]);
  const bad = useMemo(() => sums(model, look.isBad), [model]);
  const lit = useMemo(() => (hits ? sums(model, (item) => hits[item] !== 0) : null), [model, hits]);

  useLayoutEffect(() => {
    const element = scroller.current!;
    const measure = () => setSize({ width: element.clientWidth, height: element.clientHeight, row: matchMedia("(pointer: coarse)").matches ? 30 : 22 });
    const observer = new ResizeObserver(measure);
    observer.observe(element);
    measure();
    return () => observer.disconnect();
  }, []);

  const draw = () => {
    const context = canvas.current?.getContext("2d");
    if (!context || !size.width) return;
    const ratio = devicePixelRatio || 1;
    const width = Math.round(size.width * ratio);
    const height = Math.round(size.height * ratio);
    if (canvas.current!.width !== width || canvas.current!.height !== height) {
      canvas.current!.width = width;
      canvas.current!.height = height;
    }
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    paint(context, { model, look, colours, bad, lit, hits, range, scale, size, top: scroller.current!.scrollTop, selected, hovered });
  };
  const pending = useRef(0);
  const later = () => {
    cancelAnimationFrame(pending.current);
    pending.current = requestAnimationFrame(draw);
  };
  useLayoutEffect(draw);
  useEffect(() => () => cancelAnimationFrame(pending.current), []);

  // Scroll to the selected bar, in both directions.
  useLayoutEffect(() => {
    if (selected < 0 || !size.height) return;
    const element = scroller.current!;
    const y = model.row[selected] * size.row;
    const room = size.height - AXIS;
    if (y < element.scrollTop) element.scrollTop = Math.max(0, y - size.row);
    else if (y + 2 * size.row > element.scrollTop + room) element.scrollTop = y - room + 2 * size.row;
    const length = range.until - range.from;
    if (model.until[selected] < range.from || model.from[selected] > range.until) {
      props.setRange(inside((model.from[selected] + model.until[selected] - length) / 2, length, model.length));
    }
  }, [selected, model, size.height]);

  const hit = (x: number, y: number): number => {
    const row = Math.floor((y - AXIS + scroller.current!.scrollTop) / size.row);
    if (y < AXIS || row < 0 || row >= model.rows) return -1;
    const at = range.from + x / scale;
    const item = nearest(model, row, at);
    if (item < 0) return -1;
    const slack = 4 / scale;
    return model.from[item] - slack <= at && at <= Math.max(model.until[item], model.from[item] + MIN_BAR / scale) + slack ? item : -1;
  };

  const fit = (item: number) => {
    const length = Math.max(model.until[item] - model.from[item], model.length * 1e-7, Math.min(10, model.length));
    props.setRange(inside(model.from[item] - length * 0.04, Math.min(model.length, length * 1.08), model.length));
  };

  // ---- pointer: drag to pan, two fingers to pinch, click to select
  const held = useRef(new Map<number, { x: number; y: number }>());
  const drag = useRef<{ x: number; y: number; range: Range; top: number; isMoved: boolean } | null>(null);
  const place = (event: PointerEvent | WheelEvent | MouseEvent) => {
    const box = scroller.current!.getBoundingClientRect();
    return { x: event.clientX - box.left, y: event.clientY - box.top };
  };
  const begin = (at: { x: number; y: number }, isMoved = false) => {
    drag.current = { ...at, range, top: scroller.current!.scrollTop, isMoved };
  };
  const down = (event: PointerEvent) => {
    if (event.button) return;
    held.current.set(event.pointerId, place(event));
    begin(place(event), held.current.size > 1);
  };
  const move = (event: PointerEvent) => {
    const at = place(event);
    const before = held.current.get(event.pointerId);
    if (!before) {
      if (event.pointerType === "mouse") setHovered(hit(at.x, at.y));
      return;
    }
    if (held.current.size === 2) {
      const other = [...held.current].find(([id]) => id !== event.pointerId)![1];
      // The point under each finger stays under it.
      const was = Math.max(12, Math.abs(before.x - other.x));
      const is = Math.max(12, Math.abs(at.x - other.x));
      held.current.set(event.pointerId, at);
      const length = Math.min(model.length, Math.max(Math.min(10, model.length), ((range.until - range.from) * was) / is));
      props.setRange(inside(range.from + other.x / scale - (other.x / size.width) * length, length, model.length));
      return;
    }
    const from = drag.current!;
    if (!from.isMoved && Math.hypot(at.x - from.x, at.y - from.y) < 5) return;
    if (!from.isMoved) (event.currentTarget as HTMLElement).setPointerCapture(event.pointerId);
    from.isMoved = true;
    setHovered(-1);
    scroller.current!.scrollTop = from.top - (at.y - from.y);
    props.setRange(moved(from.range, -(at.x - from.x) / size.width, model.length));
  };
  const up = (event: PointerEvent) => {
    const was = drag.current;
    held.current.delete(event.pointerId);
    if (held.current.size) begin([...held.current.values()][0], true);
    else drag.current = null;
    if (event.type !== "pointerup" || !was || was.isMoved || held.current.size) return;
    const at = place(event);
    const item = hit(at.x, at.y);
    if (item < 0) return;
    props.select(item, true);
    if (props.zoomsOnClick) fit(item);
  };
  useEffect(() => {
    const element = scroller.current!;
    const turn = (event: WheelEvent) => {
      event.preventDefault();
      const isSideways = event.shiftKey || Math.abs(event.deltaX) > Math.abs(event.deltaY);
      const delta = isSideways && !event.deltaX ? event.deltaY : isSideways ? event.deltaX : event.deltaY;
      if (isSideways) props.setRange(moved(range, delta / size.width, model.length));
      else props.setRange(zoomed(range, place(event).x / size.width, Math.exp(delta / (event.ctrlKey ? 90 : 320)), model.length));
    };
    element.addEventListener("wheel", turn, { passive: false });
    return () => element.removeEventListener("wheel", turn);
  });

  // ---- keyboard
  keys.current = (key) => {
    const middle = selected < 0 ? 0.5 : ((model.from[selected] + model.until[selected]) / 2 - range.from) / (range.until - range.from);
    const isInSight = middle >= 0 && middle <= 1;
    const go = (item: number) => item >= 0 && props.select(item, false);
    if (key === "w" || key === "s") props.setRange(zoomed(range, isInSight ? middle : 0.5, key === "w" ? 0.6 : 1 / 0.6, model.length));
    else if (key === "a" || key === "d") props.setRange(moved(range, key === "d" ? 0.2 : -0.2, model.length));
    else if (key === "0") props.setRange({ from: 0, until: model.length });
    else if (selected < 0) return false;
    else if (key === "z") fit(selected);
    else if (key === "Enter") {
      if (props.zoomsOnClick) fit(selected);
      props.inspect();
    } else if (key === "ArrowLeft" || key === "h" || key === "ArrowRight" || key === "l") {
      const row = model.row[selected];
      const here = firstFrom(model, model.from, model.rowStart[row], model.rowStart[row + 1], model.from[selected]);
      let k = here;
      while (k < model.rowStart[row + 1] - 1 && model.item[k] !== selected) k++;
      const next = k + (key === "ArrowRight" || key === "l" ? 1 : -1);
      if (next >= model.rowStart[row] && next < model.rowStart[row + 1]) go(model.item[next]);
    } else if (key === "ArrowUp" || key === "k" || key === "ArrowDown" || key === "j") {
      const step = key === "ArrowUp" || key === "k" ? -1 : 1;
      const at = step < 0 ? model.from[selected] : (Math.max(model.from[selected], range.from) + Math.min(model.until[selected], range.until)) / 2;
      for (let row = model.row[selected] + step; row >= 0 && row < model.rows; row += step) {
        const item = nearest(model, row, at);
        if (item >= 0) {
          go(item);
          break;
        }
      }
    } else return false;
    return true;
  };

  const shown = hovered >= 0 ? hovered : selected;
  return (
    <section class="chart">
      {props.children}
      <div
        class="chart-scroll" ref={scroller} tabIndex={0} role="group" aria-roledescription="chart" aria-label={props.label} aria-describedby={`${props.name}-line`}
        onScroll={later} onPointerDown={down} onPointerMove={move} onPointerUp={up} onPointerCancel={up} onPointerLeave={() => setHovered(-1)}
        onDblClick={(event) => {
          const at = place(event);
          const item = hit(at.x, at.y);
          if (item >= 0) fit(item);
        }}
      >
        <div class="chart-stick">
          <canvas ref={canvas} aria-hidden="true" style={{ width: `${size.width}px`, height: `${size.height}px`, cursor: hovered >= 0 ? "pointer" : "grab" }} />
        </div>
        <div style={{ height: `${model.rows * size.row + AXIS + 12}px` }} />
      </div>
      <div class="chart-line" id={`${props.name}-line`} role="status" aria-live="polite">
        {shown >= 0 ? look.describe(shown) : ""}
      </div>
    </section>
  );
}

interface Scene {
  model: ChartModel;
  look: ChartLook;
  colours: Palette;
  bad: Int32Array;
  lit: Int32Array | null;
  hits: Uint8Array | null;
  range: Range;
  scale: number;
  size: { width: number; height: number; row: number };
  top: number;
  selected: number;
  hovered: number;
}

function paint(context: CanvasRenderingContext2D, scene: Scene): void {
  const { model, look, colours, bad, lit, hits, range, scale, size, top } = scene;
  const { width, height } = size;
  context.clearRect(0, 0, width, height);
  const ticks = look.ticks(range);
  context.fillStyle = colours.line;
  for (const [at] of ticks) context.fillRect(Math.round((at - range.from) * scale), AXIS, 1, height);
  context.font = `11.5px ${colours.font}`;
  context.textBaseline = "middle";
  const first = Math.max(0, Math.floor(top / size.row));
  const last = Math.min(model.rows, Math.ceil((top + height - AXIS) / size.row));
  for (let row = first; row < last; row++) {
    const y = AXIS + row * size.row - top;
    const title = model.heads.get(row);
    if (title !== undefined) {
      context.fillStyle = colours.line;
      context.fillRect(0, y + size.row - 1, width, 1);
      context.fillStyle = colours.mute;
      context.font = `600 11px ${colours.font}`;
      context.fillText(title, 12, y + size.row / 2 + 1, width - 24);
      context.font = `11.5px ${colours.font}`;
      continue;
    }
    const high = model.rowStart[row + 1];
    for (let k = firstFrom(model, model.until, model.rowStart[row], high, range.from); k < high; ) {
      const item = model.item[k];
      const x = (model.from[item] - range.from) * scale;
      if (x > width) break;
      const long = (model.until[item] - model.from[item]) * scale;
      if (long >= MIN_BAR) {
        bar(context, item, x, y, long);
        k++;
        continue;
      }
      // Bars of a few pixels: one mark for all that start here, except a long one at their end.
      let end = firstFrom(model, model.from, k + 1, high, range.from + (x + MIN_BAR) / scale);
      const tail = model.item[end - 1];
      if (end - 1 > k && (model.until[tail] - model.from[tail]) * scale >= MIN_BAR) end--;
      const isBad = bad[end] > bad[k];
      context.globalAlpha = lit && lit[end] === lit[k] ? 0.18 : 0.9;
      context.fillStyle = isBad ? colours.bad : colours.kinds[look.kindOf(item)];
      context.fillRect(Math.min(x, width - MIN_BAR + 1), y + 2, end > k + 1 ? MIN_BAR : MIN_BAR - 1, size.row - 4);
      context.globalAlpha = 1;
      k = Math.max(k + 1, end);
    }
  }
  for (const item of [scene.hovered, scene.selected]) {
    if (item < 0 || model.row[item] < first || model.row[item] >= last) continue;
    const x = Math.max(-4, (model.from[item] - range.from) * scale);
    const right = Math.min(width + 4, (model.until[item] - range.from) * scale);
    if (right < 0 || x > width) continue;
    context.strokeStyle = item === scene.selected ? colours.accent : colours.mute;
    context.lineWidth = item === scene.selected ? 2 : 1;
    context.strokeRect(x - 0.5, AXIS + model.row[item] * size.row - top + 1, Math.max(MIN_BAR, right - x) + 1, size.row - 2);
  }
  context.fillStyle = colours.bg;
  context.fillRect(0, 0, width, AXIS - 1);
  context.fillStyle = colours.line;
  context.fillRect(0, AXIS - 1, width, 1);
  context.fillStyle = colours.mute;
  context.font = `11px ${colours.font}`;
  for (const [at, label] of ticks) context.fillText(label, Math.round((at - range.from) * scale) + (at === range.from ? 12 : 5), AXIS / 2);

  function bar(target: CanvasRenderingContext2D, item: number, x: number, y: number, long: number): void {
    const left = Math.max(x, -6);
    const wide = Math.min(x + long, width + 6) - left - (long > 8 ? 1 : 0);
    const isBad = look.isBad(item);
    const kind = look.kindOf(item);
    target.globalAlpha = hits && !hits[item] ? 0.25 : 1;
    target.fillStyle = isBad ? colours.badTint : colours.tints[kind];
    target.beginPath();
    target.roundRect(left, y + 2, wide, size.row - 4, Math.min(3, wide / 3));
    target.fill();
    if (look.isUnfinished(item)) hatch(target, left, y + 2, wide, size.row - 4, isBad ? colours.bad : colours.kinds[kind]);
    if (x > -6) {
      target.fillStyle = isBad ? colours.bad : colours.kinds[kind];
      target.fillRect(x, y + 2, Math.min(MIN_BAR, wide), size.row - 4);
    }
    const textAt = Math.max(x + MIN_BAR, 0) + 5;
    const room = Math.min(x + long, width) - textAt - 4;
    if (room > 22) {
      const most = Math.floor(room / 6);
      const [name, more] = look.labelOf(item);
      const label = name.length + more.length + 2 <= most ? `${name}  ${more}` : name;
      target.fillStyle = isBad ? colours.bad : colours.ink;
      target.fillText(label.length > most ? `${label.slice(0, Math.max(1, most - 1))}…` : label, textAt, y + size.row / 2 + 0.5, room);
    }
    target.globalAlpha = 1;
  }
}

function hatch(context: CanvasRenderingContext2D, x: number, y: number, width: number, height: number, colour: string): void {
  context.save();
  context.beginPath();
  context.rect(x, y, width, height);
  context.clip();
  context.strokeStyle = colour;
  context.globalAlpha *= 0.28;
  context.lineWidth = 2;
  context.beginPath();
  for (let at = x - height - (x % 8); at < x + width; at += 8) {
    context.moveTo(at, y + height);
    context.lineTo(at + height, y);
  }
  context.stroke();
  context.restore();
}
