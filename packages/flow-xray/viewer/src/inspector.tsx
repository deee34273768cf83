// All members of one span.

import type { ComponentChildren } from "preact";
import { useEffect, useState } from "preact/hooks";
import type { Json, JsonObject, Payload, Trace } from "./data";
import { clock, count, day, duration, plural, usd, visible } from "./format";
import { stringify, Text, Value } from "./json";
import { responseOf, Messages, messagesOf, MessageView, type Message } from "./messages";
import { copy } from "./copy";
import { kindClass, KindMark, statusLabel } from "./marks";

interface Props {
  trace: Trace;
  index: number;
  select: (index: number) => void;
  close: () => void;
  notify: (text: string) => void;
}

/** The payload of a span, undefined while it is inflated. */
export function usePayload(trace: Trace, index: number): Payload | undefined {
  const [held, setHeld] = useState<{ index: number; payload: Payload }>();
  useEffect(() => {
    let isStale = false;
    trace.payload(index).then(
      (payload) => isStale || setHeld({ index, payload }),
      (error) => isStale || setHeld({ index, payload: { error: { type: "cannot read the values of this span", message: String(error) } } }),
    );
    return () => {
      isStale = true;
    };
  }, [trace, index]);
  return held?.index === index ? held.payload : undefined;
}

// Shown in the head or in a separate section; the other members of meta are listed as they are.
const SHOWN = new Set([
  "run_id", "step_index", "attempt", "max_attempts", "idempotency_key", "model", "input_tokens", "output_tokens", "cache_read_tokens",
  "cache_write_tokens", "reasoning_tokens", "cost_usd", "messages",
]);

export function Inspector({ trace, index, select, close, notify }: Props) {
  const payload = usePayload(trace, index);
  const meta: JsonObject = payload?.meta ?? {};
  const origin = typeof payload?.error?.origin === "string" ? trace.find(payload.error.origin) : -1;
  const others = Object.keys(meta).filter((key) => !SHOWN.has(key));
  const messages = payload ? messagesOf(meta.messages) : [];
  const asked = payload ? onlyMessages(payload.input) : [];
  const response = payload?.output !== undefined && trace.kindOf(index) === "llm" ? responseOf(payload.output) : null;
  return (
    <aside class="inspector" aria-label="Inspector" aria-busy={!payload} tabIndex={-1}>
      <button class="icon only-narrow" onClick={close} aria-label="Close the inspector">
        ✕
      </button>
      <Path trace={trace} index={index} select={select} />
      <h2>
        <KindMark trace={trace} index={index} />
        <span class="title">{visible(trace.nameOf(index))}</span>
        <span class={`kind k-${kindClass(trace.kindOf(index))}`}>{visible(trace.kindOf(index))}</span>
      </h2>
      <Place meta={meta} />
      <Facts trace={trace} index={index} meta={meta} />
      <div class="actions">
        <button class="button" onClick={() => copy(spanJson(trace, index, payload), "Copied the span as JSON", notify)} disabled={!payload}>
          Copy JSON
        </button>
        <button class="button" onClick={() => copy(linkTo(trace, index), "Copied the link", notify)}>
          Copy link
        </button>
      </div>
      {payload && (
        <>
          {payload.error && (
            <Section title="Error" tone="bad">
              <div class="error">
                <b>{text(payload.error.type) || "error"}</b>
                {payload.error.message !== undefined && payload.error.message !== "" && (
                  <div class="error-message">
                    <Text text={text(payload.error.message)} />
                  </div>
                )}
                {origin >= 0 && (
                  <button class="link" onClick={() => select(origin)}>
                    raised in {visible(trace.nameOf(origin))} →
                  </button>
                )}
              </div>
              {payload.error.traceback ? <Traceback text={text(payload.error.traceback)} /> : null}
            </Section>
          )}
          {payload.input !== undefined && !isEmpty(payload.input) && (
            <Section title="Input" note={asked.length ? `${count(asked.length)} ${plural(asked.length, "message")}` : undefined} copyable={payload.input} notify={notify}>
              {asked.length ? <Messages messages={asked} key={index} /> : <Value value={payload.input} label="Input" key={index} />}
            </Section>
          )}
          {payload.output !== undefined && (
            <Section title="Output" copyable={payload.output} notify={notify}>
              {response && response.parts.some((part) => part.type !== "other") ? <MessageView message={response} key={index} /> : <Value value={payload.output} label="Output" key={index} />}
            </Section>
          )}
          {messages.length > 0 && !asked.length && (
            <Section title={`Messages`} note={count(messages.length)}>
              <Messages messages={messages} key={index} />
            </Section>
          )}
          {payload.tags && payload.tags.length > 0 && (
            <Section title="Tags" note={count(payload.tags.length)}>
              <Tags trace={trace} index={index} tags={payload.tags} key={index} />
            </Section>
          )}
          {others.length > 0 && (
            <Section title="More">
              <dl class="facts">
                {others.map((key) => (
                  <Fact key={key} name={key}>
                    {isPlain(meta[key]) ? <Text text={text(meta[key])} /> : <Value value={meta[key]} label={key} />}
                  </Fact>
                ))}
              </dl>
            </Section>
          )}
        </>
      )}
    </aside>
  );
}

