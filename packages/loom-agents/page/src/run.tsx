// One run: who waits for whom, the conversation, the timeline, and what can be said.
import { useCallback, useEffect, useRef, useState } from "preact/hooks";
import { type Approval, type LogEvent, type Me, Refused, type Run, ask, follow, place, send } from "./api";
import { Request } from "./approval";
import { count, money, tone } from "./format";
import { Timeline } from "./timeline";
import { Transcript } from "./transcript";

// `below` are the calls of runs that this one started.
type Props = { runId: string; me: Me; nudge: number; below: Approval[]; onChange: () => void };

export function RunView({ runId, me, nudge, below, onChange }: Props) {
  const [run, setRun] = useState<Run | null>(null);
  const [events, setEvents] = useState<LogEvent[]>([]);
  const [live, setLive] = useState("");
  const [problem, setProblem] = useState("");
  const [isOpen, setOpen] = useState(true);
  const last = useRef(0);
  const following = useRef<(() => void) | null>(null);
  const later = useRef<number | undefined>(undefined);

  const load = useCallback(async () => {
    try {
      setRun(await ask<Run>(place(runId)));
    } catch (error) {
      setProblem((error as Refused).message);
    }
  }, [runId]);

  const soon = useCallback(() => {
    if (later.current !== undefined) return;
    later.current = window.setTimeout(() => {
      later.current = undefined;
      void load();
    }, 60);
  }, [load]);

  const start = useCallback(() => {
    following.current?.();
    following.current = follow(`${place(runId)}/events`, last.current, {
      event: (event) => {
        last.current = event.seq;
        setEvents((before) => (before.some((known) => known.seq === event.seq) ? before : [...before, event]));
        if (event.kind === "step") setLive("");
        soon();
      },
      live: (piece) => {
        if (piece.type === "text") setLive((before) => before + (piece.text ?? ""));
        else if (piece.type === "tool_progress") setLive(`${piece.name}: ${piece.progress}/${piece.total ?? "?"} ${piece.message ?? ""}`);
      },
      resync: () => {
        last.current = 0;
        setEvents([]);
      },
      end: () => {
        following.current = null;
        soon();
      },
      line: setOpen,
    });
  }, [runId, soon]);

  useEffect(() => {
    last.current = 0;
    setRun(null);
    setEvents([]);
    setLive("");
    setProblem("");
    void load();
    start();
    return () => {
      following.current?.();
      following.current = null;
      window.clearTimeout(later.current);
      later.current = undefined;
    };
  }, [load, start]);

  useEffect(() => {
    // Something happened to this run after its stream had ended: it was resumed.
    if (nudge > last.current && following.current === null) start();
  }, [nudge, start]);

  async function act(path: string, body: unknown) {
    setProblem("");
    try {
      await send(`${place(runId)}/${path}`, body);
      start();
      onChange();
      return true;
    } catch (error) {
      setProblem((error as Refused).message);
      return false;
    }
  }

  if (run === null) return <main class="run">{problem ? <p class="problem" role="alert">{problem}</p> : <p class="faint">Loading...</p>}</main>;
  const pending = [...run.approvals.filter((request) => request.status === "pending"), ...below];
  const decided = run.approvals.filter((request) => request.status !== "pending");
  const may = (scope: string) => me.scopes.includes(scope) || me.scopes.includes("admin");
  const mayAct = me.scopes.includes("admin") || (me.scopes.includes("run") && run.owner === me.name);
  const isOver = ["completed", "cancelled"].includes(run.status);
  return (
    <main class="run">
      <header>
        <h2>{run.run_id}</h2>
        <span class={`pill t-${tone(run.display_status)}`}>{run.display_status}</span>
        {!isOpen && <span class="pill t-bad">connection lost, reconnecting</span>}
        <span class="faint">
          {count(run.step_index)} {run.step_index === 1 ? "step" : "steps"}
          {run.usage ? `, ${count(run.usage.input_tokens)} in / ${count(run.usage.output_tokens)} out tokens, ${money(run.usage.cost_usd)}` : ""}
        </span>
        <span class="acts">
          <a class="link" href={`${place(runId)}/trace.html`} target="_blank" rel="noopener">
            Trace
          </a>
          {mayAct && !isOver && ["failed", "paused", "running", "created"].includes(run.status) && (
            <button class="link" onClick={() => act("resume", {})}>
              Resume
            </button>
          )}
          {mayAct && !isOver && (
            <button class="link danger" onClick={() => act("cancel", {})}>
              Cancel run
            </button>
          )}
        </span>
      </header>
      {problem && (
        <p class="problem" role="alert">
          {problem}
        </p>
      )}
      {run.error && run.status === "failed" && (
        <p class="problem">
          {run.error.type}: {run.error.message}
        </p>
      )}
      {pending.length > 0 && (
        <section class="asked" aria-label="waiting for approval">
          {pending.map((request) => (
            <Request key={`${request.run_id}#${request.number}`} request={request} mayDecide={may("approve")} onDecided={() => (soon(), onChange())} />
          ))}
        </section>
      )}
      {run.question && <p class="question">{run.question}</p>}
      <Transcript run={run} live={live} />
      {mayAct && run.accepts_messages && ["answered", "question"].includes(run.display_status) && (
        <Composer label={run.question ? "Answer" : "Send"} onSend={(message) => act("messages", { message })} />
      )}
      <details open>
        <summary>Timeline</summary>
        <Timeline events={events} />
      </details>
      {decided.length > 0 && (
        <details>
          <summary>Decided ({decided.length})</summary>
          {decided.map((request) => (
            <Request key={request.number} request={request} mayDecide={false} onDecided={soon} />
          ))}
        </details>
      )}
    </main>
  );
}

type Field = { label: string; prompt?: string; onSend: (message: string) => Promise<boolean> };

export function Composer({ label, prompt = "A message", onSend }: Field) {
  const [text, setText] = useState("");
  const [isSending, setSending] = useState(false);
  async function submit() {
    if (!text.trim() || isSending) return;
    setSending(true);
    if (await onSend(text)) setText("");
    setSending(false);
  }
  return (
    <div class="composer">
      <textarea
        aria-label="message"
        rows={2}
        placeholder={`${prompt} (Ctrl-Enter sends)`}
        value={text}
        onInput={(e) => setText(e.currentTarget.value)}
        onKeyDown={(e) => {
          if (e.key === "Enter" && (e.ctrlKey || e.metaKey)) void submit();
        }}
      />
      <button class="yes" disabled={isSending || !text.trim()} onClick={submit}>
        {label}
      </button>
    </div>
  );
}
