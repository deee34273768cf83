// Chat messages of several providers, converted to one form: a role and parts.

import { useState } from "preact/hooks";
import type { Json, JsonObject } from "./data";
import { count, visible } from "./format";
import { stringify, Text, Value } from "./json";

export type Part =
  | { type: "text"; text: string }
  | { type: "thinking"; text: string }
  | { type: "call"; name: string; args: Json; id: string }
  | { type: "result"; name: string; value: Json; id: string; isError: boolean }
  | { type: "other"; value: Json };

export interface Message {
  role: string;
  parts: Part[];
}

function isObject(value: Json | undefined): value is JsonObject {
  return value !== null && typeof value === "object" && !Array.isArray(value);
}

function str(value: Json | undefined): string {
  return typeof value === "string" ? value : value === undefined || value === null ? "" : stringify(value, "");
}

/** Read a list of messages; other items are left out. */
export function messagesOf(value: Json | undefined): Message[] {
  const list = Array.isArray(value) ? value : isObject(value) && Array.isArray(value.messages) ? value.messages : isObject(value) ? [value] : [];
  const found = list.map(messageOf).filter((message): message is Message => message !== null);
  // A result may refer to its tool only by the id of an earlier call.
  const names = new Map<string, string>();
  for (const { parts } of found) {
    for (const part of parts) {
      if (part.type === "call" && part.id) names.set(part.id, part.name);
      else if (part.type === "result" && !part.name) part.name = names.get(part.id) ?? "";
    }
  }
  return found;
}

function messageOf(value: Json): Message | null {
  if (!isObject(value)) return null;
  const role = typeof value.role === "string" ? value.role : typeof value.kind === "string" && Array.isArray(value.parts) ? value.kind : null;
  if (role === null) return null;
  const parts: Part[] = [];
  const content = value.content ?? value.text;
  if (role === "tool" && !Array.isArray(value.parts)) {
    parts.push({ type: "result", name: str(value.name ?? value.tool_name), value: content ?? null, id: str(value.tool_call_id), isError: value.is_error === true });
    return { role, parts };
  }
  if (typeof content === "string") {
    if (content) parts.push({ type: "text", text: content });
  } else if (Array.isArray(content)) parts.push(...content.map(partOf));
  else if (isObject(content)) parts.push(partOf(content));
  if (Array.isArray(value.parts)) parts.push(...value.parts.map(partOf));
  if (Array.isArray(value.tool_calls)) parts.push(...value.tool_calls.map(callOf));
  return { role, parts };
}

/**
 * The response of a model call as a message: a message, text and tool calls without a role, or any
 * value.
 */
export function responseOf(output: Json | undefined): Message | null {
  if (output === undefined || output === null) return null;
  const direct = messageOf(output) ?? messagesOf(output).at(-1) ?? null;
  if (direct) return roleClass(direct.role) === "assistant" ? direct : { ...direct, role: "assistant" };
  if (typeof output === "object" && !Array.isArray(output)) {
    for (const key of ["message", "response", "reply"]) {
      const inner = output[key];
      const message = inner === undefined ? null : messageOf(inner);
      if (message) return message;
    }
    const loose = messageOf({ role: "assistant", ...output });
    if (loose?.parts.length) return loose;
  }
  return { role: "assistant", parts: [plainPart(output)] };
}

export function plainPart(value: Json): Part {
  return typeof value === "string" ? { type: "text", text: value } : { type: "other", value };
}

function callOf(value: Json): Part {
  if (!isObject(value)) return { type: "other", value };
  const fn = isObject(value.function) ? value.function : value;
  return { type: "call", name: str(fn.name ?? fn.tool_name), args: decoded(fn.arguments ?? fn.args ?? fn.input ?? null), id: str(value.id ?? value.tool_call_id) };
}

function partOf(value: Json): Part {
  if (typeof value === "string") return { type: "text", text: value };
  if (!isObject(value)) return { type: "other", value };
  const kind = str(value.type ?? value.part_kind ?? value.kind);
  const body = value.text ?? value.content;
  if (/thinking|reasoning/.test(kind)) return { type: "thinking", text: str(value.thinking ?? value.reasoning ?? body) };
  if (/tool[-_]?(result|return|response)|tool_call_response|retry-prompt|function_call_output/.test(kind)) {
    return {
      type: "result", name: str(value.name ?? value.tool_name), id: str(value.tool_call_id ?? value.tool_use_id ?? value.id),
      value: value.payload ?? value.response ?? value.result ?? value.output ?? body ?? null, isError: value.is_error === true || value.status === "error" || /retry/.test(kind),
    };
  }
  if (/tool[-_]?(call|use)|function_call/.test(kind)) return callOf(value);
  if (typeof body === "string") return { type: "text", text: body };
  return { type: "other", value };
}

function decoded(value: Json): Json {
  if (typeof value !== "string") return value;
  try {
    return JSON.parse(value);
  } catch {
    return value;
  }
}

const SHOWN = 24;
const VALUES = 60; // of one part of a message, before "show all of it"


export function Messages({ messages }: { messages: Message[] }) {
  const [isWhole, setWhole] = useState(false);
  const skipped = isWhole ? 0 : Math.max(0, messages.length - SHOWN);
  return (
    <div class="messages">
      {skipped > 0 && (
        <button class="link" onClick={() => setWhole(true)}>
          show {count(skipped)} earlier messages
        </button>
      )}
      {messages.slice(skipped).map((message, k) => (
        <MessageView message={message} key={skipped + k} />
      ))}
    </div>
  );
}

export function MessageView({ message }: { message: Message }) {
  return (
    <article class={`message r-${roleClass(message.role)}`}>
      <h4>{visible(message.role)}</h4>
      {message.parts.length === 0 && <span class="faint">(empty)</span>}
      {message.parts.map((part, k) => (
        <PartView part={part} key={k} />
      ))}
    </article>
  );
}

function roleClass(role: string): string {
  if (/assistant|model|response|ai/.test(role)) return "assistant";
  if (/system|developer/.test(role)) return "system";
  if (/tool|function/.test(role)) return "tool";
  return "user";
}

function PartView({ part }: { part: Part }) {
  switch (part.type) {
    case "text":
      return (
        <div class="prose">
          <Text text={part.text} />
        </div>
      );
    case "thinking":
      return (
        <details class="thinking">
          <summary>thinking</summary>
          <Text text={part.text} />
        </details>
      );
    case "call":
      return (
        <div class="tool-call">
          <div class="call-name mono">
            → <b>{visible(part.name)}</b>
          </div>
          {!isNothing(part.args) && <Value value={part.args} label={`Arguments of ${part.name}`} most={VALUES} />}
        </div>
      );
    case "result":
      return (
        <div class={part.isError ? "tool-call bad" : "tool-call"}>
          <div class="call-name mono">
            ← {part.name ? visible(part.name) : "result"}
            {part.isError && <b class="s-error"> failed</b>}
          </div>
          <Value value={part.value} label={`Result of ${part.name}`} most={VALUES} />
        </div>
      );
    default:
      return <Value value={part.value} label="Part" most={VALUES} />;
  }
}

function isNothing(value: Json): boolean {
  return value === null || (typeof value === "object" && Object.keys(value).length === 0);
}
