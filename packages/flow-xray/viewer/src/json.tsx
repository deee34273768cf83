// A JSON value as readable text: short values on one line, long texts as blocks; the number of
// elements is bounded.

import type { ComponentChildren } from "preact";
import { useState } from "preact/hooks";
import type { Json } from "./data";
import { count, visible } from "./format";

const LINE = 64;
const FIRST = 160; // values shown before "show all"
const LONG_TEXT = 4_000;

export function stringify(value: Json, indent = "  "): string {
  return render(value, "", indent);
}

function render(value: Json, pad: string, indent: string): string {
  if (typeof value === "bigint") return value.toString();
  if (value === undefined) return "null";
  if (value === null || typeof value !== "object") return JSON.stringify(value);
  const deeper = pad + indent;
  if (Array.isArray(value)) {
    if (!value.length) return "[]";
    return `[\n${value.map((item) => deeper + render(item, deeper, indent)).join(",\n")}\n${pad}]`;
  }
  const keys = Object.keys(value);
  if (!keys.length) return "{}";
  return `{\n${keys.map((key) => `${deeper}${JSON.stringify(key)}: ${render(value[key], deeper, indent)}`).join(",\n")}\n${pad}}`;
}

/** The value on one line if it fits, else null. */
function oneLine(value: Json, room: number): string | null {
  if (typeof value === "string") return value.length <= room && !value.includes("\n") ? JSON.stringify(value) : null;
  if (value === null || typeof value !== "object") return String(value);
  let text = "";
  if (Array.isArray(value)) {
    for (const item of value) {
      const part = oneLine(item, room - text.length - 4);
      if (part === null) return null;
      text += (text ? ", " : "") + part;
      if (text.length > room) return null;
    }
    return `[${text}]`;
  }
  for (const key of Object.keys(value)) {
    const part = oneLine(value[key], room - text.length - key.length - 6);
    if (part === null) return null;
    text += `${text ? ", " : ""}${key}: ${part}`;
    if (text.length > room) return null;
  }
  return text ? `{ ${text} }` : "{}";
}

interface Budget {
  left: number;
}

export function Value({ value, label, most = FIRST }: { value: Json; label: string; most?: number }) {
  const [isWhole, setWhole] = useState(false);
  const budget: Budget = { left: isWhole ? 20_000 : most };
  const body = typeof value === "string" ? <Text text={value} /> : nested(value, budget);
  return (
    <div class="value mono" tabIndex={0} role="region" aria-label={label}>
      {body}
      {budget.left <= 0 && !isWhole && (
        <button class="link" onClick={() => setWhole(true)}>
          show all of it
        </button>
      )}
    </div>
  );
}

/** A long text: its beginning, and the rest on demand. */
export function Text({ text }: { text: string }) {
  const [isWhole, setWhole] = useState(false);
  const shown = isWhole || text.length <= LONG_TEXT ? text : text.slice(0, LONG_TEXT);
  return (
    <span class="text" dir="auto">
      {visible(shown)}
      {shown.length < text.length && (
        <button class="link" onClick={() => setWhole(true)}>
          … show {count(text.length - shown.length)} more characters
        </button>
      )}
    </span>
  );
}

function nested(value: Json, budget: Budget): ComponentChildren {
  budget.left--;
  const line = oneLine(value, LINE);
  if (line !== null) return <Scalar value={value} line={line} />;
  if (typeof value === "string") {
    return (
      <span class="block">
        <Text text={value} />
      </span>
    );
  }
  if (value === null || typeof value !== "object") return String(value);
  const rows: ComponentChildren[] = [];
  if (Array.isArray(value)) {
    for (let k = 0; k < value.length && budget.left > 0; k++) {
      rows.push(
        <div class="member" key={k}>
          <span class="key">{k}</span>
          {nested(value[k], budget)}
        </div>,
      );
    }
  } else {
    for (const key of Object.keys(value)) {
      if (budget.left <= 0) break;
      rows.push(
        <div class="member" key={key}>
          <span class="key">{visible(key)}</span>
          {nested(value[key], budget)}
        </div>,
      );
    }
  }
  return <div class="members">{rows}</div>;
}

function Scalar({ value, line }: { value: Json; line: string }) {
  const kind = value === null ? "null" : typeof value;
  if (kind === "string") return <span class={value === "[redacted]" ? "v-hidden" : "v-string"} dir="auto">{visible(value === "" ? '""' : (value as string))}</span>;
  return <span class={`v-${kind}`}>{visible(line)}</span>;
}