function Path({ trace, index, select }: { trace: Trace; index: number; select: (i: number) => void }) {
  const path: number[] = [];
  for (let i = trace.parent[index]; i >= 0 && path.length < 4; i = trace.parent[i]) path.unshift(i);
  if (!path.length) return null;
  return (
    <nav class="path" aria-label="Callers">
      {trace.parent[path[0]] >= 0 && <span class="faint">… › </span>}
      {path.map((i) => (
        <>
          <button class="link quiet" onClick={() => select(i)}>
            {visible(trace.nameOf(i))}
          </button>
          <span class="faint"> › </span>
        </>
      ))}
    </nav>
  );
}

function Place({ meta }: { meta: JsonObject }) {
  const place: string[] = [];
  if (isPlain(meta.run_id) && meta.run_id !== null) place.push(text(meta.run_id));
  if (isPlain(meta.step_index) && meta.step_index !== null) place.push(`step ${text(meta.step_index)}`);
  if (isPlain(meta.attempt) && meta.attempt !== null) {
    place.push(`attempt ${text(meta.attempt)}${isPlain(meta.max_attempts) && meta.max_attempts !== null ? ` of ${text(meta.max_attempts)}` : ""}`);
  }
  return place.length ? <div class="mono place">{visible(place.join(" · "))}</div> : null;
}

function Facts({ trace, index, meta }: { trace: Trace; index: number; meta: JsonObject }) {
  const startNs = trace.startedAt + BigInt(Math.round(trace.start[index]));
  const hasEnd = trace.duration[index] >= 0;
  const ownNs = trace.self[index];
  const cached = trace.cached[index];
  const status = trace.statusOf(index);
  return (
    <dl class="facts">
      <Fact name="outcome">
        <span class={`s-${toneOf(trace, index)}`}>{visible(statusLabel(trace, index))}</span>
      </Fact>
      <Fact name="started">
        <time title={day(startNs)}>{clock(startNs)} UTC</time>
        {trace.start[index] > 0 && <span class="faint">, + {duration(trace.start[index])}</span>}
      </Fact>
      <Fact name="took">
        {hasEnd ? duration(trace.duration[index]) : status === "open" && trace.stop[index] > trace.start[index] ? `${duration(trace.stop[index] - trace.start[index])} so far` : <span class="faint">no end recorded</span>}
        {hasEnd && trace.end[index] > index + 1 && <span class="faint"> (self {duration(ownNs)})</span>}
      </Fact>
      {isPlain(meta.model) && meta.model !== null && (
        <Fact name="model">
          <span class="mono">{visible(text(meta.model))}</span>
        </Fact>
      )}
      {trace.hasTokens(index) && (
        <Fact name="tokens">
          {count(trace.input[index])} in → {count(trace.output[index])} out
          {cached > 0 && <span class="faint"> ({count(cached)} cached)</span>}
          {typeof meta.reasoning_tokens === "number" && meta.reasoning_tokens > 0 && <span class="faint"> ({count(meta.reasoning_tokens)} reasoning)</span>}
        </Fact>
      )}
      {!Number.isNaN(trace.cost[index]) ? (
        <Fact name="cost">{usd(trace.cost[index])}</Fact>
      ) : (
        trace.hasTokens(index) && trace.kindOf(index) === "llm" && (
          <Fact name="cost">
            <span class="faint">unpriced</span>
          </Fact>
        )
      )}
      {trace.codeOf(index) && (
        <Fact name="code">
          <span class="mono">{visible(trace.codeOf(index))}</span>
        </Fact>
      )}
      {isPlain(meta.idempotency_key) && meta.idempotency_key !== null && (
        <Fact name="key">
          <span class="mono">{visible(text(meta.idempotency_key))}</span>
        </Fact>
      )}
      {trace.head.threads.length > 1 && trace.threadOf(index) && <Fact name="thread">{visible(trace.threadOf(index))}</Fact>}
    </dl>
  );
}

