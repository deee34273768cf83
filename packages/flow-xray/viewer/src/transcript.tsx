// The run as a conversation: the new messages of each model call, its response, and the tool calls.
//
// Theory of operation. Model and tool calls are read in order of time, some at a time, and split
// into blocks: the head of a turn, a message, a tool call, an error, the name of the current agent.
// Blocks have any height, so a block is measured when it is drawn and estimated before; only
// visible blocks are in the document. Which messages are new is known only from where reading
// started: after a jump, reading starts a few calls before its target.

import { useCallback, useEffect, useLayoutEffect, useMemo, useReducer, useRef, useState } from "preact/hooks";
import type { Json, Payload, Trace } from "./data";
import { count, visible } from "./format";
import { text } from "./inspector";
import type { ViewKeys } from "./keys";
import { stringify, Value } from "./json";
import { KindMark, kindClass, durationLabel } from "./marks";
import { responseOf, messagesOf, MessageView, plainPart, type Message } from "./messages";

interface Props {
  trace: Trace;
  hits: Uint8Array | null;
  selected: number;
  keys: ViewKeys;
  select: (index: number, isByPointer?: boolean) => void;
  inspect: () => void;
}

type Block =
  | { type: "scope"; index: number }
  | { type: "head"; index: number; isFailed: boolean }
  | { type: "message"; index: number; message: Message }
  | { type: "tool"; index: number; payload: Payload; isAsked: boolean }
  | { type: "error"; index: number; payload: Payload };

/** What has been shown so far; nothing is shown twice. */
interface Seen {
  messages: Set<string>;
  calls: Set<string>; // name and arguments of tool calls in responses
  results: Map<string, number>; // tool spans by name, whose results the next model call repeats
}

const BATCH = 60; // calls read before drawing
const CONTEXT = 12; // calls read before the target, so that few messages are repeated
const ESTIMATED = { scope: 44, head: 34, message: 96, tool: 90, error: 40 };
const MARGIN = 500; // pixels drawn beyond the window
const VALUES = 60;

/** The spans of the transcript: model and tool calls. */
function turnsOf(trace: Trace): Int32Array {
  const kinds = trace.head.kinds.map((kind) => kind === "llm" || kind === "tool");
  const found: number[] = [];
  for (let i = 0; i < trace.count; i++) if (kinds[trace.kind[i]]) found.push(i);
  return Int32Array.from(found).sort((a, b) => trace.start[a] - trace.start[b] || a - b);
}

/** The nearest agent above each span; null when there is only one. */
function agentsOf(trace: Trace): Int32Array | null {
  const agent = trace.head.kinds.indexOf("agent");
  const out = new Int32Array(trace.count).fill(-1);
  let agents = 0;
  for (let i = 0; i < trace.count; i++) {
    if (trace.kind[i] === agent) agents++;
    out[i] = trace.kind[i] === agent ? i : trace.parent[i] < 0 ? -1 : out[trace.parent[i]];
  }
  return agents > 1 ? out : null;
}

/** Reads calls in order and stores their blocks. */
class Reader {
  readonly blocks: Block[] = [];
  readonly heights: number[] = [];
  readonly headOf = new Map<number, number>(); // span -> its first block
  private readonly seen: Seen = { messages: new Set(), calls: new Set(), results: new Map() };
  private next: number;
  private lastAgent = -1;
  private isReading = false;
  isDropped = false;

  constructor(
    private readonly trace: Trace,
    private readonly order: Int32Array,
    private readonly agents: Int32Array | null,
    readonly from: number,
  ) {
    this.next = Math.max(0, from - CONTEXT);
  }

  get isDone(): boolean {
    return this.next >= this.order.length;
  }

  async more(done: () => void): Promise<void> {
    if (this.isReading || this.isDone) return;
    this.isReading = true;
    const until = Math.min(this.order.length, Math.max(this.next, this.from) + BATCH);
    while (this.next < until) {
      const index = this.order[this.next];
      const payload = await this.trace.payload(index);
      if (this.isDropped) return;
      const blocks = this.blocksOf(index, payload);
      if (this.next++ < this.from) continue;
      this.headOf.set(index, this.blocks.length);
      for (const block of blocks) {
        this.blocks.push(block);
        this.heights.push(ESTIMATED[block.type]);
      }
    }
    this.isReading = false;
    done();
  }

