// Totals of time, tokens and errors; this view can be printed.

import type { ComponentChildren } from "preact";
import { useMemo } from "preact/hooks";
import { criticalPath, type Leg } from "./critical";
import type { Json, Trace } from "./data";
import { count, duration, plural, usd, visible } from "./format";
import { text } from "./inspector";
import { Value } from "./json";
import { kindClass, KindMark } from "./marks";

interface Props {
  trace: Trace;
  open: (index: number) => void;
  search: (text: string) => void;
}

interface Group {
  name: string;
  kind: string;
  calls: number;
  selfNs: number;
  errors: number;
  slowest: number;
}

const SHOWN = 10;
const SHOWN_ELSEWHERE = new Set(["status", "journal", "summary", "title"]);
const MAX_LEGS = 12;
const VALUES = 60;

export function Overview({ trace, open, search }: Props) {
  const facts = useMemo(() => gather(trace), [trace]);
  const path = useMemo(() => pathOf(trace), [trace]);
  const models = useMemo(() => byModel(trace), [trace]);
  const value = trace.head.value;
  const meta = Object.keys(trace.head.meta).filter((key) => !SHOWN_ELSEWHERE.has(key));
  const journal = trace.head.meta.journal;
  const most = (groups: Group[]) => groups[0]?.selfNs || 1;
  const repeats = trace.head.repeats;
  if (!trace.count) {
    return (
      <section class="overview" aria-label="Overview" tabIndex={0}>
        <p class="empty">This trace has no calls.</p>
      </section>
    );
  }
  return (
    <section class="overview" aria-label="Overview" tabIndex={0}>
      <div class="panels">
        <Ended trace={trace} title="What failed" calls={facts.errors} query="status:error" open={open} search={search} />
        <Ended trace={trace} title="What was interrupted" calls={facts.interrupted} query="status:interrupted" open={open} search={search} />
        <div class="side-by-side">
          <Panel title="Time by kind">
            <Table heads={["kind", "calls", "self time"]}>
              {facts.kinds.slice(0, 12).map((each) => (
                <Share key={each.kind} kind={each.kind} name={each.kind} part={each.selfNs / most(facts.kinds)} go={() => search(`kind:"${each.kind}"`)} cells={[count(each.calls), duration(each.selfNs)]} />
              ))}
            </Table>
          </Panel>
          {models.length > 0 && (
            <Panel title="Models">
              <Table heads={["model", "calls", "in", "out", "cost"]} hasShare={false}>
                {models.slice(0, SHOWN).map((each) => (
                  <tr key={each.name} class="clickable" onClick={() => search(each.isNamed ? `model:"${each.name}"` : "kind:llm")}>
                    <td>
                      <button class="link plain">{visible(each.name)}</button>
                    </td>
                    <td class="n">{count(each.calls)}</td>
                    <td class="n">
                      {count(each.input)}
                      {each.cached > 0 && <span class="faint aside"> ({count(each.cached)} cached)</span>}
                    </td>
                    <td class="n">{count(each.output)}</td>
                    <td class="n">
                      {each.priced ? usd(each.cost) : <span class="faint">unpriced</span>}
                      {each.priced > 0 && each.priced < each.calls && <span class="faint aside"> +{count(each.calls - each.priced)} unpriced</span>}
                    </td>
                  </tr>
                ))}
              </Table>
            </Panel>
          )}
          <Panel title="Slowest by self time">
            <Table heads={["call", "calls", "self time"]}>
              {facts.slowest.slice(0, SHOWN).map((each) => (
                <Share
                  key={each.slowest} kind={each.kind} name={each.name} part={each.selfNs / most(facts.slowest)} go={() => open(each.slowest)}
                  cells={[count(each.calls), duration(each.selfNs)]}
                />
              ))}
            </Table>
          </Panel>
          {path.stretches.length > 1 && (
            <Panel title="Critical path" note="the calls that the end of the run waited for">
              <Table heads={["call", path.isFolded ? "times" : "at", "on the path"]}>
                {path.stretches.slice(0, MAX_LEGS).map(({ index, ns, times }) => (
                  <Share
                    key={index} kind={trace.kindOf(index)} name={trace.nameOf(index)} part={ns / path.most} go={() => open(index)}
                    cells={[path.isFolded ? `×${count(times)}` : trace.start[index] ? `+ ${duration(trace.start[index])}` : "0", duration(ns)]}
                  />
                ))}
              </Table>
              {path.stretches.length > MAX_LEGS && <p class="faint">and {count(path.stretches.length - MAX_LEGS)} other names</p>}
            </Panel>
          )}
          {repeats.length > 0 && (
            <Panel title="Repeated calls" note="same name, same input">
              <Table heads={["call", "times", "together"]} hasShare={false}>
                {repeats.slice(0, SHOWN).map(([first, calls, ns]) => (
                  <tr key={first} class="clickable" onClick={() => open(first)}>
                    <td>
                      <span class={`dot k-${kindClass(trace.kindOf(first))}`} />
                      <button class="link plain">{visible(trace.nameOf(first))}</button> <span class="faint">{visible(trace.detailOf(first))}</span>
                    </td>
                    <td class="n">×{count(calls)}</td>
                    <td class="n">{duration(ns)}</td>
                  </tr>
                ))}
              </Table>
              {repeats.length > SHOWN && <p class="faint">and {count(repeats.length - SHOWN)} more{repeats.length >= 40 ? " at least" : ""}</p>}
            </Panel>
          )}
          {value !== null && (
            <Panel title="Result">
              <Value value={value} label="Result" most={VALUES} />
            </Panel>
          )}
          {meta.length > 0 && (
            <Panel title="About this trace">
              <Value value={Object.fromEntries(meta.map((key) => [key, trace.head.meta[key]])) as Json} label="About this trace" most={VALUES} />
            </Panel>
          )}
        </div>
        <p class="faint wide">
          {journal !== undefined && journal !== null && typeof journal === "object" && !Array.isArray(journal) && (
            <>
              Read from a journal of {text(journal.sessions)} {plural(countOf(journal.sessions), "session")}
              {journal.is_complete === true ? "" : ", not closed"}
              {countOf(journal.damaged_records) > 0 ? `; ${text(journal.damaged_records)} damaged ${plural(countOf(journal.damaged_records), "record")} left out` : ""}.{" "}
            </>
          )}
          <button class="link quiet no-print" onClick={() => print()}>
            Print this overview
          </button>
        </p>
      </div>
    </section>
  );
}

