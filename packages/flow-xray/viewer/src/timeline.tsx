// The calls by time: a lane for each thread or task, on one canvas.

import { useMemo } from "preact/hooks";
import { Chart, type ChartLook } from "./chart";
import type { Trace } from "./data";
import { count, duration, plural, visible } from "./format";
import type { ViewKeys } from "./keys";
import { lanesOf } from "./lanes";
import { kindIndex, statusLabel } from "./marks";
import { Mini } from "./mini";
import { ticksOf, type Range } from "./range";

interface Props {
  trace: Trace;
  hits: Uint8Array | null;
  selected: number;
  range: Range;
  theme: string;
  keys: ViewKeys;
  setRange: (range: Range) => void;
  select: (index: number, isByPointer?: boolean) => void;
  inspect: () => void;
}

export function Timeline(props: Props) {
  const { trace } = props;
  const model = useMemo(() => lanesOf(trace), [trace]);
  const look = useMemo<ChartLook>(() => {
    const kinds = trace.head.kinds.map(kindIndex);
    const took = (i: number) => (trace.duration[i] >= 0 ? duration(trace.duration[i]) : "");
    return {
      kindOf: (i) => kinds[trace.kind[i]],
      labelOf: (i) => [visible(trace.nameOf(i)), took(i)],
      isBad: (i) => trace.statusOf(i) === "error" || trace.statusOf(i) === "interrupted",
      isUnfinished: (i) => trace.duration[i] < 0,
      describe: (i) =>
        visible([trace.nameOf(i), trace.kindOf(i), took(i) || statusLabel(trace, i), trace.statusOf(i) === "ok" || trace.duration[i] < 0 ? "" : statusLabel(trace, i), trace.start[i] > 0 ? `at + ${duration(trace.start[i])}` : "", trace.detailOf(i).replace(/^interrupted( \u00b7 )?/, "")].filter(Boolean).join(" · ")),
      ticks: (range) => ticksOf(range).map((at) => [at, at === 0 ? "0" : duration(at)]),
    };
  }, [trace]);
  if (!trace.count) return <p class="empty">This trace has no calls.</p>;
  const lanes = Math.max(1, model.heads.size);
  return (
    <Chart
      name="timeline" label={`Timeline, ${count(lanes)} ${plural(lanes, "lane")}, ${count(trace.count)} ${plural(trace.count, "call")}`}
      model={model} look={look} hits={props.hits} range={props.range} selected={props.selected} theme={props.theme} keys={props.keys}
      setRange={props.setRange} select={props.select} inspect={props.inspect}
    >
      <Mini trace={trace} range={props.range} setRange={props.setRange} theme={props.theme} />
    </Chart>
  );
}
