// The whole time range in a strip: activity, errors, and the part that the timeline shows.

import { useLayoutEffect, useMemo, useRef, useState } from "preact/hooks";
import type { Trace } from "./data";
import { palette } from "./palette";
import { inside, type Range } from "./range";

const PARTS = 480;
const HEIGHT = 34;

interface Props {
  trace: Trace;
  range: Range;
  theme: string;
  setRange: (range: Range) => void;
}

/** The number of calls without callees in each part of the time, and the parts with an error. */
function density(trace: Trace): { running: Float64Array; bad: Uint8Array } {
  const steps = new Float64Array(PARTS + 1);
  const bad = new Uint8Array(PARTS);
  const whole = Math.max(1, trace.totals.lengthNs);
  const part = (at: number) => Math.min(PARTS - 1, Math.max(0, Math.floor((at / whole) * PARTS)));
  for (let i = 0; i < trace.count; i++) {
    if (trace.isErrorOrigin(i)) bad[part(trace.start[i])] = 1;
    if (trace.end[i] > i + 1) continue;
    steps[part(trace.start[i])]++;
    steps[part(trace.stop[i]) + 1]--;
  }
  const running = new Float64Array(PARTS);
  for (let k = 0, now = 0; k < PARTS; k++) running[k] = now += steps[k];
  return { running, bad };
}

export function Mini({ trace, range, theme, setRange }: Props) {
  const canvas = useRef<HTMLCanvasElement>(null);
  const [width, setWidth] = useState(0);
  const found = useMemo(() => density(trace), [trace]);
  const whole = Math.max(1, trace.totals.lengthNs);
  useLayoutEffect(() => {
    const element = canvas.current!.parentElement!;
    const observer = new ResizeObserver(() => setWidth(element.clientWidth));
    observer.observe(element);
    setWidth(element.clientWidth);
    return () => observer.disconnect();
  }, []);
  useLayoutEffect(() => {
    const context = canvas.current!.getContext("2d");
    if (!context || !width) return;
    const ratio = devicePixelRatio || 1;
    canvas.current!.width = Math.round(width * ratio);
    canvas.current!.height = Math.round(HEIGHT * ratio);
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    const colours = palette();
    let most = 1;
    for (const each of found.running) if (each > most) most = each;
    const step = width / PARTS;
    context.fillStyle = colours.kinds[6];
    context.globalAlpha = 0.55;
    for (let k = 0; k < PARTS; k++) {
      const high = found.running[k] ? Math.max(2, (Math.log1p(found.running[k]) / Math.log1p(most)) * (HEIGHT - 12)) : 0;
      const left = Math.round(k * step);
      context.fillRect(left, HEIGHT - 3 - high, Math.round((k + 1) * step) - left, high);
    }
    context.globalAlpha = 1;
    context.fillStyle = colours.bad;
    for (let k = 0; k < PARTS; k++) if (found.bad[k]) context.fillRect(k * step - 0.5, 2, Math.max(2, step), 5);
    const from = (range.from / whole) * width;
    const until = Math.max(from + 3, (range.until / whole) * width);
    context.fillStyle = colours.bg;
    context.globalAlpha = 0.72;
    context.fillRect(0, 0, from, HEIGHT);
    context.fillRect(until, 0, width - until, HEIGHT);
    context.globalAlpha = 1;
    if (until - from < width - 1) {
      context.strokeStyle = colours.accent;
      context.lineWidth = 1.5;
      context.strokeRect(from + 0.75, 0.75, until - from - 1.5, HEIGHT - 1.5);
    }
  }, [found, range, width, theme]);
  const go = (event: PointerEvent) => {
    if (!event.buttons) return;
    const box = canvas.current!.getBoundingClientRect();
    const length = range.until - range.from;
    setRange(inside(((event.clientX - box.left) / box.width) * whole - length / 2, length, whole));
  };
  return (
    <div class="mini" aria-hidden="true">
      <canvas
        ref={canvas} style={{ width: `${width}px`, height: `${HEIGHT}px` }} onPointerMove={go}
        onPointerDown={(event) => {
          event.currentTarget.setPointerCapture(event.pointerId);
          go(event);
        }}
      />
    </div>
  );
}