  private blocksOf(index: number, payload: Payload): Block[] {
    const { trace, seen } = this;
    const out: Block[] = [];
    const agent = this.agents ? this.agents[index] : -1;
    if (agent >= 0 && agent !== this.lastAgent) out.push({ type: "scope", index: agent });
    this.lastAgent = agent;
    out.push({ type: "head", index, isFailed: payload.error !== undefined });
    if (trace.kindOf(index) === "llm") {
      for (const message of newMessages(payload, seen)) out.push({ type: "message", index, message });
    } else {
      const name = trace.nameOf(index);
      const isAsked = seen.calls.has(name + stringify(payload.input ?? {}, ""));
      if (payload.output !== undefined || payload.error) seen.results.set(name, (seen.results.get(name) ?? 0) + 1);
      if ((!isAsked && payload.input !== undefined && payload.input !== null) || payload.output !== undefined) out.push({ type: "tool", index, payload, isAsked });
    }
    if (payload.error) out.push({ type: "error", index, payload });
    return out;
  }
}

export function Transcript({ trace, hits, selected, keys, select, inspect }: Props) {
  const order = useMemo(() => turnsOf(trace), [trace]);
  const place = useMemo(() => new Map([...order].map((span, k) => [span, k])), [order]);
  const agents = useMemo(() => agentsOf(trace), [trace]);
  const [, step] = useReducer((n: number, _: void) => n + 1, 0);
  const redraw = useCallback(() => step(undefined), []);
  const wanted = place.get(selected) ?? -1;
  const [from, setFrom] = useState(() => (wanted > 300 ? wanted - 20 : 0));
  const reader = useMemo(() => new Reader(trace, order, agents, from), [order, from]);
  const scroller = useRef<HTMLElement>(null);
  const [view, setView] = useState({ top: 0, height: 800 });
  const shownFor = useRef(-1);

  useEffect(() => {
    reader.more(redraw);
    return () => {
      reader.isDropped = true;
    };
  }, [reader]);
  useLayoutEffect(() => {
    const element = scroller.current!;
    const observer = new ResizeObserver(() => setView((now) => ({ ...now, height: element.clientHeight })));
    observer.observe(element);
    return () => observer.disconnect();
  }, []);

  // ---- the visible blocks
  const { blocks, heights } = reader;
  const offsets = [0];
  for (const height of heights) offsets.push(offsets[offsets.length - 1] + height);
  let first = 0;
  while (first < blocks.length && offsets[first + 1] < view.top - MARGIN) first++;
  let last = first;
  while (last < blocks.length && offsets[last] < view.top + view.height + MARGIN) last++;
  const isNearEnd = last >= blocks.length - 10;
  useEffect(() => {
    if (isNearEnd && blocks.length) reader.more(redraw);
  }, [isNearEnd, blocks.length, reader]);

  // ---- true heights, once drawn
  useLayoutEffect(() => {
    const element = scroller.current!;
    let isChanged = false;
    let above = 0;
    for (const child of element.querySelectorAll<HTMLElement>("[data-block]")) {
      const k = Number(child.dataset.block);
      if (Math.abs(heights[k] - child.offsetHeight) < 1) continue;
      if (offsets[k] + heights[k] <= element.scrollTop) above += child.offsetHeight - heights[k];
      heights[k] = child.offsetHeight;
      isChanged = true;
    }
    if (above) element.scrollTop += above;
    if (isChanged) redraw();
  });

  // ---- the shared selection
  const head = reader.headOf.get(selected) ?? -1;
  useLayoutEffect(() => {
    if (wanted < 0 || shownFor.current === selected) return;
    if (head < 0) {
      if (blocks.length && (wanted < from || wanted > from + 300)) setFrom(Math.max(0, wanted - 20));
      else if (blocks.length) reader.more(redraw);
      return;
    }
    shownFor.current = selected;
    const element = scroller.current!;
    if (offsets[head] < element.scrollTop || offsets[head] + 60 > element.scrollTop + element.clientHeight) element.scrollTop = Math.max(0, offsets[head] - 24);
  }, [selected, head, blocks.length]);

  keys.current = (key) => {
    const step = key === "j" || key === "ArrowDown" ? 1 : key === "k" || key === "ArrowUp" ? -1 : 0;
    if (step) {
      let now = wanted;
      if (now < 0) {
        // From another call: the first model or tool call in it or after it.
        now = order.findIndex((span) => span >= selected);
        now = now < 0 ? order.length : now;
        if (step > 0) now--;
      }
      const next = now + step;
      if (next >= 0 && next < order.length) select(order[next]);
    } else if (key === "Home" || key === "g") {
      if (order.length) select(order[0]);
    } else if (key === "End" || key === "G") {
      if (order.length) select(order[order.length - 1]);
    } else if (key === "Enter") inspect();
    else return false;
    return true;
  };

  const shown: number[] = [];
  for (let k = first; k < last; k++) shown.push(k);
  return (
    <section class="transcript" aria-label={`Transcript, ${count(order.length)} model and tool calls`} tabIndex={0} ref={scroller} onScroll={(event) => setView({ top: event.currentTarget.scrollTop, height: event.currentTarget.clientHeight })}>
      <div class="column" style={{ paddingTop: `${offsets[first]}px`, paddingBottom: `${offsets[blocks.length] - offsets[last]}px` }} aria-busy={!blocks.length && order.length > 0}>
        {order.length === 0 && <p class="empty">No model or tool was called in this trace.</p>}
        {from > 0 && first === 0 && blocks.length > 0 && (
          <button class="button earlier" onClick={() => setFrom(Math.max(0, from - 200))}>
            {count(from)} earlier calls
          </button>
        )}
        {shown.map((k) => (
          <div key={`${from}:${k}`} data-block={k} class={`block-${blocks[k].type}${blocks[k].index === selected ? " selected" : ""}${hits && !hits[blocks[k].index] && blocks[k].type !== "scope" ? " dim" : ""}`}>
            <BlockView trace={trace} block={blocks[k]} select={select} />
          </div>
        ))}
        {reader.isDone && last === blocks.length && blocks.length > 0 && <p class="the-end">end of the transcript</p>}
      </div>
    </section>
  );
}