/** The colour of the outcome; a status that the trace reports itself decides. */
function toneOf(trace: Trace, index: number): string {
  const status = trace.statusOf(index);
  return status === "ok" && statusLabel(trace, index) !== "done" && !/^(ok|done|completed?|succeeded)$/i.test(statusLabel(trace, index)) ? "open" : status;
}

function Fact({ name, children }: { name: string; children: ComponentChildren }) {
  return (
    <>
      <dt>{visible(name)}</dt>
      <dd>{children}</dd>
    </>
  );
}

interface SectionProps {
  title: string;
  note?: string;
  tone?: string;
  copyable?: Json;
  notify?: (text: string) => void;
  children: ComponentChildren;
}

export function Section({ title, note, tone, copyable, notify, children }: SectionProps) {
  return (
    <section class={tone}>
      <h3>
        {title}
        {note && <span class="note">{note}</span>}
        {copyable !== undefined && notify && (
          <button class="link quiet" onClick={() => copy(typeof copyable === "string" ? copyable : stringify(copyable), `Copied the ${title.toLowerCase()}`, notify)}>
            copy
          </button>
        )}
      </h3>
      {children}
    </section>
  );
}

function Traceback({ text: lines }: { text: string }) {
  return (
    <details class="traceback" open>
      <summary>traceback</summary>
      <div class="value mono" tabIndex={0} role="region" aria-label="Traceback">
        <Text text={lines.trimEnd()} />
      </div>
    </details>
  );
}

const SHOWN_TAGS = 6;

function Tags({ trace, index, tags }: { trace: Trace; index: number; tags: JsonObject[] }) {
  const [isWhole, setWhole] = useState(false);
  const shown = isWhole || tags.length <= SHOWN_TAGS + 1 ? tags : tags.slice(0, SHOWN_TAGS);
  return (
    <ul class="tags">
      {shown.map((tag, k) => {
        const { name, at_ns: at, ...rest } = tag;
        const offset = typeof at === "bigint" || Number.isInteger(at) ? Number(BigInt(at as number | bigint) - trace.startedAt) - trace.start[index] : null;
        return (
          <li key={k}>
            <b>{visible(text(name ?? "tag"))}</b>
            {offset !== null && offset >= 0 && <span class="faint"> + {duration(offset)}</span>}
            {Object.keys(rest).map((key) => (
              <span class="pair" key={key}>
                {visible(key)} <span class="mono">{visible(isPlain(rest[key]) ? text(rest[key]) : stringify(rest[key], ""))}</span>
              </span>
            ))}
          </li>
        );
      })}
      {shown.length < tags.length && (
        <li>
          <button class="link" onClick={() => setWhole(true)}>
            show {count(tags.length - shown.length)} more
          </button>
        </li>
      )}
    </ul>
  );
}

export function text(value: Json | undefined): string {
  if (value === undefined || value === null) return "";
  return typeof value === "object" ? stringify(value, "") : String(value);
}

function isPlain(value: Json | undefined): boolean {
  return value !== undefined && (value === null || typeof value !== "object");
}

/** The messages of an input that has nothing else. */
function onlyMessages(input: Json | undefined): Message[] {
  const list = input !== null && typeof input === "object" && !Array.isArray(input) && Object.keys(input).length === 1 ? Object.values(input)[0] : input;
  if (!Array.isArray(list)) return [];
  const found = messagesOf(list);
  return found.length === list.length ? found : [];
}

function isEmpty(value: Json): boolean {
  return value !== null && typeof value === "object" && Object.keys(value).length === 0;
}

export function spanJson(trace: Trace, i: number, payload: Payload | undefined): string {
  const startNs = trace.startedAt + BigInt(Math.round(trace.start[i]));
  return stringify({
    id: trace.idOf(i),
    parent_id: trace.parent[i] < 0 ? null : trace.idOf(trace.parent[i]),
    name: trace.nameOf(i),
    kind: trace.kindOf(i),
    started_at_ns: startNs,
    duration_ns: trace.duration[i] < 0 ? null : trace.duration[i],
    status: trace.statusOf(i),
    thread: trace.threadOf(i),
    ...((payload ?? {}) as JsonObject),
  });
}

function linkTo(trace: Trace, i: number): string {
  return location.href.replace(/#.*$/, "") + "#span=" + trace.idOf(i);
}
