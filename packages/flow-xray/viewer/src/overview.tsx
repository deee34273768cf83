// Where the time, the tokens and the errors are.

import { useEffect, useMemo, useState } from "preact/hooks";
import type { Json, Payload, Trace } from "./data";
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
  first: number;
}

const SHOWN = 10;

export function Overview({ trace, open, search }: Props) {
  const facts = useMemo(() => gather(trace), [trace]);
  const value = trace.head.value;
  const meta = Object.keys(trace.head.meta).filter((key) => key !== "status" && key !== "journal");
  const journal = trace.head.meta.journal;
  const most = (groups: Group[]) => groups[0]?.selfNs || 1;
  return (
    <section class="overview" aria-label="Overview" tabIndex={0}>
      <div class="panels">
      {facts.errors.length > 0 && (
        <div class="panel bad wide">
          <h3>What failed</h3>
          <ul class="list">
            {facts.errors.slice(0, SHOWN).map((i) => (
              <ErrorLine key={i} trace={trace} index={i} open={open} />
            ))}
          </ul>
          {facts.errors.length > SHOWN && (
            <button class="link" onClick={() => search("status:error")}>
              all {count(facts.errors.length)} errors
            </button>
          )}
        </div>
      )}
      <div class="panel">
        <h3>Time by kind</h3>
        <table>
          <thead>
            <tr>
              <th>kind</th>
              <th class="n">calls</th>
              <th class="n">own time</th>
              <th class="share">
                <span class="offscreen">share</span>
              </th>
            </tr>
          </thead>
          <tbody>
            {facts.kinds.map((each) => (
              <tr key={each.kind} onClick={() => search(`kind:${each.kind}`)} class="clickable">
                <td>
                  <span class={`dot k-${kindClass(each.kind)}`} />
                  <button class="link plain">{visible(each.kind)}</button>
                </td>
                <td class="n">{count(each.calls)}</td>
                <td class="n">{duration(each.selfNs)}</td>
                <td class="share">
                  <i class={`k-${kindClass(each.kind)}`} style={{ width: `${(each.selfNs / most(facts.kinds)) * 100}%` }} />
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
      <div class="panel">
        <h3>Slowest by own time</h3>
        <table>
          <thead>
            <tr>
              <th>call</th>
              <th class="n">calls</th>
              <th class="n">own time</th>
              <th class="share">
                <span class="offscreen">share</span>
              </th>
            </tr>
          </thead>
          <tbody>
            {facts.slowest.slice(0, SHOWN).map((each) => (
              <tr key={each.first} onClick={() => open(each.first)} class="clickable">
                <td>
                  <span class={`dot k-${kindClass(each.kind)}`} />
                  <button class="link plain">{visible(each.name)}</button>
                </td>
                <td class="n">{count(each.calls)}</td>
                <td class="n">{duration(each.selfNs)}</td>
                <td class="share">
                  <i class={`k-${kindClass(each.kind)}`} style={{ width: `${(each.selfNs / most(facts.slowest)) * 100}%` }} />
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
      <Models trace={trace} calls={facts.modelCalls} search={search} />
      {(value !== null || meta.length > 0) && (
        <div class="panel">
          {value !== null && (
            <>
              <h3>Result</h3>
              <Value value={value} label="Result" />
            </>
          )}
          {meta.length > 0 && (
            <>
              <h3>About this trace</h3>
              <Value value={Object.fromEntries(meta.map((key) => [key, trace.head.meta[key]])) as Json} label="About this trace" />
            </>
          )}
        </div>
      )}
      {journal !== undefined && journal !== null && typeof journal === "object" && !Array.isArray(journal) && (
        <p class="faint wide">
          Read from a journal of {text(journal.sessions)} {plural(Number(journal.sessions), "session")}
          {journal.is_complete === true ? "" : ", not closed in order"}
          {Number(journal.damaged_records) > 0 ? `; ${text(journal.damaged_records)} damaged ${plural(Number(journal.damaged_records), "record")} left out` : ""}.
        </p>
      )}
      </div>
    </section>
  );
}

function ErrorLine({ trace, index, open }: { trace: Trace; index: number; open: (i: number) => void }) {
  return (
    <li onClick={() => open(index)} class="clickable">
      <KindMark trace={trace} index={index} />
      <button class="link plain">{visible(trace.nameOf(index))}</button>
      <span class="detail">{visible(trace.detailOf(index))}</span>
    </li>
  );
}

const MOST_READ = 5_000; // payloads read for the table of models

function Models({ trace, calls, search }: { trace: Trace; calls: number[]; search: (text: string) => void }) {
  const [models, setModels] = useState<Map<string, { calls: number; input: number; output: number; cost: number; priced: number }>>();
  useEffect(() => {
    let isStale = false;
    (async () => {
      const found: NonNullable<typeof models> = new Map();
      for (const i of calls.slice(0, MOST_READ)) {
        const payload: Payload = await trace.payload(i);
        if (isStale) return;
        const model = text(payload.meta?.model) || "unnamed model";
        const each = found.get(model) ?? { calls: 0, input: 0, output: 0, cost: 0, priced: 0 };
        each.calls++;
        each.input += trace.input[i];
        each.output += trace.output[i];
        if (!Number.isNaN(trace.cost[i])) {
          each.cost += trace.cost[i];
          each.priced++;
        }
        found.set(model, each);
      }
      setModels(found);
    })();
    return () => {
      isStale = true;
    };
  }, [trace]);
  if (!calls.length || !models) return null;
  return (
    <div class="panel">
      <h3>Models</h3>
      <table>
        <thead>
          <tr>
            <th>model</th>
            <th class="n">calls</th>
            <th class="n">in</th>
            <th class="n">out</th>
            <th class="n">cost</th>
          </tr>
        </thead>
        <tbody>
          {[...models].map(([model, each]) => (
            <tr key={model} class="clickable" onClick={() => search(`kind:llm "${model}"`)}>
              <td>
                <button class="link plain mono">{visible(model)}</button>
              </td>
              <td class="n">{count(each.calls)}</td>
              <td class="n">{count(each.input)}</td>
              <td class="n">{count(each.output)}</td>
              <td class="n">{each.priced ? usd(each.cost) : <span class="faint">unpriced</span>}</td>
            </tr>
          ))}
        </tbody>
      </table>
      {calls.length > MOST_READ && <p class="faint">of the first {count(MOST_READ)} calls</p>}
    </div>
  );
}

function gather(trace: Trace) {
  const kinds = new Map<string, Group>();
  const calls = new Map<number, Group>();
  const errors: number[] = [];
  const modelCalls: number[] = [];
  for (let i = 0; i < trace.count; i++) {
    const kind = trace.kindOf(i);
    const isError = trace.isErrorOrigin(i);
    if (isError) errors.push(i);
    if (kind === "llm") modelCalls.push(i);
    const own = trace.self[i];
    for (const [map, key] of [[kinds, kind], [calls, trace.name[i] * 65536 + trace.kind[i]]] as [Map<unknown, Group>, unknown][]) {
      const group = map.get(key) ?? { name: trace.nameOf(i), kind, calls: 0, selfNs: 0, errors: 0, first: i };
      group.calls++;
      group.selfNs += own;
      if (isError) group.errors++;
      map.set(key, group);
    }
  }
  const bySelf = (map: Map<unknown, Group>) => [...map.values()].sort((a, b) => b.selfNs - a.selfNs);
  return { kinds: bySelf(kinds), slowest: bySelf(calls), errors, modelCalls };
}
