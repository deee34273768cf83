// What the page asks the server, and how it follows events.

export type Json = null | boolean | number | string | Json[] | { [name: string]: Json };
export type Fields = { [name: string]: Json };

export type Row = {
  run_id: string;
  name: string;
  status: string;
  display_status: string;
  title: string;
  step_index: number;
  updated_at?: string;
  parent_run_id: string | null;
  owner: string | null;
  accepts_messages?: boolean;
  turn?: number;
  usage?: { input_tokens: number; output_tokens: number; cost_usd: number | null };
};

export type Approval = {
  run_id: string;
  name: string;
  ancestors: string[];
  number: number;
  status: string;
  tool: string;
  arguments: Fields;
  arguments_hash: string;
  edited_arguments: Fields | null;
  difference: string[];
  edit_notes: string[];
  reason: string;
  needed: number;
  expires_at: string | null;
  policy: Fields;
  decisions: { by: string; how: string; at: string; via: string; note: string }[];
};

export type Call = { id: string; name: string; arguments: Fields };
export type Message = {
  role: "user" | "assistant" | "tool";
  text?: string;
  tool_calls?: Call[];
  model?: string;
  call_id?: string;
  name?: string;
  outcome?: string;
  payload?: Json;
};

export type Run = Row & {
  messages: Message[];
  approvals: Approval[];
  question?: string | null;
  error?: { type: string; message: string } | null;
  setup?: Fields;
};

// One entry of the log; the members beside these depend on `kind`.
export type LogEvent = {
  seq: number;
  run_id: string;
  kind: string;
  at: string;
  status?: string;
  outcome?: string;
  step_index?: number;
  number?: number;
  name?: string;
  tool?: string;
  duration_ms?: number | null;
  error?: { message: string } | null;
};

export type Piece = { run_id: string; step_index: number; type: string; text?: string; name?: string; progress?: number; total?: number | null; message?: string | null };

export type Me = { name: string; scopes: string[]; product: string; prompt: string };

export class Refused extends Error {
  constructor(readonly status: number, message: string) {
    super(message);
  }
}

export async function ask<T>(path: string, init: RequestInit = {}): Promise<T> {
  let response: Response;
  try {
    response = await fetch(path, { ...init, headers: { "x-loom-page": "1", ...init.headers } });
  } catch {
    throw new Refused(0, "The server does not answer.");
  }
  const body = await response.json().catch(() => null);
  if (!response.ok) throw new Refused(response.status, body?.error?.message ?? `The server answered ${response.status}.`);
  return body as T;
}

export function send<T>(path: string, body: unknown): Promise<T> {
  return ask<T>(path, { method: "POST", body: JSON.stringify(body), headers: { "content-type": "application/json" } });
}

export const place = (runId: string) => `/v1/runs/${encodeURIComponent(runId)}`;

/** Exchange a token for the cookie that the browser keeps for this server. */
export function signIn(token: string): Promise<unknown> {
  return ask("/v1/session", { method: "POST", headers: { authorization: `Bearer ${token}` } });
}

const KINDS = ["run", "step", "attempt", "tool", "approval", "signal"];

export type Listener = {
  event: (event: LogEvent) => void;
  live?: (piece: Piece) => void;
  resync?: () => void;
  end?: () => void;
  line?: (isOpen: boolean) => void;
};

/** Follow a stream from behind an event. The browser comes back by itself with the id of the last one that it saw;
 * when it gives up, because the server refused it, this asks again, and leaves the page when nobody is signed in. */
export function follow(path: string, after: number, listener: Listener): () => void {
  let last = after;
  let source: EventSource;
  let waiting: number | undefined;
  const read = (message: Event) => JSON.parse((message as MessageEvent).data);

  function open() {
    source = new EventSource(`${path}?after=${last}`);
    for (const kind of KINDS) {
      source.addEventListener(kind, (message) => {
        const event: LogEvent = read(message);
        last = event.seq;
        listener.event(event);
      });
    }
    source.addEventListener("live", (message) => listener.live?.(read(message)));
    source.addEventListener("resync", () => listener.resync?.());
    source.addEventListener("end", () => {
      source.close();
      listener.end?.();
    });
    source.addEventListener("open", () => listener.line?.(true));
    source.addEventListener("error", () => {
      listener.line?.(false);
      if (source.readyState === EventSource.CLOSED) waiting = window.setTimeout(again, 1500);
    });
  }

  async function again() {
    try {
      await ask("/v1/session");
      open();
    } catch (error) {
      if ((error as Refused).status === 401) location.reload();
      else waiting = window.setTimeout(again, 1500);
    }
  }

  open();
  return () => {
    window.clearTimeout(waiting);
    source.close();
  };
}