interface EndedProps extends Props {
  title: string;
  calls: number[];
  query: string;
}

/** Failed or interrupted calls; the first ones are listed. */
function Ended({ trace, title, calls, query, open, search }: EndedProps) {
  if (!calls.length) return null;
  return (
    <Panel title={title} note={`${count(calls.length)} ${plural(calls.length, "call")}`} tone="bad wide">
      <ul class="list">
        {calls.slice(0, SHOWN).map((i) => (
          <li key={i} onClick={() => open(i)} class="clickable">
            <KindMark trace={trace} index={i} />
            <button class="link plain">{visible(trace.nameOf(i))}</button>
            <span class="detail">{visible(trace.detailOf(i))}</span>
          </li>
        ))}
      </ul>
      {calls.length > SHOWN && (
        <button class="link" onClick={() => search(query)}>
          all {count(calls.length)}
        </button>
      )}
    </Panel>
  );
}

function Panel({ title, note, tone = "", children }: { title: string; note?: string; tone?: string; children: ComponentChildren }) {
  return (
    <div class={`panel ${tone}`}>
      <h3>
        {title}
        {note && <span class="note">{note}</span>}
      </h3>
      {children}
    </div>
  );
}

function Table({ heads, hasShare = true, children }: { heads: string[]; hasShare?: boolean; children: ComponentChildren }) {
  return (
    <table>
      <thead>
        <tr>
          {heads.map((head, k) => (
            <th key={head} class={k ? "n" : ""}>
              {head}
            </th>
          ))}
          {hasShare && (
            <th class="share">
              <span class="offscreen">share</span>
            </th>
          )}
        </tr>
      </thead>
      <tbody>{children}</tbody>
    </table>
  );
}

function Share({ kind, name, part, cells, go }: { kind: string; name: string; part: number; cells: string[]; go: () => void }) {
  return (
    <tr class="clickable" onClick={go}>
      <td>
        <span class={`dot k-${kindClass(kind)}`} />
        <button class="link plain">{visible(name)}</button>
      </td>
      {cells.map((cell, k) => (
        <td class="n" key={k}>
          {cell}
        </td>
      ))}
      <td class="share">
        <i class={`k-${kindClass(kind)}`} style={{ width: `${Math.max(0, Math.min(1, part)) * 100}%` }} />
      </td>
    </tr>
  );
}