function BlockView({ trace, block, select }: { trace: Trace; block: Block; select: Props["select"] }) {
  const { index } = block;
  switch (block.type) {
    case "scope":
      return (
        <button class={`scope k-${kindClass("agent")}`} onClick={() => select(index, true)}>
          <KindMark trace={trace} index={index} />
          <span class="name">{visible(trace.nameOf(index))}</span>
          <span class="detail">{visible(trace.detailOf(index))}</span>
        </button>
      );
    case "head":
      return (
        <button class="turn-head" onClick={() => select(index, true)}>
          <KindMark trace={trace} index={index} />
          <span class="name">{visible(trace.nameOf(index))}</span>
          {!block.isFailed && <span class="detail">{visible(trace.detailOf(index))}</span>}
          <span class="took">{visible(durationLabel(trace, index))}</span>
        </button>
      );
    case "message":
      return <MessageView message={block.message} />;
    case "tool": {
      const { input, output } = block.payload;
      return (
        <div class={block.payload.error ? "tool-call bad" : "tool-call"}>
          {!block.isAsked && input !== undefined && input !== null && <Value value={input} label="Arguments" most={VALUES} />}
          {output !== undefined && (
            <div class="result">
              <Value value={output} label="Result" most={VALUES} />
            </div>
          )}
        </div>
      );
    }
    default:
      return (
        <div class="error">
          <b>{visible(text(block.payload.error?.type) || "error")}</b> {visible(text(block.payload.error?.message))}
        </div>
      );
  }
}

/** The messages of a model call that no earlier call has shown, and its response. */
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
  const response = responseOf(payload.output);
  if (response && !(out.length && keyOf(out[out.length - 1]) === keyOf(response))) {
    seen.messages.add(keyOf(response));
    out.push(response);
  }
  for (const part of response?.parts ?? []) if (part.type === "call") seen.calls.add(part.name + stringify(part.args ?? {}, ""));
  if (!given.length && payload.input !== undefined && payload.input !== null) out.unshift({ role: "input", parts: [plainPart(payload.input)] });
  return out;
}

function keyOf(message: Message): string {
  return stringify(message as unknown as Json, "");
}

/** Was the result of this tool shown as a separate call? */
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
