// Where the time was spent: calls with the same path are one bar, callees below their caller.

import { useMemo, useState } from "preact/hooks";
import { Chart, type ChartLook } from "./chart";
import type { Trace } from "./data";
import { foldByPath, icicle } from "./fold";
import { count, duration, plural, visible } from "./format";
import type { ViewKeys } from "./keys";
import { kindIndex } from "./marks";
import { ticksOf, type Range } from "./range";

interface Props {
  trace: Trace;
  hits: Uint8Array | null;
  selected: number;
  theme: string;
  keys: ViewKeys;
  select: (index: number, isByPointer?: boolean) => void;
  inspect: () => void;
}

export function Flame({ trace, hits, selected, theme, keys, select, inspect }: Props) {
  const folded = useMemo(() => foldByPath(trace), [trace]);
  const model = useMemo(() => icicle(folded), [folded]);
  const [range, setRange] = useState<Range>({ from: 0, until: model.length });
  const [chosen, setChosen] = useState(-1);
  const look = useMemo<ChartLook>(() => {
    const kinds = trace.head.kinds.map(kindIndex);
    const times = (k: number) => (folded.calls[k] > 1 ? ` ×${count(folded.calls[k])}` : "");
    return {
      kindOf: (k) => kinds[trace.kind[folded.first[k]]],
      labelOf: (k) => [visible(trace.nameOf(folded.first[k])) + times(k), duration(folded.total[k])],
      isBad: (k) => folded.errors[k] > 0,
      isUnfinished: () => false,
      describe: (k) => {
        const share = ((model.until[k] - model.from[k]) / model.length) * 100;
        const parts = [
          trace.nameOf(folded.first[k]), trace.kindOf(folded.first[k]), `${count(folded.calls[k])} ${plural(folded.calls[k], "call")}`,
          `total ${duration(folded.total[k])}`, `own ${duration(folded.self[k])}`,
        ];
        if (folded.calls[k] > 1) parts.push(`mean ${duration(folded.total[k] / folded.calls[k])}`);
        parts.push(`${share < 0.1 && share > 0 ? "<0.1" : share.toFixed(share < 10 ? 1 : 0)} %`);
        if (folded.errors[k]) parts.push(`${count(folded.errors[k])} ${plural(folded.errors[k], "error")}`);
        return visible(parts.join(" · "));
      },
      ticks: (shown) => (model.isByCalls ? [] : ticksOf(shown).map((at) => [at, at === 0 ? "0" : duration(at)])),
    };
  }, [trace, folded]);
  const lit = useMemo(() => {
    if (!hits) return null;
    const out = new Uint8Array(folded.count);
    for (let i = 0; i < trace.count; i++) if (hits[i]) out[folded.of[i]] = 1;
    return out;
  }, [hits, folded]);
  if (!trace.count) return <p class="empty">This trace has no calls.</p>;
  const current = chosen >= 0 && folded.of[selected] === chosen ? chosen : folded.of[selected];
  return (
    <Chart
      name="flame" label={`Flame, ${count(folded.count)} folded ${plural(folded.count, "call")}`}
      model={model} look={look} hits={lit} range={range} selected={current} theme={theme} keys={keys} setRange={setRange} inspect={inspect} zoomsOnClick
      select={(k, isByPointer) => {
        setChosen(k);
        select(folded.slowest[k], isByPointer);
      }}
    >
      <p class="chart-note">
        Calls with the same path of names are one bar; its width is {model.isByCalls ? "their number" : "their total time"}. Click to zoom in, <kbd>0</kbd> to show all.
        {range.until - range.from < model.length * 0.999 && (
          <button class="link" onClick={() => setRange({ from: 0, until: model.length })}>
            show all
          </button>
        )}
      </p>
    </Chart>
  );
}