interface Stretch extends Leg {
  times: number;
}

/** The path in order of time; a long one is folded by name, most time first. */
function pathOf(trace: Trace): { stretches: Stretch[]; isFolded: boolean; most: number } {
  const legs = criticalPath(trace);
  const isFolded = legs.length > MAX_LEGS;
  let stretches: Stretch[] = legs.map((leg) => ({ ...leg, times: 1 }));
  if (isFolded) {
    const byName = new Map<number, Stretch & { longest: number }>();
    for (const { index, ns } of legs) {
      const key = trace.name[index] * trace.head.kinds.length + trace.kind[index];
      const found = byName.get(key);
      if (!found) byName.set(key, { index, ns, times: 1, longest: ns });
      else {
        if (ns > found.longest) [found.index, found.longest] = [index, ns];
        found.ns += ns;
        found.times++;
      }
    }
    stretches = [...byName.values()].sort((a, b) => b.ns - a.ns);
  }
  let most = 1;
  for (const { ns } of stretches) if (ns > most) most = ns;
  return { stretches, isFolded, most };
}

function countOf(value: Json | undefined): number {
  return typeof value === "number" ? value : 0;
}

interface ModelUse {
  name: string;
  isNamed: boolean;
  calls: number;
  input: number;
  output: number;
  cached: number;
  cost: number;
  priced: number;
}

function byModel(trace: Trace): ModelUse[] {
  const llm = trace.head.kinds.indexOf("llm");
  const found = new Map<number, ModelUse>();
  for (let i = 0; i < trace.count; i++) {
    if (trace.kind[i] !== llm) continue;
    const name = trace.modelOf(i);
    let use = found.get(trace.model[i]);
    if (!use) found.set(trace.model[i], (use = { name: name || "unnamed model", isNamed: name !== "", calls: 0, input: 0, output: 0, cached: 0, cost: 0, priced: 0 }));
    use.calls++;
    use.input += trace.input[i];
    use.output += trace.output[i];
    use.cached += trace.cached[i];
    if (!Number.isNaN(trace.cost[i])) {
      use.cost += trace.cost[i];
      use.priced++;
    }
  }
  return [...found.values()].sort((a, b) => b.cost - a.cost || b.input + b.output - a.input - a.output);
}

function gather(trace: Trace) {
  const kinds = new Map<string, Group>();
  const calls = new Map<number, Group>();
  const errors: number[] = [];
  const interrupted: number[] = []; // the innermost ones, without their callers
  const hasInterruptedBelow = new Uint8Array(trace.count);
  const interruptedStatus = trace.head.statuses.indexOf("interrupted");
  for (let i = trace.count - 1; i >= 0; i--) {
    if (trace.status[i] !== interruptedStatus) continue;
    if (!hasInterruptedBelow[i]) interrupted.push(i);
    if (trace.parent[i] >= 0) hasInterruptedBelow[trace.parent[i]] = 1;
  }
  interrupted.reverse();
  const add = <Key,>(map: Map<Key, Group>, key: Key, i: number, isError: boolean) => {
    let group = map.get(key);
    if (!group) map.set(key, (group = { name: trace.nameOf(i), kind: trace.kindOf(i), calls: 0, selfNs: 0, errors: 0, slowest: i }));
    else if (trace.self[i] > trace.self[group.slowest]) group.slowest = i;
    group.calls++;
    group.selfNs += trace.self[i];
    if (isError) group.errors++;
  };
  for (let i = 0; i < trace.count; i++) {
    const isError = trace.isErrorOrigin(i);
    if (isError) errors.push(i);
    add(kinds, trace.kindOf(i), i, isError);
    add(calls, trace.name[i] * trace.head.kinds.length + trace.kind[i], i, isError);
  }
  const bySelf = <Key,>(map: Map<Key, Group>) => [...map.values()].sort((a, b) => b.selfNs - a.selfNs);
  return { kinds: bySelf(kinds), slowest: bySelf(calls), errors, interrupted };
}
