// The conversation, as it is stored, and what the model is saying right now.
import { useState } from "preact/hooks";
import type { Json, Message, Run } from "./api";
import { tone, visible } from "./format";

export function Transcript({ run, live }: { run: Run; live: string }) {
  const given = new Map<string, Message>();
  for (const message of run.messages) if (message.role === "tool" && message.call_id) given.set(message.call_id, message);
  return (
    <section class="transcript" aria-label="conversation">
      {run.messages.map((message, index) => {
        if (message.role === "tool") return null;
        return (
          <div key={index} class={`message ${message.role}`}>
            <span class="who">{message.role === "user" ? "you" : message.model || "model"}</span>
            {message.text && <div class="said">{visible(message.text)}</div>}
            {message.tool_calls?.map((call) => (
              <Call key={call.id} name={call.name} given={call.arguments} answer={given.get(call.id)} />
            ))}
          </div>
        );
      })}
      {live && (
        <div class="message assistant live" aria-live="polite">
          <span class="who">now</span>
          <div class="said">{visible(live)}</div>
        </div>
      )}
    </section>
  );
}

function Call({ name, given, answer }: { name: string; given: Json; answer?: Message }) {
  const [isOpen, setOpen] = useState(false);
  const outcome = answer ? answer.outcome ?? "success" : "open";
  return (
    <div class="call">
      <button class="head" aria-expanded={isOpen} onClick={() => setOpen(!isOpen)}>
        <span class={`dot t-${outcome === "success" ? "good" : outcome === "open" ? "quiet" : tone("failed")}`} />
        <code>{name}</code> <span class="faint brief">{brief(given)}</span>
        {outcome !== "success" && <span class="faint">{outcome}</span>}
      </button>
      {isOpen && (
        <pre class="arguments">
          {visible(JSON.stringify(given, null, 2))}
          {answer ? `\n\n${text(answer.payload)}` : ""}
        </pre>
      )}
    </div>
  );
}

const text = (value: Json | undefined) => visible(typeof value === "string" ? value : JSON.stringify(value, null, 2) ?? "");

function brief(given: Json): string {
  const line = visible(JSON.stringify(given));
  return line.length > 90 ? `${line.slice(0, 87)}...` : line;
}
