// The run as the conversation it was: what each model call was told that nobody had said before, what it answered, and
// what the tools did in between.

import { useEffect, useState } from "preact/hooks";
import type { Json, Payload, Trace } from "./data";
import { count, duration, visible } from "./format";
import { KindMark } from "./marks";
import { answerOf, messagesOf, MessageView, plainPart, type Message } from "./messages";
import { stringify, Value } from "./json";

interface Props {
  trace: Trace;
  selected: number;
  select: (index: number, isByPointer?: boolean) => void;
}

interface Entry {
  index: number;
  messages: Message[];
  payload: Payload;
  isAsked: boolean; // a model call right before shows the arguments already
}

/** What the reader has seen so far; nothing is shown twice. */
interface Seen {
  messages: Set<string>;
  calls: Set<string>; // name and arguments of tool calls in answers
  results: Map<string, number>; // tool spans by name, whose results the next model call repeats
}

const PAGE = 60;

/** The spans that speak: model calls, and tool calls that no model call shows. */
function speaking(trace: Trace): number[] {
  const list: number[] = [];
  for (let i = 0; i < trace.count; i++) {
    const kind = trace.kindOf(i);
    if (kind === "llm" || kind === "tool") list.push(i);
  }
  return list.sort((a, b) => trace.start[a] - trace.start[b] || a - b);
}

export function Transcript({ trace, selected, select }: Props) {
  const [entries, setEntries] = useState<Entry[]>();
  const [limit, setLimit] = useState(PAGE);
  const [total, setTotal] = useState(0);
  useEffect(() => {
    let isStale = false;
    (async () => {
      const all = speaking(trace);
      const seen: Seen = { messages: new Set(), calls: new Set(), results: new Map() };
      const out: Entry[] = [];
      for (const index of all.slice(0, limit)) {
        const payload = await trace.payload(index);
        if (isStale) return;
        if (trace.kindOf(index) === "llm") {
          out.push({ index, payload, messages: newMessages(payload, seen), isAsked: false });
        } else {
          const name = trace.nameOf(index);
          const isAsked = seen.calls.has(name + stringify(payload.input ?? {}, ""));
          if (payload.output !== undefined || payload.error) seen.results.set(name, (seen.results.get(name) ?? 0) + 1);
          out.push({ index, payload, messages: [], isAsked });
        }
      }
      setTotal(all.length);
      setEntries(out);
    })();
    return () => {
      isStale = true;
    };
  }, [trace, limit]);
  if (!entries) return <section class="transcript" aria-label="Transcript" aria-busy="true" />;
  return (
    <section class="transcript" aria-label="Transcript" tabIndex={0}>
      <div class="column">
        {entries.length === 0 && <p class="empty">No model or tool was called in this trace.</p>}
        {entries.map((entry) => (
          <Turn key={entry.index} trace={trace} entry={entry} isSelected={entry.index === selected} select={select} />
        ))}
        {total > entries.length && (
          <button class="button" onClick={() => setLimit(limit + 4 * PAGE)}>
            show more of {count(total)} calls
          </button>
        )}
      </div>
    </section>
  );
}

function Turn({ trace, entry, isSelected, select }: { trace: Trace; entry: Entry; isSelected: boolean; select: Props["select"] }) {
  const { index, payload, messages, isAsked } = entry;
  const isTool = trace.kindOf(index) === "tool";
  return (
    <div class={isSelected ? "turn selected" : "turn"}>
      <button class="turn-head" onClick={() => select(index, true)}>
        <KindMark trace={trace} index={index} />
        <span class="name">{visible(trace.nameOf(index))}</span>
        {!payload.error && <span class="detail">{visible(trace.detailOf(index))}</span>}
        <span class="took">{duration(trace.duration[index])}</span>
      </button>
      {isTool ? (
        <div class={payload.error ? "tool-call bad" : "tool-call"}>
          {!isAsked && payload.input !== undefined && payload.input !== null && <Value value={payload.input} label="Arguments" />}
          {payload.output !== undefined && (
            <div class="result">
              <Value value={payload.output} label="Result" />
            </div>
          )}
        </div>
      ) : (
        messages.map((message, k) => <MessageView key={k} message={message} />)
      )}
      {payload.error && (
        <div class="error">
          <b>{visible(String(payload.error.type ?? "error"))}</b> {visible(String(payload.error.message ?? ""))}
        </div>
      )}
    </div>
  );
}

/** The messages of a model call that no earlier call has shown, and its answer. */
function newMessages(payload: Payload, seen: Seen): Message[] {
  const given = firstMessages(payload.meta?.messages, payload.input);
  const out: Message[] = [];
  for (const message of given) {
    const key = keyOf(message);
    if (seen.messages.has(key)) continue;
    seen.messages.add(key);
    const parts = message.parts.filter((part) => part.type !== "result" || !isShown(part.name, seen));
    if (parts.length || !message.parts.length) out.push({ role: message.role, parts });
  }
  const answer = answerOf(payload.output);
  if (answer && !(out.length && keyOf(out[out.length - 1]) === keyOf(answer))) {
    seen.messages.add(keyOf(answer));
    out.push(answer);
  }
  for (const part of answer?.parts ?? []) if (part.type === "call") seen.calls.add(part.name + stringify(part.args ?? {}, ""));
  if (!given.length && payload.input !== undefined && payload.input !== null) out.unshift({ role: "input", parts: [plainPart(payload.input)] });
  return out;
}

function keyOf(message: Message): string {
  return stringify(message as unknown as Json, "");
}

/** Was the result of this tool shown as a call of its own? */
function isShown(name: string, seen: Seen): boolean {
  const left = seen.results.get(name) ?? 0;
  if (left) seen.results.set(name, left - 1);
  return left > 0;
}

function firstMessages(...places: (Json | undefined)[]): Message[] {
  for (const place of places) {
    const direct = messagesOf(place);
    if (direct.length) return direct;
    if (place !== null && typeof place === "object" && !Array.isArray(place)) {
      for (const key of ["messages", "history", "prompt", "request", "input"]) {
        const inner = messagesOf(place[key]);
        if (inner.length) return inner;
      }
    }
  }
  return [];
}
